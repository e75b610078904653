// SPDX-License-Identifier: Apache-2.0

package lock

import "fmt"

// Event is something that may change the state: the end of an operation on the
// device, or a verified statement of the account service.
type Event string

// The events.
const (
	// LinkDone: the account service reserved a link for this device.
	LinkDone Event = "link"
	// UnlockDone: a grant for an unlock was verified.
	UnlockDone Event = "unlock"
	// SignOutDone: the account service marked the device signed out.
	SignOutDone Event = "sign-out"
	// UnlinkDone: the account service ended the link.
	UnlinkDone Event = "unlink"
	// The service stated …
	StatedLinked    Event = "stated-linked"
	StatedLost      Event = "stated-lost"
	StatedSignedOut Event = "stated-signed-out"
	StatedUnlinked  Event = "stated-unlinked"
	// StatedElsewhere: the record's link has ended and another one is in force.
	StatedElsewhere Event = "stated-elsewhere"
	// StatedLeft: the link that an allowed reset left behind is still in force.
	StatedLeft Event = "stated-left"
	// StatedConfirmed: the service's word binds the record to the TPM
	// (Record.ConfirmedBy).
	StatedConfirmed Event = "stated-confirmed"
)

// Events returns every event there is.
func Events() []Event {
	return []Event{
		LinkDone, UnlockDone, SignOutDone, UnlinkDone,
		StatedLinked, StatedLost, StatedSignedOut, StatedUnlinked, StatedElsewhere, StatedLeft, StatedConfirmed,
	}
}

// Effect is one thing to do because of a transition. Effects on the record are
// done by Record.Apply; the gate's by whoever runs the transition.
type Effect string

// The effects.
const (
	// Arm takes a new link into the record, with its marker and recovery code.
	Arm Effect = "arm"
	// Rearm gives the link a new marker and ends everything that locked it.
	Rearm Effect = "rearm"
	// Disarm ends the lock and keeps the link.
	Disarm Effect = "disarm"
	// Forget makes the record blank of the account.
	Forget Effect = "forget"
	// MarkLost locks for a lost device, with the owner's message.
	MarkLost Effect = "mark-lost"
	// ClearLostMessage ends the message, not the lock.
	ClearLostMessage Effect = "clear-lost-message"
	// Rebuild arms a record that was missing.
	Rebuild Effect = "rebuild"
	// Distrust arms a record that the service's word contradicts.
	Distrust Effect = "distrust"
	// Trust ends the doubt about a record that was not bound to the TPM.
	Trust Effect = "trust"
	// OpenGate tells the gate to decide again, to open.
	OpenGate Effect = "open-gate"
	// ShutGate tells the gate to decide again, to lock.
	ShutGate Effect = "shut-gate"
)

// Refusal is the error of an event that the state does not allow.
type Refusal struct {
	Status Status
	Event  Event
}

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("cannot %s: the device is %s", r.Event, r.Status)
}

type pair struct {
	status Status
	event  Event
}

type outcome struct {
	status  Status
	effects []Effect
}

var (
	unlinked   = Status{State: Unlinked}
	linked     = Status{State: Linked}
	signedOut  = Status{State: SignedOut}
	resetLock  = LockedFor(FactoryReset)
	lostLock   = LockedFor(Lost)
	missing    = LockedFor(RecordMissing)
	damaged    = LockedFor(RecordDamaged)
	armed      = outcome{linked, []Effect{Arm}}
	unlocked   = outcome{linked, []Effect{Rearm, OpenGate}}
	toLost     = outcome{lostLock, []Effect{MarkLost, ShutGate}}
	opensOut   = outcome{signedOut, []Effect{Disarm, OpenGate}}
	opensFree  = outcome{unlinked, []Effect{Forget, OpenGate}}
	toDamaged  = outcome{damaged, []Effect{Distrust, ShutGate}}
	toMissing  = outcome{missing, []Effect{Rebuild, ShutGate}}
	disarms    = outcome{signedOut, []Effect{Disarm}}
	forgets    = outcome{unlinked, []Effect{Forget}}
	lostAgain  = outcome{lostLock, []Effect{MarkLost}}
	foundAgain = outcome{lostLock, []Effect{ClearLostMessage}}
)

func stays(s Status) outcome { return outcome{status: s} }

// table is the whole of what can happen. A pair that is not here is refused.
var table = map[pair]outcome{
	{unlinked, LinkDone}:  armed,
	{signedOut, LinkDone}: armed,

	{resetLock, UnlockDone}: unlocked,
	{lostLock, UnlockDone}:  unlocked,
	{missing, UnlockDone}:   unlocked,
	{damaged, UnlockDone}:   unlocked,

	{linked, SignOutDone}:   disarms,
	{linked, UnlinkDone}:    forgets,
	{signedOut, UnlinkDone}: forgets,

	{linked, StatedLinked}:    stays(linked),
	{resetLock, StatedLinked}: stays(resetLock),
	{lostLock, StatedLinked}:  foundAgain,
	{missing, StatedLinked}:   {missing, []Effect{Rebuild}},
	{damaged, StatedLinked}:   stays(damaged),
	// fails locked: the service has a link that this record does not know.
	{unlinked, StatedLinked}: toMissing,
	// The record was whole but for the TPM, which is new to it.
	{damaged, StatedConfirmed}: {linked, []Effect{Trust, OpenGate}},
	// fails locked: the service never holds a link as linked whose record was
	// disarmed by the device, since sign-out asks the service first.
	{signedOut, StatedLinked}: toDamaged,

	{linked, StatedLost}:    toLost,
	{signedOut, StatedLost}: toLost,
	{unlinked, StatedLost}:  toLost,
	{resetLock, StatedLost}: lostAgain,
	{lostLock, StatedLost}:  lostAgain,
	{missing, StatedLost}:   lostAgain,
	{damaged, StatedLost}:   lostAgain,

	{linked, StatedSignedOut}:    disarms,
	{signedOut, StatedSignedOut}: stays(signedOut),
	{unlinked, StatedSignedOut}:  disarms,
	{resetLock, StatedSignedOut}: opensOut,
	{lostLock, StatedSignedOut}:  opensOut,
	{missing, StatedSignedOut}:   opensOut,
	{damaged, StatedSignedOut}:   opensOut,

	{linked, StatedUnlinked}:    forgets,
	{signedOut, StatedUnlinked}: forgets,
	{unlinked, StatedUnlinked}:  stays(unlinked),
	{resetLock, StatedUnlinked}: opensFree,
	{lostLock, StatedUnlinked}:  opensFree,
	{missing, StatedUnlinked}:   opensFree,
	{damaged, StatedUnlinked}:   opensFree,

	// The owner allowed the reset and kept the ownership: the account may be linked
	// again, and nothing is enforced until then.
	{unlinked, StatedLeft}: stays(unlinked),

	// fails locked: an old copy of the record was put back.
	{linked, StatedElsewhere}:    toDamaged,
	{signedOut, StatedElsewhere}: toDamaged,
	{resetLock, StatedElsewhere}: {damaged, []Effect{Distrust}},
	{lostLock, StatedElsewhere}:  {damaged, []Effect{Distrust}},
	{missing, StatedElsewhere}:   {damaged, []Effect{Distrust}},
	{damaged, StatedElsewhere}:   {damaged, []Effect{Distrust}},
}

// Transition returns the status after event, and what is to be done for it, in
// order. It is the only place that decides a state after boot; a pair that the
// table does not hold is a *Refusal.
func Transition(s Status, event Event) (Status, []Effect, error) {
	o, ok := table[pair{s, event}]
	if !ok {
		return s, nil, &Refusal{Status: s, Event: event}
	}
	return o.status, append([]Effect(nil), o.effects...), nil
}
