// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"bytes"
	"time"
)

// Attempts counts what a person tried of the codes that the device itself
// verifies. It lies in the record: a reset, a restart and a changed clock change
// nothing. The zero Attempts is none.
type Attempts struct {
	// Failed is how many were counted since the last success.
	Failed uint32 `json:"failed,omitempty"`
	// Wait is the wait that the last of them brought.
	Wait Wait `json:"wait,omitzero"`
	// Last is the SHA-256 of the last code counted: typed again it counts no more.
	Last []byte `json:"last,omitempty"`
}

// freeAttempts cost no wait.
const freeAttempts = 4

// waits follow the free attempts, as Android 16 has them; each further one
// triples.
var waits = []time.Duration{
	time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, 90 * time.Minute, 243 * time.Minute,
}

// maxLocalWait ends the tripling: ten years is longer than a device lives.
const maxLocalWait = 10 * 365 * 24 * time.Hour

// waitAfter returns the wait that the n-th failed attempt brings, counted from 1.
func waitAfter(n uint32) time.Duration {
	if n <= freeAttempts {
		return 0
	}
	i := int(n - freeAttempts - 1)
	if i < len(waits) {
		return waits[i]
	}
	d := waits[len(waits)-1]
	for ; i >= len(waits) && d < maxLocalWait; i-- {
		d *= 3
	}
	return min(d, maxLocalWait)
}

// Free returns how many more attempts bring no wait.
func (a Attempts) Free() int {
	return int(freeAttempts - min(a.Failed, freeAttempts))
}

// Counted reports whether the code with this hash was the last one counted.
func (a Attempts) Counted(hash []byte) bool {
	return len(a.Last) > 0 && bytes.Equal(a.Last, hash)
}

// Count returns a with one more failed attempt of the code with this hash. It is
// written and flushed before the code is looked at, so that pulling the power
// gives nobody a free one.
func (a Attempts) Count(hash []byte, now Boot) Attempts {
	if a.Failed < ^uint32(0) {
		a.Failed++
	}
	a.Last = hash
	a.Wait = newWait(waitAfter(a.Failed), now)
	return a
}
