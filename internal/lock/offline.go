// SPDX-License-Identifier: Apache-2.0

package lock

import "bytes"

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
}

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

// Ask returns o with another challenge in the place of the one before, which
// from then on nothing answers. The attempts stand.
func (o Offline) Ask(challenge string) Offline {
	return Offline{Challenge: challenge, Attempts: o.Attempts}
}
