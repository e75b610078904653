// SPDX-License-Identifier: Apache-2.0

// Package record owns the record store: where the lock record lies so that a
// factory reset does not reach it, how it is written so that no power cut
// leaves half of one, and what reading it finds. Two slots hold the last two
// copies; a write goes to the older one, is flushed, read back and compared.
//
// It must not decide anything: it says what is there, and lock.Decide says what
// that means. It must not make the folder that the store is in: a folder that
// is absent is a filesystem that is not mounted, and no blank store.
package record

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// The causes inside a StorageFailed that a caller may ask for with errors.Is.
var (
	// ErrNewer: a copy has a format version that this program does not know.
	ErrNewer = errors.New("the record has a newer format than this program knows")
	// ErrTooLarge: the record does not fit into a slot; nothing was written.
	ErrTooLarge = errors.New("the record is too large")
	// ErrBusy: another program is writing the store; nothing was written.
	ErrBusy = errors.New("another program is writing the record store")
	// ErrHeld: the record there is bound to a TPM that cannot be asked just now, and
	// this one would only say that; nothing was written.
	ErrHeld = errors.New("the record is bound to a TPM that cannot be asked now, and stays as it is")
)

// errAbsent: there is no store, and there could be one.
var errAbsent = errors.New("the record store does not exist")

// errReadsBack: the medium does not keep what it is given.
var errReadsBack = errors.New("reads back otherwise than it was written")

// Store is one record store. Its methods may be called by several goroutines;
// they wait for each other.
type Store struct {
	spec        string
	medium      medium
	openTPM     func() (TPM, error)
	tpmRequired bool

	mu       sync.Mutex
	stats    Stats
	anchored bool
	// ahead: the last Read found the record one step ahead of the TPM's counter.
	ahead bool
	// silent is what a TPM that did not answer in time gave, and until when it is not
	// asked again: the start of a daemon asks several times.
	silent      error
	silentUntil time.Time
}

// Stats counts what a Store has done to its medium since Open.
type Stats struct {
	// SlotWrites counts writes of a whole slot, each of SlotBytes bytes.
	SlotWrites uint64
	// Flushes counts every time a file was told to keep what was written: one
	// for each slot write, but two for both slots and the folder when a store is
	// made, and one more for the folder where that was another process's last act.
	// On a partition making a store takes one more than is counted here.
	Flushes uint64
	// Advances counts how often a TPM's counter was advanced.
	Advances uint64
}

// SlotBytes is how many bytes one slot write brings to the medium.
const SlotBytes = slotSize

// Open returns the store that spec names: `file:PATH`, `block:PATH` or `pdb:PATH`
// with an absolute path. It does no I/O. An unknown scheme and a path that is not
// absolute are a *fault.Error of code InvalidArgument.
func Open(spec string, options ...Option) (*Store, error) {
	scheme, path, found := strings.Cut(spec, ":")
	if !found {
		return nil, fault.Newf(fault.InvalidArgument, "The record store %q does not begin with a scheme such as 'file:'.", spec)
	}
	if !filepath.IsAbs(path) || strings.HasSuffix(path, "/") || strings.ContainsRune(path, 0) {
		return nil, fault.Newf(fault.InvalidArgument, "The path of the record store %q is not that of a file, counted from the root.", spec)
	}
	path = filepath.Clean(path)
	switch scheme {
	case "file":
		return newStore(spec, &fileMedium{path: path, sys: linux{}}, options...), nil
	case "block", "pdb":
		return newStore(spec, &blockMedium{path: path, android: scheme == "pdb", opener: openPartition}, options...), nil
	}
	return nil, fault.Newf(fault.InvalidArgument, "Record stores of the scheme %q are not supported; use 'file:', 'block:' or 'pdb:'.", scheme)
}

func newStore(spec string, m medium, options ...Option) *Store {
	s := &Store{spec: spec, medium: m}
	for _, o := range options {
		o(s)
	}
	return s
}

// Spec returns what Open was given.
func (s *Store) Spec() string { return s.spec }

// Stats returns the counters.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Read reads the store and changes nothing there. It has no error of its own:
// what fails is a finding, in the Reading. It does not take the writers' lock;
// where another program is writing just now it waits and looks again.
func (s *Store) Read() Reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.read()
	s.ahead = r.Ahead()
	if r.Err != nil {
		r.Err = failed(s.spec, "read", r.Err)
	}
	return r
}

func (s *Store) read() Reading {
	h, err := s.medium.open(false)
	if errors.Is(err, errAbsent) {
		return s.glance(nil).Reading
	}
	if err != nil {
		// fails locked: a medium that cannot be read is not a blank one.
		bad := SlotInfo{State: SlotUnreadable, Err: err}
		return Reading{Store: lock.StoreUnreadable, Slots: [2]SlotInfo{bad, bad}, Err: err}
	}
	defer h.Close()
	v := s.glance(h)
	if v.settled() {
		return v.Reading
	}
	// What looks damaged may be a slot that is being written at this moment, and
	// what the TPM does not vouch for one whose counter was advanced meanwhile.
	if err := h.await(); err != nil {
		return v.Reading
	}
	return s.glance(h).Reading
}

// glance is look for one who writes nothing.
func (s *Store) glance(h slots) *sight {
	v := s.look(h)
	v.tpm.close()
	return v
}

// settled reports whether nothing looks like being in the middle of a write. A TPM
// that says nothing of the record says no more at once, and may take its time.
func (v *sight) settled() bool {
	return v.two[0].State != SlotDamaged && v.two[1].State != SlotDamaged && (v.TPM.Vouched() || v.TPM.MayPass())
}

// Look is Read for the decision at boot: what lock.Evidence takes from the
// record store, and why it could not be read.
func (s *Store) Look() (lock.Found, error) {
	r := s.Read()
	err := r.Err
	if !r.TPM.Vouched() && r.TPMErr != nil {
		err = errors.Join(err, r.TPMErr)
	}
	return lock.Found{Store: r.Store, Record: r.Record, OneCopy: r.OneCopy, TPM: r.TPM}, err
}

// Writable returns why nothing could be written now, and writes nothing. Where another
// program is writing, there is nothing to say.
func (s *Store) Writable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.medium.open(true)
	if maker, ok := s.medium.(interface{ mayMake() error }); ok && errors.Is(err, errAbsent) {
		err = maker.mayMake()
	}
	if err == nil && h != nil {
		h.Close()
	}
	if errors.Is(err, ErrBusy) && !errors.Is(err, unix.EBUSY) { // a mounted partition stays so
		return nil
	}
	return err
}

// Settle ends what a power cut left of a write: where Read has found the record
// one step ahead of the TPM's counter, the counter follows. The error is that of
// Write.
func (s *Store) Settle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ahead {
		return nil
	}
	if err := s.settle(); err != nil {
		return failed(s.spec, "settle", err)
	}
	s.ahead = false
	return nil
}

func (s *Store) settle() error {
	h, err := s.medium.open(true)
	if err != nil {
		return err
	}
	defer h.Close()
	v := s.look(h)
	defer v.tpm.close()
	if !v.Ahead() {
		return nil // somebody else was quicker
	}
	s.stats.Advances++
	return v.tpm.advance()
}

// Write puts r into the older slot, or into one that holds nothing whole, and
// flushes it to the medium, reads it back and compares; for a change of
// ownership it then does the same with the other slot. A store that does not
// exist, is blank or has nothing whole is made anew, with both slots; the folder
// it is in is not.
//
// Every error is a *fault.Error of code StorageFailed. After one the store holds
// the record from before or r, whole; Read tells which. ErrNewer, ErrTooLarge
// and ErrBusy inside it say that nothing was written.
func (s *Store) Write(r lock.Record, ownership bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.write(r, ownership); err != nil {
		return failed(s.spec, "write", err)
	}
	return nil
}

// Mend puts right what a power cut left beside the slots: the header of an
// Android-like partition. It touches no slot and does nothing to other stores. Who
// writes the store calls it at start. Errors are those of Write.
func (s *Store) Mend() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.medium.mend(); err != nil {
		return failed(s.spec, "mend", err)
	}
	return nil
}

func (s *Store) write(r lock.Record, ownership bool) error {
	// Whether it fits, before anything is touched.
	first, err := encode(r, 1, nil)
	if err != nil {
		return err
	}
	defer clear(first)
	h, err := s.medium.open(true)
	switch {
	case errors.Is(err, errAbsent):
		h = nil
	case err != nil:
		return err
	default:
		defer h.Close()
	}
	v := s.look(h)
	defer v.tpm.close()
	if err := mayReplace(v.Reading, v.two); err != nil {
		return err
	}
	p, err := v.tpm.plan(v.Reading, v.best, r, ownership)
	if err != nil {
		return err
	}
	if err := s.putBoth(h, v, r, p, ownership); err != nil {
		return err
	}
	if p == nil || !p.advance {
		return nil
	}
	s.stats.Advances++
	return v.tpm.advance()
}

// putBoth puts r into the older slot and, for a change of ownership or under a
// new key, into the other one.
func (s *Store) putBoth(h slots, v *sight, r lock.Record, p *plan, ownership bool) error {
	target, sequence := next(v.two)
	if v.Store != lock.StoreValid || sequence >= maxSequence {
		// Nothing whole is there to go on from; or somebody wrote a number that no
		// device reaches, which must not keep the record from changing.
		return s.create(r, h, p)
	}
	if sequence == firstSequences+1 {
		if err := s.anchor(); err != nil {
			return err
		}
	}
	if err := s.put(h, target, sequence, r, p); err != nil {
		return err
	}
	if !ownership && (p == nil || !p.fresh) {
		return nil
	}
	return s.put(h, 1-target, sequence+1, r, p)
}

// mayReplace returns why what is there must stay as it is.
func mayReplace(reading Reading, two [2]slot) error {
	for i := range two {
		if two[i].State == SlotNewer {
			return fmt.Errorf("slot %d: %w", i, two[i].Err)
		}
	}
	if reading.Store == lock.StoreUnreadable {
		// It may be a newer version that comes back later.
		return reading.Err
	}
	return nil
}

// next picks the slot to overwrite, the older one or the one that is not whole,
// and the sequence number after that of the slot that stays.
func next(two [2]slot) (target int, sequence uint64) {
	a, b := two[0], two[1]
	if a.State == SlotValid && (b.State != SlotValid || a.Sequence > b.Sequence) {
		target = 1
	}
	return target, two[1-target].Sequence + 1
}

// firstSequences are the sequence numbers of a store as it is made.
const firstSequences = 2

// create makes the store with r in both slots, in the place of the one that old,
// which may be nil, has open. That is done in one step: torn, the first record
// would leave one slot damaged and the other one blank, which is what may be
// left of an armed record, too.
func (s *Store) create(r lock.Record, old slots, p *plan) error {
	image := make([]byte, 0, storeSize)
	defer func() { clear(image) }()
	for sequence := uint64(1); sequence <= firstSequences; sequence++ {
		b, err := encode(r, sequence, p)
		if err != nil {
			return err
		}
		image = append(image, b...)
		clear(b)
	}
	s.stats.SlotWrites += 2
	s.stats.Flushes++
	if err := s.medium.create(image, old); err != nil {
		return fmt.Errorf("cannot make the store: %w", err)
	}
	return s.anchor()
}

// anchor anchors the store once, unless this Store has already done it: whoever
// made it may have been killed before that.
func (s *Store) anchor() error {
	if s.anchored {
		return nil
	}
	s.stats.Flushes++
	if err := s.medium.anchor(); err != nil {
		return fmt.Errorf("cannot flush the folder of the store: %w", err)
	}
	s.anchored = true
	return nil
}

// put writes one slot, flushes it, reads it back and compares.
func (s *Store) put(h slots, i int, sequence uint64, r lock.Record, p *plan) error {
	b, err := encode(r, sequence, p)
	if err != nil {
		return err
	}
	defer clear(b)
	s.stats.SlotWrites++
	s.stats.Flushes++
	if err := putBack(h, b, int64(i)*slotSize); err != nil {
		return fmt.Errorf("slot %d: %w", i, err)
	}
	return nil
}

// putBack writes b at an offset, flushes it, reads it back and compares.
func putBack(h slots, b []byte, off int64) error {
	if _, err := h.WriteAt(b, off); err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	if err := h.flush(); err != nil {
		return fmt.Errorf("cannot flush: %w", err)
	}
	back := make([]byte, len(b))
	defer clear(back)
	if _, err := h.ReadAt(back, off); err != nil {
		return fmt.Errorf("cannot read back: %w", err)
	}
	if !bytes.Equal(b, back) {
		return errReadsBack
	}
	return nil
}
