// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"context"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// A forgotten password is recovered in a flow of its own kind, or as a way through
// another one, which goes on from its beginning afterwards. The account service
// alone decides: nothing on the device changes by it.
const (
	methodRecover     = "recover"
	remoteWait        = "wait"
	remoteNewPassword = "new-password"
)

// about is the kind of conversation that the account service's side is.
func (f *Flow) about() lock.Kind {
	if f.recovering {
		return lock.KindRecover
	}
	return f.remoteKind()
}

// endRecover leads back to where the person was.
func (f *Flow) endRecover() {
	if f.kind == lock.KindRecover {
		f.finish(StepDone, Outcome{Word: "done"}, nil)
		return
	}
	f.mu.Lock()
	f.recovering, f.told, f.remote = false, false, Remote{}
	f.step, f.prompt = f.first()
	f.mu.Unlock()
	f.m.changed(f)
}

// recover names the account to the service, which answers alike whether or not there
// is one.
func (f *Flow) recover(ctx context.Context) error {
	return f.attempt(ctx, Answer{Step: remoteIdentify, Identifier: f.identifier, UseHint: f.useHint})
}

// followRecovery goes where the account service's step leads in a recovery, and
// reports whether it knows it.
func (f *Flow) followRecovery() bool {
	switch r := f.remote; r.Step {
	case remoteWait:
		f.show(StepWait, waitPrompt(r))
		f.awake(time.Unix(r.Until, 0).Sub(f.m.ports.Clock.Now()))
	case remoteCaptcha:
		f.show(StepCaptcha, captchaPrompt(lock.KindRecover, r))
	case remoteCode:
		f.show(StepCode, codePrompt(lock.KindRecover, r))
	case remoteNewPassword:
		f.show(StepNew, newPasswordPrompt())
	case remoteDone:
		f.endRecover()
	default:
		return false
	}
	return true
}

// awake has the flow ask, once so much time has passed, whether the wait is over. A
// wait that is longer than a flow lasts is taken up by another flow.
func (f *Flow) awake(after time.Duration) {
	if after < idleTime {
		time.AfterFunc(max(after, time.Second), f.waited)
	}
}

func (f *Flow) waited() {
	ctx, cancel := context.WithTimeout(f.m.ctx, answerTime)
	defer cancel()
	f.mu.Lock()
	if f.step != StepWait || f.busy || !f.recovering {
		f.mu.Unlock()
		return
	}
	f.busy, f.stop = true, cancel
	f.mu.Unlock()
	err := ended(ctx, f.attempt(ctx, Answer{Step: remoteWait}))
	f.mu.Lock()
	f.busy, f.stop = false, nil
	still := f.step == StepWait
	if !still {
		f.err = nil
	}
	f.mu.Unlock()
	f.m.changed(f)
	if err != nil && still && fault.CodeOf(err) != fault.Declined {
		// The clocks differ, or the network is away for the moment.
		f.awake(max(fault.As(err).RetryAfter, 5*time.Second))
	}
}

// choosePassword hands in the new password, typed twice.
func (f *Flow) choosePassword(ctx context.Context, a answer) error {
	if !bytes.Equal(a.password, a.repeat) {
		return fault.Newf(fault.InvalidArgument, "The two passwords are not the same.")
	}
	return f.attempt(ctx, Answer{Step: remoteNewPassword, Password: a.password})
}

const recoverTitle = "Recover the account"

func recoverPrompt(s Snapshot) Prompt {
	return Prompt{
		Title: recoverTitle, AccountHint: s.Hint,
		Text: "Type the account ID, an e-mail address or a phone number of the account. Whoever has forgotten the account ID types the e-mail address: " +
			"a mail tells the ID.",
		Fields: []Field{{Name: "identifier", Type: "text", Required: s.Hint == ""}},
	}
}

func waitPrompt(r Remote) Prompt {
	return Prompt{
		Title: recoverTitle, Until: r.Until,
		Text: "If there is such an account, its owner is told now, with the account ID, and can stop this. Come back when the time is over, here or on another " +
			"device, and name the account in the same way: a code is sent then. Asking again does not make it longer.",
		Fields: []Field{},
	}
}

func newPasswordPrompt() Prompt {
	return Prompt{
		Title:  recoverTitle,
		Text:   "Choose a new password of 8 to 128 characters and type it twice. Everybody who is signed in to the account is signed out.",
		Fields: []Field{{Name: "password", Type: "password", Required: true}, {Name: "repeat", Type: "password", Required: true}},
	}
}
