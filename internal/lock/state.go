// SPDX-License-Identifier: Apache-2.0

// Package lock owns what the lock means: its states, the decision at boot, the
// one table of transitions, what a statement of the account service changes,
// and the fields of the lock record. Everything here is a pure function of its
// arguments.
//
// It must not do I/O, read a clock or draw a random number, and imports the
// standard library alone: what decides over somebody's device has to be
// readable, and testable, without a device.
package lock

// State is what the lock says about the device. The values are those of the
// D-Bus property State.
type State string

// The states.
const (
	// Unlinked: no account; nothing to enforce.
	Unlinked State = "unlinked"
	// Linked: an account is signed in and the lock record is armed.
	Linked State = "linked"
	// SignedOut: the account was taken off this device and the lock disarmed;
	// the account service still lists the device.
	SignedOut State = "signed-out"
	// Locked: the device asks for the account and does nothing else.
	Locked State = "locked"
)

// Reason says why a device is locked. The values are those of the D-Bus
// property LockReason; it is empty in every other state.
type Reason string

// The reasons.
const (
	// NotLocked is the empty reason of every state but Locked.
	NotLocked Reason = ""
	// FactoryReset: the record is armed, and /var was wiped since.
	FactoryReset Reason = "factory-reset"
	// Lost: the owner marked the device lost.
	Lost Reason = "lost"
	// RecordMissing: the record store is empty though it should not be, or
	// nobody can tell yet.
	RecordMissing Reason = "record-missing"
	// RecordDamaged: no valid copy, an unreadable store, or a copy that the
	// account service's word contradicts.
	RecordDamaged Reason = "record-damaged"
)

// Status is a state with the reason for it.
type Status struct {
	State  State
	Reason Reason
}

// Open reports whether a device in this status lets its user in.
// Anything that is not one of the three open states is shut: fails locked.
func (s Status) Open() bool {
	return s.State == Unlinked || s.State == Linked || s.State == SignedOut
}

// String returns the state, with the reason behind it where there is one.
func (s Status) String() string {
	if s.Reason == NotLocked {
		return string(s.State)
	}
	return string(s.State) + " " + string(s.Reason)
}

// LockedFor returns the locked status with the given reason.
func LockedFor(r Reason) Status { return Status{State: Locked, Reason: r} }

// Statuses returns every status there is, for tests and tables.
func Statuses() []Status {
	return []Status{
		{State: Unlinked}, {State: Linked}, {State: SignedOut},
		LockedFor(FactoryReset), LockedFor(Lost), LockedFor(RecordMissing), LockedFor(RecordDamaged),
	}
}
