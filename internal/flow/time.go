// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// Time is what the device knows of the time: its clock, and what the account
// service signed. It is safe for concurrent use.
type Time struct {
	clock Clock
	built time.Time

	mu      sync.Mutex
	trusted lock.TrustedTime
}

// NewTime returns the time of a device on whose record the service's last signed time
// is floor, in seconds since the epoch. built is when the program was made; the
// zero Time is unknown.
func NewTime(floor int64, clock Clock, built time.Time) *Time {
	return &Time{clock: clock, built: built, trusted: lock.TrustedTime{Floor: floor}}
}

// Now returns the time that certificates are checked by.
func (t *Time) Now() time.Time { return t.Known().Used() }

// Known returns all that is known of the time. Who sets the clock is for others to
// add.
func (t *Time) Known() diagnose.Clock {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := diagnose.Clock{System: t.clock.Now(), Built: t.built, Signed: t.trusted.Signed(t.clock.Boot())}
	if t.trusted.Floor > 0 {
		c.Floor = time.Unix(t.trusted.Floor, 0)
	}
	return c
}

// take is told each time that the service signed over a nonce that is alive.
func (t *Time) take(signed int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trusted = t.trusted.Take(signed, t.clock.Boot())
}

// signed returns the last signed time since boot, in seconds since the epoch; 0 is
// none.
func (t *Time) signed() int64 {
	if s := t.Known().Signed; !s.IsZero() {
		return s.Unix()
	}
	return 0
}

// timeDrift is how far the time on record may be from the service's before it is
// written for its own sake, in seconds: seldom enough for the medium, and near
// enough to spare a device that has lost its clock a question.
const timeDrift = 7 * 24 * 3600

// noteTime takes the service's signed time. The medium gets it with the next
// change, or now where it is far from what is there.
func (k *Keeper) noteTime(signed int64) {
	k.ports.Time.take(signed)
	k.mu.Lock()
	drift := signed - k.record.TrustedTime
	k.mu.Unlock()
	if max(drift, -drift) <= timeDrift {
		return
	}
	if err := k.amend(false, true, func(r lock.Record) lock.Record { return r }, nil); err != nil {
		k.log.Warn("cannot keep the account service's time on the medium", "error", err)
	}
}

// askTime asks for a statement, for its signed time alone: how the link stands is
// the check-in's matter.
func (k *Keeper) askTime(ctx context.Context, creds Credentials) error {
	n, err := k.newNonce()
	if err != nil {
		return err
	}
	st, err := k.ports.Registry.State(ctx, creds, k.Snapshot().LinkID, n.value)
	if err != nil {
		return err
	}
	if k.alive(n, nonceLife) {
		k.noteTime(st.Time)
	}
	return nil
}

// timed is a Conversation that, where a call failed on the dates of the service's
// certificate, asks for the service's signed time and tries again by that.
type timed struct {
	Conversation

	k *Keeper
}

// Begin implements Conversation.
func (t timed) Begin(ctx context.Context, c Credentials, b Begin) (Remote, error) {
	return inTime(ctx, t.k, c, func() (Remote, error) { return t.Conversation.Begin(ctx, c, b) })
}

// Answer implements Conversation.
func (t timed) Answer(ctx context.Context, c Credentials, id string, a Answer) (Remote, error) {
	return inTime(ctx, t.k, c, func() (Remote, error) { return t.Conversation.Answer(ctx, c, id, a) })
}

// Resend implements Conversation.
func (t timed) Resend(ctx context.Context, c Credentials, id string) (Remote, error) {
	return inTime(ctx, t.k, c, func() (Remote, error) { return t.Conversation.Resend(ctx, c, id) })
}

// InTime runs a question to the account service that needs no credentials, likewise. A
// device that is not enrolled cannot ask for the time.
func (k *Keeper) InTime(ctx context.Context, do func() error) error {
	creds, err := k.resumeCredentials()
	if err != nil {
		return do()
	}
	_, err = inTime(ctx, k, creds, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

func inTime[T any](ctx context.Context, k *Keeper, creds Credentials, do func() (T, error)) (T, error) {
	out, err := do()
	if fault.CodeOf(err) == fault.ClockWrong && k.askTime(ctx, creds) == nil {
		out, err = do()
	}
	return out, err
}
