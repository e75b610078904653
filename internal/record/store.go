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
)

// errAbsent: there is no store, and there could be one.
var errAbsent = errors.New("the record store does not exist")

// Store is one record store. Its methods may be called by several goroutines;
// they wait for each other.
type Store struct {
	spec   string
	medium medium

	mu    sync.Mutex
	stats Stats
}

// Stats counts what a Store has done to its medium since Open.
type Stats struct {
	// SlotWrites counts writes of a whole slot, each of SlotBytes bytes.
	SlotWrites uint64
	// Flushes counts every time the medium was told to keep what was written,
	// also the one that a store costs when it is made.
	Flushes uint64
}

// SlotBytes is how many bytes one slot write brings to the medium.
const SlotBytes = slotSize

// Open returns the store that spec names, `file:PATH` with an absolute path. It
// does no I/O. An unknown scheme and a path that is not absolute are a
// *fault.Error of code InvalidArgument.
func Open(spec string) (*Store, error) {
	scheme, path, found := strings.Cut(spec, ":")
	if !found {
		return nil, fault.Newf(fault.InvalidArgument, "The record store %q does not begin with a scheme such as 'file:'.", spec)
	}
	if scheme != "file" {
		return nil, fault.Newf(fault.InvalidArgument, "Record stores of the scheme %q are not supported; use 'file:PATH'.", scheme)
	}
	if !filepath.IsAbs(path) || strings.HasSuffix(path, "/") || strings.ContainsRune(path, 0) {
		return nil, fault.Newf(fault.InvalidArgument, "The path of the record store %q is not that of a file, counted from the root.", spec)
	}
	return newStore(spec, &fileMedium{path: filepath.Clean(path), sys: linux{}}), nil
}

func newStore(spec string, m medium) *Store { return &Store{spec: spec, medium: m} }

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
	if r.Err != nil {
		r.Err = failed(s.spec, "read", r.Err)
	}
	return r
}

func (s *Store) read() Reading {
	h, err := s.medium.open(false)
	if errors.Is(err, errAbsent) {
		blank := SlotInfo{State: SlotBlank}
		return Reading{Store: lock.StoreBlank, Slots: [2]SlotInfo{blank, blank}}
	}
	if err != nil {
		// fails locked: a medium that cannot be read is not a blank one.
		bad := SlotInfo{State: SlotUnreadable, Err: err}
		return Reading{Store: lock.StoreUnreadable, Slots: [2]SlotInfo{bad, bad}, Err: err}
	}
	defer h.Close()
	r, two := look(h)
	if settled(two) {
		return r
	}
	// What looks damaged may be a slot that is being written at this moment.
	if err := h.await(); err != nil {
		return r
	}
	r, _ = look(h)
	return r
}

// settled reports whether no slot looks like one in the middle of a write.
func settled(two [2]slot) bool {
	return two[0].State != SlotDamaged && two[1].State != SlotDamaged
}

// Look is Read for the decision at boot: what lock.Evidence takes from the
// record store, and why it could not be read.
func (s *Store) Look() (found lock.Store, r lock.Record, oneCopy bool, err error) {
	reading := s.Read()
	return reading.Store, reading.Record, reading.OneCopy, reading.Err
}

// Write puts r into the older slot, or into one that holds nothing whole, and
// flushes it to the medium, reads it back and compares; for a change of
// ownership it then does the same with the other slot. A store that does not
// exist is made, the folder it is in is not.
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

func (s *Store) write(r lock.Record, ownership bool) error {
	if _, err := encodeWiped(r); err != nil {
		return err
	}
	h, err := s.medium.open(true)
	if err != nil {
		return err
	}
	defer h.Close()
	reading, two := look(h)
	p, err := planFor(reading, two)
	if err != nil {
		return err
	}
	if reading.Store == lock.StoreBlank {
		s.stats.Flushes++
		if err := s.medium.anchor(); err != nil {
			return fmt.Errorf("cannot flush the folder of the store: %w", err)
		}
	}
	if err := s.put(h, p.target, p.sequence, r); err != nil {
		return err
	}
	if !ownership && !p.both {
		return nil
	}
	return s.put(h, 1-p.target, p.sequence+1, r)
}

// encodeWiped finds out whether r can be written before anything is touched.
func encodeWiped(r lock.Record) (int, error) {
	b, err := encode(r, 1)
	clear(b)
	return len(b), err
}

// plan is where the next write goes.
type plan struct {
	target   int
	sequence uint64
	// both: the other slot has to be written too for this write to count.
	both bool
}

// planFor picks the slot to overwrite, and as sequence number the one above that
// of the slot that stays.
func planFor(reading Reading, two [2]slot) (plan, error) {
	for i := range two {
		if two[i].State == SlotNewer {
			return plan{}, fmt.Errorf("slot %d: %w", i, two[i].Err)
		}
	}
	if reading.Store == lock.StoreUnreadable {
		// A slot that comes back later with a higher number would undo the write.
		return plan{}, reading.Err
	}
	var p plan
	a, b := two[0], two[1]
	if a.State == SlotValid && (b.State != SlotValid || a.Sequence > b.Sequence) {
		p.target = 1
	}
	p.sequence = two[1-p.target].Sequence + 1
	if p.sequence >= maxSequence {
		// No device counts that far: somebody wrote it. Begin again, with both
		// slots, so that a forged number cannot keep the record from changing.
		p.sequence, p.both = 1, true
	}
	return p, nil
}

// put writes one slot, flushes it, reads it back and compares.
func (s *Store) put(h slots, i int, sequence uint64, r lock.Record) error {
	b, err := encode(r, sequence)
	if err != nil {
		return err
	}
	defer clear(b)
	off := int64(i) * slotSize
	s.stats.SlotWrites++
	if _, err := h.WriteAt(b, off); err != nil {
		return fmt.Errorf("cannot write slot %d: %w", i, err)
	}
	s.stats.Flushes++
	if err := h.flush(); err != nil {
		return fmt.Errorf("cannot flush slot %d: %w", i, err)
	}
	back := make([]byte, slotSize)
	defer clear(back)
	if _, err := h.ReadAt(back, off); err != nil {
		return fmt.Errorf("cannot read slot %d back: %w", i, err)
	}
	if !bytes.Equal(b, back) {
		return fmt.Errorf("slot %d reads back otherwise than it was written", i)
	}
	return nil
}
