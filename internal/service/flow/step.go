// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"slices"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/device"
)

// How long flows last.
const (
	// IdleTime ends a flow in which nobody types.
	IdleTime = 15 * time.Minute
	// CommitTime is how long a device may take to do what its grant permits.
	CommitTime = device.ReservationTime
	// KeepTime is how long a finished flow still answers the same again.
	KeepTime = 24 * time.Hour
	// GrantTime is how long a grant or a statement is good for.
	GrantTime = 2 * time.Minute
	// receiptTime is how long a receipt is: as good as for ever.
	receiptTime = 10 * 365 * 24 * time.Hour
)

// MaxOpen bounds the flows of one device that are not done; the oldest ends.
const MaxOpen = 8

// accepted holds, for each step that a flow waits at, the answers it takes.
var accepted = map[accountapi.StepName][]accountapi.StepName{
	accountapi.Identify: {accountapi.Identify, accountapi.Approve},
	accountapi.Password: {accountapi.Identify, accountapi.Password, accountapi.Approve},
	accountapi.Captcha:  {accountapi.Identify, accountapi.Captcha, accountapi.Approve},
	accountapi.Code:     {accountapi.Identify, accountapi.Password, accountapi.Code, accountapi.Approve},
	accountapi.Approve:  {accountapi.Identify, accountapi.Approve},
	accountapi.Confirm:  {accountapi.Confirm},
	accountapi.Commit:   {accountapi.Commit},
	// Of a recover alone.
	accountapi.Wait:        {accountapi.Identify, accountapi.Wait},
	accountapi.NewPassword: {accountapi.NewPassword},
}

// Accepts returns nil if a flow that waits at step takes an answer to answered,
// and fault.WrongStep otherwise. A flow that is done takes commit again, where
// it was committed.
func Accepts(step, answered accountapi.StepName, committed bool) error {
	if slices.Contains(accepted[step], answered) {
		return nil
	}
	if step == accountapi.Done && committed && answered == accountapi.Commit {
		return nil
	}
	return fault.New(fault.WrongStep, nil)
}

// First returns the step at which a flow begins. known: the service knows the
// account that the device is linked to.
func First(kind accountapi.FlowKind, known bool) accountapi.StepName {
	if known && (ends(kind) || kind == accountapi.FlowKindReset) {
		return accountapi.Password
	}
	return accountapi.Identify
}

// AfterProof returns the step that follows once the account is proven.
func AfterProof(kind accountapi.FlowKind) accountapi.StepName {
	switch kind {
	case accountapi.FlowKindUnlock:
		return accountapi.Done
	case accountapi.FlowKindLink, accountapi.FlowKindReset:
		return accountapi.Confirm
	default:
		return accountapi.Commit
	}
}

// purposes names the grant that each kind earns.
var purposes = map[accountapi.FlowKind]accountapi.ClaimsPurpose{
	accountapi.FlowKindUnlock:  accountapi.ClaimsPurposeUnlock,
	accountapi.FlowKindLink:    accountapi.ClaimsPurposeLink,
	accountapi.FlowKindSignOut: accountapi.ClaimsPurposeSignOut,
	accountapi.FlowKindUnlink:  accountapi.ClaimsPurposeUnlink,
	accountapi.FlowKindReset:   accountapi.ClaimsPurposeReset,
}

// changes names what each kind does to the device's link.
var changes = map[accountapi.FlowKind]device.Change{
	accountapi.FlowKindUnlock:  device.Unlock,
	accountapi.FlowKindSignOut: device.SignOut,
	accountapi.FlowKindUnlink:  device.Unlink,
	accountapi.FlowKindReset:   device.AllowReset,
}

// MayBegin returns nil if a flow of the kind may begin on a device whose newest
// link is l, by a key of the given standing. Otherwise it is the
// fault that the link gives, or DeviceUnknown for what a pending key may not do.
func MayBegin(kind accountapi.FlowKind, l device.Link, trusted bool) error {
	if kind == accountapi.FlowKindRecover {
		// It is about an account and changes nothing on the device.
		return nil
	}
	if kind == accountapi.FlowKindLink {
		if l.Status.Binds() && !trusted {
			// fails locked: a key that the device's owner has not seen.
			return fault.New(fault.AlreadyLinked, nil)
		}
		// A pending key of a device without owner is as good as any: there is
		// nobody to ask.
		return l.MayLink("")
	}
	if err := device.May(l.Status, changes[kind]); err != nil {
		return err
	}
	if !trusted && kind != accountapi.FlowKindUnlock {
		// fails locked: the owner's unlock comes first.
		return fault.New(fault.DeviceUnknown, nil)
	}
	return nil
}

// ends reports whether a flow of the kind ends the link that the device has.
func ends(kind accountapi.FlowKind) bool {
	return kind == accountapi.FlowKindSignOut || kind == accountapi.FlowKindUnlink
}

// guesses reports whether an answer to the step is counted, or good once.
func guesses(step accountapi.StepName) bool {
	return step == accountapi.Password || step == accountapi.Code || step == accountapi.Captcha || step == accountapi.NewPassword
}
