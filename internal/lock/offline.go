// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"bytes"
	"time"
)

// Offline is where the way in by an offline code stands: the one challenge that
// is outstanding, and what was typed to answer it. It lies in the record, so that
// neither a reboot nor a reset gives anybody another challenge or another guess.
// The zero Offline is no challenge and no attempt.
type Offline struct {
	// Challenge is outstanding until it is answered right or used up; empty is none.
	Challenge string `json:"challenge,omitempty"`
	// Tried names the codes that were counted against it: typed again they count
	// no more. They are keyed hashes (of what is no secret unless it is right).
	Tried [][]byte `json:"tried,omitempty"`
	// Attempts goes on from one challenge to the next. The waits are this way's
	// own: they keep nobody from another way in.
	Attempts Attempts `json:"attempts,omitzero"`
	// BootID is the boot in which the challenge was last shown, From when its time
	// began there (seconds since that boot) and Boots in how many it was shown.
	BootID string `json:"boot_id,omitempty"`
	From   int64  `json:"from,omitempty"`
	Boots  uint32 `json:"boots,omitempty"`
}

const (
	// ticketLife is how long a ticket for a challenge is taken: a person fetches
	// it elsewhere and carries it here, perhaps overnight. As a running wait does, it
	// starts again with each boot, since nothing tells how long the device was
	// off; ticketBoots keeps a ticket that was left lying from being good for ever.
	ticketLife  = 24 * time.Hour
	ticketBoots = 8
)

// challengeAttempts is how many counted attempts use a challenge up.
const challengeAttempts = 5

// Counted reports whether the code of that name was counted against the challenge.
func (o Offline) Counted(code []byte) bool {
	for _, t := range o.Tried {
		if bytes.Equal(t, code) {
			return true
		}
	}
	return false
}

// UsedUp reports whether the challenge takes no further code.
func (o Offline) UsedUp() bool { return len(o.Tried) >= challengeAttempts }

// Count returns o with one more code counted against its challenge. It is written
// and flushed before the code is looked at.
func (o Offline) Count(code []byte, now Boot) Offline {
	o.Tried = append(append([][]byte(nil), o.Tried...), code)
	o.Attempts = o.Attempts.Count(nil, now)
	return o
}

// Shown returns o with its challenge shown in the present boot.
func (o Offline) Shown(now Boot) Offline {
	if o.BootID == now.ID {
		return o
	}
	o.BootID, o.From = now.ID, 0
	if o.Boots == 0 {
		o.From = int64(now.Since / time.Second)
	}
	if o.Boots < ^uint32(0) {
		o.Boots++
	}
	return o
}

// TakesTicket reports whether a ticket that is good for life from when its
// challenge was made comes in time. fails locked.
func (o Offline) TakesTicket(now Boot, life time.Duration) bool {
	return o.Challenge != "" && o.BootID == now.ID && o.Boots <= ticketBoots &&
		now.Since-time.Duration(o.From)*time.Second <= min(life, ticketLife)
}

// Ask returns o with another challenge in the place of the one before, which
// from then on nothing answers. The attempts stand.
func (o Offline) Ask(challenge string) Offline {
	return Offline{Challenge: challenge, Attempts: o.Attempts}
}
