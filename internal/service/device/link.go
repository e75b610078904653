// SPDX-License-Identifier: Apache-2.0

package device

import (
	"time"

	"github.com/accountlock/accountlock/internal/fault"
)

// Status is what a link is at present.
type Status string

// The statuses of a link. None stands for a device that was never linked.
const (
	None           Status = ""
	Pending        Status = "pending"
	Linked         Status = "linked"
	Lost           Status = "lost"
	SignedOut      Status = "signed-out"
	Unlinked       Status = "unlinked"
	AccountDeleted Status = "account-deleted"
)

// Binds reports whether a link of this status ties the device to its account.
func (s Status) Binds() bool { return s == Linked || s == Lost }

// InForce reports whether the account service still lists the device under the
// account.
func (s Status) InForce() bool { return s.Binds() || s == SignedOut }

// Change is something done to a link.
type Change string

// The changes.
const (
	// Commit makes a reserved link the device's.
	Commit Change = "link"
	// Unlock is the owner's account check on the device itself.
	Unlock Change = "unlock"
	// SignOut takes the account off the device and keeps it listed.
	SignOut Change = "sign-out"
	// Unlink ends the ownership, asked for on the device.
	Unlink Change = "unlink"
	// Lose marks the device lost, or gives a lost one another message.
	Lose Change = "lose"
	// Find ends the message of a lost device.
	Find Change = "find"
	// Release ends the ownership, asked for at the account service.
	Release Change = "release"
	// DeleteAccount ends the ownership with the account.
	DeleteAccount Change = "delete-account"
	// AllowReset is the owner's consent, on the device itself, to a factory reset.
	AllowReset Change = "allow-reset"
	// Supersede ends a signed-out link, or one whose device its owner has reset,
	// when another one is made.
	Supersede Change = "supersede"
)

type step struct {
	from   Status
	change Change
}

// changes is all that can happen to a link; what is not here is refused.
var changes = map[step]Status{
	{Pending, Commit}: Linked,

	{Linked, Unlock}: Linked,
	{Lost, Unlock}:   Linked,

	{Linked, SignOut}: SignedOut,

	{Linked, Unlink}:    Unlinked,
	{SignedOut, Unlink}: Unlinked,

	{Linked, Lose}: Lost,
	{Lost, Lose}:   Lost,
	{Lost, Find}:   Linked,

	{Linked, Release}:    Unlinked,
	{Lost, Release}:      Unlinked,
	{SignedOut, Release}: Unlinked,

	{Linked, DeleteAccount}:    AccountDeleted,
	{Lost, DeleteAccount}:      AccountDeleted,
	{SignedOut, DeleteAccount}: AccountDeleted,

	{Linked, AllowReset}: Linked,

	{SignedOut, Supersede}: Unlinked,
	{Linked, Supersede}:    Unlinked, // MayLink says when
}

// Link is the account service's record that a device belongs to an account.
type Link struct {
	ID        string
	DeviceID  string
	AccountID string
	// Hint is the account's masked identifier.
	Hint   string
	Status Status
	// Generation counts the changes, from 1 at the reservation on.
	Generation int64
	// LostMessage and LostContact are what the owner asks a finder to read.
	LostMessage, LostContact string
	// ReservedUntil ends a pending link; zero for every other.
	ReservedUntil time.Time
	// ResetAllowed: the owner has allowed a factory reset, and nothing has
	// happened to the link since.
	ResetAllowed bool
}

// After returns the link after a change. A change that its status does not allow
// is refused with the fault that names the reason (see Refusal).
func (l Link) After(c Change) (Link, error) {
	to, ok := changes[step{l.Status, c}]
	if !ok {
		return l, Refusal(l.Status, c)
	}
	l.Status = to
	l.Generation++
	l.ResetAllowed = c == AllowReset
	if to != Lost {
		l.LostMessage, l.LostContact = "", ""
	}
	if to == AccountDeleted || to == Unlinked {
		// Nothing of the account stays with a device that is free.
		l.Hint = ""
	}
	l.ReservedUntil = time.Time{}
	return l, nil
}

// MayLink returns nil if the device whose newest link is l may be linked, and
// fault.AlreadyLinked otherwise. by is the account that it is for, empty where
// nobody has said so yet: a device whose owner has reset it is the owner's still.
func (l Link) MayLink(by string) error {
	if l.Status.Binds() && (l.Status != Linked || !l.ResetAllowed || by != "" && by != l.AccountID) {
		return fault.New(fault.AlreadyLinked, nil)
	}
	return nil
}

// May returns nil if the change fits the status, and its Refusal otherwise.
func May(s Status, c Change) error {
	if _, ok := changes[step{s, c}]; ok {
		return nil
	}
	return Refusal(s, c)
}

// Refusal is the fault of a change that a status does not allow: AlreadyLinked for
// a link that another one bars, Timeout for a reservation that is gone, NotLinked
// for all else, of a lost device too. The device then asks for a statement, which
// says how it stands.
func Refusal(s Status, c Change) error {
	switch {
	case c == Commit && s.Binds():
		return fault.New(fault.AlreadyLinked, nil)
	case c == Commit:
		return fault.New(fault.Timeout, nil)
	case s == Lost && (c == SignOut || c == Unlink || c == AllowReset):
		return fault.Newf(fault.NotLinked, "The device is marked lost: its owner has to unlock it first.")
	case s == Linked && c == Find:
		return fault.Newf(fault.InvalidArgument, "The device is not marked lost.")
	default:
		return fault.New(fault.NotLinked, nil)
	}
}
