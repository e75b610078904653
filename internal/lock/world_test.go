// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"fmt"

	"github.com/accountlock/accountlock/internal/lock"
)

// A model of one device and the account service, with factory resets, power cuts
// at every step of every operation and in every slot write, damaged slots, a
// lost record store and an owner at the portal. Everything that decides is the
// code itself: Decide, Hold, Transition, Apply and EventFor. The two invariants
// of the design that this package can keep are looked at after every move:
//
//  1. a device that the service holds linked and that was reset does not open
//     without a grant or the service's statement;
//  2. a device that the service has released opens at its next contact.

// serviceLink is a link as the service keeps it. The newest one counts.
type serviceLink struct {
	lock.Link
	status string // pending, linked, lost, signed-out, unlinked, account-deleted
}

func (l serviceLink) binds() bool { return l.status == "linked" || l.status == "lost" }

// slotModel is one slot of the record store.
type slotModel struct {
	record   lock.Record
	sequence int
	damaged  bool
}

// lastStep of an operation is repeated until it is done.
const lastStep = 4

// operationModel is an operation that has begun and not ended.
type operationModel struct {
	kind lock.Kind
	link string
	step int
	// hash of the marker that this operation has written.
	hash []byte
}

type world struct {
	links []serviceLink
	made  int // links and markers so far

	slots  [2]slotModel
	blank  bool
	marker []byte
	// journal is wiped by a reset; an unlock is in no journal.
	op *operationModel

	status lock.Status
	record lock.Record // as the running device holds it
	// reset: the device was reset since it last got a marker.
	reset bool
}

func newWorld() *world {
	w := &world{blank: true}
	w.boot()
	return w
}

func (w *world) newest() *serviceLink {
	if len(w.links) == 0 {
		return &serviceLink{status: "none"}
	}
	return &w.links[len(w.links)-1]
}

// read is the record store's part: the newest whole slot.
func (w *world) read() (lock.Store, lock.Record, bool) {
	a, b := w.slots[0], w.slots[1]
	switch {
	case w.blank:
		return lock.StoreBlank, lock.Record{}, false
	case a.damaged && b.damaged:
		return lock.StoreDamaged, lock.Record{}, false
	case b.damaged || !a.damaged && a.sequence > b.sequence:
		return lock.StoreValid, a.record, b.damaged || a.sequence-b.sequence != 1
	default:
		return lock.StoreValid, b.record, a.damaged || b.sequence-a.sequence != 1
	}
}

// write puts r into the store. The power fails at the cut: 0 never, 1 in the
// first slot, 2 between the slots, 3 in the second one.
func (w *world) write(r lock.Record, ownership bool, cut int) (done bool) {
	store, _, _ := w.read()
	if store != lock.StoreValid { // made anew, in one step
		if cut == 1 {
			return false
		}
		w.blank, w.slots = false, [2]slotModel{{r, 1, false}, {r, 2, false}}
		return cut == 0
	}
	target := 0
	if a, b := w.slots[0], w.slots[1]; !a.damaged && (b.damaged || a.sequence > b.sequence) {
		target = 1
	}
	for i, slot := range []int{target, 1 - target} {
		if i == 1 && (!ownership || cut == 2) {
			break
		}
		torn := cut == 2*i+1
		w.slots[slot] = slotModel{r, w.slots[1-slot].sequence + 1, torn}
		if torn {
			return false
		}
	}
	return cut == 0
}

// boot is a start of the device: it forgets everything that is not on a medium.
func (w *world) boot() {
	if w.op != nil && (w.op.kind == lock.KindUnlock || w.op.kind == lock.KindLink && w.op.step < 2) {
		w.op = nil
	}
	store, r, one := w.read()
	e := lock.Evidence{Provisioned: true, Store: store, Record: r, OneCopy: one, Marker: w.marker, Policy: lock.RequireOnline}
	d := lock.Decide(e)
	w.status, w.record = d.Status, d.Hold(r)
}

// change writes a record and, unless the power fails, goes on with it.
func (w *world) change(r lock.Record, to lock.Status, ownership bool, cut int) {
	if !w.write(r, ownership, cut) {
		w.boot()
		return
	}
	w.record, w.status = r, to
}

// happens runs one event through the table; a refused one changes nothing.
func (w *world) happens(e lock.Event, c lock.Change, cut int) {
	to, effects, err := lock.Transition(w.status, e)
	if err != nil {
		return
	}
	w.change(w.record.Apply(effects, c), to, true, cut)
}

// statement is what the service says of its newest link to a device that asks
// about the one on its record.
func (w *world) statement() lock.Statement {
	l := w.newest()
	s := lock.Statement{Status: lock.LinkStatus(l.status), Link: l.Link}
	if l.status == "none" || l.status == "pending" {
		s.Status = lock.StatusUnlinked
	}
	if asked := w.record.Link.ID; asked != "" && (asked != l.ID || !l.binds() && l.status != "signed-out") {
		s.Ended = asked
	}
	return s
}

// contact is a check-in: the service's statement is acted on.
func (w *world) contact(cut int) {
	s := w.statement()
	if e, ok := s.EventFor(w.record); ok {
		w.happens(e, s.Change(), cut)
	}
}

// serviceChange changes the newest link where its status is one of from.
func (w *world) serviceChange(to string, from ...string) bool {
	l := w.newest()
	for _, f := range from {
		if l.status == f {
			l.status = to
			l.Generation++
			return true
		}
	}
	return false
}

// begin is what the person at the device does first: the service reserves,
// grants or takes note.
func (w *world) begin(k lock.Kind) {
	if w.op != nil || lock.MayBegin(k, w.status.State) != nil {
		return
	}
	l := w.newest()
	switch {
	case k == lock.KindLink && !l.binds():
		w.made++
		w.expire()
		w.links = append(w.links, serviceLink{lock.Link{ID: fmt.Sprintf("l-%d", w.made), Generation: 1}, "pending"})
	case k == lock.KindUnlock && w.serviceChange("linked", "linked", "lost"):
	case (k == lock.KindSignOut || k == lock.KindUnlink) && l.ID == w.record.Link.ID:
	default:
		return
	}
	w.op = &operationModel{kind: k, link: w.newest().ID}
}

// expire ends a reservation.
func (w *world) expire() {
	if w.newest().status == "pending" {
		w.links = w.links[:len(w.links)-1]
	}
}

// goOn takes the next step of the operation under way.
func (w *world) goOn(cut int) {
	op := w.op
	if op == nil {
		return
	}
	op.step = min(op.step+1, lastStep)
	renews := op.kind == lock.KindLink || op.kind == lock.KindUnlock
	switch {
	case renews && op.step == 1: // the marker, written and flushed
		w.made++
		m := fmt.Appendf(nil, "marker %d", w.made)
		op.hash = hash(m)
		if cut == 0 || cut == 2 {
			w.marker = m
		}
		if cut != 0 {
			w.boot()
		}
	case renews && op.step == 2: // the record
		e := map[lock.Kind]lock.Event{lock.KindLink: lock.LinkDone, lock.KindUnlock: lock.UnlockDone}[op.kind]
		g := w.newest().Link
		if op.kind == lock.KindUnlock {
			w.op = nil
		} else {
			g = lock.Link{ID: op.link, Generation: 1}
		}
		w.happens(e, lock.Change{Link: g, AccountID: "1", MarkerHash: op.hash}, cut)
		if w.status.State == lock.Linked {
			w.reset = false
		} else if w.op != nil {
			w.op = nil // not armed: the reservation will expire
		}
	case op.kind == lock.KindLink && op.step == 3: // the service commits
		if l := w.newest(); l.ID == op.link && l.status == "pending" {
			w.serviceChange("linked", "pending")
		}
	case op.kind == lock.KindSignOut && op.step == 1:
		if w.newest().ID == op.link {
			w.serviceChange("signed-out", "linked")
		}
	case op.kind == lock.KindUnlink && op.step == 1:
		if w.newest().ID == op.link {
			w.serviceChange("unlinked", "linked", "signed-out")
		}
	default: // the service's word brings the record in line; a crash repeats it
		if cut == 0 {
			w.op = nil
		}
		w.contact(cut)
	}
}

// check returns how the world breaks an invariant.
func (w *world) check() error {
	at := w.newest().status
	if w.reset && w.newest().binds() && w.status.Open() {
		return fmt.Errorf("invariant 1: reset, %s at the service, and %s", at, w.status)
	}
	if w.newest().binds() || w.status.Open() {
		return nil
	}
	later := w.clone()
	if later.contact(0); !later.status.Open() {
		return fmt.Errorf("invariant 2: %s at the service, and after the next contact %s", at, later.status)
	}
	if later.boot(); !later.status.Open() {
		return fmt.Errorf("invariant 2: %s at the service, and after a contact and a reboot %s", at, later.status)
	}
	return nil
}

func (w *world) clone() *world {
	c := &world{}
	c.become(w)
	return c
}

// become makes w a copy of another world, in the memory that it has.
func (w *world) become(other *world) {
	links := append(w.links[:0], other.links...)
	*w = *other
	w.links = links
	if other.op != nil {
		op := *other.op
		w.op = &op
	}
}
