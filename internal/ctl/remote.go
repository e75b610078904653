// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
)

// field is one thing that the current step asks for.
type field struct {
	Name     string
	Type     string // text, password, code or bool; anything else is text
	Required bool
}

func (f field) secret() bool { return f.Type == "password" || f.Type == "code" }

// snapshot is a flow as it stands.
type snapshot struct {
	Kind     string
	Step     string
	Prompt   map[string]dbus.Variant
	Methods  []string
	Progress float64
	Error    refusal

	Fields []field
}

// refusal is the flow's property Error.
type refusal struct {
	Name, Message, Remedy string
	Counted               bool
}

func (r refusal) failure() *failure {
	return &failure{
		Name: r.Name, Message: r.Message, Remedy: r.Remedy,
		Counted: r.Counted, answered: true, exit: ExitCodeOf(r.Name),
	}
}

// text returns a prompt's string; empty where it has none.
func (s snapshot) text(key string) string {
	v, _ := s.Prompt[key].Value().(string)
	return v
}

// time returns a prompt's time; zero where it has none.
func (s snapshot) time(key string) time.Time {
	if v, ok := s.Prompt[key].Value().(uint64); ok && v > 0 && v < 1<<40 {
		return time.Unix(int64(v), 0)
	}
	return time.Time{}
}

// remote is a flow of this connection's.
type remote struct {
	c    *client
	path dbus.ObjectPath
	// owner is the connection that serves the flow. Calls go to it and to
	// nobody who may take the name later, and no other's signals count.
	owner string
	// end is what Finished said; nil before.
	end *ending
}

// ending is the content of the signal Finished.
type ending struct {
	Outcome string
	Result  map[string]dbus.Variant
}

func (c *client) begin(ctx context.Context, method string, options map[string]dbus.Variant) (*remote, error) {
	f := &remote{c: c}
	if err := c.manager(ctx, method, []any{&f.path}, options); err != nil {
		return nil, err
	}
	var err error
	if f.owner, err = c.owner(ctx); err != nil {
		return nil, err
	}
	if f.owner == "" {
		return nil, unavailable(busErrorPrefix+"NameHasNoOwner", "accountlockd stopped before it answered.")
	}
	return f, nil
}

func (f *remote) get(ctx context.Context) (snapshot, error) {
	var s snapshot
	props, err := f.c.properties(ctx, f.owner, f.path, flowIface)
	if err != nil {
		return s, gone(err)
	}
	err = storeAll(props, map[string]any{
		"Kind": &s.Kind, "Step": &s.Step, "Prompt": &s.Prompt,
		"Methods": &s.Methods, "Progress": &s.Progress, "Error": &s.Error,
	})
	if err != nil {
		return s, err
	}
	if v, ok := s.Prompt["fields"]; ok {
		err = stored(v.Store(&s.Fields), "fields")
	}
	return s, err
}

// gone says what it means that a flow is no longer there.
func gone(err error) error {
	f := asFailure(err)
	switch f.Name {
	case busErrorPrefix + "UnknownObject", busErrorPrefix + "NoSuchObject", busErrorPrefix + "UnknownMethod", busErrorPrefix + "UnknownInterface":
		return failed(fault.Timeout, "The flow has ended.", "")
	case busErrorPrefix + "NameHasNoOwner", busErrorPrefix + "ServiceUnknown", busErrorPrefix + "NoReply":
		f.Message = "accountlockd stopped."
		f.Remedy = "What has begun is carried to its end once it runs again; see accountlockctl status."
	}
	return f
}

func (f *remote) submit(ctx context.Context, answer map[string]dbus.Variant) error {
	return f.c.call(ctx, f.owner, f.path, flowIface+".Submit", nil, answer)
}

func (f *remote) choose(ctx context.Context, method string) error {
	return f.c.call(ctx, f.owner, f.path, flowIface+".Choose", nil, method)
}

func (f *remote) resend(ctx context.Context) error {
	return f.c.call(ctx, f.owner, f.path, flowIface+".Resend", nil)
}

// cancel ends the flow, whatever has become of ctx.
func (f *remote) cancel(ctx context.Context) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	return f.c.call(ctx, f.owner, f.path, flowIface+".Cancel", nil)
}

// changed waits until the flow may have changed: a signal of its own, or the
// given time, since no signal is relied on. It returns an error when ctx or
// the connection ends.
func (f *remote) changed(ctx context.Context, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case sig, ok := <-f.c.signals:
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
func (f *remote) hear(sig *dbus.Signal) bool {
	if sig.Sender != f.owner || sig.Path != f.path {
		return false
	}
	if sig.Name == flowIface+".Finished" {
		var e ending
		if dbus.Store(sig.Body, &e.Outcome, &e.Result) == nil {
			f.end = &e
		}
	}
	return true
}

// finished waits a moment for Finished, which comes after the step is `done`.
func (f *remote) finished(ctx context.Context) ending {
	deadline := time.Now().Add(2 * time.Second)
	for f.end == nil && time.Now().Before(deadline) {
		if f.changed(ctx, time.Until(deadline)) != nil {
			break
		}
	}
	if f.end == nil {
		return ending{}
	}
	return *f.end
}
