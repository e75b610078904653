// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/secret"
)

func TestTheWholeStory(t *testing.T) {
	w, d := ready(t)
	d.run(t, lock.KindLink)
	if d.state().State != lock.Linked || !w.record.Armed || !bytes.Equal(w.record.MarkerHash, markerHash(w.marker)) {
		t.Fatalf("after link: %s, %+v", d.state(), w.record)
	}
	w.factoryReset()
	d = w.boot(t)
	if d.state() != lock.LockedFor(lock.FactoryReset) || d.k.Snapshot().Hint == "" {
		t.Fatalf("after a reset: %s", d.state())
	}
	before := w.writes
	d.run(t, lock.KindUnlock)
	if d.state().State != lock.Linked || w.writes != before+1 || w.pokes == 0 {
		t.Fatalf("after unlock: %s, %d writes, %d pokes", d.state(), w.writes-before, w.pokes)
	}
	if got := w.boot(t).state().State; got != lock.Linked {
		t.Fatalf("after unlock and a restart: %s", got)
	}
	d.run(t, lock.KindSignOut)
	w.factoryReset()
	d = w.boot(t)
	if d.state().State != lock.SignedOut {
		t.Fatalf("after sign-out and a reset: %s", d.state())
	}
	d.run(t, lock.KindLink)
	d.run(t, lock.KindUnlink)
	w.factoryReset()
	d = w.boot(t)
	if d.state().State != lock.Unlinked || w.record.AccountID != "" || w.record.Hint != "" || w.wiped == 0 {
		t.Fatalf("after unlink and a reset: %s, %+v", d.state(), w.record)
	}
}

func linked(t testing.TB) (*world, *daemon) {
	t.Helper()
	w, d := ready(t)
	d.run(t, lock.KindLink)
	return w, d
}

func locked(t testing.TB) (*world, *daemon) {
	t.Helper()
	w, _ := linked(t)
	w.factoryReset()
	return w, w.boot(t)
}

func begin(t testing.TB, d *daemon, kind lock.Kind) *flow.Flow {
	t.Helper()
	f, err := d.m.Begin(":1.1", kind, flow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func wantCode(t testing.TB, err error, want fault.Code) *fault.Error {
	t.Helper()
	if got := fault.CodeOf(err); got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
	return fault.As(err)
}

func TestARefusalSaysWhatItWasAndKeepsTheStepAnswerable(t *testing.T) {
	_, d := locked(t)
	f := begin(t, d, lock.KindUnlock)
	e := wantCode(t, person(f, "wrong"), fault.InvalidCredentials)
	if !e.Counted || e.AttemptsLeft != 3 {
		t.Fatalf("got %+v", e)
	}
	if v := f.View(); v.Step != flow.StepPassword || v.Error.Code != fault.InvalidCredentials {
		t.Fatalf("got %+v", v)
	}
	if err := person(f, rightPassword); err != nil {
		t.Fatal(err)
	}
	if v := f.View(); v.Step != flow.StepDone || v.Error != nil {
		t.Fatalf("got %+v", v)
	}
}

func TestAnotherAccountsRightPasswordIsNotAWrongPassword(t *testing.T) {
	_, d := locked(t)
	f := begin(t, d, lock.KindUnlock)
	ctx := context.Background()
	if err := f.Submit(ctx, flow.Input{"identifier": otherID}); err != nil {
		t.Fatal(err)
	}
	e := wantCode(t, f.Submit(ctx, flow.Input{"password": secret.Bytes(rightPassword)}), fault.WrongAccount)
	if e.Hint == "" || d.state().Open() {
		t.Fatalf("hint %q, state %s", e.Hint, d.state())
	}
	// Choosing the password way again corrects the identifier.
	if err := f.Choose(t.Context(), "password"); err != nil {
		t.Fatal(err)
	}
	if err := person(f, rightPassword); err != nil || !d.state().Open() {
		t.Fatalf("%v, %s", err, d.state())
	}
}

func TestAnOutageBeforeConsentIsToldAndChangesNothing(t *testing.T) {
	for _, code := range []fault.Code{fault.NetworkUnavailable, fault.ServiceUnavailable, fault.ServiceUntrusted, fault.ClockWrong} {
		w, d := locked(t)
		f := begin(t, d, lock.KindUnlock)
		w.svc.down = fault.New(code, nil)
		wantCode(t, person(f, rightPassword), code)
		if d.state().Open() || f.View().Step != flow.StepPassword {
			t.Fatalf("%s: %s, %s", code, d.state(), f.View().Step)
		}
		w.svc.down = nil
		if err := person(f, rightPassword); err != nil || !d.state().Open() {
			t.Fatalf("%s, then up again: %v, %s", code, err, d.state())
		}
	}
}

func TestAGrantThatDoesNotFitOpensNothing(t *testing.T) {
	for name, twist := range map[string]func(*flow.Grant){
		"for another purpose": func(g *flow.Grant) { g.Purpose = "link" },
		"a rehearsal":         func(g *flow.Grant) { g.Purpose = "rehearsal" },
		"naming no link":      func(g *flow.Grant) { g.Link = lock.Link{} },
		"expired":             func(g *flow.Grant) { g.Lifetime = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			w, d := locked(t)
			before := w.record
			w.svc.twist = twist
			wantCode(t, person(begin(t, d, lock.KindUnlock), rightPassword), fault.GrantRefused)
			if d.state().Open() || w.record.String() != before.String() || !bytes.Equal(w.record.MarkerHash, before.MarkerHash) {
				t.Fatalf("%s, %+v", d.state(), w.record)
			}
		})
	}
}

func TestALinkWhoseRehearsalFailsArmsNothing(t *testing.T) {
	for name, breakIt := range map[string]func(*world){
		"a grant that is no rehearsal":   func(w *world) { w.svc.twist = func(g *flow.Grant) { g.Purpose = "unlock" } },
		"a medium that does not keep it": func(w *world) { w.fail["record"] = fault.New(fault.StorageFailed, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			w, d := ready(t)
			breakIt(w)
			if err := person(begin(t, d, lock.KindLink), rightPassword); err == nil {
				t.Fatal("no error")
			}
			if w.record.Armed || d.state().State != lock.Unlinked || w.svc.status != lock.StatusUnlinked {
				t.Fatalf("%+v, %s", w.record, d.state())
			}
		})
	}
}

func TestTheRecoveryCodeMustBeTypedBack(t *testing.T) {
	w, d := ready(t)
	f := begin(t, d, lock.KindLink)
	ctx := context.Background()
	for _, in := range []flow.Input{{"identifier": ownID}, {"password": secret.Bytes(rightPassword)}} {
		if err := f.Submit(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	p := f.View().Prompt
	wantCode(t, f.Submit(ctx, flow.Input{"confirm": true, "recovery-code": secret.Bytes("cccccccc")}), fault.InvalidCode)
	wantCode(t, f.Submit(ctx, flow.Input{"confirm": true}), fault.InvalidCode)
	if w.record.Armed {
		t.Fatal("armed without the recovery code")
	}
	groups := bytes.Split([]byte(p.RecoveryCode), []byte("-"))
	var typed []byte
	for _, g := range p.RecoveryGroups {
		typed = append(append(typed, bytes.ToUpper(groups[g-1])...), ' ')
	}
	if err := f.Submit(ctx, flow.Input{"confirm": true, "recovery-code": secret.Bytes(typed)}); err != nil {
		t.Fatal(err)
	}
	if d.state().State != lock.Linked || len(w.record.RecoveryHash) != 32 {
		t.Fatalf("%s %+v", d.state(), w.record)
	}
}

func TestASentCodeThatIsUsedUpThreatensNoWait(t *testing.T) {
	w, d := ready(t)
	e := fault.New(fault.InvalidCode, nil)
	e.Counted, e.AttemptsLeft = true, 0
	w.svc.down = e
	got := wantCode(t, person(begin(t, d, lock.KindLink), rightPassword), fault.InvalidCode)
	if got.AttemptsLeft >= 0 || got.Remedy != fault.New(fault.CodeExpired, nil).Remedy || d.k.Snapshot().RetryAfter != 0 {
		t.Fatalf("%+v", got)
	}
}

func TestOnlyALinksConfirmationTakesARecoveryCode(t *testing.T) {
	_, d := linked(t)
	f := begin(t, d, lock.KindUnlink)
	wantCode(t, f.Submit(t.Context(), flow.Input{"confirm": true, "recovery-code": secret.Bytes("cccccccc")}), fault.InvalidArgument)
	if v := f.View(); v.Step != flow.StepConfirm {
		t.Fatalf("the flow is at %s", v.Step)
	}
}

func TestTheServicesWaitIsKeptOnTheMedium(t *testing.T) {
	// The wrong password that brings the wait, and what was not looked at for it.
	for _, code := range []fault.Code{fault.InvalidCredentials, fault.RateLimited} {
		t.Run(string(code), func(t *testing.T) { theWaitIsKept(t, code) })
	}
}

func theWaitIsKept(t *testing.T, code fault.Code) {
	w, d := locked(t)
	e := fault.New(code, nil)
	e.RetryAfter = 90 * time.Second
	w.svc.down = e
	f := begin(t, d, lock.KindUnlock)
	wantCode(t, person(f, "wrong"), code)
	if left := d.k.Snapshot().RetryAfter; left != 90*time.Second {
		t.Fatalf("%s are left", left)
	}
	calls := w.svc.calls
	w.svc.down = nil
	// Asking again neither reaches the service nor makes the wait longer.
	*d.since = 30 * time.Second
	got := wantCode(t, person(f, rightPassword), fault.RateLimited)
	if got.RetryAfter != 60*time.Second || w.svc.calls != calls {
		t.Fatalf("left %s, %d calls", got.RetryAfter, w.svc.calls-calls)
	}
	// A restart does not hide it.
	d = w.boot(t)
	if left := d.k.Snapshot().RetryAfter; left != 90*time.Second {
		t.Fatalf("after a restart %s are left", left)
	}
	*d.since = 91 * time.Second
	d.run(t, lock.KindUnlock)
}

func TestLostAndFound(t *testing.T) {
	w, d := linked(t)
	w.svc.status, w.svc.lost = lock.StatusLost, [2]string{"call me", "+49 1"}
	if err := d.m.CheckIn(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := d.k.Snapshot()
	if s.Status != lock.LockedFor(lock.Lost) || s.LostMessage != "call me" || s.LostContact != "+49 1" {
		t.Fatalf("got %+v", s)
	}
	w.svc.status = lock.StatusLinked
	if err := d.m.CheckIn(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s = d.k.Snapshot(); s.Status != lock.LockedFor(lock.Lost) || s.LostMessage != "" {
		t.Fatalf("found ends the message, not the lock: %+v", s)
	}
	d.run(t, lock.KindUnlock)
	if d.state().State != lock.Linked || w.record.Lost {
		t.Fatalf("%s %+v", d.state(), w.record)
	}
}

func TestAReleasedDeviceOpensAtItsNextContact(t *testing.T) {
	for _, st := range []lock.LinkStatus{lock.StatusUnlinked, lock.StatusAccountDeleted, lock.StatusSignedOut} {
		w, d := locked(t)
		w.svc.status = st
		w.svc.link.Generation++
		// Through the flow that the person happens to be in …
		f := begin(t, d, lock.KindUnlock)
		if err := person(f, "anything"); err != nil || f.View().Step != flow.StepDone || !d.state().Open() {
			t.Fatalf("%s: %v, %s, %s", st, err, f.View().Step, d.state())
		}
		// … and it stays so.
		if got := w.boot(t).state(); !got.Open() {
			t.Fatalf("%s, after a restart: %s", st, got)
		}
	}
}

func TestADeviceThatWasErasedStaysLockedUntilTheServiceSpeaks(t *testing.T) {
	w, _ := linked(t)
	w.record, w.blank = lock.Record{}, true
	w.factoryReset()
	w.svc.down = fault.New(fault.NetworkUnavailable, nil)
	d := w.boot(t)
	for range 3 {
		if d.state() != lock.LockedFor(lock.RecordMissing) {
			t.Fatalf("got %s", d.state())
		}
		_ = d.m.CheckIn(context.Background())
		d = w.boot(t) // the key that was written must not read as 'disarmed'
	}
	w.svc.down = nil
	if err := d.m.CheckIn(context.Background()); err != nil || d.state() != lock.LockedFor(lock.RecordMissing) {
		t.Fatalf("%v, %s", err, d.state())
	}
	d.run(t, lock.KindUnlock)
	if w.boot(t).state().State != lock.Linked {
		t.Fatal("the owner's unlock did not rebuild the record")
	}
}

func TestAMediumThatFailsAfterTheGrantDoesNotStrandTheOwner(t *testing.T) {
	for _, port := range []string{"marker", "record"} {
		w, d := locked(t)
		w.fail[port] = fault.New(fault.StorageFailed, errors.New("read-only file system"))
		f := begin(t, d, lock.KindUnlock)
		if err := person(f, rightPassword); err != nil {
			t.Fatalf("%s: %v", port, err)
		}
		v := f.View()
		if !d.state().Open() || v.Step != flow.StepDone || v.Error == nil || v.Error.Code != fault.StorageFailed {
			t.Fatalf("%s: %s, %+v", port, d.state(), v)
		}
		w.fail = map[string]error{}
		if w.boot(t).state().Open() {
			t.Fatalf("%s: nothing was written, and yet it is open after a restart", port)
		}
	}
}

func TestFlowsBelongToTheirOwnersAndAreBounded(t *testing.T) {
	_, d := linked(t)
	for range flow.MaxFlowsPerOwner {
		begin(t, d, lock.KindSignOut)
	}
	_, err := d.m.Begin(":1.1", lock.KindSignOut, flow.Options{})
	wantCode(t, err, fault.TooManyFlows)
	for i := range flow.MaxFlows {
		_, err = d.m.Begin(string(rune('A'+i)), lock.KindSignOut, flow.Options{})
	}
	wantCode(t, err, fault.TooManyFlows)
	d.m.OwnerGone(":1.1")
	if len(d.m.List(":1.1")) != 0 {
		t.Fatal("flows outlive their owner")
	}
	if _, err := d.m.Begin(":1.2", lock.KindSignOut, flow.Options{}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatTheStateDoesNotAllowIsRefusedByName(t *testing.T) {
	_, free := ready(t)
	_, link := linked(t)
	_, lck := locked(t)
	for _, c := range []struct {
		d    *daemon
		kind lock.Kind
		want fault.Code
	}{
		{free, lock.KindUnlock, fault.NotLocked}, {free, lock.KindSignOut, fault.NotLinked}, {free, lock.KindUnlink, fault.NotLinked},
		{link, lock.KindUnlock, fault.NotLocked}, {link, lock.KindLink, fault.AlreadyLinked},
		{lck, lock.KindLink, fault.Locked}, {lck, lock.KindSignOut, fault.Locked}, {lck, lock.KindUnlink, fault.Locked}, {lck, lock.KindReset, fault.Locked},
	} {
		_, err := c.d.m.Begin(":1.1", c.kind, flow.Options{})
		wantCode(t, err, c.want)
	}
}

func TestABadAnswerChangesNothing(t *testing.T) {
	_, d := locked(t)
	f := begin(t, d, lock.KindUnlock)
	ctx := context.Background()
	long := string(bytes.Repeat([]byte("x"), 300))
	for _, in := range []flow.Input{
		{"identity": "typo"}, {"identifier": 7}, {"identifier": long}, {"identifier": true}, {"password": secret.Bytes("early")},
	} {
		wantCode(t, f.Submit(ctx, in), fault.InvalidArgument)
	}
	if err := f.Submit(ctx, flow.Input{"identifier": ownID}); err != nil {
		t.Fatal(err)
	}
	for _, in := range []flow.Input{
		{}, {"password": secret.Bytes{}}, {"password": secret.Bytes{0xff}}, {"password": secret.Bytes(bytes.Repeat([]byte("x"), 2000))}, {"password": uint32(1)},
	} {
		wantCode(t, f.Submit(ctx, in), fault.InvalidArgument)
	}
	wantCode(t, f.Choose(t.Context(), "telepathy"), fault.InvalidArgument)
	wantCode(t, f.View().Error, fault.InvalidArgument)
	wantCode(t, f.Resend(ctx), fault.WrongStep)
	wantCode(t, f.View().Error, fault.WrongStep)
	if err := f.Cancel(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, f.Cancel(), fault.WrongStep)
	wantCode(t, f.Submit(ctx, flow.Input{"password": secret.Bytes("x")}), fault.WrongStep)
}

func TestWhatCannotBeTakenIsSaidInWordsOfWhoTypedIt(t *testing.T) {
	_, d := locked(t)
	f := begin(t, d, lock.KindUnlock)
	long := strings.Repeat("x", 2000)
	say := func(want string, in flow.Input) {
		t.Helper()
		if e := wantCode(t, f.Submit(t.Context(), in), fault.InvalidArgument); e.Message != want || e.Counted {
			t.Errorf("it says %q, counted %v", e.Message, e.Counted)
		}
	}
	say("What was typed is too long.", flow.Input{"identifier": long})
	if err := f.Submit(t.Context(), flow.Input{"identifier": ownID}); err != nil {
		t.Fatal(err)
	}
	say("What was typed is too long.", flow.Input{"password": secret.Bytes(long)})
	say("What was typed holds characters that cannot be read.", flow.Input{"password": secret.Bytes{'a', 0xff}})
	say("The password is empty.", flow.Input{"password": secret.Bytes{}})
}

func TestChoosingThePasswordAgainInASignOutStillMeansTheLinkedAccount(t *testing.T) {
	for _, kind := range []lock.Kind{lock.KindSignOut, lock.KindUnlink} {
		_, d := linked(t)
		f := begin(t, d, kind)
		wantCode(t, person(f, "wrong"), fault.InvalidCredentials)
		if err := f.Choose(t.Context(), "password"); err != nil {
			t.Fatal(err)
		}
		if err := person(f, rightPassword); err != nil || f.View().Step != flow.StepDone {
			t.Fatalf("%s: %v, %s", kind, err, f.View().Step)
		}
	}
}
