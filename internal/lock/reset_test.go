// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"reflect"
	"testing"

	"github.com/accountlock/accountlock/internal/lock"
)

var (
	before = lock.Boot{ID: "before"}
	after  = lock.Boot{ID: "after"}
)

// boots decides over r and a marker, and returns what is written then.
func boots(r lock.Record, m []byte, now lock.Boot) (lock.Status, lock.Record) {
	d := lock.Decide(lock.Evidence{Provisioned: true, Store: lock.StoreValid, Record: r, Marker: m})
	return d.Status, d.AfterReset(d.Hold(r), now)
}

func TestAnAllowedResetOpensTheOneBootThatFollowsIt(t *testing.T) {
	r := armed().AllowReset(before)
	state, r := boots(r, nil, after)
	if state.State != lock.Unlinked || r.Armed || r.Link.ID != "" || r.AccountID != "" || r.Reset != (lock.Reset{Left: "l-1"}) {
		t.Fatalf("%s %+v", state, r.Reset)
	}
	if again, next := boots(r, nil, lock.Boot{ID: "later"}); again.State != lock.Unlinked || !reflect.DeepEqual(next, r) {
		t.Fatalf("the boot after that: %s", again)
	}
}

func TestAnAllowedResetThatDidNotHappenIsAllowedNoMoreAtTheNextBoot(t *testing.T) {
	allowed := armed().AllowReset(before)
	state, r := boots(allowed, marker, after)
	if state.State != lock.Linked || r.Reset != (lock.Reset{}) || !r.Armed {
		t.Fatalf("%s %+v", state, r.Reset)
	}
	if later, _ := boots(r, nil, lock.Boot{ID: "later"}); later != lock.LockedFor(lock.FactoryReset) {
		t.Fatalf("a thief's reset after that: %s", later)
	}
	// The daemon that is started again before the wipe leaves it allowed.
	if _, r := boots(allowed, marker, before); !reflect.DeepEqual(r, allowed) {
		t.Fatal("a restart of the daemon took it back")
	}
	// Whatever else locks the device ends it too.
	lostOne := allowed
	lostOne.Lost = true
	if state, r := boots(lostOne, nil, after); state != lock.LockedFor(lock.Lost) || r.Reset.Allowed {
		t.Fatalf("%s %+v", state, r.Reset)
	}
}

func TestEveryChangeOfOwnershipEndsAnAllowedReset(t *testing.T) {
	for _, e := range []lock.Effect{lock.Arm, lock.Rearm, lock.Disarm, lock.Forget, lock.MarkLost, lock.ClearLostMessage, lock.Rebuild, lock.Distrust} {
		if r := armed().AllowReset(before).Apply([]lock.Effect{e}, lock.Change{}); r.Reset != (lock.Reset{}) {
			t.Errorf("%s leaves %+v", e, r.Reset)
		}
	}
	if r := armed().AllowReset(before).ForbidReset(); !reflect.DeepEqual(r, armed()) {
		t.Error("taking it back leaves a trace")
	}
}

func TestTheLinkThatAnAllowedResetLeftBehindLocksNothingUnlessItIsLost(t *testing.T) {
	_, r := boots(armed().AllowReset(before), nil, after)
	l := lock.Link{ID: "l-1", Generation: 4}
	for name, c := range map[string]struct {
		statement lock.Statement
		want      lock.Status
	}{
		"still linked":                {lock.Statement{Status: lock.StatusLinked, Link: l}, lock.Status{State: lock.Unlinked}},
		"lost":                        {lock.Statement{Status: lock.StatusLost, Link: l}, lock.LockedFor(lock.Lost)},
		"signed out":                  {lock.Statement{Status: lock.StatusSignedOut, Link: l}, lock.Status{State: lock.SignedOut}},
		"unlinked":                    {lock.Statement{Status: lock.StatusUnlinked, Link: l}, lock.Status{State: lock.Unlinked}},
		"another link, by a stranger": {lock.Statement{Status: lock.StatusLinked, Link: lock.Link{ID: "l-2", Generation: 1}}, lock.LockedFor(lock.RecordMissing)},
	} {
		ev, ok := c.statement.EventFor(r)
		if !ok {
			t.Fatalf("%s: no event", name)
		}
		got, effects, err := lock.Transition(lock.Status{State: lock.Unlinked}, ev)
		if err != nil || got != c.want {
			t.Errorf("%s: %s %v", name, got, err)
		}
		if now := r.Apply(effects, c.statement.Change()); got.State == lock.Locked && now.Reset != (lock.Reset{}) {
			t.Errorf("%s: locked, and still %+v", name, now.Reset)
		}
	}
	// A record that is armed again, for whatever reason, is no longer left behind.
	r.Armed = true
	if ev, _ := (lock.Statement{Status: lock.StatusLinked, Link: l}).EventFor(r); ev != lock.StatedLinked {
		t.Errorf("an armed record: %s", ev)
	}
}
