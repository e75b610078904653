// SPDX-License-Identifier: Apache-2.0

package lock

import "time"

// TrustedTime is the account service's signed time, as far as the device knows
// it. Only what the service signed over a nonce of this device moves it, up or
// down; a clock that anybody can set does not.
type TrustedTime struct {
	// Floor is the last signed time on record, in seconds since the epoch; 0 is none.
	Floor int64
	// signed is the last signed time since boot, and at when it came.
	signed int64
	at     Boot
}

// Take returns t after the service signed a time, in seconds since the epoch, at
// the moment boot.
func (t TrustedTime) Take(signed int64, boot Boot) TrustedTime {
	return TrustedTime{Floor: signed, signed: signed, at: boot}
}

// Signed returns the service's time at the moment boot, carried on by
// CLOCK_BOOTTIME; the zero Time where it signed none since this boot.
func (t TrustedTime) Signed(boot Boot) time.Time {
	if t.signed == 0 || t.at.ID != boot.ID || boot.Since < t.at.Since {
		return time.Time{}
	}
	return time.Unix(t.signed, 0).Add(boot.Since - t.at.Since)
}
