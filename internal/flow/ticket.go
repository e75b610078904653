// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"errors"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/secret"
)

// Tickets verifies a grant that a person brought: signed by the account service
// for this device and for the challenge that the device shows. Errors as
// Conversation.
type Tickets interface {
	Ticket(ctx context.Context, deviceID, ticket, challenge string) (Grant, error)
}

// isTicket reports whether what was typed, or read from a file, has the form of a
// signed word (JWS) and not of a code.
func isTicket(typed secret.Bytes) bool { return bytes.Count(typed, []byte{'.'}) == 2 }

// byTicket opens the device with a grant brought from elsewhere. What it permits,
// and what it must fit, is the same as over the network; only its nonce, which
// follows from the challenge, lives longer. It is no guess, and does not count.
func (f *Flow) byTicket(ctx context.Context, typed secret.Bytes) error {
	k := f.m.keeper
	if err := k.acquire(ctx); err != nil {
		return err
	}
	defer k.release()
	if err := lock.MayBegin(lock.KindUnlock, k.Snapshot().Status.State); err != nil {
		return refused(err)
	}
	creds, err := k.resumeCredentials()
	if err != nil {
		return err
	}
	shown := f.challenge()
	g, err := f.m.ports.Tickets.Ticket(ctx, creds.ID, string(bytes.TrimSpace(typed)), shown)
	if err != nil {
		return err
	}
	if err := k.admit(g, shown); err != nil {
		if p, perr := k.challengePrompt(); perr == nil {
			f.show(StepOffline, p)
		}
		return err
	}
	return f.open(ctx, lock.Change{Link: g.Link, AccountID: g.AccountID, Hint: g.Hint, Time: g.Time}, "the ticket fits")
}

// admit checks what a verified ticket is for. fails locked.
func (k *Keeper) admit(g Grant, shown string) error {
	boot := k.ports.Clock.Boot()
	k.mu.Lock()
	o := k.record.Offline
	k.mu.Unlock()
	switch {
	case g.Purpose != string(lock.KindUnlock):
		return fault.New(fault.GrantRefused, errors.New("the ticket is for another purpose"))
	case g.Link.ID == "":
		return fault.New(fault.GrantRefused, errors.New("the ticket names no link"))
	case shown == "" || shown != o.Challenge:
		return fault.Newf(fault.CodeExpired, "The challenge that this ticket answers is no longer the one.")
	case !o.TakesTicket(boot, g.Lifetime):
		// Whoever brings it had it from the account service: they need another
		// challenge, or no later ticket would be in time either.
		if err := k.askAnew(func(o lock.Offline) bool { return o.Challenge == shown }); err != nil {
			return err
		}
		e := fault.Newf(fault.CodeExpired, "The ticket came too late.")
		e.Remedy = "Fetch a ticket for the challenge that is shown now, and bring it within a day."
		return e
	}
	return nil
}
