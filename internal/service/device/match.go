// SPDX-License-Identifier: Apache-2.0

package device

import (
	"cmp"
	"slices"
)

// Identity is one name that the hardware gives itself.
type Identity struct {
	// Source is one of the account API's identity sources.
	Source string `json:"source"`
	// Digest is the API's keyed form of the name (base64url).
	Digest string `json:"digest"`
}

// sources holds the identity sources, the one that is hardest to change first.
var sources = []string{"tpm", "devicetree", "dmi", "record", "file"}

// Candidate is a known device that something of an enrolment matches.
type Candidate struct {
	DeviceID string
	// Status is that of the device's newest link.
	Status Status
	// Proven: that link was made by a device that had proven what it is.
	Proven bool
	// HoldsKey: the enrolling key is this device's active key.
	HoldsKey bool
	// Source is the identity that matched; empty where only the key did.
	Source string
	// EnrolledAt in milliseconds since the epoch.
	EnrolledAt int64
}

// Bound returns the candidates that a device with such a proof may be bound by. A
// link made under an unproven identity does not bind a device that proves itself:
// whoever borrows the serial number of a device that they do not have cannot lock
// it. But for the key's own device, which may prove itself later.
func Bound(matches []Candidate, proof Proof) []Candidate {
	if proof == Unproven {
		return matches
	}
	return slices.DeleteFunc(matches, func(c Candidate) bool { return c.Status.Binds() && !c.Proven && !c.HoldsKey })
}

// Choose returns which of the matched devices the enrolling one is: the one that
// is linked, since hardware that matches a linked device is never stated
// unlinked; then the one whose key it holds; then the one that matches by the
// strongest source; then the oldest. It reports false if there are none.
func Choose(matches []Candidate) (Candidate, bool) {
	if len(matches) == 0 {
		return Candidate{}, false
	}
	return slices.MinFunc(matches, func(a, b Candidate) int {
		return cmp.Or(
			first(a.Status.Binds(), b.Status.Binds()),
			first(a.HoldsKey, b.HoldsKey),
			first(a.Status.InForce(), b.Status.InForce()),
			cmp.Compare(rank(a.Source), rank(b.Source)),
			cmp.Compare(a.EnrolledAt, b.EnrolledAt),
			cmp.Compare(a.DeviceID, b.DeviceID),
		)
	}), true
}

// KeyStatus is what a key may do for a device.
type KeyStatus string

// The statuses of a device's key.
const (
	// Active is the key that speaks for the device.
	Active KeyStatus = "active"
	// PendingKey may ask for a bare statement and begin an unlock.
	PendingKey KeyStatus = "pending"
)

// KeyAfterEnrolment returns what an enrolling key is to the device it matched.
// Where the device has an owner, only the owner's unlock replaces the key. Where
// it has none there is nobody to ask, and a key that stayed pending could never
// link the device again.
func KeyAfterEnrolment(c Candidate) KeyStatus {
	if c.HoldsKey || !c.Status.Binds() {
		return Active
	}
	// fails locked: whoever holds the hardware alone speaks for nobody.
	return PendingKey
}

func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}

func rank(source string) int {
	if i := slices.Index(sources, source); i >= 0 {
		return i
	}
	return len(sources)
}
