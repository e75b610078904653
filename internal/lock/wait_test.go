// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/lock"
)

const longestWait = 72 * time.Hour

func TestAWaitLastsAsLongAsItWasGiven(t *testing.T) {
	for _, c := range []struct {
		name             string
		given, at, after time.Duration
		left             time.Duration
	}{
		{"at once, all of it is left", 90 * time.Second, 7 * time.Second, 0, 90 * time.Second},
		{"a part of a second does not shorten it", 90 * time.Second, 7*time.Second + 999*time.Millisecond, 0, 90 * time.Second},
		{"half of it", 90 * time.Second, 7 * time.Second, 45 * time.Second, 45 * time.Second},
		{"all of it", 90 * time.Second, 7 * time.Second, 90 * time.Second, 0},
		{"long after", 90 * time.Second, 7 * time.Second, time.Hour, 0},
		{"a moment counts as a second", time.Nanosecond, 0, 0, time.Second},
		{"no wait", 0, time.Hour, 0, 0},
		{"less than none", -time.Hour, time.Hour, 0, 0},
		{"years are three days", 1e6 * time.Hour, time.Hour, 0, longestWait},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := lock.NewWait(c.given, lock.Boot{ID: "b", Since: c.at})
			if got := w.Left(lock.Boot{ID: "b", Since: c.at + c.after}); got != c.left {
				t.Errorf("%s is left", got)
			}
		})
	}
	if (lock.Wait{}).Left(lock.Boot{ID: "b", Since: time.Hour}) != 0 {
		t.Error("the zero Wait is not over")
	}
}

// device is a fake device for the properties: time passes, it reboots, its wall
// clock is set, its daemon restarts and reads the wait from the record again.
type device struct {
	boot int
	now  time.Duration // since the boot
	wait lock.Wait
}

func (d *device) at() lock.Boot {
	return lock.Boot{ID: string(rune('a' + d.boot)), Since: d.now}
}

// TestNobodyGetsAroundAWait: no order of asking again, restarting the daemon and
// rebooting ends a wait before its time has passed, in one boot, since it was
// given or since that boot began; and none of them but a reboot makes it longer.
func TestNobodyGetsAroundAWait(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		given := time.Duration(rapid.Int64Range(1, int64(100*time.Hour)).Draw(t, "given"))
		d := &device{now: time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "uptime"))}
		d.wait = lock.NewWait(given, d.at())
		full := min(given, longestWait)
		start := d.now // of the wait, in this boot
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) { d.now += time.Duration(rapid.Int64Range(0, int64(30*time.Hour)).Draw(t, "passed")) },
			"reboot":      func(*rapid.T) { d.boot++; d.now, start = 0, 0 },
			"ask again":   func(*rapid.T) { d.wait.Left(d.at()) },
			"the daemon restarts": func(t *rapid.T) {
				b, err := json.Marshal(d.wait)
				if err != nil {
					t.Fatal(err)
				}
				d.wait = lock.Wait{}
				if err := json.Unmarshal(b, &d.wait); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				left, passed := d.wait.Left(d.at()), d.now-start
				if passed < full && left < full-passed {
					t.Fatalf("%s of %s passed and only %s is left", passed, full, left)
				}
				// Whole seconds are counted, so it may last up to two longer.
				if most := max(0, full+2*time.Second-passed); left > most {
					t.Fatalf("%s of %s passed and %s is left", passed, full, left)
				}
			},
		})
	})
}

func TestAnyWaitThatIsReadIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := lock.Wait{
			Seconds: rapid.Uint32().Draw(t, "seconds"),
			BootID:  rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "boot"),
			Until:   rapid.Int64().Draw(t, "until"),
		}
		now := lock.Boot{ID: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "now"), Since: time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, "since"))}
		if left := w.Left(now); left < 0 || left > time.Duration(w.Seconds)*time.Second {
			t.Fatalf("%s of %d seconds is left", left, w.Seconds)
		}
	})
}
