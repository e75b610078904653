// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/fault"
)

// The steps that end a flow, and the one that outlasts a client. Every other
// step is drawn and answered by what its prompt says.
const (
	stepDone    = "done"
	stepFailed  = "failed"
	stepWait    = "wait"
	stepWorking = "working"
)

const (
	// pollEvery is how long a step may have changed without a signal.
	pollEvery = time.Second
	// longWait is what nobody sits through: the command ends and says until
	// when.
	longWait = 2 * time.Minute
	// workLimit bounds the watching, not the work.
	workLimit = 15 * time.Minute
)

// flowResult is what came of a flow, and what --json prints of it.
type flowResult struct {
	Flow         string `json:"flow"`
	Outcome      string `json:"outcome"`
	State        string `json:"state"`
	LockReason   string `json:"lock_reason"`
	RecoveryCode string `json:"recovery_code,omitempty"`
	Receipt      string `json:"receipt,omitempty"`
	// Warning is a refusal that stands although the flow is done.
	Warning *failure `json:"warning,omitempty"`
}

// conversation is one flow with one person or script.
type conversation struct {
	flow    *busclient.Flow
	draw    *drawer
	answers *answers
	person  *person // nil in a script
	// notes takes what a script has to tell somebody while the flow waits, one line of
	// JSON each; nil where the steps are drawn.
	notes io.Writer

	// code is a recovery code that was answered for on the command line and may
	// be in force: nobody has read it on a screen, so it has to be printed.
	code string
	// working: an operation has begun, which no cancelling ends.
	working bool
}

// run goes from step to step until the flow has ended.
func (c *conversation) run(ctx context.Context, method string) (flowResult, error) {
	res, err := c.steps(ctx, method)
	if err != nil && c.flow.End == nil {
		err = c.leave(ctx, err)
	}
	res.RecoveryCode = c.code
	return res, err
}

func (c *conversation) steps(ctx context.Context, method string) (flowResult, error) {
	if method != "" {
		if err := c.choose(ctx, method); err != nil {
			return flowResult{}, err
		}
	}
	for {
		s, err := c.flow.Get(ctx)
		if err != nil {
			return flowResult{}, err
		}
		c.working = s.Step == stepWorking
		switch {
		case s.Step == stepDone:
			c.draw.step(s)
			return c.done(ctx, s)
		case s.Step == stepFailed:
			return flowResult{Flow: s.Kind, Outcome: stepFailed}, c.failed(ctx, s)
		case len(s.Fields) == 0:
			err = c.watch(ctx, s)
		default:
			err = c.answer(ctx, s)
		}
		if err != nil {
			return flowResult{Flow: s.Kind}, err
		}
	}
}

// answer asks for one answer and hands it in. A refusal of what a person typed
// is shown, and the step asked again; a refusal in a script ends the command.
func (c *conversation) answer(ctx context.Context, s busclient.Snapshot) error {
	c.addDeviceID(ctx, s)
	c.draw.step(s)
	if err := c.note(s); err != nil {
		return err
	}
	a, err := c.answers.collect(ctx, s, c.person)
	var way detour
	switch {
	case errors.As(err, &way):
		return c.detour(ctx, way)
	case err != nil:
		return err
	}
	err = c.flow.Submit(ctx, a.values)
	a.wipe()
	if code := s.Text("recovery-code"); code != "" && !a.typed && (err == nil || !refused(err)) {
		c.code = code
	}
	if err == nil {
		return nil
	}
	f := c.flow.Explain(ctx, err)
	if f.Name == busclient.ErrorPrefix+string(fault.CaptchaRequired) && a.solved && c.answers.solved < maxSolved {
		return nil // there is another challenge by now
	}
	if !a.typed || !answerable(f) {
		return f
	}
	c.draw.refusal(f)
	return nil
}

// answerable reports whether the step still stands after a refusal: not where
// the flow, the daemon or the person is gone.
func answerable(f *failure) bool {
	switch f.Name {
	case busclient.ErrorPrefix + string(fault.Timeout), busclient.ErrorPrefix + string(fault.NotAuthorized), busclient.CancelledName:
		return false
	}
	return refused(f)
}

// refused reports whether the daemon itself said no. After anything else, such
// as a daemon that died, nobody knows whether it took the answer.
func refused(err error) bool {
	return strings.HasPrefix(busclient.AsFailure(err).Name, busclient.ErrorPrefix)
}

func (c *conversation) detour(ctx context.Context, d detour) error {
	var err error
	if d.resend {
		err = c.flow.Resend(ctx)
	} else {
		err = c.choose(ctx, d.method)
	}
	switch {
	case err != nil && answerable(busclient.AsFailure(err)):
		c.draw.refusal(busclient.AsFailure(err))
		return nil
	case err == nil && d.resend:
		c.draw.say("It was sent again.")
	}
	return err
}

func (c *conversation) choose(ctx context.Context, method string) error {
	if err := c.flow.Choose(ctx, method); err != nil {
		f := c.flow.Explain(ctx, err)
		f.Answered = false // a way is no attempt
		return f
	}
	c.draw.last = ""
	return nil
}

// watch waits at a step that asks for nothing.
func (c *conversation) watch(ctx context.Context, s busclient.Snapshot) error {
	c.draw.step(s)
	if err := c.note(s); err != nil {
		return err
	}
	if until := s.Time("until"); s.Step == stepWait && until.Sub(c.draw.now()) > longWait {
		return busclient.Failed(fault.RecoveryPending, "This has to wait until "+c.draw.moment(until)+".",
			"Come back then and run the command again.")
	}
	started := time.Now()
	for at, same := s, true; same; same = at.Step == s.Step && len(at.Fields) == 0 {
		if at.Step == stepWorking {
			c.draw.progress(at.Progress)
		}
		c.draw.trouble(at.Error)
		if c.working && time.Since(started) > workLimit {
			return busclient.Failed(fault.Timeout, "It is still in progress.",
				"accountlockd carries it to its end; see accountlockctl status.")
		}
		if err := c.flow.Changed(ctx, pollEvery); err != nil {
			return err
		}
		var err error
		if at, err = c.flow.Get(ctx); err != nil {
			return err
		}
	}
	return nil
}

// addDeviceID puts the device's ID beside a challenge: the two are read out together.
func (c *conversation) addDeviceID(ctx context.Context, s busclient.Snapshot) {
	if s.Text("challenge") == "" {
		return
	}
	if now, err := c.flow.Client.State(ctx); err == nil && now.DeviceID != "" {
		s.Prompt["device-id"] = dbus.MakeVariant(now.DeviceID)
	}
}

// elsewhere is a step that somebody has to act on at another device.
type elsewhere struct {
	Step       string `json:"step"`
	URI        string `json:"uri,omitempty"`
	Complete   string `json:"uri_complete,omitempty"`
	UserCode   string `json:"user_code,omitempty"`
	Challenge  string `json:"challenge,omitempty"`
	DeviceID   string `json:"device_id,omitempty"`
	CaseNumber string `json:"case_number,omitempty"`
	Expires    int64  `json:"expires,omitempty"`
}

// note tells a script's user of a step that is answered at another device, unless the
// script has brought what answers it.
func (c *conversation) note(s busclient.Snapshot) error {
	e := elsewhere{
		Step: s.Step, URI: s.Text("uri"), Complete: s.Text("uri-complete"), UserCode: s.Text("user-code"),
		Challenge: s.Text("challenge"), DeviceID: s.Text("device-id"), CaseNumber: s.Text("case-number"),
	}
	if c.notes == nil || e.UserCode == "" && (e.Challenge == "" || c.answers.codeFile != "") {
		return nil
	}
	if t := s.Time("expires"); !t.IsZero() {
		e.Expires = t.Unix()
	}
	return printJSON(c.notes, e)
}

func (c *conversation) done(ctx context.Context, s busclient.Snapshot) (flowResult, error) {
	end := c.flow.Finished(ctx)
	res := flowResult{Flow: s.Kind, Outcome: stepDone}
	res.Receipt, _ = end.Result["receipt"].Value().(string)
	if s.Error.Name != "" {
		res.Warning = s.Error.Failure()
	}
	// The state itself, since Finished carries no reason and may be lost.
	now, err := c.flow.Client.State(ctx)
	res.State, res.LockReason = now.State, now.LockReason
	if state, ok := end.Result["state"].Value().(string); ok && err != nil {
		res.State, err = state, nil
	}
	return res, err
}

func (c *conversation) failed(ctx context.Context, s busclient.Snapshot) error {
	// What is over cannot be cancelled.
	defer func() { c.flow.End = &busclient.Ending{Outcome: stepFailed} }()
	if s.Error.Name != "" {
		return s.Error.Failure()
	}
	if c.flow.Finished(ctx).Outcome == "cancelled" {
		return errCancelled
	}
	return busclient.Failed(fault.Internal, "The flow failed and did not say why.", "")
}

// leave cancels the flow when the command ends before it, and says what that
// means to the person.
func (c *conversation) leave(ctx context.Context, why error) error {
	err := c.flow.Cancel(ctx)
	f := busclient.AsFailure(why)
	if f.Name != busclient.CancelledName {
		return f
	}
	if c.working || (err != nil && busclient.AsFailure(err).Name == busclient.ErrorPrefix+string(fault.WrongStep)) {
		return busclient.Cancelled("It had begun already, and goes on without you.",
			"accountlockd carries it to its end; see accountlockctl status.")
	}
	return errCancelled
}
