// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// Resetter begins factory resets.
type Resetter interface {
	// Ready returns nil where this machine has a way to be reset, ErrNoReset where
	// it has none, and another error where the way is there and does not work. It
	// is asked before anything is changed.
	Ready() error
	// Trigger begins the reset and returns once the machine is on its way to it.
	// An error means that nothing was wiped.
	Trigger(context.Context) error
	// Begins reports whether Trigger begins anything: otherwise the reset is allowed,
	// and for others to begin.
	Begins() bool
}

// ErrNoReset is the error of a machine without a way to be reset.
var ErrNoReset = errors.New("this machine has no way to begin a factory reset")

// ResetElsewhere is the Resetter of a machine that others reset, once its owner has
// allowed it: a recovery system, a vendor's own program.
type ResetElsewhere struct{}

var _ Resetter = ResetElsewhere{}

// Ready implements Resetter.
func (ResetElsewhere) Ready() error { return nil }

// Trigger implements Resetter.
func (ResetElsewhere) Trigger(context.Context) error { return nil }

// Begins implements Resetter.
func (ResetElsewhere) Begins() bool { return false }

// resetFault is the fault of a machine that cannot be reset, or of a reset that did
// not begin.
func resetFault(err error) *fault.Error {
	e := fault.New(fault.Internal, err)
	e.Message, e.Remedy = "The factory reset could not be started.", "Try again; if it comes back, ask support. After a reset begun in any other way the device asks for the account."
	if errors.Is(err, ErrNoReset) {
		e.Message, e.Remedy = "This device has no way to start a factory reset.", "Ask its vendor. After a reset begun in any other way the device asks for the account."
	}
	return e
}

// unlinks reports whether the reset ends the ownership too: asked for, and there is
// one to end.
func (f *Flow) unlinks() bool {
	return f.kind == lock.KindReset && f.unlink && f.m.keeper.Snapshot().LinkID != ""
}

// proves reports whether the account has to be checked before the reset: where it
// would give up what the lock protects.
func (f *Flow) proves() bool {
	return f.unlinks() || f.m.keeper.Snapshot().Status.State == lock.Linked
}

// remoteKind is what the flow is about at the account service. A reset that ends
// the ownership is an unlink there.
func (f *Flow) remoteKind() lock.Kind {
	if f.kind == lock.KindReset && f.unlink {
		return lock.KindUnlink
	}
	return f.kind
}

// firstOfReset is the step that a reset begins with.
func (f *Flow) firstOfReset() (Step, Prompt) {
	if f.proves() {
		return StepPassword, passwordPrompt(f.kind, f.m.keeper.Snapshot())
	}
	return StepConfirm, resetPrompt(f.m.keeper.Snapshot(), false, f.m.ports.Resetter.Begins())
}

// proven asks for the last word before a reset. n is the nonce that the grant of
// an unlink answers; the reset's own grant is fetched with the answer.
func (f *Flow) proven(n pendingNonce) error {
	if f.unlinks() {
		if err := f.accept(n, string(lock.KindUnlink)); err != nil {
			return err
		}
	}
	f.checked = &n
	f.show(StepConfirm, resetPrompt(f.m.keeper.Snapshot(), f.unlinks(), f.m.ports.Resetter.Begins()))
	return nil
}

// confirmReset takes the person's last word and resets the device.
func (f *Flow) confirmReset(ctx context.Context) error {
	if err := f.m.ports.Resetter.Ready(); err != nil {
		return resetFault(err)
	}
	switch {
	case !f.proves():
		return f.reset(ctx, nil)
	case f.checked == nil:
		// An account was linked since the flow began.
		f.show(StepPassword, passwordPrompt(f.kind, f.m.keeper.Snapshot()))
		return nil
	case f.unlinks():
		creds, err := f.m.keeper.credentials(ctx)
		if err != nil {
			return err
		}
		return f.begin(ctx, creds, *f.checked)
	default:
		return f.attempt(ctx, Answer{Step: remoteConfirm, Confirm: true})
	}
}

// reset allows the reset on the record, where the record is armed, and begins it. n is
// the nonce of the grant that permits that; nil where there is nothing to permit.
func (f *Flow) reset(ctx context.Context, n *pendingNonce) error {
	k := f.m.keeper
	if err := k.acquire(ctx); err != nil {
		return err
	}
	defer k.release()
	if err := lock.MayBegin(lock.KindReset, k.Snapshot().Status.State); err != nil {
		return refused(err)
	}
	switch {
	case n == nil && f.proves():
		// fails locked: it was linked while this waited.
		return fault.New(fault.WrongStep, errors.New("the device was linked meanwhile"))
	case n != nil:
		if err := f.accept(*n, string(lock.KindReset)); err != nil {
			return err
		}
		if !k.sameLink(f.remote.Grant.Link.ID) {
			return fault.New(fault.GrantRefused, errors.New("the grant is for another link"))
		}
	}
	if !f.work() {
		return errEnded()
	}
	if n != nil {
		boot := k.ports.Clock.Boot()
		err := k.amend(true, false, func(r lock.Record) lock.Record { return r.AllowReset(boot) }, nil)
		if err != nil {
			return f.fail(err)
		}
		k.note(ctx, "reset", "the owner allowed a factory reset")
	}
	return f.trigger(ctx, "")
}

// trigger begins the reset; receipt is of an unlink that came before. Where it does
// not begin, the permission is taken back.
func (f *Flow) trigger(ctx context.Context, receipt string) error {
	k := f.m.keeper
	if err := f.m.ports.Resetter.Trigger(context.WithoutCancel(ctx)); err != nil {
		// Written through even where memory thinks it is written already: anyway, since
		// what is shown must not promise a reset that did not begin.
		if aerr := k.amend(true, true, lock.Record.ForbidReset, nil); aerr != nil {
			err = errors.Join(err, aerr)
		}
		return f.fail(resetFault(err))
	}
	f.m.log.Info("the factory reset is allowed", "begun", f.m.ports.Resetter.Begins())
	f.finish(StepDone, Outcome{Word: "done", Receipt: receipt}, nil)
	return nil
}

// SettleReset brings the record in line with a reset that its owner allowed, at the
// start of the daemon: one that happened leaves the account behind, one that did
// not is allowed no more. A medium that fails is told in the log and tried again
// with the next write.
func (k *Keeper) SettleReset() {
	boot := k.ports.Clock.Boot()
	k.mu.Lock()
	d := lock.Decision{Status: k.status}
	k.mu.Unlock()
	err := k.amend(true, true, func(r lock.Record) lock.Record { return d.AfterReset(r, boot) }, nil)
	if err != nil {
		k.log.Error("cannot write down that a factory reset is over", "error", err)
	}
}
