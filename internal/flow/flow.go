// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/secret"
)

const (
	// answerTime bounds the way to the account service and back: an outage is
	// told within it.
	answerTime = 8 * time.Second
	// settleTime is how long a Submit waits for the operation that it began,
	// before it leaves the flow `working`.
	settleTime = 5 * time.Second
	// idleTime is how long a flow waits for a person.
	idleTime = 10 * time.Minute
	// readableTime is how long a finished flow can be read.
	readableTime = 60 * time.Second
)

// Outcome is how a flow ended.
type Outcome struct {
	// Word is `done`, `failed` or `cancelled`.
	Word string
	// Receipt is the account service's signed word for others; unlink alone.
	Receipt string
	// State is the device's state at the end.
	State lock.State
}

// View is what its owner may read of a flow at one moment.
type View struct {
	Kind     lock.Kind
	Step     Step
	Prompt   Prompt
	Methods  []string
	Progress float64
	Error    *fault.Error
	// Locale is the person's language as the client named it; empty for none.
	Locale string
}

// Flow is one conversation. It is safe for concurrent use; answers are taken
// one at a time.
type Flow struct {
	// ID is its number on this daemon, Owner the connection that began it;
	// empty for an operation that was found unfinished at start.
	ID    uint64
	Owner string

	m      *Manager
	kind   lock.Kind
	locale string
	region string
	unlink bool // of a reset: end the ownership too

	mu       sync.Mutex
	step     Step
	prompt   Prompt
	progress float64
	err      *fault.Error
	busy     bool
	// stop ends the answer that is being worked on, when the flow is.
	stop    context.CancelFunc
	timer   *time.Timer
	settled chan struct{} // closed when the flow is over

	// What the person said so far, and where the account service's side
	// stands: read and written by the one answer in work, but for remote, which
	// whoever ends the flow reads too.
	identifier string
	useHint    bool
	told       bool // the account service has the identifier
	remote     Remote
	recovery   recoveryCode
	// checked is set once the account of a reset is verified: the nonce of that.
	checked *pendingNonce
	// recovering: a forgotten password is being recovered.
	recovering bool
	// asking, under mu: the person is asked whether support shall open a case.
	asking bool
	// polling, under mu, ends the waiting for an approval; nil for none.
	polling context.CancelFunc
}

// View returns what the owner may read.
func (f *Flow) View() View {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := View{Kind: f.kind, Locale: f.locale, Step: f.step, Prompt: f.prompt, Progress: f.progress, Error: f.err, Methods: []string{}}
	if f.step.waits() {
		v.Methods = f.methods()
		if f.kind == lock.KindUnlock {
			v.Prompt.Waits = f.m.keeper.waits()
		}
	}
	return v
}

// The ways through a flow; the values are those of the D-Bus property Methods.
const (
	methodPassword = "password"
	methodApprove  = "approve"
	methodOffline  = "offline-code"
	methodRecovery = "recovery-code"
)

// methods returns the ways open now.
func (f *Flow) methods() []string {
	if f.step == StepConfirm && f.kind == lock.KindLink {
		return []string{} // the account is verified: there is no other way now
	}
	if f.kind == lock.KindReset && !f.proves() {
		return []string{} // nothing is asked but the person's word
	}
	if f.step == StepNew {
		return []string{} // the owner is proven: what is left is the password
	}
	if f.kind == lock.KindRecover {
		return []string{methodRecover}
	}
	out := []string{methodPassword}
	if f.kind == lock.KindUnlock {
		s := f.m.keeper.Snapshot()
		if s.Approves && s.Status.Reason != lock.Lost {
			out = append(out, methodApprove)
		}
		if s.HasOffline {
			out = append(out, methodOffline)
		}
		if s.HasRecovery {
			out = append(out, methodRecovery)
		}
	}
	if out = append(out, methodRecover); f.kind == lock.KindUnlock {
		out = append(out, methodSupport)
	}
	return out
}

// over reports whether the flow has ended.
func (f *Flow) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.step.over()
}

// Submit takes an answer to the current step. It returns when the answer is
// accepted or refused, after about 15 s at the latest; what the account service
// accepted is carried on after that. Errors are *fault.Error.
func (f *Flow) Submit(ctx context.Context, in Input) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	step, a, err := f.claim(cancel, in)
	if err != nil {
		f.m.changed(f)
		return err
	}
	// The way to the service is bounded; what follows its consent is not.
	ask, done := context.WithTimeout(ctx, answerTime)
	err = f.handle(ask, step, a)
	done()
	if e := fault.As(err); err != nil && e.Counted {
		f.m.keeper.happened(ctx, eventRefused, string(step)+": "+string(e.Code))
	}
	f.yield(err)
	if err == nil {
		f.wait(ctx)
	}
	return err
}

// claim makes this answer the one in work. The refusal of one that does not fit its
// step is shown; where another is in work, or none is waited for, that one's outcome
// stands.
func (f *Flow) claim(cancel context.CancelFunc, in Input) (Step, answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.step.waits() {
		return "", answer{}, fault.New(fault.WrongStep, nil)
	}
	if f.busy {
		return "", answer{}, fault.Newf(fault.WrongStep, "The answer before this one is still being worked on.")
	}
	a, err := parse(f.kind, f.step, in)
	if err != nil {
		f.err = fault.As(err)
		return "", answer{}, err
	}
	f.busy, f.stop = true, cancel
	f.timer.Stop()
	return f.step, a, nil
}

// yield ends the answer in work and shows its refusal, if it was one.
func (f *Flow) yield(err error) {
	f.mu.Lock()
	f.busy, f.stop = false, nil
	switch {
	case f.step.waits():
		f.err = fault.As(err)
		f.idle()
	case f.step.over():
		f.forget()
	}
	f.mu.Unlock()
	f.m.changed(f)
}

// idle starts the time that a person has. Waiting for an approval has an end of its
// own. f.mu is held.
func (f *Flow) idle() {
	f.timer.Stop()
	if f.step != StepApprove {
		f.timer.Reset(idleTime)
	}
}

// forget drops what the person said. f.mu is held and no answer in work.
func (f *Flow) forget() {
	f.recovery.letters.Wipe()
	f.recovery, f.identifier = recoveryCode{}, ""
}

// wait gives an operation that has begun a moment to end, so that most callers
// find the result when their call returns.
func (f *Flow) wait(ctx context.Context) {
	f.mu.Lock()
	working, settled := f.step == StepWorking, f.settled
	f.mu.Unlock()
	if !working {
		return
	}
	t := time.NewTimer(settleTime)
	defer t.Stop()
	select {
	case <-settled:
	case <-t.C:
	case <-ctx.Done():
	}
}

// Choose takes another way through. The password way leads back to its
// beginning, so that a wrong identifier is corrected without a new flow. An approval
// asks the account service for a code; no other way needs the network.
func (f *Flow) Choose(ctx context.Context, method string) error {
	if method == methodApprove {
		return f.askApproval(ctx)
	}
	if err := f.choose(method); err != nil {
		return f.refuse(err)
	}
	f.m.changed(f)
	return nil
}

// refuse shows the refusal of a way or of another code, as that of an answer is shown.
func (f *Flow) refuse(err error) error {
	f.mu.Lock()
	waits := f.step.waits() && !f.busy
	if waits {
		f.err = fault.As(err)
	}
	f.mu.Unlock()
	if waits {
		f.m.changed(f)
	}
	return err
}

func (f *Flow) choose(method string) error {
	f.mu.Lock()
	err := f.mayChoose(method)
	f.mu.Unlock()
	if err != nil {
		return err
	}
	step, prompt, err := f.entry(method)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	// Once more: what was prepared for may be over.
	if err := f.mayChoose(method); err != nil {
		return err
	}
	f.err = nil
	if first, _ := f.first(); first == StepIdentify {
		f.told, f.identifier, f.useHint = false, "", false
	}
	if f.leaveApproval(step) {
		// Nobody waits for the answer to its code any more.
		f.m.endRemote(f.remote.FlowID)
		f.remote, f.told = Remote{}, false
	}
	f.step, f.prompt, f.asking = step, prompt, method == methodSupport
	if now := method == methodRecover; now != f.recovering {
		f.recovering, f.remote = now, Remote{}
	}
	f.idle()
	return nil
}

// mayChoose returns the refusal of a way that is not open. f.mu is held.
func (f *Flow) mayChoose(method string) error {
	switch {
	case !f.step.waits() || f.busy:
		return fault.New(fault.WrongStep, nil)
	case f.step == StepConfirm && f.kind == lock.KindLink:
		return fault.Newf(fault.WrongStep, "The account is already verified; confirm, or cancel the flow.")
	case method == methodApprove && f.kind == lock.KindUnlock && f.m.keeper.Snapshot().Status.Reason == lock.Lost:
		return declinedAfar()
	case !slices.Contains(f.methods(), method):
		return fault.Newf(fault.InvalidArgument, "The way %q is not open in this flow.", printable(method))
	}
	return nil
}

// entry returns the step at which a way begins.
func (f *Flow) entry(method string) (Step, Prompt, error) {
	switch method {
	case methodOffline:
		p, err := f.m.keeper.challengePrompt()
		return StepOffline, p, err
	case methodRecovery:
		return StepRecovery, recoveryPrompt(f.m.keeper.Snapshot()), nil
	case methodSupport:
		return StepConfirm, casePrompt(f.m.keeper.Snapshot()), nil
	case methodRecover:
		return StepIdentify, recoverPrompt(f.m.keeper.Snapshot()), nil
	default:
		step, p := f.first()
		return step, p, nil
	}
}

// Resend has the code of the current step sent again; where that is for an owner to
// approve by, another one takes its place.
func (f *Flow) Resend(ctx context.Context) error {
	if f.at(StepApprove) {
		return f.askApproval(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	f.mu.Lock()
	if f.step != StepCode || f.busy {
		f.mu.Unlock()
		return f.refuse(fault.Newf(fault.WrongStep, "This step has no code to send again."))
	}
	f.busy, f.stop = true, cancel
	f.timer.Stop()
	f.mu.Unlock()
	err := f.resend(ctx)
	f.yield(err)
	return err
}

// Cancel ends the flow. An operation that has begun is carried to its end.
func (f *Flow) Cancel() error {
	if !f.cancel() {
		return fault.Newf(fault.WrongStep, "The flow has ended already, or its work can no longer be stopped.")
	}
	return nil
}

func (f *Flow) cancel() bool {
	f.mu.Lock()
	if !f.step.waits() {
		f.mu.Unlock()
		return false
	}
	if f.stop != nil {
		f.stop()
	}
	remote := f.remote.FlowID
	f.mu.Unlock()
	f.finish(StepFailed, Outcome{Word: "cancelled"}, nil)
	if remote != "" {
		f.m.endRemote(remote)
	}
	return true
}

// show moves the flow to a step.
func (f *Flow) show(s Step, p Prompt) {
	f.mu.Lock()
	if f.step.over() {
		f.mu.Unlock()
		return
	}
	f.leaveApproval(s)
	f.step, f.prompt = s, p
	f.progress = 0
	f.mu.Unlock()
	f.m.changed(f)
}

// work moves the flow to `working`, from where it is carried to its end. It
// returns false where the person, or the person's leaving, was quicker: then
// nothing is to be done.
func (f *Flow) work() bool {
	f.mu.Lock()
	if f.step.over() {
		f.mu.Unlock()
		return false
	}
	f.leaveApproval(StepWorking)
	f.step, f.prompt, f.progress = StepWorking, workingPrompt(f.kind), 0
	f.timer.Stop()
	f.mu.Unlock()
	f.m.changed(f)
	return true
}

func errEnded() error {
	return fault.Newf(fault.Timeout, "The flow was ended while its answer was being worked on; nothing has changed.")
}

func (f *Flow) setRemote(r Remote) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remote = r
}

func (f *Flow) advance(progress float64, err error) {
	f.mu.Lock()
	f.progress, f.err = progress, fault.As(err)
	f.mu.Unlock()
	f.m.changed(f)
}

// finish ends the flow once; what comes later is ignored.
func (f *Flow) finish(s Step, o Outcome, err error) {
	f.mu.Lock()
	if f.step.over() {
		f.mu.Unlock()
		return
	}
	f.leaveApproval(s)
	f.step, f.prompt, f.err = s, Prompt{Title: titles[f.kind], Text: outcomeTexts[o.Word]}, fault.As(err)
	if s == StepDone {
		f.progress = 1
	}
	if !f.busy {
		f.forget()
	}
	f.timer.Stop()
	f.timer = time.AfterFunc(readableTime, func() { f.m.remove(f) })
	close(f.settled)
	f.mu.Unlock()
	o.State = f.m.keeper.Snapshot().Status.State
	f.m.changed(f)
	f.m.finished(f, o)
}

// expired is what the timer runs when nobody answered for idleTime.
func (f *Flow) expired() {
	f.mu.Lock()
	idle := f.step.waits() && !f.busy && f.step != StepApprove
	remote := f.remote.FlowID
	f.mu.Unlock()
	if !idle {
		return
	}
	f.finish(StepFailed, Outcome{Word: "failed"}, fault.New(fault.Timeout, nil))
	if remote != "" {
		f.m.endRemote(remote)
	}
}

func wipe(bs ...secret.Bytes) {
	for _, b := range bs {
		b.Wipe()
	}
}

// ended makes a cancelled answer's error the right one.
func ended(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return fault.Newf(fault.Timeout, "The flow was ended while its answer was being worked on.")
	}
	return err
}
