// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"io"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// storeSize is the size of a store: two slots.
const storeSize = 2 * slotSize

// Reading is what reading a store found.
type Reading struct {
	// Store sums it up, as lock.Decide wants it.
	Store lock.Store
	// Record is the newest whole copy; the zero Record unless Store is
	// lock.StoreValid. Where a TPM does not vouch for it, it is lock's Unvouched.
	Record lock.Record
	// OneCopy: the record comes from one slot, and the other one does not hold
	// what it should, so that something newer may have been lost.
	OneCopy bool
	// Sequence is the sequence number of Record; 0 where there is none.
	Sequence uint64
	// Slots tells what each slot holds, for `explain` and `doctor`.
	Slots [2]SlotInfo
	// TPM is what the TPM says about the record, and TPMErr why it says no more.
	TPM    lock.TPM
	TPMErr error
	// Counter is the counter's value that the record names, TPMCounter the one that
	// the TPM has; 0 where there is none.
	Counter, TPMCounter uint64
	// Err is nil where Store is valid or blank, and otherwise a *fault.Error of
	// code StorageFailed that names what failed.
	Err error
}

// Ahead reports whether a power cut left the record one step ahead of the TPM's
// counter.
func (r Reading) Ahead() bool { return r.TPM == lock.TPMVouches && r.Counter == r.TPMCounter+1 }

// sight is one look at an open medium: what it amounts to, both slots, the one
// that counts, and the TPM's view of them, to be closed.
type sight struct {
	Reading

	two  [2]slot
	best *slot
	tpm  *witness
}

// look reads both slots of an open medium, or those of a store that does not
// exist where h is nil, asks the TPM and judges them.
func (s *Store) look(h slots) *sight {
	v := &sight{tpm: &witness{absent: true}}
	v.best = &v.two[0]
	n := int64(storeSize)
	if h == nil {
		v.two[0].State, v.two[1].State = SlotBlank, SlotBlank
	} else {
		var err error
		if n, err = readBoth(h, &v.two); err != nil {
			v.Reading = Reading{Store: lock.StoreUnreadable, Err: err}
			return v
		}
	}
	v.tpm = s.witness(&v.two)
	v.Reading, v.best = judge(&v.two, n)
	v.tpm.testify(&v.Reading, v.best)
	return v
}

// look is what a medium may ask: what the slots hold, whatever a TPM says of it.
func look(s slots) (Reading, [2]slot) {
	var two [2]slot
	n, err := readBoth(s, &two)
	if err != nil {
		return Reading{Store: lock.StoreUnreadable, Err: err}, two
	}
	r, _ := judge(&two, n)
	return r, two
}

// readBoth reads both slots and returns how long the store is.
func readBoth(s slots, two *[2]slot) (int64, error) {
	n, err := s.size()
	if err != nil {
		return 0, fmt.Errorf("cannot find out the size of the store: %w", err)
	}
	buf := make([]byte, slotSize)
	defer clear(buf) // it holds the device key
	for i := range two {
		two[i] = readSlot(s, i, buf)
	}
	return n, nil
}

func readSlot(s slots, i int, buf []byte) slot {
	n, err := s.ReadAt(buf, int64(i)*slotSize)
	switch {
	case n == slotSize:
		return decode(buf)
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return damagedSlot(0, fmt.Errorf("cut short: %d bytes of %d are there", max(n, 0), slotSize))
	default:
		return slot{SlotInfo: SlotInfo{State: SlotUnreadable, Err: err}}
	}
}

// judge sums two slots of a store of n bytes up, and returns the one that counts.
// It may change them: two different copies under one sequence number are both
// taken as damaged.
func judge(two *[2]slot, n int64) (Reading, *slot) {
	a, b := &two[0], &two[1]
	if a.State == SlotValid && b.State == SlotValid && a.Sequence == b.Sequence && a.sum != b.sum {
		// fails locked: no program of ours writes that, and nobody can tell
		// which of them is the newer one.
		err := fmt.Errorf("two different copies claim the sequence number %d", a.Sequence)
		*a, *b = damagedSlot(a.Sequence, err), damagedSlot(b.Sequence, err)
	}
	r := Reading{Slots: [2]SlotInfo{a.SlotInfo, b.SlotInfo}}
	best, other := a, b
	if !whole(a) || whole(b) && (b.Sequence > a.Sequence || b.Sequence == a.Sequence && b.State == SlotNewer) {
		best, other = b, a
	}
	switch {
	case best.State == SlotNewer:
		r.Store, r.Err = lock.StoreNewer, best.Err
	case best.State == SlotValid:
		r.Store, r.Record, r.Sequence = lock.StoreValid, best.record, best.Sequence
		r.OneCopy = !accompanies(other, best.Sequence)
	case a.State == SlotUnreadable || b.State == SlotUnreadable:
		r.Store, r.Err = lock.StoreUnreadable, slotErrors(a, b)
	case a.State == SlotBlank && b.State == SlotBlank && n != storeSize:
		// fails locked: a store is made at its full size, so a shorter or longer
		// one was not left blank by us; something was cut off or put there.
		r.Store = lock.StoreDamaged
		r.Err = fmt.Errorf("the store is %d bytes long instead of %d", n, storeSize)
	case a.State == SlotBlank && b.State == SlotBlank:
		r.Store = lock.StoreBlank
	default:
		r.Store, r.Err = lock.StoreDamaged, slotErrors(a, b)
	}
	return r, best
}

func whole(s *slot) bool { return s.State == SlotValid || s.State == SlotNewer }

// accompanies reports whether other is what the slot beside the newest one
// holds after our own writes, wherever they were interrupted between two slots.
func accompanies(other *slot, newest uint64) bool {
	// fails locked: a gap means that a copy newer than the newest was overwritten
	// with an older one, or got lost.
	return other.State == SlotValid && (other.Sequence == newest-1 || other.Sequence == newest)
}

func slotErrors(two ...*slot) error {
	var errs []error
	for i, s := range two {
		switch {
		case s.Err != nil:
			errs = append(errs, fmt.Errorf("slot %d: %w", i, s.Err))
		case s.State == SlotBlank:
			errs = append(errs, fmt.Errorf("slot %d: blank", i))
		}
	}
	return errors.Join(errs...)
}

// failed is the package's edge: what failed, as a fault.
func failed(spec, verb string, err error) error {
	f := fault.New(fault.StorageFailed, fmt.Errorf("cannot %s the lock record in %s: %w", verb, spec, err))
	f.Message = "The device could not write its lock record."
	if verb == "read" {
		f.Message = "The device could not read its lock record."
	}
	return f
}
