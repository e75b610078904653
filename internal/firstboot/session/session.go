// SPDX-License-Identifier: Apache-2.0

// Package session is one person's conversation with accountlockd at the first
// boot: it waits for the daemon, keeps one flow, begins it again where it ended
// by itself, and reads what there is to show. It draws nothing and decides
// nothing: whether the device is open is the daemon's word alone.
package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/firstboot/network"
	"github.com/accountlock/accountlock/internal/firstboot/page"
	"github.com/accountlock/accountlock/internal/firstboot/ticket"
	"github.com/accountlock/accountlock/internal/proofofwork"
	"github.com/accountlock/accountlock/internal/secret"
)

// Session is safe for concurrent use; flow calls are made one at a time.
type Session struct {
	address string
	now     func() time.Time
	changed chan struct{}

	mu     sync.Mutex
	client *busclient.Client
	flow   *busclient.Flow
	tag    string
	// check is the one that was solved last, or is being solved: proving.
	check   string
	proving bool
	// away: the person left the first page into the flow.
	away bool
}

// View is what there is to show.
type View struct {
	State busclient.State
	// At is when State was read: its RetryAfter counts from then.
	At time.Time
	// Open: the daemon says so.
	Open bool
	// Home: the person is at the first page.
	Home bool
	// Networks can be chosen: NetworkManager runs.
	Networks bool
	// Flow is the flow as it stands.
	Flow busclient.Snapshot
	// Proving: the check that a person is there is being solved.
	Proving bool
	// Trouble kept a flow from being begun; nil for none.
	Trouble *busclient.Failure
}

// New makes a session over the bus at an address. tag is the person's language.
func New(address, tag string, now func() time.Time) *Session {
	return &Session{address: address, tag: tag, now: now, changed: make(chan struct{}, 1)}
}

// Close ends the connection and with it the flow, save one that is working.
func (s *Session) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

// drop forgets the connection. s.mu is held.
func (s *Session) drop() {
	if s.client != nil {
		s.client.Close()
	}
	s.client, s.flow = nil, nil
}

// connect returns the connection, made anew where it was lost. s.mu is held.
func (s *Session) connect(ctx context.Context) (*busclient.Client, error) {
	if s.client != nil {
		return s.client, nil
	}
	c, err := busclient.Dial(ctx, s.address, false)
	if err != nil {
		return nil, err
	}
	for _, rule := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(busclient.Name), dbus.WithMatchObjectPath(busclient.ManagerPath)},
		{dbus.WithMatchSender(busclient.BusIface), dbus.WithMatchInterface(busclient.BusIface),
			dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, busclient.Name)},
		{dbus.WithMatchSender(busclient.BusIface), dbus.WithMatchInterface(busclient.BusIface),
			dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, network.Name)},
	} {
		if err := c.Watch(ctx, rule...); err != nil {
			c.Close()
			return nil, err
		}
	}
	s.client = c
	go s.listen(c)
	return c, nil
}

// listen turns signals into one 'look again', until the connection ends.
func (s *Session) listen(c *busclient.Client) {
	for range c.Signals {
		s.poke()
	}
	s.mu.Lock()
	if s.client == c {
		s.drop()
	}
	s.mu.Unlock()
	s.poke()
}

func (s *Session) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Changed waits until there may be something new to see, or the given time.
func (s *Session) Changed(ctx context.Context, most time.Duration) error {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	case <-s.changed:
	}
	return nil
}

// Look reads what there is to show. Its error means that the daemon does not
// answer: nothing is known then, and that is not 'open'.
func (s *Session) Look(ctx context.Context) (View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.connect(ctx)
	if err != nil {
		return View{}, err
	}
	v := View{At: s.now(), Home: !s.away}
	if v.State, err = c.State(ctx); err != nil {
		if ctx.Err() != nil {
			return View{}, ctx.Err()
		}
		if s.flow != nil {
			s.flow, s.away = nil, false // its daemon is gone, and the flow with it
		}
		return View{}, err
	}
	v.Networks = network.Runs(ctx, c)
	switch v.State.State {
	case "unlinked", "linked", "signed-out":
		v.Open = true
		return v, nil
	}
	// fails locked: a state that this program does not know is one to ask in.
	if s.flow == nil {
		if s.flow, err = c.Begin(ctx, "Unlock", s.options()); err != nil {
			if ctx.Err() != nil {
				s.flow = nil
				return View{}, ctx.Err()
			}
			s.flow, v.Trouble, v.Home = nil, busclient.AsFailure(err), true
			return v, nil
		}
	}
	if v.Flow, err = s.flow.Get(ctx); err != nil {
		if ctx.Err() != nil {
			return View{}, ctx.Err()
		}
		s.flow, v.Home = nil, true
		if s.away {
			s.away, v.Trouble = false, busclient.AsFailure(err)
		}
		s.poke() // once more, with a new flow
		return v, nil
	}
	if v.Flow.Step == "captcha" && !v.Home {
		s.prove(v.Flow.Text("captcha"))
		v.Proving = s.proving
	}
	if v.Home && over(v.Flow) {
		s.flow = nil // ended while nobody used it
		s.poke()
	}
	return v, nil
}

// proveTime bounds the work for a check.
const proveTime = time.Minute

// prove solves a check (a proof of work) and answers it: nobody has to read or
// click. Where that fails the field stays for a person. s.mu is held.
func (s *Session) prove(check string) {
	if check == "" || check == s.check || s.proving {
		return
	}
	s.check, s.proving = check, true
	go func() {
		ctx, stop := context.WithTimeout(context.Background(), proveTime)
		defer stop()
		if answer, err := proofofwork.Solve(ctx, check); err == nil {
			_ = s.Submit(ctx, map[string]any{"captcha": answer}) // the flow keeps a refusal
		}
		s.mu.Lock()
		s.proving = false
		s.mu.Unlock()
		s.poke()
	}()
}

func over(f busclient.Snapshot) bool { return f.Step == "done" || f.Step == "failed" }

func (s *Session) options() map[string]dbus.Variant {
	return map[string]dbus.Variant{"locale": dbus.MakeVariant(s.tag)}
}

// errNoFlow is for an answer to a flow that has ended meanwhile.
func errNoFlow() error { return busclient.Failed(fault.Timeout, "The flow has ended.", "") }

func (s *Session) current() (*busclient.Client, *busclient.Flow, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil || s.flow == nil {
		return nil, nil, errNoFlow()
	}
	return s.client, s.flow, nil
}

// Take goes a way: out of the flow's methods, or recovery, which is a flow of
// its own where the running one does not lead to it.
func (s *Session) Take(ctx context.Context, way string) error {
	c, f, err := s.current()
	if err != nil {
		return err
	}
	at, err := f.Get(ctx)
	if err != nil {
		return err
	}
	switch {
	case way == page.WayRecover && !slices.Contains(at.Methods, way):
		r, err := c.Begin(ctx, "Recover", s.options())
		if err != nil {
			return err
		}
		_ = f.Cancel(ctx)
		s.set(r, true)
		return nil
	case way == page.WayPassword && at.Step == "identify":
		s.set(f, true) // it begins there
		return nil
	}
	if err := f.Choose(ctx, way); err != nil {
		told := f.Explain(ctx, err)
		told.Answered = false // a way is no attempt
		return told
	}
	s.set(f, true)
	return nil
}

func (s *Session) set(f *busclient.Flow, away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flow, s.away = f, away
}

// Submit hands in an answer and wipes its secrets. What the daemon says to it
// stands in the flow too.
func (s *Session) Submit(ctx context.Context, answer map[string]any) error {
	in := make(map[string]dbus.Variant, len(answer))
	for k, v := range answer {
		if b, ok := v.(secret.Bytes); ok {
			defer b.Wipe()
			in[k] = dbus.MakeVariant(b.Reveal())
			continue
		}
		in[k] = dbus.MakeVariant(v)
	}
	_, f, err := s.current()
	if err != nil {
		return err
	}
	if err := f.Submit(ctx, in); err != nil {
		return f.Explain(ctx, err)
	}
	return nil
}

// Bring hands in a ticket.
func (s *Session) Bring(ctx context.Context, t ticket.Ticket) error {
	code, err := t.Read()
	if err != nil {
		return err
	}
	return s.Submit(ctx, map[string]any{"code": code})
}

// Resend has the code sent again.
func (s *Session) Resend(ctx context.Context) error {
	_, f, err := s.current()
	if err != nil {
		return err
	}
	return f.Resend(ctx)
}

// GoHome leaves the flow for the first page. One that is working goes on.
func (s *Session) GoHome(ctx context.Context) error {
	_, f, err := s.current()
	if err == nil {
		err = f.Cancel(ctx)
	}
	if err != nil && busclient.AsFailure(err).Code() == fault.WrongStep && s.working(ctx, f) {
		return err // nothing to go back from
	}
	s.set(nil, false)
	s.poke()
	return nil
}

func (s *Session) working(ctx context.Context, f *busclient.Flow) bool {
	at, err := f.Get(ctx)
	return err == nil && at.Step == "working"
}

// Speak changes the language; the flow begins again in it.
func (s *Session) Speak(ctx context.Context, tag string) error {
	s.mu.Lock()
	s.tag = tag
	s.mu.Unlock()
	return s.GoHome(ctx)
}

// Diagnose asks the daemon what works.
func (s *Session) Diagnose(ctx context.Context) ([]page.Check, error) {
	var rows []struct {
		Check, Result, Message string
		Details                map[string]dbus.Variant
	}
	if err := s.ask(ctx, "Diagnose", []any{&rows}); err != nil {
		return nil, err
	}
	out := make([]page.Check, len(rows))
	for i, r := range rows {
		out[i] = page.Check{Name: r.Check, Result: r.Result, Message: r.Message}
		for _, key := range []string{"portal", "portal-url", "url"} {
			if u, ok := r.Details[key].Value().(string); ok && r.Result != "ok" {
				out[i].URL = u
				break
			}
		}
	}
	return out, nil
}

// Support asks the daemon for contacts.
func (s *Session) Support(ctx context.Context, region string) ([]page.Contact, error) {
	var rows []page.Contact
	err := s.ask(ctx, "GetSupport", []any{&rows}, region)
	return rows, err
}

func (s *Session) ask(ctx context.Context, method string, out []any, args ...any) error {
	s.mu.Lock()
	c, err := s.connect(ctx)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	err = c.Manager(ctx, method, out, args...)
	if errors.Is(err, dbus.ErrClosed) {
		s.poke()
	}
	return err
}
