// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/lock"
)

func TestFiveCountedCodesUseAChallengeUp(t *testing.T) {
	o := lock.Offline{}.Ask("0123456789")
	now := lock.Boot{ID: "boot", Since: time.Hour}
	for i := range 5 {
		if o.UsedUp() {
			t.Fatalf("used up after %d", i)
		}
		code := []byte{byte(i)}
		if o.Counted(code) {
			t.Fatal("a code counts as counted before it was")
		}
		before := o
		o = o.Count(code, now)
		if !o.Counted(code) || before.Counted(code) {
			t.Fatal("counting changed what it was given, or did not count")
		}
	}
	if !o.UsedUp() || o.Attempts.Failed != 5 || o.Attempts.Wait.Left(now) != time.Minute {
		t.Fatalf("%+v", o)
	}
	next := o.Ask("9876543210")
	if next.UsedUp() || next.Counted([]byte{0}) || next.Attempts.Failed != 5 || next.Attempts.Wait.Left(now) != time.Minute {
		t.Fatalf("a new challenge shortens the wait or keeps what was typed: %+v", next)
	}
}

func TestWhatUnlocksEndsTheChallengeAndAnotherLinkTheKey(t *testing.T) {
	r := lock.Record{
		Armed: true, Link: lock.Link{ID: "a", Generation: 1}, OfflineKey: []byte("key"),
		Offline: lock.Offline{}.Ask("0123456789").Count([]byte("x"), lock.Boot{}),
	}
	for name, c := range map[string]struct {
		effect lock.Effect
		change lock.Change
		key    bool
	}{
		"an unlock keeps the key":                    {lock.Rearm, lock.Change{Link: lock.Link{ID: "a", Generation: 2}}, true},
		"an unlock for another link does not":        {lock.Rearm, lock.Change{Link: lock.Link{ID: "b", Generation: 1}}, false},
		"a link brings its own":                      {lock.Arm, lock.Change{Link: lock.Link{ID: "b"}, OfflineKey: []byte("new")}, true},
		"a link without one leaves none":             {lock.Arm, lock.Change{Link: lock.Link{ID: "b"}}, false},
		"an unlink leaves none":                      {lock.Forget, lock.Change{}, false},
		"a sign-out keeps it for a device then lost": {lock.Disarm, lock.Change{}, true},
	} {
		got := r.Apply([]lock.Effect{c.effect}, c.change)
		if !reflect.DeepEqual(got.Offline, lock.Offline{}) || (len(got.OfflineKey) > 0) != c.key {
			t.Errorf("%s: %+v, key %q", name, got.Offline, got.OfflineKey)
		}
	}
	elsewhere := r.Apply([]lock.Effect{lock.Distrust}, lock.Change{Link: lock.Link{ID: "b"}})
	if len(elsewhere.OfflineKey) != 0 || elsewhere.Offline.Challenge != "" {
		t.Errorf("another link's key opens this one: %+v", elsewhere)
	}
	if lost := r.Apply([]lock.Effect{lock.MarkLost}, lock.Change{Link: r.Link}); !reflect.DeepEqual(lost.Offline, r.Offline) {
		t.Errorf("marking a device lost gives fresh guesses: %+v", lost.Offline)
	}
}

func TestNoOrderOfCodesAndChallengesGivesAnUncountedGuess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o lock.Offline
		counted, now := uint32(0), lock.Boot{ID: "boot"}
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 9), 1, 60).Draw(t, "steps") {
			switch {
			case step == 0 || o.Challenge == "" || o.UsedUp():
				o = o.Ask("0123456789")
			default:
				if code := []byte{byte(step)}; !o.Counted(code) {
					o, counted = o.Count(code, now), counted+1
				}
			}
			raw, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			var read lock.Offline
			if err := json.Unmarshal(raw, &read); err != nil || !reflect.DeepEqual(read, o) {
				t.Fatalf("%s reads as %+v (%v)", raw, read, err)
			}
			if o.Attempts.Failed != counted || len(o.Tried) > 5 {
				t.Fatalf("%d counted, the record says %+v", counted, o)
			}
		}
	})
}
