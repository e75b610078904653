// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/secret"
)

// lockedWithCode is a locked device without a network, and its recovery code.
func lockedWithCode(t *testing.T) (*world, *daemon, string) {
	t.Helper()
	w, d := ready(t)
	f := begin(t, d, lock.KindLink)
	code := ""
	for f.View().Step != flow.StepDone {
		in := flow.Input{"identifier": ownID}
		switch v := f.View(); v.Step {
		case flow.StepPassword:
			in = flow.Input{"password": secret.Bytes(rightPassword)}
		case flow.StepConfirm:
			code = v.Prompt.RecoveryCode
			in = flow.Input{"confirm": true, "recovery-code": secret.Bytes(code)}
		}
		if err := f.Submit(context.Background(), in); err != nil {
			t.Fatal(err)
		}
	}
	w.factoryReset()
	w.svc.down = fault.New(fault.NetworkUnavailable, nil)
	return w, w.boot(t), code
}

func byCode(t *testing.T, d *daemon, code string) error {
	t.Helper()
	f := begin(t, d, lock.KindUnlock)
	if err := f.Choose(t.Context(), "recovery-code"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Cancel() }()
	return f.Submit(context.Background(), flow.Input{"code": secret.Bytes(code)})
}

func TestTheRecoveryCodeOpensOnceAndWithoutANetwork(t *testing.T) {
	w, d, code := lockedWithCode(t)
	typed := strings.ToUpper(strings.ReplaceAll(code, "-", " "))
	if err := byCode(t, d, typed); err != nil {
		t.Fatal(err)
	}
	if d.state().State != lock.Linked || len(w.record.RecoveryHash) != 0 || w.record.Attempts.Failed != 0 {
		t.Fatalf("%s %+v", d.state(), w.record)
	}
	w.factoryReset()
	d = w.boot(t)
	if f := begin(t, d, lock.KindUnlock); slices.Contains(f.View().Methods, "recovery-code") || f.Choose(t.Context(), "recovery-code") == nil {
		t.Fatal("a code that was used is offered again")
	}
}

func TestARecoveryCodeIsCountedBeforeItIsLookedAt(t *testing.T) {
	w, d, code := lockedWithCode(t)
	w.fail["record"] = fault.New(fault.StorageFailed, nil)
	wantCode(t, byCode(t, d, code), fault.StorageFailed)
	if d.state().Open() {
		t.Fatal("a code that could not be counted was looked at")
	}
	w.fail = map[string]error{}
	// The power fails after the count and before the look: the owner's code
	// still works, and is not counted twice.
	w.mu.Lock()
	w.trip, w.count = 2, 0
	w.mu.Unlock()
	done := make(chan struct{})
	go func() { defer close(done); _ = byCode(t, d, code) }()
	<-done
	if w.record.Attempts.Failed != 1 {
		t.Fatalf("%d counted", w.record.Attempts.Failed)
	}
	d = w.boot(t)
	if err := byCode(t, d, code); err != nil || !d.state().Open() {
		t.Fatalf("%v, %s", err, d.state())
	}
}

func TestWrongRecoveryCodesBringWaitsThatNothingShortens(t *testing.T) {
	w, d, code := lockedWithCode(t)
	wrong := func(i int) string { return strings.Repeat(string("cbdefghijklnrtuv"[i]), 64) }
	for i := range 5 {
		e := wantCode(t, byCode(t, d, wrong(i)), fault.InvalidCode)
		if !e.Counted || e.AttemptsLeft != max(0, 3-i) {
			t.Fatalf("attempt %d: %+v", i+1, e)
		}
		if again := fault.As(byCode(t, d, wrong(i))); again.Counted {
			t.Fatal("the same code counted twice")
		}
		if e := fault.As(byCode(t, d, "too short")); e.Code != fault.InvalidCode || e.Counted {
			t.Fatalf("a malformed code counted: %+v", e)
		}
	}
	if e := wantCode(t, byCode(t, d, code), fault.RateLimited); e.RetryAfter != time.Minute {
		t.Fatalf("the wait is %s", e.RetryAfter)
	}
	// Neither a restart nor a reset ends it.
	w.factoryReset()
	d = w.boot(t)
	wantCode(t, byCode(t, d, code), fault.RateLimited)
	*d.since = 61 * time.Second
	if err := byCode(t, d, code); err != nil || !d.state().Open() {
		t.Fatalf("after the wait: %v, %s", err, d.state())
	}
}

func TestALocalWaitDoesNotCloseThePasswordWay(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	for i := range 6 {
		_ = byCode(t, d, strings.Repeat(string("cbdefg"[i]), 64))
	}
	w.svc.down = nil
	d.run(t, lock.KindUnlock)
}
