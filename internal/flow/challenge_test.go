// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/ocra"
	"github.com/accountlock/accountlock/internal/secret"
)

// respond is the account service's answer to a challenge.
func (w *world) respond(t testing.TB, challenge string) string {
	t.Helper()
	r, err := ocra.OfflineCode.Response(w.svc.offline, ocra.Input{Question: challenge})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wrongFor are codes that do not answer a challenge, each another one.
func (w *world) wrongFor(t testing.TB, challenge string, i int) string {
	t.Helper()
	right := w.respond(t, challenge)
	for n := i; ; n += 100 {
		if c := fmt.Sprintf("%08d", n); c != right {
			return c
		}
	}
}

// offline is a flow at the step `offline-code`, with its challenge.
func offline(t testing.TB, d *daemon) (*flow.Flow, string) {
	t.Helper()
	f := begin(t, d, lock.KindUnlock)
	if err := f.Choose(t.Context(), "offline-code"); err != nil {
		t.Fatal(err)
	}
	v := f.View()
	if v.Step != flow.StepOffline || len(v.Prompt.Challenge) != 10 || strings.Trim(v.Prompt.Challenge, "0123456789") != "" {
		t.Fatalf("%s %+v", v.Step, v.Prompt)
	}
	return f, v.Prompt.Challenge
}

func code(f *flow.Flow, c string) error {
	return f.Submit(context.Background(), flow.Input{"code": secret.Bytes(c)})
}

func TestAnOfflineCodeOpensWithoutANetworkAndOnce(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	f, challenge := offline(t, d)
	if got := strings.Join(f.View().Methods, " "); got != "password approve offline-code recovery-code recover support" {
		t.Fatalf("the ways open are %q", got)
	}
	right := w.respond(t, challenge)
	if err := code(f, right[:4]+" "+right[4:]+"\n"); err != nil {
		t.Fatal(err)
	}
	if d.state().State != lock.Linked || w.record.Offline.Challenge != "" || w.record.Offline.Attempts.Failed != 0 {
		t.Fatalf("%s %+v", d.state(), w.record.Offline)
	}
	w.factoryReset()
	d = w.boot(t)
	f, next := offline(t, d)
	if next == challenge {
		t.Fatal("the same challenge is asked twice")
	}
	if e := wantCode(t, code(f, right), fault.InvalidCode); !e.Counted {
		t.Fatalf("%+v", e)
	}
}

func TestAChallengeStaysOverRestartsResetsAndFlows(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	_, challenge := offline(t, d)
	writes := w.writes
	for range 3 {
		if _, again := offline(t, d); again != challenge {
			t.Fatalf("%s, before %s", again, challenge)
		}
		w.factoryReset()
		d = w.boot(t)
	}
	if w.writes != writes {
		t.Fatalf("showing it again wrote the record %d times", w.writes-writes)
	}
	f, _ := offline(t, d)
	if err := code(f, w.respond(t, challenge)); err != nil || !d.state().Open() {
		t.Fatalf("%v %s", err, d.state())
	}
}

func TestFiveCodesUseAChallengeUpAndTheWaitGoesOn(t *testing.T) {
	w, d, recovery := lockedWithCode(t)
	f, challenge := offline(t, d)
	for i := range 5 {
		e := wantCode(t, code(f, w.wrongFor(t, challenge, i)), fault.InvalidCode)
		if !e.Counted || e.AttemptsLeft != max(0, 3-i) {
			t.Fatalf("code %d: %+v", i+1, e)
		}
		if i == 4 {
			break
		}
		for _, earlier := range []int{0, i} {
			if e := fault.As(code(f, w.wrongFor(t, challenge, earlier))); e.Code != fault.InvalidCode || e.Counted {
				t.Fatalf("the same code counted twice: %+v", e)
			}
		}
		for _, malformed := range []string{"1234567", "123456789", "1234567x", strings.Repeat("1", 1000)} {
			if e := fault.As(code(f, malformed)); e.Code != fault.InvalidCode || e.Counted {
				t.Fatalf("%q counted: %+v", malformed, e)
			}
		}
		if f.View().Prompt.Challenge != challenge {
			t.Fatal("another challenge before the fifth code")
		}
	}
	v := f.View()
	if v.Prompt.Challenge == challenge || v.Prompt.Until != 1_800_000_060 || d.k.Snapshot().RetryAfter != time.Minute {
		t.Fatalf("%+v, wait %s", v.Prompt, d.k.Snapshot().RetryAfter)
	}
	// The right answer to the old challenge opens nothing any more, nor does that
	// to the new one while the wait runs, over a restart and a reset.
	next := v.Prompt.Challenge
	wantCode(t, code(f, w.respond(t, challenge)), fault.RateLimited)
	w.factoryReset()
	d = w.boot(t)
	f, again := offline(t, d)
	if again != next {
		t.Fatal("a reset gave another challenge")
	}
	if e := wantCode(t, code(f, w.respond(t, next)), fault.RateLimited); e.RetryAfter != time.Minute {
		t.Fatalf("the wait is %s", e.RetryAfter)
	}
	// The other ways do not wait for it.
	g := begin(t, d, lock.KindUnlock)
	if err := g.Choose(t.Context(), "recovery-code"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, code(g, strings.Repeat("c", 64)), fault.InvalidCode)
	*d.since = 61 * time.Second
	if e := wantCode(t, code(f, w.wrongFor(t, next, 0)), fault.InvalidCode); e.RetryAfter != 5*time.Minute {
		t.Fatalf("the wait after the sixth is %s", e.RetryAfter)
	}
	if err := code(g, recovery); err != nil || !d.state().Open() {
		t.Fatalf("%v %s", err, d.state())
	}
}

func TestALocalWaitOfOfflineCodesLeavesThePasswordWayOpen(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	f, challenge := offline(t, d)
	for i := range 5 {
		wantCode(t, code(f, w.wrongFor(t, challenge, i)), fault.InvalidCode)
	}
	w.svc.down = nil
	d.run(t, lock.KindUnlock)
	if w.record.Offline.Challenge != "" || w.record.Offline.Attempts.Failed != 0 {
		t.Fatalf("an unlock leaves %+v", w.record.Offline)
	}
}

func TestAnOfflineCodeIsCountedBeforeItIsLookedAt(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	f, challenge := offline(t, d)
	w.fail["record"] = fault.New(fault.StorageFailed, nil)
	wantCode(t, code(f, w.respond(t, challenge)), fault.StorageFailed)
	if d.state().Open() {
		t.Fatal("a code that could not be counted was looked at")
	}
	g := begin(t, d, lock.KindUnlock)
	w.record.Offline = lock.Offline{}
	if err := g.Choose(t.Context(), "offline-code"); err != nil {
		t.Fatal("the challenge outstanding needs no write")
	}
	d = w.boot(t)
	wantCode(t, begin(t, d, lock.KindUnlock).Choose(t.Context(), "offline-code"), fault.StorageFailed)
}

// TestAKillAtEveryPointOfAnOfflineCodeGivesNoFreeGuess ends the daemon at each
// effect of a wrong code and of the right one after it.
func TestAKillAtEveryPointOfAnOfflineCodeGivesNoFreeGuess(t *testing.T) {
	points := 0
	for trip := 1; ; trip++ {
		w, d, _ := lockedWithCode(t)
		f, challenge := offline(t, d)
		for i := range 3 {
			wantCode(t, code(f, w.wrongFor(t, challenge, i)), fault.InvalidCode)
		}
		w.mu.Lock()
		w.trip, w.count = trip, 0
		w.mu.Unlock()
		looked := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, c := range []string{w.wrongFor(t, challenge, 3), w.respond(t, challenge)} {
				_ = code(f, c)
				looked++
			}
		}()
		<-done
		w.mu.Lock()
		ended := !w.dead
		counted := int(w.record.Offline.Attempts.Failed)
		opened := w.record.Offline.Challenge == ""
		w.mu.Unlock()
		if !opened && counted < 3+looked {
			t.Fatalf("point %d: %d codes were looked at, %d counted", trip, 3+looked, counted)
		}
		if ended {
			if !opened {
				t.Fatal("the right code did not open it")
			}
			break
		}
		points++
		d = w.boot(t)
		if d.state().Open() {
			continue
		}
		// Nobody is stranded: after the wait that is due, what is asked for then opens.
		*d.since = 2 * time.Hour
		f, challenge = offline(t, d)
		if err := code(f, w.respond(t, challenge)); err != nil || !d.state().Open() {
			t.Fatalf("point %d: %v, %s", trip, err, d.state())
		}
	}
	if points < 8 {
		t.Fatalf("only %d points were tried", points)
	}
	t.Logf("%d points", points)
}

func TestWhatAnsweredAnEarlierLinkOpensNothing(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	_, challenge := offline(t, d)
	right := w.respond(t, challenge)
	w.svc.down = nil
	d.run(t, lock.KindUnlock)
	d.run(t, lock.KindUnlink)
	if len(w.record.OfflineKey) != 0 || w.record.Offline.Challenge != "" {
		t.Fatalf("an unlink leaves %+v", w.record.Offline)
	}
	d.run(t, lock.KindLink)
	w.factoryReset()
	d = w.boot(t)
	f, next := offline(t, d)
	if next == challenge {
		t.Fatal("the old challenge is back")
	}
	wantCode(t, code(f, right), fault.InvalidCode)
}

func TestAnotherFlowsLastCodeDoesNotCostThisOneAnAttempt(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	mine, challenge := offline(t, d)
	other, _ := offline(t, d)
	for i := range 5 {
		wantCode(t, code(other, w.wrongFor(t, challenge, i)), fault.InvalidCode)
	}
	*d.since = time.Hour
	if e := wantCode(t, code(mine, w.respond(t, challenge)), fault.CodeExpired); e.Counted {
		t.Fatalf("%+v", e)
	}
	now := mine.View().Prompt.Challenge
	if now == challenge || w.record.Offline.Attempts.Failed != 5 {
		t.Fatalf("it still shows %s; %d counted", now, w.record.Offline.Attempts.Failed)
	}
	if err := code(mine, w.respond(t, now)); err != nil || !d.state().Open() {
		t.Fatalf("%v %s", err, d.state())
	}
}

func TestWithoutAKeyThereIsNoOfflineCode(t *testing.T) {
	w, d := ready(t)
	w.svc.noOffline = true
	d.run(t, lock.KindLink)
	w.factoryReset()
	d = w.boot(t)
	f := begin(t, d, lock.KindUnlock)
	if slices.Contains(f.View().Methods, "offline-code") {
		t.Fatal("it is offered")
	}
	wantCode(t, f.Choose(t.Context(), "offline-code"), fault.InvalidArgument)
	// Nor on an open device.
	_, d = ready(t)
	d.run(t, lock.KindLink)
	if g := begin(t, d, lock.KindSignOut); slices.Contains(g.View().Methods, "offline-code") {
		t.Fatal("it is offered where nothing is locked")
	}
}
