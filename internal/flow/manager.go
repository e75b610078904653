// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// Bounds on flows that are under way.
const (
	MaxFlowsPerOwner = 8
	MaxFlows         = 32
)

// Options are what a flow may be begun with.
type Options struct {
	Locale string
	Region string
	// Unlink, of a reset, ends the ownership too.
	Unlink bool
}

// Manager holds the flows and carries operations to their end. It is safe for
// concurrent use.
type Manager struct {
	keeper *Keeper
	ports  Ports
	log    *slog.Logger
	obs    Observer

	// ctx lives as long as the daemon; work is everything that it waits for.
	ctx  context.Context
	work sync.WaitGroup

	mu     sync.Mutex
	flows  map[uint64]*Flow
	next   uint64
	closed bool
}

// NewManager returns a manager over k. ctx bounds the operations: when it ends
// they stop, and the journal holds them for the next start.
func NewManager(ctx context.Context, k *Keeper, log *slog.Logger) *Manager {
	m := &Manager{keeper: k, ports: k.ports, log: log, ctx: ctx, flows: map[uint64]*Flow{}}
	m.ports.Conversation = timed{k.ports.Conversation, k}
	return m
}

// Observe sets who hears of flows; before the first one.
func (m *Manager) Observe(o Observer) { m.obs = o }

// Keeper returns the keeper of the state.
func (m *Manager) Keeper() *Keeper { return m.keeper }

// MayBegin returns the fault of a flow that the state does not allow.
func (m *Manager) MayBegin(kind lock.Kind) error {
	if err := lock.MayBegin(kind, m.keeper.Snapshot().Status.State); err != nil {
		return refused(err)
	}
	if kind == lock.KindReset {
		if err := m.ports.Resetter.Ready(); err != nil {
			return resetFault(err)
		}
	}
	return nil
}

// Begin begins a flow for owner. It needs no network. Errors: those of
// MayBegin, TooManyFlows.
func (m *Manager) Begin(owner string, kind lock.Kind, o Options) (*Flow, error) {
	if err := m.MayBegin(kind); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	mine, all := 0, 0
	var old []*Flow // finished, kept to be read: they make room
	for _, f := range m.flows {
		switch {
		case f.over():
			old = append(old, f)
			continue
		case f.Owner == owner:
			mine++
		}
		all++
	}
	if mine >= MaxFlowsPerOwner || all >= MaxFlows {
		return nil, fault.New(fault.TooManyFlows, nil)
	}
	if len(old) >= MaxFlows {
		oldest := slices.MinFunc(old, func(a, b *Flow) int { return cmp.Compare(a.ID, b.ID) })
		go m.remove(oldest)
	}
	if m.closed {
		return nil, fault.Newf(fault.ServiceUnavailable, "The daemon is about to restart.")
	}
	return m.add(&Flow{Owner: owner, kind: kind, locale: o.Locale, region: o.Region, unlink: o.Unlink, recovering: kind == lock.KindRecover}), nil
}

// add numbers f and starts its timer. m.mu is held.
func (m *Manager) add(f *Flow) *Flow {
	m.next++
	f.ID, f.m = m.next, m
	f.settled = make(chan struct{})
	f.step, f.prompt = f.first()
	f.timer = time.AfterFunc(idleTime, f.expired)
	m.flows[f.ID] = f
	return f
}

// first returns the step that the flow begins with.
func (f *Flow) first() (Step, Prompt) {
	s := f.m.keeper.Snapshot()
	switch f.kind {
	case lock.KindRecover:
		return StepIdentify, recoverPrompt(s)
	case lock.KindSignOut:
		return StepPassword, passwordPrompt(f.kind, s)
	case lock.KindUnlink:
		return StepConfirm, unlinkPrompt(s)
	case lock.KindReset:
		return f.firstOfReset()
	default:
		return StepIdentify, identifyPrompt(f.kind, s)
	}
}

// Get returns the flow with the given number, or nil.
func (m *Manager) Get(id uint64) *Flow {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.flows[id]
}

// List returns the flows that owner may see, in the order of their beginning:
// its own, and the operations that were found unfinished at start, whose
// prompts hold nothing secret.
func (m *Manager) List(owner string) []*Flow {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*Flow
	for _, f := range m.flows {
		if f.Owner == owner || f.Owner == "" {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *Flow) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Owners reports whether a connection has a flow.
func (m *Manager) Owners(owner string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.flows {
		if f.Owner == owner {
			return true
		}
	}
	return false
}

// Busy reports whether there is a flow or an operation to stay for.
func (m *Manager) Busy() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.flows) > 0 || len(m.keeper.operation) > 0
}

// OwnerGone ends the flows of a connection that has left the bus; an operation
// that has begun goes on.
func (m *Manager) OwnerGone(owner string) {
	if owner == "" {
		return
	}
	for _, f := range m.List(owner) {
		if f.Owner == owner && (f.cancel() || f.over()) {
			m.remove(f)
		}
	}
}

// Close refuses new flows and waits for operations, which the end of the
// manager's context stops.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	flows := make([]*Flow, 0, len(m.flows))
	for _, f := range m.flows {
		flows = append(flows, f)
	}
	m.mu.Unlock()
	for _, f := range flows {
		f.cancel()
	}
	m.work.Wait()
}

// Resume takes up the operations that the journal holds from before a crash or
// a restart, each as a flow of its own, and writes the copy of the record that was
// not written any more.
func (m *Manager) Resume(ctx context.Context) error {
	m.keeper.mirror()
	ops, err := m.ports.Journal.Pending(ctx)
	if err != nil {
		return err
	}
	for _, op := range ops {
		if !m.keeper.Snapshot().Status.Open() {
			// A locked device is in no operation: a reset would have wiped it. What the
			// service says decides.
			m.drop(op)
			continue
		}
		m.mu.Lock()
		f := m.add(&Flow{kind: op.Kind})
		f.step, f.prompt = StepWorking, workingPrompt(op.Kind)
		f.timer.Stop()
		m.mu.Unlock()
		m.changed(f)
		m.log.Info("taking up an unfinished operation", "kind", op.Kind)
		m.work.Go(func() { f.resume(op) })
	}
	return nil
}

func (f *Flow) resume(op Operation) {
	k := f.m.keeper
	if err := k.acquire(f.m.ctx); err != nil {
		return
	}
	defer k.release()
	creds, err := k.resumeCredentials()
	armed := k.armedLink()
	if op.Kind == lock.KindLink && op.LinkID == "" {
		op.LinkID = armed
	}
	if err != nil || op.Kind == lock.KindLink && (armed == "" || armed != op.LinkID) {
		// Nothing was armed: the reservation ends by itself, and the old state stands.
		f.m.drop(op)
		if err == nil {
			f.m.endRemote(op.FlowID)
		}
		f.finish(StepFailed, Outcome{Word: "failed"}, fault.Newf(fault.Timeout, "The daemon was restarted before the account service had agreed; nothing has changed."))
		return
	}
	f.carry(creds, op)
}

// drop closes an operation that did not happen.
func (m *Manager) drop(op Operation) {
	if err := m.ports.Journal.End(context.WithoutCancel(m.ctx), op.FlowID, "dropped"); err != nil {
		m.log.Warn("cannot close the operation in the journal", "error", err)
	}
}

// endRemote tells the account service, without waiting for it, that its side
// of a flow is over; it would notice by itself later.
func (m *Manager) endRemote(flowID string) {
	m.work.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, answerTime)
		defer cancel()
		creds, err := m.keeper.resumeCredentials()
		if err != nil {
			return
		}
		if err := m.ports.Conversation.End(ctx, creds, flowID); err != nil {
			m.log.Debug("cannot end the flow at the account service", "error", err)
		}
	})
}

func (m *Manager) remove(f *Flow) {
	m.mu.Lock()
	_, ok := m.flows[f.ID]
	delete(m.flows, f.ID)
	m.mu.Unlock()
	if ok && m.obs != nil {
		m.obs.FlowRemoved(f)
	}
}

func (m *Manager) changed(f *Flow) {
	if m.obs != nil {
		m.obs.FlowChanged(f)
	}
}

func (m *Manager) finished(f *Flow, o Outcome) {
	if m.obs != nil {
		m.obs.FlowFinished(f, o)
	}
}
