// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"encoding/base64"
	"io"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// MaxEventDetail bounds, in bytes, what is said of an event.
const MaxEventDetail = 200

// Event is something that happened on the device, for the owner's list. It holds
// no secret.
type Event struct {
	// Kind is one of the account API's (DeviceEvent).
	Kind string
	// Time in seconds since the epoch, by the trusted time.
	Time   int64
	Detail string
}

// The kinds of events.
const (
	eventLocked    = "locked"
	eventUnlocked  = "unlocked"
	eventLinked    = "linked"
	eventSignedOut = "signed-out"
	eventUnlinked  = "unlinked"
	eventRefused   = "attempt-refused"
	eventStarted   = "started"
)

// EventLog keeps events until the account service has them; a factory reset wipes
// it. It is bounded: the oldest give way. Its errors are StorageFailed.
type EventLog interface {
	AddEvent(context.Context, Event) error
	// AddStart adds e unless one was added in this boot.
	AddStart(ctx context.Context, bootID string, e Event) error
	// NextEvents returns the oldest events, few enough for one call, under the name
	// that they were given when they were first returned: fresh, if it is now.
	NextEvents(ctx context.Context, fresh string) (batch string, events []Event, err error)
	DropEvents(ctx context.Context, batch string) error
}

// happened notes an event. A journal that fails holds nothing up: the events are for
// the owner to read, and decide nothing.
func (k *Keeper) happened(ctx context.Context, kind, detail string) {
	e := Event{Kind: kind, Time: k.ports.Time.Now().Unix(), Detail: detail}
	if err := k.ports.Events.AddEvent(ctx, e); err != nil {
		k.log.Warn("cannot keep an event", "kind", kind, "error", err)
	}
}

// changed notes a change of the state.
func (k *Keeper) changed(ctx context.Context, from, to lock.Status) {
	kind := eventLinked
	switch {
	case to.State == lock.Locked:
		kind = eventLocked
	case from.State == lock.Locked:
		kind = eventUnlocked
	case to.State == lock.SignedOut:
		kind = eventSignedOut
	case to.State == lock.Unlinked:
		kind = eventUnlinked
	}
	k.happened(ctx, kind, to.String())
}

// maxBatches bounds what one check-in tells.
const maxBatches = 5

// tell brings the account service what has happened. It is asked under the same name
// until it has answered, so that a crash tells nothing twice and loses nothing.
func (m *Manager) tell(ctx context.Context) {
	k := m.keeper
	creds, err := k.resumeCredentials()
	if err != nil {
		return
	}
	start := Event{Kind: eventStarted, Time: k.ports.Time.Now().Unix(), Detail: k.Snapshot().Status.String()}
	if err := m.ports.Events.AddStart(ctx, m.ports.Clock.Boot().ID, start); err != nil {
		m.log.Warn("cannot keep an event", "kind", start.Kind, "error", err)
	}
	for range maxBatches {
		more, err := m.tellBatch(ctx, creds)
		if err != nil {
			m.log.Info("the account service was not told what has happened; it will be", "error", err)
		}
		if err != nil || !more {
			return
		}
	}
}

func (m *Manager) tellBatch(ctx context.Context, creds Credentials) (more bool, err error) {
	name := make([]byte, 24)
	if _, err := io.ReadFull(m.ports.Random, name); err != nil {
		return false, err
	}
	batch, events, err := m.ports.Events.NextEvents(ctx, base64.RawURLEncoding.EncodeToString(name))
	if err != nil || len(events) == 0 {
		return false, err
	}
	switch err := m.ports.Registry.Report(ctx, creds, batch, events); fault.CodeOf(err) {
	case "":
	case fault.InvalidArgument:
		// It will not take them the next time either.
		m.log.Warn("the account service does not take these events; they are dropped", "count", len(events), "error", err)
	default:
		return false, err
	}
	return true, m.ports.Events.DropEvents(ctx, batch)
}
