// SPDX-License-Identifier: Apache-2.0

package lock

import "time"

// Boot is the time since the machine booted, with the ID of that boot. Unlike
// the wall clock, nobody sets it (CLOCK_BOOTTIME, /proc/sys/kernel/random/boot_id).
type Boot struct {
	ID    string
	Since time.Duration
}

// Wait is a wait in progress. The zero Wait is over.
type Wait struct {
	// Seconds is how long the whole wait is.
	Seconds uint32 `json:"seconds,omitempty"`
	// BootID is the boot in which it was given, Until its end in that boot, in
	// seconds since then.
	BootID string `json:"boot_id,omitempty"`
	Until  int64  `json:"until,omitempty"`
}

// maxWait bounds a wait that the account service may impose: a hostile or
// broken one must not lock a device for years.
const maxWait = 72 * time.Hour

// NewWait begins a wait of length d, rounded up to whole seconds and bounded
// to 72 hours.
func NewWait(d time.Duration, now Boot) Wait { return newWait(min(d, maxWait), now) }

func newWait(d time.Duration, now Boot) Wait {
	if d <= 0 {
		return Wait{}
	}
	s := wholeSeconds(d)
	// Both are rounded up: the part of a second that has passed already must not
	// make the wait shorter.
	return Wait{Seconds: uint32(s), BootID: now.ID, Until: wholeSeconds(now.Since) + s} //nolint:gosec // s is at most ten years
}

func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// Runs reports whether there is a wait at all, over or not.
func (w Wait) Runs() bool { return w.Seconds > 0 }

// Left returns how much of the wait is left. In a later boot the wait counts
// from that boot's start: a reboot starts the running wait again, but starting
// the daemon or asking once more does not.
func (w Wait) Left(now Boot) time.Duration {
	if w.Seconds == 0 {
		return 0
	}
	until := time.Duration(w.Until) * time.Second
	if w.BootID != now.ID {
		until = time.Duration(w.Seconds) * time.Second
	}
	return min(max(0, until-now.Since), time.Duration(w.Seconds)*time.Second)
}
