// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

// world is everything that outlives the daemon: the medium, the state
// directory and the account service.
type world struct {
	mu      sync.Mutex
	record  lock.Record
	blank   bool
	oneCopy bool
	marker  []byte
	ops     map[string]flow.Operation
	checked int64
	wiped   int
	writes  int
	pokes   int
	// events wait to be told under batch; told is what the service has.
	events  []flow.Event
	batch   string
	told    map[string][]flow.Event
	started string

	// resets is how many factory resets were begun; noReset is why none can be.
	resets  int
	noReset error
	// elsewhere: others begin the reset.
	elsewhere bool
	// bootID is the present boot's, "boot" where it is empty.
	bootID string
	// chip is the device's TPM, if it has one; proofs holds each enrolment's proof.
	chip   flow.Chip
	proofs []string

	// fail makes the named port refuse.
	fail map[string]error
	svc  fakeService
	// cases are what support was asked.
	cases []flow.Case

	// trip ends the daemon at the n-th effect, as kill -9 would.
	trip  int
	count int
	dead  bool
}

func newWorld() *world {
	w := &world{blank: true, ops: map[string]flow.Operation{}, fail: map[string]error{}, told: map[string][]flow.Event{}}
	w.svc.w = w
	w.svc.status = lock.StatusUnlinked
	w.svc.flows = map[string]*fakeFlow{}
	return w
}

// effect runs one effect on the outside, unless the daemon dies before it, and
// checks whether it dies right after.
func (w *world) effect(name string, do func() error) error {
	w.step()
	w.mu.Lock()
	err := w.fail[name]
	if err == nil {
		err = do()
	}
	w.mu.Unlock()
	w.step()
	return err
}

// step is one instant at which the power may fail. A dead daemon's goroutines
// end at their next effect.
func (w *world) step() {
	w.mu.Lock()
	w.count++
	if w.trip > 0 && w.count == w.trip {
		w.dead = true
	}
	dead := w.dead
	w.mu.Unlock()
	if dead {
		runtime.Goexit()
	}
}

func (w *world) Write(r lock.Record, _ bool) error {
	return w.effect("record", func() error { w.record, w.blank = r, false; w.writes++; return nil })
}

type markerPort struct{ w *world }

func (m markerPort) Write(b []byte) error {
	return m.w.effect("marker", func() error { m.w.marker = bytes.Clone(b); return nil })
}

func (w *world) Poke(context.Context) error {
	return w.effect("gate", func() error { w.pokes++; return nil })
}

func (w *world) Begin(_ context.Context, op flow.Operation) error {
	return w.effect("journal", func() error { w.ops[op.FlowID] = op; return nil })
}

func (w *world) End(_ context.Context, id, _ string) error {
	return w.effect("journal", func() error { delete(w.ops, id); return nil })
}

func (w *world) Pending(context.Context) ([]flow.Operation, error) {
	var out []flow.Operation
	err := w.effect("journal", func() error {
		for _, op := range w.ops {
			out = append(out, op)
		}
		return nil
	})
	return out, err
}

func (w *world) LastCheckIn(context.Context) (int64, error) { return w.checked, nil }

func (w *world) SetLastCheckIn(_ context.Context, at int64) error {
	return w.effect("diary", func() error { w.checked = at; return nil })
}

func (w *world) Note(context.Context, string, string) error {
	return w.effect("diary", func() error { return nil })
}

func (w *world) WipeAccount(context.Context) error {
	return w.effect("diary", func() error { w.wiped++; return nil })
}

// Ready implements flow.Resetter.
func (w *world) Ready() error { return w.noReset }

// Begins implements flow.Resetter.
func (w *world) Begins() bool { return !w.elsewhere }

// Trigger implements flow.Resetter.
func (w *world) Trigger(context.Context) error {
	return w.effect("reset", func() error { w.resets++; return nil })
}

// Ticket takes "signed.CHALLENGE.PURPOSE" for a ticket.
// OpenCase implements flow.Cases.
func (w *world) OpenCase(_ context.Context, c flow.Credentials, k flow.Case) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cases = append(w.cases, k)
	return "482-177-35" + fmt.Sprint(len(c.ID)%10), w.fail["case"]
}

func (w *world) Ticket(_ context.Context, _, ticket, challenge string) (flow.Grant, error) {
	parts := strings.Split(ticket, ".")
	if len(parts) != 3 || parts[0] != "signed" || parts[1] != challenge {
		return flow.Grant{}, fault.New(fault.GrantRefused, nil)
	}
	g := w.svc.grant(parts[2], w.svc.link)
	g.Lifetime = 24 * time.Hour
	return *g, nil
}

func (w *world) KeySet() lock.KeySet { return lock.KeySet{Number: 1} }

func (w *world) Identities([]byte) []flow.Identity {
	if w.chip != nil {
		return []flow.Identity{{Source: "tpm", Digest: "t"}}
	}
	return []flow.Identity{{Source: "file", Digest: "d"}}
}
func (w *world) Model() string { return "test" }
func (w *world) Token() string { return "" }

type fixedClock struct {
	id    string
	since *time.Duration
}

func (c fixedClock) Boot() lock.Boot { return lock.Boot{ID: c.id, Since: *c.since} }
func (c fixedClock) Now() time.Time  { return time.Unix(1_800_000_000, 0) }

// factoryReset wipes what a reset wipes.
func (w *world) factoryReset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marker, w.ops, w.checked = nil, map[string]flow.Operation{}, 0
	w.events, w.batch, w.started = nil, "", ""
}

// daemon is one life of the device side.
type daemon struct {
	k     *flow.Keeper
	m     *flow.Manager
	since *time.Duration
	stop  context.CancelFunc
}

func (w *world) boot(t testing.TB) *daemon {
	t.Helper()
	w.mu.Lock()
	w.trip, w.count, w.dead = 0, 0, false
	e := lock.Evidence{Provisioned: true, Store: lock.StoreValid, Record: w.record, OneCopy: w.oneCopy, Marker: w.marker, Policy: lock.RequireOnline}
	if w.blank {
		e.Store, e.Record = lock.StoreBlank, lock.Record{}
	}
	w.mu.Unlock()
	since := new(time.Duration)
	log := slog.New(slog.DiscardHandler)
	k := flow.NewKeeper(flow.Ports{
		Conversation: conversation{w}, Registry: registry{w}, Tickets: w, Cases: w, Trust: w, Record: w, Marker: markerPort{w},
		Gate: w, Resetter: w, Journal: w, Diary: w, Events: w, Clock: fixedClock{cmp.Or(w.bootID, "boot"), since}, Hardware: w, Random: rand.Reader, Chip: w.chip,
	}, e, log)
	ctx, cancel := context.WithCancel(context.Background())
	m := flow.NewManager(ctx, k, log)
	k.SettleReset()
	t.Cleanup(cancel)
	return &daemon{k: k, m: m, since: since, stop: cancel}
}

func (d *daemon) state() lock.Status { return d.k.Snapshot().Status }

// --- the account service, as far as a device can tell -----------------------

type fakeService struct {
	w      *world
	status lock.LinkStatus
	link   lock.Link
	lost   [2]string
	flows  map[string]*fakeFlow
	next   int
	// down makes every call fail with it; after lets that many through first.
	down  error
	after int
	calls int
	// purpose and signed twist what is signed, for tests.
	twist func(*flow.Grant)
	// offline is the key of the newest link's offline codes; noOffline makes none.
	offline   []byte
	noOffline bool
	// noApproval offers none; codes is how many were made, and poll answers each
	// question whether the owner has approved: pending, where it is nil.
	noApproval bool
	codes      int
	poll       func(a flow.Answer) (flow.Remote, error)
	polls      []flow.Answer
}

type fakeFlow struct {
	kind       lock.Kind
	step       string
	identifier string
	hint       bool
	committed  bool
	pending    lock.Link
}

const (
	rightPassword = "correct horse battery"
	ownID         = "12345678"
	otherID       = "87654321"
)

func (s *fakeService) reach() error {
	s.calls++
	if s.down != nil && s.calls > s.after {
		return s.down
	}
	return nil
}

func (s *fakeService) statement(asked string) lock.Statement {
	st := lock.Statement{Status: s.status, Link: s.link, Hint: "j•••@example.org", Time: 1_800_000_001}
	if asked != "" && asked != s.link.ID {
		st.Ended = asked
	}
	if s.status == lock.StatusLost {
		st.LostMessage, st.LostContact = s.lost[0], s.lost[1]
	}
	return st
}

func (s *fakeService) grant(purpose string, l lock.Link) *flow.Grant {
	g := &flow.Grant{Purpose: purpose, Link: l, AccountID: ownID, Hint: "j•••@example.org", Time: 1_800_000_000, Lifetime: time.Minute}
	if s.twist != nil {
		s.twist(g)
	}
	return g
}

type registry struct{ w *world }

func (r registry) Challenge(context.Context, flow.Credentials, flow.Claim) (flow.Challenge, error) {
	return flow.Challenge{Credential: []byte("for this chip"), Secret: []byte("seed")}, r.w.effect("service", r.w.svc.reach)
}

func (r registry) Enrol(_ context.Context, _ flow.Credentials, e flow.Enrolment) (string, bool, error) {
	err := r.w.effect("service", func() error {
		r.w.proofs = append(r.w.proofs, string(e.Proof))
		return r.w.svc.reach()
	})
	return "ABCD-EFGH-JKMN", len(e.Proof) > 0, err
}

func (r registry) State(_ context.Context, _ flow.Credentials, linkID string, _ flow.Nonce) (lock.Statement, error) {
	var st lock.Statement
	err := r.w.effect("service", func() error {
		st = r.w.svc.statement(linkID)
		return r.w.svc.reach()
	})
	return st, err
}

func (r registry) Report(_ context.Context, _ flow.Credentials, batch string, events []flow.Event) error {
	return r.w.effect("events", func() error { r.w.told[batch] = events; return r.w.svc.reach() })
}

type conversation struct{ w *world }

func (c conversation) Begin(_ context.Context, _ flow.Credentials, b flow.Begin) (flow.Remote, error) {
	var out flow.Remote
	err := c.w.effect("service", func() error {
		s := &c.w.svc
		if err := s.reach(); err != nil {
			return err
		}
		if b.Kind == lock.KindUnlock && s.status != lock.StatusLinked && s.status != lock.StatusLost {
			return fault.New(fault.NotLinked, nil)
		}
		s.next++
		out = flow.Remote{FlowID: fmt.Sprintf("flow-%d", s.next), Step: "identify", Approves: b.Kind == lock.KindUnlock && !s.noApproval}
		if b.Kind == lock.KindSignOut || b.Kind == lock.KindUnlink || b.Kind == lock.KindReset {
			out.Step = "password"
		}
		s.flows[out.FlowID] = &fakeFlow{kind: b.Kind, step: out.Step, hint: out.Step == "password"}
		return nil
	})
	return out, err
}

func (c conversation) Answer(_ context.Context, _ flow.Credentials, id string, a flow.Answer) (flow.Remote, error) {
	out := flow.Remote{FlowID: id}
	err := c.w.effect("service", func() error {
		s := &c.w.svc
		if err := s.reach(); err != nil {
			return err
		}
		f := s.flows[id]
		if f == nil {
			return fault.New(fault.Timeout, nil)
		}
		return s.answer(f, a, &out)
	})
	return out, err
}

func (s *fakeService) answer(f *fakeFlow, a flow.Answer, out *flow.Remote) error {
	switch a.Step {
	case "identify":
		if a.Identifier == "" && !a.UseHint {
			return fault.New(fault.InvalidArgument, nil)
		}
		f.identifier, f.hint, f.step = a.Identifier, a.UseHint, "password"
	case "password":
		if f.step != "password" {
			return fault.New(fault.WrongStep, nil)
		}
		if string(a.Password) != rightPassword {
			e := fault.New(fault.InvalidCredentials, nil)
			e.Counted, e.AttemptsLeft = true, 3
			return e
		}
		if !f.hint && f.identifier == otherID && f.kind != lock.KindLink {
			e := fault.New(fault.WrongAccount, nil)
			e.Counted, e.Hint = true, "j•••@example.org"
			return e
		}
		switch f.kind {
		case lock.KindUnlock:
			s.status, s.link.Generation = lock.StatusLinked, s.link.Generation+1
			f.step, out.Grant = "done", s.grant("unlock", s.link)
		case lock.KindLink:
			f.step, out.Grant = "confirm", s.grant("rehearsal", lock.Link{})
		case lock.KindReset:
			f.step = "confirm"
		default:
			f.step, out.Grant = "commit", s.grant(string(f.kind), s.link)
		}
	case "approve":
		return s.approve(f, a, out)
	case "confirm":
		if f.step != "confirm" {
			return fault.New(fault.WrongStep, nil)
		}
		if f.kind == lock.KindReset {
			f.step, out.Grant = "done", s.grant("reset", s.link)
			break
		}
		s.next++
		f.pending = lock.Link{ID: fmt.Sprintf("link-%d", s.next), Generation: 1}
		f.step, out.Grant = "commit", s.grant("link", f.pending)
		if a.AgreeOffline && !s.noOffline {
			// As the two sides come to it: another one for each link.
			key := sha256.Sum256([]byte(f.pending.ID))
			s.offline, out.Grant.OfflineKey = key[:], key[:]
		}
	case "commit":
		if f.step != "commit" {
			return fault.New(fault.WrongStep, nil)
		}
		s.commit(f)
		st := s.statement("")
		out.Statement, out.Step = &st, "done"
		if f.kind == lock.KindUnlink {
			out.Receipt = "receipt"
		}
		return nil
	}
	out.Step = f.step
	return nil
}

func (s *fakeService) commit(f *fakeFlow) {
	if f.committed {
		return
	}
	f.committed = true
	switch f.kind {
	case lock.KindLink:
		s.status, s.link = lock.StatusLinked, f.pending
	case lock.KindSignOut:
		s.status, s.link.Generation = lock.StatusSignedOut, s.link.Generation+1
	case lock.KindUnlink:
		s.status, s.link.Generation = lock.StatusUnlinked, s.link.Generation+1
	}
}

// approve makes a code, or lets the test say how the owner's word stands.
func (s *fakeService) approve(f *fakeFlow, a flow.Answer, out *flow.Remote) error {
	if f.step != "approve" {
		f.step = "approve"
		*out = s.code(out.FlowID)
		return nil
	}
	s.polls = append(s.polls, a)
	if s.poll == nil {
		out.Step, out.Interval = "approve", 5*time.Second
		return nil
	}
	r, err := s.poll(a)
	r.FlowID = out.FlowID
	if *out = r; r.Step == "done" {
		s.status, s.link.Generation = lock.StatusLinked, s.link.Generation+1
		f.step, out.Grant = "done", s.grant("unlock", s.link)
	}
	return err
}

func (s *fakeService) code(id string) flow.Remote {
	s.codes++
	return flow.Remote{
		FlowID: id, Step: "approve", URI: "https://accounts.example.org/approve", UserCode: fmt.Sprintf("CODE-%d", s.codes),
		URIComplete: fmt.Sprintf("https://accounts.example.org/approve?code=CODE-%d", s.codes), Interval: 5 * time.Second,
	}
}

func (c conversation) Resend(_ context.Context, _ flow.Credentials, id string) (flow.Remote, error) {
	var out flow.Remote
	err := c.w.effect("service", func() error {
		if f := c.w.svc.flows[id]; f == nil || f.step != "approve" {
			return fault.New(fault.WrongStep, nil)
		}
		out = c.w.svc.code(id)
		return c.w.svc.reach()
	})
	return out, err
}

func (c conversation) End(_ context.Context, _ flow.Credentials, id string) error {
	return c.w.effect("service", func() error { delete(c.w.svc.flows, id); return c.w.svc.reach() })
}
