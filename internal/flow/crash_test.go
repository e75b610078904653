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
)

// TestEveryOperationSurvivesAKillAtEveryPoint ends the daemon before and after
// each of its effects on the outside, starts it again, lets it check in, and
// compares both sides: the old state or the new one, on both.
func TestEveryOperationSurvivesAKillAtEveryPoint(t *testing.T) {
	for _, c := range []struct {
		kind  lock.Kind
		start func(testing.TB) (*world, *daemon)
		// both maps the service's word to the device's state after the story.
		both map[lock.LinkStatus]lock.State
	}{
		{lock.KindLink, ready, map[lock.LinkStatus]lock.State{lock.StatusUnlinked: lock.Unlinked, lock.StatusLinked: lock.Linked}},
		{lock.KindSignOut, linked, map[lock.LinkStatus]lock.State{lock.StatusLinked: lock.Linked, lock.StatusSignedOut: lock.SignedOut}},
		{lock.KindUnlink, linked, map[lock.LinkStatus]lock.State{lock.StatusLinked: lock.Linked, lock.StatusUnlinked: lock.Unlinked}},
		{lock.KindUnlock, locked, map[lock.LinkStatus]lock.State{lock.StatusLinked: ""}},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			points := 0
			for trip := 1; ; trip++ {
				ended := false
				synctest.Test(t, func(t *testing.T) {
					w, d := c.start(t)
					w.mu.Lock()
					w.trip, w.count, w.dead = trip, 0, false
					w.mu.Unlock()
					story(d, c.kind)
					w.mu.Lock()
					ended = !w.dead
					w.dead = true // whatever still runs of this life ends now
					w.mu.Unlock()
					d.stop()
					check(t, w, c.kind, c.both, trip)
				})
				if ended {
					break
				}
				points++
			}
			if points < 8 {
				t.Fatalf("only %d points were tried", points)
			}
			t.Logf("%s: %d points", c.kind, points)
		})
	}
}

// story runs a whole flow in a goroutine of its own, which the kill may end.
func story(d *daemon, kind lock.Kind) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f, err := d.m.Begin(":1.1", kind, flow.Options{})
		if err == nil {
			_ = person(f, rightPassword)
		}
	}()
	<-done
}

func check(t *testing.T, w *world, kind lock.Kind, both map[lock.LinkStatus]lock.State, trip int) {
	t.Helper()
	d := w.boot(t)
	if kind == lock.KindUnlock {
		// Old: locked, and the owner can try again. New: open.
		if !d.state().Open() {
			d.run(t, lock.KindUnlock)
		}
		if got := w.boot(t).state(); got.State != lock.Linked {
			t.Fatalf("point %d: %s", trip, got)
		}
		return
	}
	if err := d.m.Resume(context.Background()); err != nil {
		t.Fatalf("point %d: %v", trip, err)
	}
	settled := func() bool {
		for _, f := range d.m.List("") {
			if f.View().Step == flow.StepWorking {
				return false
			}
		}
		return true
	}
	for deadline := time.Now().Add(time.Minute); !settled(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("point %d: the operation is not taken up", trip)
		}
	}
	if err := d.m.CheckIn(context.Background()); err != nil {
		t.Fatalf("point %d: %v", trip, err)
	}
	if want, ok := both[w.svc.status]; !ok || d.state().State != want {
		t.Fatalf("point %d: the service says %s, the device %s", trip, w.svc.status, d.state())
	}
	if len(w.ops) != 0 {
		t.Fatalf("point %d: left in the journal: %+v", trip, w.ops)
	}
	// And the next boot agrees.
	if got := w.boot(t).state(); got != d.state() {
		t.Fatalf("point %d: %s, after a restart %s", trip, d.state(), got)
	}
}

func TestAnOperationThatTheServiceAcceptedOutlivesAnOutage(t *testing.T) {
	synctest.Test(t, outlivesAnOutage)
}

func outlivesAnOutage(t *testing.T) {
	w, d := linked(t)
	f := begin(t, d, lock.KindSignOut)
	// Begin and password get through, the commit does not.
	w.mu.Lock()
	w.svc.calls, w.svc.after, w.svc.down = 0, 2, errDown
	w.mu.Unlock()
	if err := person(f, rightPassword); err != nil {
		t.Fatal(err)
	}
	if v := f.View(); v.Step != flow.StepWorking || d.state().State != lock.Linked {
		t.Fatalf("%+v, %s", v, d.state())
	}
	if err := f.Cancel(); err == nil {
		t.Fatal("an operation that has begun was cancelled")
	}
	w.mu.Lock()
	w.svc.down = nil
	w.mu.Unlock()
	for deadline := time.Now().Add(10 * time.Second); f.View().Step == flow.StepWorking; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it was not carried on")
		}
	}
	if d.state().State != lock.SignedOut || w.svc.status != lock.StatusSignedOut {
		t.Fatalf("%s, service %s", d.state(), w.svc.status)
	}
}

func TestAStatementNeverCrossesAnOperation(t *testing.T) {
	_, d := linked(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	release := d.k.HoldForTest()
	defer release()
	if err := d.m.CheckIn(ctx); err == nil {
		t.Fatal("a check-in ran during an operation")
	}
}

var errDown = fault.New(fault.NetworkUnavailable, nil)

func TestTheCopyThatAPowerCutTookIsWrittenAtStartUnlessTheDeviceIsLockedOverIt(t *testing.T) {
	w, d := linked(t)
	d.run(t, lock.KindSignOut)
	w.oneCopy = true
	for _, c := range []struct {
		marker []byte
		state  lock.Status
		writes int
	}{{w.marker, lock.Status{State: lock.SignedOut}, 1}, {nil, lock.LockedFor(lock.RecordDamaged), 0}} {
		w.marker = c.marker
		d := w.boot(t)
		before := w.writes
		if err := d.m.Resume(context.Background()); err != nil || d.state() != c.state || w.writes-before != c.writes {
			t.Errorf("%s with %d writes: %v", d.state(), w.writes-before, err)
		}
	}
}
