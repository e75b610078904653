// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

var errNewer = errors.New("cannot write the record: its format is newer than this program")

// Connectivity is what the last contact with the account service showed.
type Connectivity string

// The values of the D-Bus property Connectivity.
const (
	ConnUnknown     Connectivity = "unknown"
	ConnOnline      Connectivity = "online"
	ConnOffline     Connectivity = "offline"
	ConnPortal      Connectivity = "captive-portal"
	ConnClock       Connectivity = "clock-wrong"
	ConnUnreachable Connectivity = "service-unreachable"
	ConnUntrusted   Connectivity = "service-untrusted"
)

// Snapshot is what may be shown of the lock at one moment.
type Snapshot struct {
	Status      lock.Status
	DeviceID    string
	AccountID   string
	Hint        string
	LinkID      string
	LinkedAt    int64
	LostMessage string
	LostContact string
	// RetryAfter is the longest of the waits that run, each of one way alone.
	RetryAfter   time.Duration
	Connectivity Connectivity
	LastCheckIn  int64
	// HasRecovery: a recovery code was given for this link and is not spent.
	HasRecovery bool
	// HasOffline: the record has a key of offline codes.
	HasOffline bool
	// Approves: the account service lets a device be opened by approval, as far as is
	// known; it has not been asked where it may.
	Approves bool
	// Rule is what made the state.
	Rule string
	// Stated is the account service's last word; zero before the first one of this
	// process.
	Stated Stated
}

// Keeper holds the status and the record of the running device. Every change
// goes through apply: the table decides, the medium is written, and only then
// is the new status shown. It is safe for concurrent use.
type Keeper struct {
	ports Ports
	log   *slog.Logger
	obs   Observer

	// operation is held by whatever changes ownership, from before the first
	// outside effect until the end: one at a time, so that a statement and an
	// operation never cross.
	operation chan struct{}

	// lost has room for one word.
	lost chan struct{}

	// writing is held while the record is read, changed and written.
	writing sync.Mutex

	mu     sync.Mutex
	status lock.Status
	rule   string
	record lock.Record
	// writable is false where the store must not be written (a newer format).
	writable bool
	// marker is the reset marker at start.
	marker []byte
	// oneCopy: the record is good, and its second copy is not.
	oneCopy bool
	// proven: the account service has said, to this process, that the device has
	// proven its hardware.
	proven  bool
	conn    Connectivity
	checked int64
	stated  Stated
	// epoch grows with each change; a nonce of an earlier one is dead.
	epoch uint64
	// checking ends the check-in that is under way, if one is.
	checking context.CancelFunc
	// noApproval: the account service has said that it offers none.
	noApproval bool
}

// NewKeeper settles the state from the evidence at start. obs may be nil until
// Observe is called.
func NewKeeper(ports Ports, e lock.Evidence, log *slog.Logger) *Keeper {
	d := lock.Decide(e)
	k := &Keeper{
		ports: ports, log: log, operation: make(chan struct{}, 1),
		lost: make(chan struct{}, 1), status: d.Status, rule: d.Rule, conn: ConnUnknown,
		writable: e.Store != lock.StoreNewer, marker: e.Marker,
	}
	if e.Store == lock.StoreValid {
		k.record = e.Record
		k.oneCopy = e.OneCopy && d.Status.Reason != lock.RecordDamaged
	}
	if k.ports.Time == nil {
		k.ports.Time = NewTime(k.record.TrustedTime, ports.Clock, time.Time{})
	}
	// fails locked: what is written next must not read as 'disarmed'.
	k.record = d.Hold(k.record)
	if at, err := ports.Diary.LastCheckIn(context.Background()); err == nil {
		k.checked = at
	}
	return k
}

// Observe sets who hears of changes; before the first one.
func (k *Keeper) Observe(o Observer) { k.obs = o }

// Snapshot returns what may be shown.
func (k *Keeper) Snapshot() Snapshot {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.snapshot()
}

func (k *Keeper) snapshot() Snapshot {
	r := k.record
	s := Snapshot{
		Status: k.status, DeviceID: r.DeviceID, AccountID: r.AccountID, Hint: r.Hint,
		LinkID: r.Link.ID, LinkedAt: r.LinkedAt, Connectivity: k.conn,
		LastCheckIn: k.checked, Rule: k.rule, Stated: k.stated, HasRecovery: len(r.RecoveryHash) > 0, HasOffline: len(r.OfflineKey) > 0, Approves: !k.noApproval,
	}
	if waits := []lock.Wait{r.Wait, r.Attempts.Wait, r.Offline.Attempts.Wait}; slices.ContainsFunc(waits, lock.Wait.Runs) {
		boot := k.ports.Clock.Boot()
		for _, w := range waits {
			s.RetryAfter = max(s.RetryAfter, (w.Left(boot) + time.Second - 1).Truncate(time.Second))
		}
	}
	if r.Lost {
		s.LostMessage, s.LostContact = r.LostMessage, r.LostContact
	}
	return s
}

// acquire waits for the right to change ownership; a check-in gives way.
func (k *Keeper) acquire(ctx context.Context) error {
	k.mu.Lock()
	if k.checking != nil {
		k.checking()
	}
	k.mu.Unlock()
	return k.wait(ctx)
}

// wait is acquire for who gives way to others.
func (k *Keeper) wait(ctx context.Context) error {
	select {
	case k.operation <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.Newf(fault.Timeout, "Another change of this device's account is still in progress.")
	}
}

func (k *Keeper) release() { <-k.operation }

// update changes what is shown and tells the observer what became of it.
func (k *Keeper) update(change func()) {
	k.mu.Lock()
	old := k.snapshot()
	change()
	now := k.snapshot()
	k.mu.Unlock()
	if k.obs != nil && old != now {
		k.obs.StateChanged(old, now)
	}
}

// apply runs one event: decides by the table, writes the record, then shows
// the new status and tells the gate. A StorageFailed after an unlock does not
// keep the owner out: the device is open for this boot, and the error says so.
func (k *Keeper) apply(ctx context.Context, ev lock.Event, c lock.Change, rule string) error {
	k.mu.Lock()
	from := k.status
	k.mu.Unlock()
	to, effects, err := lock.Transition(from, ev)
	if err != nil {
		return refused(err)
	}
	// A medium that fails keeps nobody out whom the account or the service let in:
	// open for this boot, and the error says so.
	anyway := !from.Open() && to.Open()
	err = k.amend(true, anyway,
		func(r lock.Record) lock.Record { return r.Apply(effects, c) },
		func() {
			if to != from {
				// What confirms a state did not make it.
				k.status, k.rule = to, rule
				k.epoch++
			}
		})
	if err != nil && !anyway {
		// Old state, whole: nothing is shown that the medium does not hold.
		return err
	}
	if to != from {
		k.log.Info("the state has changed", "from", from, "to", to, "rule", rule)
		k.note(ctx, "state", from.String()+" -> "+to.String()+": "+rule)
		k.changed(ctx, from, to)
	}
	for _, e := range effects {
		if e == lock.OpenGate || e == lock.ShutGate {
			if perr := k.ports.Gate.Poke(ctx); perr != nil {
				k.log.Error("cannot tell the gate to decide again", "error", perr)
			}
		}
	}
	return err
}

// amend is the one way to change the record: on the medium first, then in
// memory, together with what show changes. With anyway, the change is shown
// although the medium failed.
func (k *Keeper) amend(ownership, anyway bool, change func(lock.Record) lock.Record, show func()) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	before := k.record
	k.mu.Unlock()
	after := change(before)
	if s := k.ports.Trust.KeySet(); s.Number > after.KeySet.Number {
		after.KeySet = s
	}
	if t := k.ports.Time.signed(); t > 0 {
		after.TrustedTime = t
	}
	err := k.write(before, after, ownership)
	if err != nil && !anyway {
		return err
	}
	k.update(func() {
		k.record = after
		if show != nil {
			show()
		}
	})
	return err
}

// write puts the record on the medium unless nothing in it changed.
func (k *Keeper) write(before, after lock.Record, ownership bool) error {
	same := after
	same.TrustedTime = before.TrustedTime
	if drift := after.TrustedTime - before.TrustedTime; reflect.DeepEqual(before, same) && max(drift, -drift) <= timeDrift {
		return nil
	}
	if !k.writable {
		return fault.New(fault.StorageFailed, errNewer)
	}
	if err := k.ports.Record.Write(after, ownership); err != nil {
		return fault.As(err)
	}
	return nil
}

// setWait keeps on the medium how long the account service told us to wait.
func (k *Keeper) setWait(d time.Duration) {
	w := lock.NewWait(d, k.ports.Clock.Boot())
	err := k.amend(false, true, func(r lock.Record) lock.Record { r.Wait = w; return r }, nil)
	if err != nil {
		// The service keeps its own count: this one only spares the person a trip.
		k.log.Warn("cannot keep the wait on the medium", "error", err)
	}
}

// retryAfter is how much of a wait is left.
func (k *Keeper) retryAfter() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.record.Wait.Left(k.ports.Clock.Boot())
}

// waits says until when each way has to wait, in seconds since the epoch.
func (k *Keeper) waits() map[string]int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, boot := k.record, k.ports.Clock.Boot()
	var out map[string]int64
	for way, w := range map[string]lock.Wait{methodPassword: r.Wait, methodRecovery: r.Attempts.Wait, methodOffline: r.Offline.Attempts.Wait} {
		if left := w.Left(boot); left > 0 {
			if out == nil {
				out = map[string]int64{}
			}
			out[way] = k.ports.Clock.Now().Add(left + time.Second - 1).Unix()
		}
	}
	return out
}

// rehearse writes the record as it is and reads it back, so that a medium that
// does not keep what it is given is found out before anything is armed.
func (k *Keeper) rehearse() error {
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	r := k.record
	k.mu.Unlock()
	if !k.writable {
		return fault.New(fault.StorageFailed, errNewer)
	}
	if err := k.ports.Record.Write(r, false); err != nil {
		return fault.As(err)
	}
	return nil
}

// mirror writes the second copy of a record that a power cut left with one. While
// the marker vouches for it, that is: after a reset a single copy that says
// 'disarmed' is locked, although the account service has released the device.
func (k *Keeper) mirror() {
	if !k.oneCopy {
		return
	}
	if err := k.rehearse(); err != nil {
		k.log.Warn("cannot write the second copy of the record", "error", err)
		return
	}
	k.oneCopy = false
}

// newMarker writes a fresh reset marker and returns its SHA-256.
func (k *Keeper) newMarker() ([]byte, error) {
	m := make([]byte, 32)
	if _, err := io.ReadFull(k.ports.Random, m); err != nil {
		return nil, fault.New(fault.Internal, err)
	}
	h := sha256.Sum256(m)
	if err := k.ports.Marker.Write(m); err != nil {
		return h[:], fault.As(err)
	}
	return h[:], nil
}

// nonceLife is how long a nonce is good for, by CLOCK_BOOTTIME.
const nonceLife = 60 * time.Second

// pendingNonce remembers when a nonce was made.
type pendingNonce struct {
	value Nonce
	boot  lock.Boot
	epoch uint64
}

func (k *Keeper) newNonce() (pendingNonce, error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(k.ports.Random, b); err != nil {
		return pendingNonce{}, fault.New(fault.Internal, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return pendingNonce{Nonce(base64.RawURLEncoding.EncodeToString(b)), k.ports.Clock.Boot(), k.epoch}, nil
}

// alive reports whether what answers n may still be acted on: within its life
// and with no operation in between. fails locked.
func (k *Keeper) alive(n pendingNonce, life time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.ports.Clock.Boot()
	return n.epoch == k.epoch && now.ID == n.boot.ID && now.Since-n.boot.Since <= min(life, nonceLife)
}

// unchangedSince reports whether no operation came in between since n was made, in
// this boot. fails locked.
func (k *Keeper) unchangedSince(n pendingNonce) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return n.epoch == k.epoch && k.ports.Clock.Boot().ID == n.boot.ID
}

// NoteContact keeps what a contact with the account service showed; err is its
// outcome.
func (k *Keeper) NoteContact(err error) {
	c := ConnOnline
	switch fault.CodeOf(err) {
	case fault.Timeout, fault.Internal, fault.StorageFailed:
		return // nothing about the network
	case fault.NetworkUnavailable:
		c = ConnOffline
	case fault.CaptivePortal:
		c = ConnPortal
	case fault.ClockWrong:
		c = ConnClock
	case fault.ServiceUnavailable:
		c = ConnUnreachable
	case fault.ServiceUntrusted:
		c = ConnUntrusted
	}
	lost := false
	k.update(func() {
		lost = c != ConnOnline && k.conn != c
		k.conn = c
	})
	if lost {
		select {
		case k.lost <- struct{}{}:
		default:
		}
	}
}

// noteApproves keeps whether the account service offers approval.
func (k *Keeper) noteApproves(offered bool) {
	k.update(func() { k.noApproval = !offered })
}

// Lost tells that a contact with the account service has begun to fail.
func (k *Keeper) Lost() <-chan struct{} { return k.lost }

func (k *Keeper) note(ctx context.Context, event, detail string) {
	if err := k.ports.Diary.Note(ctx, event, detail); err != nil {
		k.log.Warn("cannot write the audit trail", "event", event, "error", err)
	}
}

// sameLink reports whether the record is about the given link.
func (k *Keeper) sameLink(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return id != "" && k.record.Link.ID == id
}

// refused turns the domain's named refusals into faults.
func refused(err error) *fault.Error {
	var kind *lock.KindRefusal
	if errors.As(err, &kind) {
		switch {
		case kind.Kind == lock.KindUnlock:
			return fault.New(fault.NotLocked, err)
		case kind.State == lock.Locked:
			return fault.New(fault.Locked, err)
		case kind.Kind == lock.KindLink:
			return fault.New(fault.AlreadyLinked, err)
		default:
			return fault.New(fault.NotLinked, err)
		}
	}
	var r *lock.Refusal
	if errors.As(err, &r) {
		f := fault.New(fault.WrongStep, err)
		f.Message = "The device's state changed in the meantime, and this no longer applies."
		return f
	}
	return fault.As(err)
}
