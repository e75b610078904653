// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"

	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// CheckIn asks the account service how the link stands and acts on what it
// signs. No answer, an unsigned answer and a refusal change nothing. Errors are
// *fault.Error.
func (m *Manager) CheckIn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := m.checkInGivingWay(ctx, cancel); err != nil {
		return err
	}
	m.tell(ctx)
	return nil
}

func (m *Manager) checkInGivingWay(ctx context.Context, cancel context.CancelFunc) error {
	if err := m.keeper.wait(ctx); err != nil {
		return err
	}
	defer m.keeper.release()
	defer m.keeper.giveWay(cancel)()
	return ended(ctx, m.state(ctx))
}

// giveWay lets whoever wants to change ownership end a check-in that is waiting for
// the network: it is made again, and nobody stands before it. The function
// returned takes that back.
func (k *Keeper) giveWay(cancel context.CancelFunc) func() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.checking = cancel
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.checking = nil
	}
}

// checkIn is CheckIn from within a flow's answer.
func (m *Manager) checkIn(ctx context.Context) error {
	if err := m.keeper.acquire(ctx); err != nil {
		return err
	}
	defer m.keeper.release()
	return m.state(ctx)
}

// state asks and acts; the keeper is acquired.
func (m *Manager) state(ctx context.Context) error {
	k := m.keeper
	creds, err := k.credentials(ctx)
	if err != nil {
		return err
	}
	n, err := k.newNonce()
	if err != nil {
		return err
	}
	st, err := m.ports.Registry.State(ctx, creds, k.Snapshot().LinkID, n.value)
	// Only while locked: an open device must not be locked by a stranger who
	// enrolled, and linked, another one under its serial number.
	if fault.CodeOf(err) == fault.DeviceUnknown && !k.Snapshot().Status.Open() && k.enrolAgain(ctx) == nil {
		st, err = m.ports.Registry.State(ctx, creds, k.Snapshot().LinkID, n.value)
	}
	k.NoteContact(err)
	if err != nil {
		return err
	}
	if !k.alive(n, nonceLife) {
		return unfit(diagnose.TimedOut, "the statement came too late")
	}
	k.noteTime(st.Time)
	if err := m.actOn(ctx, st); err != nil {
		return err
	}
	now := m.ports.Clock.Now().Unix()
	k.update(func() { k.checked = now })
	if err := m.ports.Diary.SetLastCheckIn(ctx, now); err != nil {
		m.log.Warn("cannot keep the time of the last check-in", "error", err)
	}
	return nil
}

func (m *Manager) actOn(ctx context.Context, st lock.Statement) error {
	k := m.keeper
	k.mu.Lock()
	record := k.record
	k.mu.Unlock()
	ev, ok := st.EventFor(record)
	k.noteStated(st, ok)
	if !ok {
		m.log.Warn("ignored a statement about another link or an earlier time", "status", st.Status)
		return nil
	}
	if record.ConfirmedBy(st, k.marker) {
		ev = lock.StatedConfirmed
	}
	was := k.Snapshot().Status.State
	if err := k.apply(ctx, ev, st.Change(), "the account service states "+string(st.Status)); err != nil {
		return err
	}
	if now := k.Snapshot().Status.State; now != was && (now == lock.Unlinked || now == lock.SignedOut) {
		if err := m.ports.Diary.WipeAccount(ctx); err != nil {
			m.log.Warn("cannot wipe the account's data", "error", err)
		}
	}
	return nil
}

// Stated is what a statement said, and whether it was one about this device's record:
// any other changes nothing.
type Stated struct {
	Status lock.LinkStatus
	// Time is when it was signed, in seconds since the epoch.
	Time  int64
	Taken bool
}

// noteStated keeps what a statement said, for Explain.
func (k *Keeper) noteStated(st lock.Statement, taken bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stated = Stated{Status: st.Status, Time: st.Time, Taken: taken}
}

// unfit is the verdict on an answer that came, and is not one that can be used.
func unfit(f diagnose.Failure, cause string) error {
	return diagnose.Of(diagnose.Findings{Attempt: diagnose.Attempt{Stage: diagnose.Answer, Failure: f}}).Fault(errors.New(cause))
}

// armedLink returns the link that the record is armed with, or nothing.
func (k *Keeper) armedLink() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.record.Armed {
		return ""
	}
	return k.record.Link.ID
}
