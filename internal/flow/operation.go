// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// unlock is the operation of an accepted unlock grant: marker, record, gate.
// Nothing is carried forward after a crash: until the record is written the
// device is as locked as before, and after it as open as it will be.
func (f *Flow) unlock(ctx context.Context, n pendingNonce) error {
	if err := f.m.keeper.acquire(ctx); err != nil {
		return err
	}
	defer f.m.keeper.release()
	// Once more: what was waited for may have changed what the grant is about.
	if err := f.accept(n, string(lock.KindUnlock)); err != nil && !f.m.keeper.Snapshot().Status.Open() {
		return err
	}
	g := f.remote.Grant
	return f.open(ctx, lock.Change{Link: g.Link, AccountID: g.AccountID, Hint: g.Hint, Time: g.Time}, "the account check passed")
}

// open writes the marker, then the record, and opens the gate. The caller has
// acquired the keeper.
func (f *Flow) open(ctx context.Context, c lock.Change, rule string) error {
	k := f.m.keeper
	if k.Snapshot().Status.Open() {
		// Another flow, or the service's statement, was quicker: its marker stands.
		f.finish(StepDone, Outcome{Word: "done"}, nil)
		return nil
	}
	if !f.work() {
		return errEnded()
	}
	// What was granted is carried out, however long the answer took to come.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	hash, merr := k.newMarker()
	if hash == nil {
		return f.fail(merr)
	}
	c.MarkerHash = hash
	err := k.apply(ctx, lock.UnlockDone, c, rule)
	if fault.CodeOf(err) != "" && !k.Snapshot().Status.Open() {
		return f.fail(err)
	}
	if e := fault.As(errors.Join(merr, err)); merr != nil || err != nil {
		// The owner is in; the medium is not to be trusted with it.
		e = fault.New(fault.StorageFailed, e)
		e.Message = "The device is open, but could not write that down, and will ask again after a restart."
		f.finish(StepDone, Outcome{Word: "done"}, e)
		return nil
	}
	f.finish(StepDone, Outcome{Word: "done"}, nil)
	return nil
}

func (f *Flow) fail(err error) error {
	f.finish(StepFailed, Outcome{Word: "failed"}, err)
	return err
}

// reserve asks the account service for the link, arms the record with it, and
// leaves the commit to the operation.
func (f *Flow) reserve(ctx context.Context) error {
	k := f.m.keeper
	if err := k.acquire(ctx); err != nil {
		return err
	}
	keep := false
	defer func() {
		if !keep {
			k.release()
		}
	}()
	if err := lock.MayBegin(lock.KindLink, k.Snapshot().Status.State); err != nil {
		return f.fail(refused(err))
	}
	creds, err := k.credentials(ctx)
	if err != nil {
		return err
	}
	n, err := k.newNonce()
	if err != nil {
		return err
	}
	op := Operation{FlowID: f.remote.FlowID, Kind: lock.KindLink}
	if err := f.m.ports.Journal.Begin(ctx, op); err != nil {
		return fault.As(err)
	}
	r, err := f.m.ports.Conversation.Answer(ctx, creds, op.FlowID, Answer{Step: remoteConfirm, Confirm: true, AgreeOffline: true, Nonce: n.value})
	k.NoteContact(err)
	if err == nil {
		f.setRemote(r)
		if r.Step != remoteCommit {
			err = unfit(diagnose.Garbled, "the account service answers a consent with the step "+r.Step)
		} else {
			err = f.accept(n, string(lock.KindLink))
		}
	}
	if err != nil {
		f.m.drop(op)
		if stale(err) {
			f.m.endRemote(op.FlowID)
			// The service's side is gone: the person has to sign in again.
			return f.fail(fault.New(fault.Timeout, err))
		}
		return err
	}
	if err := f.arm(ctx); err != nil {
		f.m.drop(op)
		f.m.endRemote(op.FlowID)
		return f.fail(err)
	}
	op.LinkID = r.Grant.Link.ID
	keep = true
	f.operate(creds, op)
	return nil
}

// arm writes the marker, then the record: from here on the device asks after
// a reset.
func (f *Flow) arm(ctx context.Context) error {
	k, g := f.m.keeper, f.remote.Grant
	if !f.work() {
		return errEnded()
	}
	hash, err := k.newMarker()
	if err != nil {
		return err
	}
	return k.apply(ctx, lock.LinkDone, lock.Change{
		Link: g.Link, AccountID: g.AccountID, Hint: g.Hint,
		MarkerHash: hash, RecoveryHash: f.recovery.hash(), OfflineKey: g.OfflineKey, Time: g.Time,
	}, "the account was linked")
}

// begin notes a sign-out or an unlink that the account service has granted,
// and starts to carry it out.
func (f *Flow) begin(ctx context.Context, creds Credentials, n pendingNonce) error {
	k := f.m.keeper
	if err := k.acquire(ctx); err != nil {
		return err
	}
	op := Operation{FlowID: f.remote.FlowID, Kind: f.remoteKind(), LinkID: f.remote.Grant.Link.ID}
	if err := f.note(ctx, op, n); err != nil {
		k.release()
		return f.fail(fault.As(err))
	}
	f.operate(creds, op)
	return nil
}

// note looks once more at what was granted, now that nothing can cross it, and
// notes the operation in the journal.
func (f *Flow) note(ctx context.Context, op Operation, n pendingNonce) error {
	k := f.m.keeper
	if err := lock.MayBegin(op.Kind, k.Snapshot().Status.State); err != nil {
		return refused(err)
	}
	if err := f.stillGranted(op, n); err != nil {
		return err
	}
	if !k.sameLink(op.LinkID) {
		return fault.New(fault.GrantRefused, errors.New("the grant is for another link"))
	}
	if !f.work() {
		return errEnded()
	}
	return f.m.ports.Journal.Begin(context.WithoutCancel(ctx), op)
}

// stillGranted checks a grant once more. In a reset a person has read and confirmed
// since it was verified, which may take longer than a nonce lives; nothing else may
// have changed. What is done in the end follows from a word over a fresh nonce.
func (f *Flow) stillGranted(op Operation, n pendingNonce) error {
	if f.kind != lock.KindReset {
		return f.accept(n, string(op.Kind))
	}
	if !f.m.keeper.unchangedSince(n) {
		return fault.New(fault.GrantRefused, errors.New("the state changed since the grant"))
	}
	return nil
}

// operate carries op to its end in the background, whatever becomes of the
// flow's owner. The caller has acquired the keeper.
func (f *Flow) operate(creds Credentials, op Operation) {
	f.advance(0.25, nil)
	f.m.work.Go(func() {
		defer f.m.keeper.release()
		f.carry(creds, op)
	})
}

// carry commits op at the account service, as often as it takes, and then
// brings the record in line with the service's signed word.
func (f *Flow) carry(creds Credentials, op Operation) {
	ctx := f.m.ctx
	st, receipt, err := f.commit(ctx, creds, op)
	if ctx.Err() != nil {
		// The daemon ends; the journal holds it for the next start.
		return
	}
	if err != nil {
		// The service refuses even to say how the link stands. The journal holds it
		// for the next start; until then it must not hold everything else up.
		_ = f.fail(err)
		return
	}
	f.advance(0.75, nil)
	if err := f.m.conclude(ctx, op, st); err != nil {
		_ = f.fail(err)
		return
	}
	if f.kind == lock.KindReset {
		_ = f.trigger(ctx, receipt)
		return
	}
	f.finish(StepDone, Outcome{Word: "done", Receipt: receipt}, nil)
}

// maxPause bounds how long an operation waits before it asks again, whatever
// the account service asks for: check-ins wait for it.
const maxPause = time.Minute

// commit asks until the account service has given its signed word on how the
// link stands after op. It ends with an error when ctx does, and when the service
// knows neither the flow nor the device any more.
func (f *Flow) commit(ctx context.Context, creds Credentials, op Operation) (lock.Statement, string, error) {
	k := f.m.keeper
	lost := false // the service no longer knows the flow: ask for the bare word
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 200*time.Millisecond, maxPause
	for {
		n, err := k.newNonce()
		if err != nil {
			return lock.Statement{}, "", err
		}
		st, receipt, err := f.ask(ctx, creds, op, lost, n)
		k.NoteContact(err)
		if err == nil && k.alive(n, nonceLife) {
			return st, receipt, nil
		}
		e := fault.As(err)
		f.m.log.Info("the operation waits for the account service", "kind", op.Kind, "code", fault.CodeOf(err), "cause", err)
		if err != nil && !outage(e) {
			if lost {
				return lock.Statement{}, "", err
			}
			lost = true
		}
		f.advance(0.25, err)
		d := pause.NextBackOff()
		if e != nil && e.RetryAfter > 0 {
			d = min(max(d, e.RetryAfter), maxPause)
		}
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return lock.Statement{}, "", ctx.Err()
		}
	}
}

func (f *Flow) ask(ctx context.Context, creds Credentials, op Operation, lost bool, n pendingNonce) (lock.Statement, string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if lost {
		st, err := f.m.ports.Registry.State(ctx, creds, op.LinkID, n.value)
		if fault.CodeOf(err) == fault.DeviceUnknown && f.m.keeper.enrolAgain(ctx) == nil {
			st, err = f.m.ports.Registry.State(ctx, creds, op.LinkID, n.value)
		}
		return st, "", err
	}
	r, err := f.m.ports.Conversation.Answer(ctx, creds, op.FlowID, Answer{Step: remoteCommit, Nonce: n.value})
	if err != nil {
		return lock.Statement{}, "", err
	}
	if r.Statement == nil {
		return lock.Statement{}, "", fault.New(fault.GrantRefused, errors.New("the commit came without a statement"))
	}
	return *r.Statement, r.Receipt, nil
}

// outage reports whether asking again the same way may help.
func outage(e *fault.Error) bool {
	switch e.Code {
	case fault.NetworkUnavailable, fault.ServiceUnavailable, fault.ServiceUntrusted,
		fault.CaptivePortal, fault.ClockWrong, fault.RateLimited:
		return true
	default:
		return false
	}
}

// conclude brings the record in line with the account service's word after an
// operation, and closes it in the journal. It may run twice.
func (m *Manager) conclude(ctx context.Context, op Operation, st lock.Statement) error {
	k := m.keeper
	happened := m.happened(op, st)
	k.noteStated(st, happened)
	if !happened {
		// The journal's word opens nothing: what the service signed goes the way of
		// every statement.
		if err := m.actOn(ctx, st); err != nil {
			return err
		}
	} else if e := events[op.Kind]; e.done != "" && k.Snapshot().Status.State != e.target {
		if err := k.apply(ctx, e.done, lock.Change{Time: st.Time}, "the account service confirmed it"); err != nil {
			return err
		}
	}
	outcome := "done"
	if !happened {
		outcome = "dropped"
	}
	if err := m.ports.Journal.End(ctx, op.FlowID, outcome); err != nil {
		// It will be found at the next start and concluded once more.
		m.log.Warn("cannot close the operation in the journal", "error", err)
	}
	if happened && op.Kind != lock.KindLink {
		if err := m.ports.Diary.WipeAccount(ctx); err != nil {
			m.log.Warn("cannot wipe the account's data", "error", err)
		}
	}
	if !happened {
		return fault.Newf(fault.Timeout, "The account service did not carry this out in time; nothing has changed.")
	}
	return nil
}

// events says, for each kind, the event when the service has done it, and the
// state that it leads to.
var events = map[lock.Kind]struct {
	done   lock.Event
	target lock.State
}{
	// The record was armed before the commit: there is nothing left to do.
	lock.KindLink:    {"", lock.Linked},
	lock.KindSignOut: {lock.SignOutDone, lock.SignedOut},
	lock.KindUnlink:  {lock.UnlinkDone, lock.Unlinked},
}

// happened reads from the service's word whether the operation was done.
func (m *Manager) happened(op Operation, st lock.Statement) bool {
	switch op.Kind {
	case lock.KindLink:
		return st.Link.ID == op.LinkID && (st.Status == lock.StatusLinked || st.Status == lock.StatusLost)
	case lock.KindSignOut:
		return st.Status != lock.StatusLinked && st.Status != lock.StatusLost
	case lock.KindUnlink:
		return st.Status == lock.StatusUnlinked || st.Status == lock.StatusAccountDeleted
	default:
		return false
	}
}
