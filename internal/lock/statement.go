// SPDX-License-Identifier: Apache-2.0

package lock

// LinkStatus is what the account service says of a device's link.
type LinkStatus string

// The link statuses. StatusUnlinked also stands for 'never linked'.
const (
	StatusLinked         LinkStatus = "linked"
	StatusLost           LinkStatus = "lost"
	StatusSignedOut      LinkStatus = "signed-out"
	StatusUnlinked       LinkStatus = "unlinked"
	StatusAccountDeleted LinkStatus = "account-deleted"
)

// Statement is a verified statement of the account service: signed for this
// device and this nonce. Checking that is the caller's, before it gets here.
type Statement struct {
	Status LinkStatus
	// Link is the link in force, or the last one; the zero Link is none.
	Link Link
	// Ended is the link ID that the device asked about, where that link is no
	// longer the one in force.
	Ended string
	// Hint is masked; empty where the service does not trust the device's key.
	Hint                     string
	LostMessage, LostContact string
	// Time is when it was signed, in seconds since the epoch.
	Time int64
}

// Change returns what the statement brings to the record.
func (s Statement) Change() Change {
	return Change{
		Link: s.Link, Hint: s.Hint, Time: s.Time,
		LostMessage: s.LostMessage, LostContact: s.LostContact,
	}
}

// EventFor returns the event that the statement is for a device with record r,
// and whether it is one at all: a statement about another link than the
// record's, or from before the record's generation, says nothing.
func (s Statement) EventFor(r Record) (Event, bool) {
	ended := s.Ended != "" && s.Ended == r.Link.ID
	if !s.about(r, ended) {
		return "", false
	}
	switch s.Status {
	case StatusLinked, StatusLost:
		if ended {
			return StatedElsewhere, true
		}
		if left := r.Reset.Left; left != "" && left == s.Link.ID && !r.Armed && s.Status == StatusLinked {
			return StatedLeft, true
		}
		if s.Status == StatusLost {
			return StatedLost, true
		}
		return StatedLinked, true
	case StatusSignedOut:
		return StatedSignedOut, true
	case StatusUnlinked, StatusAccountDeleted:
		return StatedUnlinked, true
	default:
		// fails locked: an unknown word changes nothing.
		return "", false
	}
}

func (s Statement) about(r Record, ended bool) bool {
	switch {
	case ended:
		return true
	case r.Link.ID == "":
		return true
	case s.Link.ID == "":
		// The service knows no link of this device at all.
		return s.Status == StatusUnlinked || s.Status == StatusAccountDeleted
	default:
		return s.Link.ID == r.Link.ID && s.Link.Generation >= r.Link.Generation
	}
}
