// SPDX-License-Identifier: Apache-2.0

package lock

// Reset is what the record knows of a factory reset that its owner allowed. The
// zero Reset is none: what wiped the device then was not the owner.
type Reset struct {
	// Allowed: the owner's account was checked for this reset. It is set just
	// before the wipe, and good for the one boot that follows.
	Allowed bool `json:"allowed,omitempty"`
	// BootID is the boot in which it was allowed.
	BootID string `json:"boot_id,omitempty"`
	// Left is the link that such a reset left behind: that the account service
	// still holds it is nothing new.
	Left string `json:"left,omitempty"`
}

// AllowReset returns r with the reset allowed that is about to begin.
func (r Record) AllowReset(now Boot) Record {
	r.Reset = Reset{Allowed: true, BootID: now.ID}
	return r
}

// ForbidReset returns r without the permission, where the reset did not begin.
func (r Record) ForbidReset() Record {
	r.Reset = Reset{}
	return r
}

// resetHappened reports whether e shows the reset that the record allows. fails
// locked: of two copies the damaged one may have taken the permission back, and
// another marker is no wiped one.
func resetHappened(e Evidence) bool {
	return e.Record.Reset.Allowed && len(e.Marker) == 0 && !e.OneCopy
}

// AfterReset returns r as it is to be written at a start at which d was decided:
// an allowed reset that happened leaves nothing of the account but the name of the
// link, and one that did not is allowed no more. In the boot in which it was
// allowed it may still be on its way.
func (d Decision) AfterReset(r Record, now Boot) Record {
	switch {
	case !r.Reset.Allowed:
		return r
	case d.Status == unlinked:
		left := r.Link.ID
		r = r.Apply([]Effect{Forget}, Change{})
		r.Reset = Reset{Left: left}
		return r
	case r.Reset.BootID == now.ID:
		return r
	default:
		return r.ForbidReset()
	}
}
