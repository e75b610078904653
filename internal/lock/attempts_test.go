// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/lock"
)

func TestFourAttemptsAreFreeThenTheWaitsGrow(t *testing.T) {
	var a lock.Attempts
	boot := lock.Boot{ID: "a"}
	minutes := []int{0, 0, 0, 0, 1, 5, 15, 30, 90, 243, 729, 2187, 6561}
	for i, want := range minutes {
		a = a.Count([]byte{byte(i)}, boot)
		if got := a.Wait.Left(boot); got != time.Duration(want)*time.Minute {
			t.Errorf("attempt %d brings %s, not %d minutes", i+1, got, want)
		}
		if want := max(0, 4-i-1); a.Free() != want {
			t.Errorf("after attempt %d %d are free, not %d", i+1, a.Free(), want)
		}
	}
}

func TestTheSameCodeAgainIsKnown(t *testing.T) {
	a := lock.Attempts{}.Count([]byte("one"), lock.Boot{})
	if !a.Counted([]byte("one")) || a.Counted([]byte("two")) || (lock.Attempts{}).Counted(nil) {
		t.Fatal("Counted is wrong")
	}
}

func TestNoClockMakesAWaitShorter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := lock.Boot{ID: "a", Since: time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "since"))}
		var a lock.Attempts
		for range rapid.IntRange(1, 200).Draw(t, "failed") {
			a = a.Count([]byte{1}, now)
		}
		whole := a.Wait.Left(now)
		if whole > time.Duration(a.Wait.Seconds)*time.Second {
			t.Fatalf("%s are left of %d s", whole, a.Wait.Seconds)
		}
		// The same boot: only time since boot counts. Another boot: the whole wait
		// from that boot's start.
		later := time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "later"))
		if got := a.Wait.Left(lock.Boot{ID: "a", Since: now.Since + later}); got < whole-later-time.Second {
			t.Fatalf("after %s of %s only %s are left", later, whole, got)
		}
		if got := a.Wait.Left(lock.Boot{ID: "b"}); got != time.Duration(a.Wait.Seconds)*time.Second {
			t.Fatalf("a reboot leaves %s of %d s", got, a.Wait.Seconds)
		}
	})
}
