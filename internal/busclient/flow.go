// SPDX-License-Identifier: Apache-2.0

package busclient

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
)

// Field is one thing that the current step asks for.
type Field struct {
	Name     string
	Type     string // text, password, code or bool; anything else is text
	Required bool
}

// Secret reports whether what is typed must be neither shown nor kept.
func (f Field) Secret() bool { return f.Type == "password" || f.Type == "code" }

// Snapshot is a flow as it stands.
type Snapshot struct {
	Kind   string
	Step   string
	Prompt map[string]dbus.Variant
	// Methods are all ways open now, those that the prompt names too.
	Methods  []string
	Progress float64
	Error    Refusal

	Fields []Field
}

// Refusal is the flow's property Error.
type Refusal struct {
	Name, Message, Remedy string
	Counted               bool
}

// Failure turns it into an error.
func (r Refusal) Failure() *Failure {
	return &Failure{
		Name: r.Name, Message: r.Message, Remedy: r.Remedy,
		Counted: r.Counted, Answered: true,
	}
}

// Text returns a prompt's string; empty where it has none.
func (s Snapshot) Text(key string) string {
	v, _ := s.Prompt[key].Value().(string)
	return v
}

// Time returns a prompt's time; zero where it has none.
func (s Snapshot) Time(key string) time.Time {
	if v, ok := s.Prompt[key].Value().(uint64); ok && v > 0 && v < 1<<40 {
		return time.Unix(int64(v), 0)
	}
	return time.Time{}
}

// Waits says until when each way has to wait that has to.
func (s Snapshot) Waits() map[string]time.Time {
	raw, _ := s.Prompt["waits"].Value().(map[string]uint64)
	out := make(map[string]time.Time, len(raw))
	for way, t := range raw {
		if t > 0 && t < 1<<40 {
			out[way] = time.Unix(int64(t), 0)
		}
	}
	return out
}

// Flow is a flow of this connection's.
type Flow struct {
	// Client is the connection it belongs to.
	Client *Client
	path   dbus.ObjectPath
	// owner is the connection that serves the flow. Calls go to it and to
	// nobody who may take the name later, and no other's signals count.
	owner string
	// End is what Finished said; nil before.
	End *Ending
}

// Ending is the content of the signal Finished.
type Ending struct {
	Outcome string
	Result  map[string]dbus.Variant
}

// Begin calls a method of the Manager that begins a flow.
func (c *Client) Begin(ctx context.Context, method string, options map[string]dbus.Variant) (*Flow, error) {
	f := &Flow{Client: c}
	if err := c.Manager(ctx, method, []any{&f.path}, options); err != nil {
		return nil, err
	}
	var err error
	if f.owner, err = c.Owner(ctx); err != nil {
		return nil, err
	}
	if f.owner == "" {
		return nil, Unavailable(BusErrorPrefix+"NameHasNoOwner", "The device's account check (accountlockd) stopped before it answered.")
	}
	return f, nil
}

// Get reads the flow as it stands.
func (f *Flow) Get(ctx context.Context) (Snapshot, error) {
	var s Snapshot
	props, err := f.Client.Properties(ctx, f.owner, f.path, FlowIface)
	if err != nil {
		return s, Gone(err)
	}
	err = StoreAll(props, map[string]any{
		"Kind": &s.Kind, "Step": &s.Step, "Prompt": &s.Prompt,
		"Methods": &s.Methods, "Progress": &s.Progress, "Error": &s.Error,
	})
	if err != nil {
		return s, err
	}
	if more, ok := s.Prompt["other-ways"].Value().([]string); ok {
		s.Methods = append(s.Methods, more...)
		delete(s.Prompt, "other-ways")
	}
	if v, ok := s.Prompt["fields"]; ok {
		err = stored(v.Store(&s.Fields), "fields")
	}
	return s, err
}

// Explain is the refusal of a call in the flow's own words, which tell what happened
// apart from what to do now and whether it counted: an error reply is one text.
func (f *Flow) Explain(ctx context.Context, err error) *Failure {
	told := AsFailure(Gone(err))
	if s, err := f.Get(ctx); err == nil && s.Error.Name == told.Name {
		return s.Error.Failure()
	}
	told.Answered = true
	return told
}

// Gone says what it means that a flow is no longer there.
func Gone(err error) error {
	f := AsFailure(err)
	switch f.Name {
	case BusErrorPrefix + "UnknownObject", BusErrorPrefix + "NoSuchObject", BusErrorPrefix + "UnknownMethod", BusErrorPrefix + "UnknownInterface":
		return Failed(fault.Timeout, "The flow has ended.", "")
	case BusErrorPrefix + "NameHasNoOwner", BusErrorPrefix + "ServiceUnknown", BusErrorPrefix + "NoReply":
		f.Message = "The device's account check (accountlockd) stopped."
		f.Remedy = "If the device is still locked, begin anew. Any other operation that has begun is carried to its end once it runs again; see accountlockctl status."
	}
	return f
}

// Submit hands in an answer.
func (f *Flow) Submit(ctx context.Context, answer map[string]dbus.Variant) error {
	return f.Client.Call(ctx, f.owner, f.path, FlowIface+".Submit", nil, answer)
}

// Choose takes another way through.
func (f *Flow) Choose(ctx context.Context, method string) error {
	return f.Client.Call(ctx, f.owner, f.path, FlowIface+".Choose", nil, method)
}

// Resend has the code sent again.
func (f *Flow) Resend(ctx context.Context) error {
	return f.Client.Call(ctx, f.owner, f.path, FlowIface+".Resend", nil)
}

// Cancel ends the flow, whatever has become of ctx.
func (f *Flow) Cancel(ctx context.Context) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	return f.Client.Call(ctx, f.owner, f.path, FlowIface+".Cancel", nil)
}

// Changed waits until the flow may have changed: a signal of its own, or the
// given time, since no signal is relied on. It returns an error when ctx or
// the connection ends.
func (f *Flow) Changed(ctx context.Context, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case sig, ok := <-f.Client.Signals:
			if !ok {
				return dbus.ErrClosed
			}
			if f.hear(sig) {
				return nil
			}
		}
	}
}

// hear reports whether a signal is this flow's, and keeps what Finished says.
func (f *Flow) hear(sig *dbus.Signal) bool {
	if sig.Sender != f.owner || sig.Path != f.path {
		return false
	}
	if sig.Name == FlowIface+".Finished" {
		var e Ending
		if dbus.Store(sig.Body, &e.Outcome, &e.Result) == nil {
			f.End = &e
		}
	}
	return true
}

// Finished waits a moment for Finished, which comes after the step is `done`.
func (f *Flow) Finished(ctx context.Context) Ending {
	deadline := time.Now().Add(2 * time.Second)
	for f.End == nil && time.Now().Before(deadline) {
		if f.Changed(ctx, time.Until(deadline)) != nil {
			break
		}
	}
	if f.End == nil {
		return Ending{}
	}
	return *f.End
}
