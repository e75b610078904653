// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/secret"
)

func TestAForgedOperationInTheJournalOpensNothing(t *testing.T) {
	for name, start := range map[string]func(testing.TB) (*world, *daemon){"a reset device": locked, "an open one": linked} {
		for _, forged := range []string{"no-such-link", ""} {
			w, d := start(t)
			before := d.state()
			w.mu.Lock()
			w.ops["forged"] = flow.Operation{FlowID: "forged", Kind: lock.KindLink, LinkID: forged}
			w.mu.Unlock()
			if err := d.m.Resume(context.Background()); err != nil {
				t.Fatal(err)
			}
			d.m.Close()
			if d.state() != before || !w.record.Armed {
				t.Fatalf("%s, link %q: from %s to %s, armed %t", name, forged, before, d.state(), w.record.Armed)
			}
		}
	}
}

func atPassword(t *testing.T, d *daemon, owner string, kind lock.Kind) *flow.Flow {
	t.Helper()
	f, err := d.m.Begin(owner, kind, flow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f.View().Step == flow.StepIdentify {
		if err := f.Submit(context.Background(), flow.Input{}); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func password() flow.Input { return flow.Input{"password": secret.Bytes(rightPassword)} }

func TestTwoUnlocksAtOnceLeaveTheDeviceOpenAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := locked(t)
		a, b := atPassword(t, d, ":1.1", lock.KindUnlock), atPassword(t, d, ":1.2", lock.KindUnlock)
		release := d.k.HoldForTest() // a check-in under way
		go func() { _ = a.Submit(context.Background(), password()) }()
		go func() { _ = b.Submit(context.Background(), password()) }()
		synctest.Wait() // both have their grant and wait for the check-in
		release()
		synctest.Wait()
		for _, f := range []*flow.Flow{a, b} {
			if v := f.View(); v.Step != flow.StepDone || v.Error != nil {
				t.Errorf("%s %v", v.Step, v.Error)
			}
		}
		if got := w.boot(t).state(); got.State != lock.Linked {
			t.Fatalf("after a restart without any reset: %s", got)
		}
	})
}

func TestAGrantDiesWithTheStatementThatCrossesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := locked(t)
		f := atPassword(t, d, ":1.1", lock.KindUnlock)
		release := d.k.HoldForTest()
		go func() { _ = f.Submit(context.Background(), password()) }()
		synctest.Wait() // the grant was accepted; the change waits
		w.mu.Lock()
		w.svc.status, w.svc.link.Generation, w.svc.lost = lock.StatusLost, w.svc.link.Generation+1, [2]string{"stolen", ""}
		w.mu.Unlock()
		if err := d.m.StateForTest(context.Background()); err != nil { // what holds it is a check-in
			t.Fatal(err)
		}
		release()
		synctest.Wait()
		if d.state() != lock.LockedFor(lock.Lost) {
			t.Fatalf("the service says lost, the device %s", d.state())
		}
	})
}

func TestAServiceThatForgotTheDeviceDoesNotHoldTheDeviceForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := ready(t)
		f := begin(t, d, lock.KindLink)
		w.mu.Lock()
		w.svc.calls, w.svc.after, w.svc.down = 0, 4, fault.New(fault.DeviceUnknown, nil)
		w.mu.Unlock()
		_ = person(f, rightPassword)
		time.Sleep(time.Hour)
		if f.View().Step == flow.StepWorking {
			t.Fatal("it is still at work")
		}
		wantCode(t, d.m.CheckIn(context.Background()), fault.DeviceUnknown)
		d.stop()
		synctest.Wait()
	})
}

func TestARetryAfterDoesNotHoldEverythingElseUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := linked(t)
		f := begin(t, d, lock.KindSignOut)
		e := fault.New(fault.ServiceUnavailable, nil)
		e.RetryAfter = time.Hour
		w.mu.Lock()
		w.svc.calls, w.svc.after, w.svc.down = 0, 2, e
		w.mu.Unlock()
		if err := person(f, rightPassword); err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		w.svc.down = nil // back at once
		w.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if err := d.m.CheckIn(context.Background()); err != nil || d.state().State != lock.SignedOut {
			t.Errorf("two minutes after the service is back: %v, %s", err, d.state())
		}
		d.stop()
		synctest.Wait()
	})
}

func TestACancelledSignOutDoesNotHappen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := linked(t)
		f := atPassword(t, d, ":1.1", lock.KindSignOut)
		release := d.k.HoldForTest() // a check-in under way
		go func() { _ = f.Submit(context.Background(), password()) }()
		synctest.Wait()
		w.mu.Lock()
		w.fail["service"] = errDown // the End does not get through
		w.mu.Unlock()
		if err := f.Cancel(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.mu.Lock()
		w.fail = map[string]error{}
		w.mu.Unlock()
		release()
		time.Sleep(time.Minute)
		if d.state().State != lock.Linked || w.svc.status != lock.StatusLinked {
			t.Fatalf("cancelled; the device is %s, the service says %s", d.state(), w.svc.status)
		}
	})
}

func TestALinkThatWasNotKeptLeavesASignedOutDeviceSignedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, d := linked(t)
		d.run(t, lock.KindSignOut)
		f := begin(t, d, lock.KindLink)
		w.mu.Lock()
		w.svc.calls, w.svc.after, w.svc.down = 0, 4, errDown // begin, identify, password, confirm; not commit
		w.mu.Unlock()
		if err := person(f, rightPassword); err != nil {
			t.Fatal(err)
		}
		if v := f.View(); v.Step != flow.StepWorking {
			t.Fatalf("%+v", v)
		}
		w.mu.Lock()
		w.svc.flows, w.svc.down = map[string]*fakeFlow{}, nil // the reservation has run out
		w.mu.Unlock()
		time.Sleep(5 * time.Minute)
		if d.state().State != lock.SignedOut || w.record.Armed {
			t.Fatalf("the service says %s, the device is %s", w.svc.status, d.state())
		}
	})
}

func TestAReleasedDeviceWithAReadOnlyRecordOpensForThisBoot(t *testing.T) {
	w, d := locked(t)
	w.mu.Lock()
	w.svc.status, w.svc.link = lock.StatusUnlinked, lock.Link{}
	w.fail["record"] = fault.New(fault.StorageFailed, nil)
	w.mu.Unlock()
	wantCode(t, d.m.CheckIn(context.Background()), fault.StorageFailed)
	if !d.state().Open() {
		t.Fatalf("released, but %s", d.state())
	}
}

func TestARefusedAnswerStandsInError(t *testing.T) {
	_, d := locked(t)
	f := atPassword(t, d, ":1.1", lock.KindUnlock)
	wantCode(t, f.Submit(context.Background(), flow.Input{"pass": secret.Bytes("x")}), fault.InvalidArgument)
	if e := f.View().Error; e == nil || e.Code != fault.InvalidArgument {
		t.Fatalf("Error is %v", e)
	}
}
