// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"time"

	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
)

// An unlock by approval (RFC 8628): the account service makes a code, the owner
// approves it in the portal, and the device asks now and then whether they have. What
// comes of it is the same grant as by the password.
const (
	// pollPause is what is left between two questions where the service names
	// nothing else; each 'slow down' adds pollSlower, up to pollLongest.
	pollPause   = 5 * time.Second
	pollSlower  = 5 * time.Second
	pollLongest = time.Minute
	// approveTime ends the waiting, whatever the service says or fails to say.
	approveTime = 15 * time.Minute
)

func declinedAfar() *fault.Error {
	e := fault.Newf(fault.Declined, "This device is marked lost: no approval opens it.")
	e.Remedy = "Sign in on it with its owner's account and password."
	return e
}

// askApproval has the account service make a code, in the place of the one before,
// and leaves the flow waiting for the owner.
func (f *Flow) askApproval(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	f.mu.Lock()
	if err := f.mayChoose(methodApprove); err != nil {
		f.mu.Unlock()
		return f.refuse(err)
	}
	again := f.leaveApproval(StepIdentify)
	f.busy, f.stop = true, cancel
	f.timer.Stop()
	if f.recovering {
		f.remote = Remote{}
	}
	if again || f.recovering {
		// The code shown is void from now on, whatever comes, and a recovery left.
		f.recovering = false
		f.step, f.prompt = f.first()
	}
	f.mu.Unlock()
	var err error
	if again {
		err = f.anotherCode(ctx)
	} else {
		err = f.attempt(ctx, Answer{Step: remoteApprove})
	}
	err = ended(ctx, err)
	if err != nil && again {
		f.m.endRemote(f.remote.FlowID) // and with it the code that is shown no more
		f.setRemote(Remote{})
	}
	f.yield(err)
	return err
}

// anotherCode asks within the service's flow, or in a new one where that is gone.
func (f *Flow) anotherCode(ctx context.Context) error {
	creds, err := f.m.keeper.resumeCredentials()
	if err != nil {
		return err
	}
	r, err := f.m.ports.Conversation.Resend(ctx, creds, f.remote.FlowID)
	f.m.keeper.NoteContact(err)
	if stale(err) {
		f.setRemote(Remote{})
		return f.attempt(ctx, Answer{Step: remoteApprove})
	}
	if err != nil {
		return f.noCode(ctx, err)
	}
	f.setRemote(r)
	return f.awaitApproval()
}

// noCode is the refusal of a code. A wait that is asked for is about approvals alone:
// it is not kept on the medium, and holds up no other way.
func (f *Flow) noCode(ctx context.Context, err error) error {
	switch e := fault.As(err); e.Code {
	case fault.RateLimited:
		e.Message = "This device has asked for approval too often."
		e.Remedy = "Take another way, or ask again at the time shown."
		return e
	case fault.Declined:
		return err
	}
	return f.refusal(ctx, err)
}

// at reports whether the flow is at a step.
func (f *Flow) at(s Step) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.step == s
}

// leaveApproval ends the waiting for an approval where the flow goes elsewhere, and
// reports whether there was one. f.mu is held.
func (f *Flow) leaveApproval(to Step) bool {
	waiting := f.step == StepApprove && to != StepApprove
	if waiting && f.polling != nil {
		f.polling()
		f.polling = nil
	}
	return waiting
}

// awaitApproval shows the code that the account service has made, and begins to ask.
func (f *Flow) awaitApproval() error {
	r := f.remote
	if r.UserCode == "" || r.URI == "" {
		return unfit(diagnose.Garbled, "the account service asks for an approval without a code or an address")
	}
	ctx, stop := context.WithTimeoutCause(f.m.ctx, approveTime, errUnanswered)
	f.mu.Lock()
	if !f.step.waits() {
		f.mu.Unlock()
		stop()
		return nil
	}
	f.step, f.prompt, f.progress = StepApprove, approvePrompt(f.m.keeper.Snapshot(), r), 0
	f.polling, f.told, f.identifier, f.useHint = stop, false, "", false
	f.mu.Unlock()
	f.m.changed(f)
	f.m.work.Go(func() {
		defer stop()
		f.poll(ctx, r.FlowID, r.Interval)
	})
	return nil
}

var errUnanswered = errors.New("nobody has answered")

// question is one that is asked again under the same key until there is an answer, so
// that a consent whose answer was lost on the way is not lost.
type question struct {
	nonce pendingNonce
	key   string
}

// poll asks whether the owner has approved, until they have, or have not, or ctx
// ends. It sleeps in between.
func (f *Flow) poll(ctx context.Context, flowID string, pause time.Duration) {
	pause = min(max(pause, pollPause), pollLongest)
	wait := pause
	var q question
	for {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errUnanswered) {
				f.notApproved(ctx, fault.New(fault.CodeExpired, errUnanswered))
			}
			return
		}
		r, err := f.question(ctx, flowID, &q)
		if ctx.Err() != nil {
			continue // and out
		}
		e := fault.As(err)
		switch {
		case err == nil && r.Step == remoteApprove:
			pause = min(max(pause, r.Interval), pollLongest)
			wait = pause
		case err == nil && r.Step == remoteDone:
			f.approved(ctx, r, q.nonce)
			return
		case err == nil:
			f.notApproved(ctx, unfit(diagnose.UnknownStep, "the account service answers a question for approval with the step "+r.Step))
			return
		case e.Code == fault.RateLimited:
			// RFC 8628, 3.5: 'slow_down' holds for all that follow.
			pause = min(max(pause+pollSlower, e.RetryAfter), pollLongest)
			wait, err = pause, nil
		case outage(e):
			wait = min(max(2*wait, e.RetryAfter), pollLongest)
		default:
			f.notApproved(ctx, err)
			return
		}
		if err == nil || !outage(e) {
			q = question{}
		}
		f.waiting(err)
	}
}

// question asks once. One that got no answer is asked again as it was, as long as
// what it may bring could still be used.
func (f *Flow) question(ctx context.Context, flowID string, q *question) (Remote, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	k := f.m.keeper
	creds, err := k.resumeCredentials()
	if err != nil {
		return Remote{}, err
	}
	if q.key == "" || !k.alive(q.nonce, nonceLife-answerTime) {
		raw := make([]byte, 24)
		if _, err := io.ReadFull(f.m.ports.Random, raw); err != nil {
			return Remote{}, fault.New(fault.Internal, err)
		}
		if q.nonce, err = k.newNonce(); err != nil {
			return Remote{}, err
		}
		q.key = base64.RawURLEncoding.EncodeToString(raw)
	}
	r, err := f.m.ports.Conversation.Answer(ctx, creds, flowID, Answer{Step: remoteApprove, Nonce: q.nonce.value, Key: q.key})
	k.NoteContact(err)
	return r, err
}

// waiting shows what keeps the question from being answered; nil for nothing.
func (f *Flow) waiting(err error) {
	e := fault.As(err)
	f.mu.Lock()
	changed := f.step == StepApprove && codeOf(f.err) != codeOf(e)
	if changed {
		f.err = e
	}
	f.mu.Unlock()
	if changed {
		f.m.changed(f)
	}
}

// codeOf is a refusal's code; empty for none.
func codeOf(e *fault.Error) fault.Code {
	if e == nil {
		return ""
	}
	return e.Code
}

// approved opens the device with what the owner's consent has brought.
func (f *Flow) approved(ctx context.Context, r Remote, n pendingNonce) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	f.mu.Lock()
	if f.step != StepApprove || f.busy {
		// fails locked: the person has gone another way meanwhile.
		f.mu.Unlock()
		return
	}
	f.busy, f.stop, f.err, f.remote = true, cancel, nil, r
	f.mu.Unlock()
	err := f.accept(n, string(f.kind))
	if err == nil {
		err = f.unlock(ctx, n)
	}
	f.yield(err)
	if err != nil {
		f.notApproved(ctx, err)
	}
}

// notApproved ends a flow whose approval has come to nothing.
func (f *Flow) notApproved(ctx context.Context, err error) {
	if stale(err) {
		err = fault.New(fault.CodeExpired, err)
	}
	switch e := fault.As(err); e.Code {
	case fault.Declined:
		e.Message = "The request to open this device was refused."
		e.Remedy = "If that was not meant, ask again; a device that is marked lost opens by its account's password alone."
	case fault.CodeExpired:
		e.Message = "The code ran out before it was approved."
		e.Remedy = "Choose the approval again for a new code, or take another way."
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	f.mu.Lock()
	here := f.step == StepApprove
	remote := f.remote.FlowID
	f.mu.Unlock()
	if !here {
		return
	}
	if err = f.refusal(ctx, err); err == nil {
		return // it is open: the account service no longer holds it
	}
	f.finish(StepFailed, Outcome{Word: "failed"}, err)
	f.m.endRemote(remote)
}
