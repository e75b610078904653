// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"time"
)

// DeviceTally is the arithmetic of a device's limit without a database, so that
// a property test can make many guesses.
type DeviceTally struct{ t tally }

// Guess makes a guess; taken tells whether it was looked at, wait how long
// until the next one is.
func (d *DeviceTally) Guess(now time.Time) (taken bool, wait time.Duration) {
	if w := deviceLimit.wait(d.t, now); w > 0 {
		return false, w
	}
	d.t = deviceLimit.counted(d.t, now)
	return true, deviceLimit.wait(d.t, now)
}

// Failures is how many guesses count, Stale whether none would.
func (d *DeviceTally) Failures(now time.Time) int64 { return deviceLimit.aged(d.t, now).failures }

// Stale reports whether a sweep would remove the tally.
func (d *DeviceTally) Stale(now time.Time) bool { return deviceLimit.stale(d.t).Before(now) }

// HoldSlot takes a turn to compute, so that nobody else's hash is looked at until
// release; whoever waits stays in the queue.
func (s *Service) HoldSlot() (release func()) {
	release, err := s.hasher.slot(context.Background())
	if err != nil {
		panic(err)
	}
	return release
}
