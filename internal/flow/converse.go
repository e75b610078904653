// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"

	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// The steps of the account service that the device itself acts on; the words
// are docs/account-api.yaml's.
const (
	remoteIdentify = "identify"
	remotePassword = "password"
	remoteCaptcha  = "captcha"
	remoteCode     = "code"
	remoteApprove  = "approve"
	remoteConfirm  = "confirm"
	remoteCommit   = "commit"
	remoteDone     = "done"
)

// handle works on one answer that fits its step.
func (f *Flow) handle(ctx context.Context, step Step, a answer) error {
	defer wipe(a.password, a.repeat, a.code, a.recoveryCode)
	var err error
	switch step {
	case StepIdentify:
		err = f.identify(ctx, a)
	case StepPassword:
		err = f.attempt(ctx, Answer{Step: remotePassword, Password: a.password})
	case StepCaptcha:
		err = f.solved(ctx, a.captcha)
	case StepCode:
		err = f.attempt(ctx, Answer{Step: remoteCode, Code: a.code})
	case StepNew:
		err = f.choosePassword(ctx, a)
	case StepConfirm:
		err = f.confirm(ctx, a)
	case StepOffline:
		err = f.byOfflineCode(ctx, a.code)
	case StepRecovery:
		err = f.byRecoveryCode(ctx, a.code)
	default:
		err = fault.New(fault.WrongStep, nil)
	}
	return ended(ctx, err)
}

// identify keeps who the person says they are. Nothing goes out yet: beginning
// needs no network, and the service hears of it together with the password.
func (f *Flow) identify(ctx context.Context, a answer) error {
	hint := f.m.keeper.Snapshot().Hint
	if a.identifier == "" && hint == "" {
		return fault.Newf(fault.InvalidArgument, "Nothing was typed, and this device knows no account that could be meant.")
	}
	f.identifier, f.useHint, f.told = a.identifier, a.identifier == "", false
	if f.recovering {
		return f.recover(ctx)
	}
	f.show(StepPassword, passwordPrompt(f.kind, f.m.keeper.Snapshot()))
	return nil
}

// attempt sends one answer to the account service, beginning its side of the
// flow first where that has not been done or has expired there.
func (f *Flow) attempt(ctx context.Context, a Answer) error {
	if left := f.m.keeper.retryAfter(); left > 0 && !f.recovering && a.Step != remoteApprove {
		e := fault.New(fault.RateLimited, nil)
		e.RetryAfter = left
		return e
	}
	creds, err := f.m.keeper.credentials(ctx)
	if err != nil {
		return err
	}
	if f.kind == lock.KindLink && a.Step == remotePassword {
		f.m.keeper.proveBeforeLink(ctx)
	}
	n, err := f.m.keeper.newNonce()
	if err != nil {
		return err
	}
	a.Nonce = n.value
	r, err := f.send(ctx, creds, a)
	if fault.CodeOf(err) == fault.DeviceUnknown && f.m.keeper.enrolAgain(ctx) == nil {
		f.setRemote(Remote{})
		r, err = f.send(ctx, creds, a)
	}
	if stale(err) && (a.Step == remotePassword || a.Step == remoteIdentify || a.Step == remoteApprove) {
		// The service's side is gone (it keeps flows for a quarter of an hour):
		// begin it once more; the person need not know.
		f.setRemote(Remote{})
		f.told = false
		r, err = f.send(ctx, creds, a)
	}
	f.m.keeper.NoteContact(err)
	if stale(err) {
		// The service stands elsewhere: its last answer was lost on the way. The
		// password leads back into step with it.
		f.setRemote(Remote{})
		f.told = false
		if f.recovering {
			f.show(StepIdentify, recoverPrompt(f.m.keeper.Snapshot()))
			return fault.New(fault.Timeout, err)
		}
		if a.Step == remoteApprove {
			f.show(f.first())
			return fault.New(fault.Timeout, err)
		}
		f.show(StepPassword, passwordPrompt(f.kind, f.m.keeper.Snapshot()))
		return fault.New(fault.Timeout, err)
	}
	if err != nil && a.Step == remoteApprove {
		return f.noCode(ctx, err)
	}
	if err != nil {
		return f.refusal(ctx, err)
	}
	f.setRemote(r)
	return f.follow(ctx, creds, n)
}

func stale(err error) bool {
	c := fault.CodeOf(err)
	return c == fault.Timeout || c == fault.WrongStep
}

// send brings the service's side to the step that a answers, then answers it.
func (f *Flow) send(ctx context.Context, creds Credentials, a Answer) (Remote, error) {
	conv := f.m.ports.Conversation
	if f.remote.FlowID == "" {
		r, err := conv.Begin(ctx, creds, Begin{
			Kind: f.about(), Open: f.m.keeper.Snapshot().Status.Open(), LinkID: f.m.keeper.Snapshot().LinkID,
			Locale: f.locale, Region: f.region, Nonce: a.Nonce,
		})
		if err != nil {
			return Remote{}, err
		}
		f.setRemote(r)
		if f.about() == lock.KindUnlock {
			f.m.keeper.noteApproves(r.Approves)
		}
		// A flow that begins at the password knows its account already.
		f.told = r.Step == remotePassword
	}
	if a.Step == remoteApprove && !f.m.keeper.Snapshot().Approves {
		return Remote{}, fault.Newf(fault.Declined, "The account service does not let a device be opened by approval.")
	}
	if a.Step == remotePassword && !f.told {
		r, err := conv.Answer(ctx, creds, f.remote.FlowID, Answer{
			Step: remoteIdentify, Identifier: f.identifier, UseHint: f.useHint,
		})
		if err != nil {
			return Remote{}, err
		}
		f.setRemote(r)
		f.told = true
	}
	return conv.Answer(ctx, creds, f.remote.FlowID, a)
}

// refusal keeps what a refusal asks the device to remember.
func (f *Flow) refusal(ctx context.Context, err error) error {
	e := fault.As(err)
	switch {
	case f.recovering: // what the service asks to wait is about the account, and not for the device to keep
	case e.Code == fault.InvalidCode && e.AttemptsLeft == 0:
		// A code that was sent is used up by so many tries, and brings no wait.
		e.AttemptsLeft, e.Remedy = -1, fault.New(fault.CodeExpired, nil).Remedy
	case (e.Code == fault.RateLimited || e.Code == fault.InvalidCredentials) && e.RetryAfter > 0:
		// The wrong password that brings a wait says so itself.
		f.m.keeper.setWait(e.RetryAfter)
	case f.kind == lock.KindUnlock && (e.Code == fault.NotLinked || e.Code == fault.AccountDeleted):
		// The service no longer holds the device: its statement opens it.
		if cerr := f.m.checkIn(ctx); cerr != nil {
			return cerr
		}
		if f.m.keeper.Snapshot().Status.Open() {
			f.finish(StepDone, Outcome{Word: "done"}, nil)
			return nil
		}
	}
	return e
}

// follow goes where the account service's step leads. n is the nonce that a
// grant in it answers.
func (f *Flow) follow(ctx context.Context, creds Credentials, n pendingNonce) error {
	r := f.remote
	if f.recovering && f.followRecovery() {
		return nil
	}
	switch r.Step {
	case remotePassword:
		// It comes after a check, for which the password was set aside unread.
		p := passwordPrompt(f.kind, f.m.keeper.Snapshot())
		p.Text = "The check is done. Type the password once more; it was not looked at before."
		f.show(StepPassword, p)
		return nil
	case remoteCaptcha:
		f.show(StepCaptcha, captchaPrompt(f.kind, r))
		return nil
	case remoteCode:
		f.show(StepCode, codePrompt(f.kind, r))
		return nil
	case remoteApprove:
		return f.awaitApproval()
	case remoteConfirm:
		if f.kind == lock.KindReset {
			return f.proven(n)
		}
		return f.rehearse(n)
	case remoteCommit:
		if f.kind == lock.KindReset {
			return f.proven(n)
		}
		if err := f.accept(n, string(f.kind)); err != nil {
			return err
		}
		return f.begin(ctx, creds, n)
	case remoteDone:
		if f.kind == lock.KindReset {
			return f.reset(ctx, &n)
		}
		if err := f.accept(n, string(lock.KindUnlock)); err != nil {
			return err
		}
		return f.unlock(ctx, n)
	default:
		return unfit(diagnose.UnknownStep, "the account service asks for a step that this version does not know")
	}
}

// accept checks what a verified grant is for. fails locked: whatever does not
// fit changes nothing.
func (f *Flow) accept(n pendingNonce, purpose string) error {
	g := f.remote.Grant
	switch {
	case g == nil:
		return fault.New(fault.GrantRefused, errors.New("the step came without a grant"))
	case g.Purpose != purpose:
		return fault.New(fault.GrantRefused, errors.New("the grant is for another purpose"))
	case purpose != rehearsal && g.Link.ID == "":
		return fault.New(fault.GrantRefused, errors.New("the grant names no link"))
	case !f.m.keeper.alive(n, g.Lifetime):
		return fault.New(fault.GrantRefused, errors.New("the grant came too late"))
	}
	f.m.keeper.ports.Time.take(g.Time)
	return nil
}

// rehearsal is the purpose of a grant that verifies and changes nothing.
const rehearsal = "rehearsal"

// rehearse shows that an unlock would work, before anything is armed: a signed
// word must verify, and the medium must keep what it is given. Then the person
// is asked.
func (f *Flow) rehearse(n pendingNonce) error {
	if err := f.accept(n, rehearsal); err != nil {
		return err
	}
	if err := f.m.keeper.rehearse(); err != nil {
		return err
	}
	c, err := newRecoveryCode(f.m.ports.Random)
	if err != nil {
		return fault.New(fault.Internal, err)
	}
	f.recovery = c
	f.show(StepConfirm, linkPrompt(c, f.remote))
	return nil
}

// confirm takes the person's consent.
func (f *Flow) confirm(ctx context.Context, a answer) error {
	switch asked := f.askedForCase(); {
	case asked && !a.confirm:
		f.leaveCase()
		return nil
	case asked:
		return f.openCase(ctx)
	case !a.confirm:
		f.cancelClaimed()
		return nil
	}
	if f.kind == lock.KindReset {
		return f.confirmReset(ctx)
	}
	if f.kind != lock.KindLink {
		f.show(StepPassword, passwordPrompt(f.kind, f.m.keeper.Snapshot()))
		return nil
	}
	if !f.recovery.fits(a.recoveryCode) {
		return fault.Newf(fault.InvalidCode, "The recovery code does not match the one shown.")
	}
	return f.reserve(ctx)
}

// cancelClaimed ends the flow from within its own answer.
func (f *Flow) cancelClaimed() {
	remote := f.remote.FlowID
	f.finish(StepFailed, Outcome{Word: "cancelled"}, nil)
	if remote != "" {
		f.m.endRemote(remote)
	}
}

func (f *Flow) resend(ctx context.Context) error {
	creds, err := f.m.keeper.credentials(ctx)
	if err != nil {
		return err
	}
	r, err := f.m.ports.Conversation.Resend(ctx, creds, f.remote.FlowID)
	f.m.keeper.NoteContact(err)
	if err != nil {
		// Sending too often is no attempt: nothing is kept of it.
		return err
	}
	f.setRemote(r)
	if r.Step == remoteCaptcha {
		f.show(StepCaptcha, captchaPrompt(f.about(), r))
	} else {
		f.show(StepCode, codePrompt(f.about(), r))
	}
	return nil
}
