// SPDX-License-Identifier: Apache-2.0

package support

import (
	"slices"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/device"
)

const (
	// ObjectionTime is between the second approval and the deed: the owner was told
	// and can stop it.
	ObjectionTime = 4 * time.Hour
	// approvalTime is how long a first approval waits for the second, and how long a
	// deed is permitted once the time for objections is over.
	approvalTime = 24 * time.Hour
	// caseTime ends a case that nobody asks for any more.
	caseTime = 30 * 24 * time.Hour
	// keepTime is how long notes and answers of a closed case are kept.
	keepTime = 180 * 24 * time.Hour
	// needed is how many members have to approve.
	needed = 2
	// minRight is how many questions must have been answered rightly before anybody
	// can approve of what opens a device; more rightly than wrongly, and not only weak
	// ones.
	minRight = 2
	// maxOpened bounds the cases of one device that begin within a day.
	maxOpened = 3
	openedIn  = 24 * time.Hour
	// stopTime is for how long no new case of a device begins after its owner has
	// stopped one.
	stopTime = 24 * time.Hour
	// maxPerAccount bounds the open cases of one account.
	maxPerAccount = 8
	// maxAnswered is how many offline codes or tickets are given out in one case.
	maxAnswered = 3
	maxNotes    = 100
	maxNote     = 2000 // characters
)

// Action is what staff may do to somebody else's device.
type Action string

// The actions.
const (
	Release     Action = "release"
	Found       Action = "found"
	OfflineCode Action = "offline-code"
	Ticket      Action = "ticket"
)

// Actions are all of them.
func Actions() []Action { return []Action{Release, OfflineCode, Ticket, Found} }

// Outcome is how a case ended; empty is not yet.
type Outcome string

// The outcomes.
const (
	Open           Outcome = ""
	Released       Outcome = "released"
	FoundAgain     Outcome = "found"
	Answered       Outcome = "answered"
	Stopped        Outcome = "stopped"
	Closed         Outcome = "closed"
	Expired        Outcome = "expired"
	AccountDeleted Outcome = "account-deleted"
)

// Case is one conversation of support with somebody about a device.
type Case struct {
	// Number is what people read out: 482-177-359.
	Number    string
	DeviceID  string
	Model     string
	AccountID string
	LinkID    string
	// Challenge is what the device showed last, ten digits; empty is not known.
	Challenge string
	// Proven: the device itself asked for the case, under its own key.
	Proven         bool
	Region, Locale string
	// OpenedBy is a member of staff by name, or `device`.
	OpenedBy string
	Opened   time.Time
	Asked    time.Time
	// Given is how often an offline code or a ticket was given out.
	Given   int64
	Outcome Outcome
	Closed  time.Time

	Notes     []Note
	Answers   []Answer
	Approvals []Approval
	// Link is the device's link as it is now, whoever's.
	Link device.Link
}

// Note is what a member of staff wrote down.
type Note struct {
	Staff string
	At    time.Time
	Text  string
}

// Answer is whether a question was answered rightly.
type Answer struct {
	Question string
	Staff    string
	At       time.Time
	Right    bool
}

// Approval is one member's.
type Approval struct {
	StaffID string
	Staff   string
	Action  Action
	// Generation is that of the link when it was approved.
	Generation int64
	At         time.Time
}

// Standing is how far the approvals of a case have come.
type Standing struct {
	// Action is what is approved of; empty where nobody has approved.
	Action Action
	// By are the members who have, in that order.
	By []string
	// From and Until are when the deed is permitted; zero before the second approval.
	From, Until time.Time
}

// Complete reports whether enough members have approved.
func (s Standing) Complete() bool { return !s.From.IsZero() }

// Permits reports whether the deed may be done now.
func (s Standing) Permits(now time.Time) bool {
	return s.Complete() && !now.Before(s.From) && now.Before(s.Until)
}

// Standing counts what is approved now, with wait for objections. An approval
// counts for a day, for the device as it stood, once for each member; a deed is
// permitted for a day.
func (c Case) Standing(now time.Time, wait time.Duration) Standing {
	var s Standing
	// over is when what has been approved until now counts no more.
	var over time.Time
	seen := map[string]bool{}
	for _, a := range c.Approvals {
		// fails shut: what was approved of another owner's device, or before it was
		// marked lost, is not approved.
		if c.Link.ID != c.LinkID || a.Generation != c.Link.Generation {
			continue
		}
		if !over.IsZero() && !a.At.Before(over) {
			s, seen = Standing{}, map[string]bool{}
		}
		if s.Complete() || seen[a.StaffID] || s.Action != "" && a.Action != s.Action {
			continue
		}
		seen[a.StaffID] = true
		s.By, s.Action, over = append(s.By, a.Staff), a.Action, a.At.Add(approvalTime)
		if len(s.By) == needed {
			s.From = a.At.Add(wait)
			s.Until = s.From.Add(approvalTime)
			over = s.Until
		}
	}
	if !now.Before(over) {
		return Standing{}
	}
	return s
}

// Tally returns how many questions were answered rightly, and how many answers were
// wrong.
func (c Case) Tally() (right, wrong int) {
	done := map[string]bool{}
	for _, a := range c.Answers {
		switch {
		case !a.Right:
			wrong++
		case !done[a.Question]:
			done[a.Question] = true
			right++
		}
	}
	return right, wrong
}

// WhileLost is the fault of what support does for no lost device. fails locked: it may
// be in a thief's hands, and the thief on the telephone.
func WhileLost() error {
	f := fault.Newf(fault.Declined, "The device is marked lost: support releases no lost device and gives no code for it.")
	f.Remedy = "Its owner marks it found, or two members of staff approve of 'found' first, in a case of its own."
	return f
}

// MayBe returns nil if an action can be approved of in this case, as its device
// stands now; otherwise the fault that says why not.
func (c Case) MayBe(a Action) error {
	switch {
	case c.Outcome != Open:
		return fault.Newf(fault.WrongStep, "The case is closed.")
	case c.Link.ID != c.LinkID || !c.Link.Status.InForce():
		return fault.Newf(fault.NotLinked, "The device is no longer the one that the case is about: it was unlinked, or linked to another account.")
	case a == Found && c.Link.Status != device.Lost:
		return fault.Newf(fault.InvalidArgument, "The device is not marked lost.")
	case a != Found && c.Link.Status == device.Lost:
		return WhileLost()
	case (a == OfflineCode || a == Ticket) && c.Link.Status != device.Linked:
		return fault.New(fault.NotLinked, nil)
	}
	if right, wrong := c.Tally(); right < minRight || right <= wrong {
		f := fault.Newf(fault.Declined, "Too few questions about the account were answered rightly.")
		f.Remedy = "At least two have to be right, and more right than wrong: ask on."
		return f
	}
	if !slices.ContainsFunc(c.Answers, func(a Answer) bool { return a.Right && !slices.Contains(weak, a.Question) }) {
		f := fault.Newf(fault.Declined, "The last sign-in and the number of devices are guessed too easily.")
		f.Remedy = "At least one answer to another question has to be right: ask on."
		return f
	}
	return nil
}
