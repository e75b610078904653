// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/accountlock/accountlock/internal/lock"
)

// Where the slots lie on a partition, counted from the base: far apart, so that
// what damages one erase block of a flash does not reach both. Everything begins
// at a page, and is read and written in whole pages.
const (
	pageSize   = 4 << 10
	secondSlot = 32 << 10
	making     = 16 << 10

	// The sizes of partition that are taken. Below, Android's layout has no room
	// for both slots; above, somebody has named the wrong partition.
	minPartition = 64 << 10
	maxPartition = 16 << 20

	sectorBytes = 512
)

// mark stands at the beginning of the page at `making` while a store is being
// made where nothing was. As long as it does, the store is blank, whatever the
// slots hold: the one sector that takes it away makes the store.
const mark = "accountlock store in the making\n"

// blockMedium is a store on a raw partition: `block:PATH`, or `pdb:PATH`, whose
// layout is Android's. A partition cannot be renamed into its place like a file,
// and what is on it when nothing of ours is there may be anything.
type blockMedium struct {
	path string
	// android: the partition keeps the layout of Android's persistent data block.
	android bool
	opener  func(path string, write bool) (partition, error)
}

var _ medium = (*blockMedium)(nil)

// partition is an open partition, offset 0 being its first byte. It is read and
// written in whole pages.
type partition interface {
	slots
	// lock keeps every other locker out until the partition is closed. It does not
	// wait: ErrBusy.
	lock() error
}

// open implements medium. It never gives errAbsent: a partition is not made, and
// one that is not there is no blank store. fails locked.
func (m *blockMedium) open(write bool) (slots, error) {
	s, err := m.openPartition(write)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (m *blockMedium) openPartition(write bool) (*partitionSlots, error) {
	p, err := m.opener(m.path, write)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the partition is not there, or was not found yet; see `[record] store`: %w", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("this user may not use the partition, or it is read-only; give it to the user accountlock: %w", err)
	case err != nil:
		return nil, err
	}
	s := &partitionSlots{partition: p, android: m.android}
	if write {
		err = p.lock()
	}
	if err == nil {
		err = s.measure()
	}
	if err == nil {
		err = s.lookForMark()
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return s, nil
}

// create implements medium. Where nothing is there, the mark makes it one step.
// Where something is, the store is no good now and blank at no moment: a power cut
// leaves it no good until the first of the two slots is whole.
func (m *blockMedium) create(image []byte, old slots) error {
	s, ok := old.(*partitionSlots)
	if !ok {
		return errors.New("a partition cannot be made")
	}
	reading, two := look(s)
	if reading.Store == lock.StoreBlank {
		return s.make(image)
	}
	first, _ := next(two)
	for _, i := range []int{first, 1 - first} {
		off := int64(i) * slotSize
		if err := putBack(s, image[off:off+slotSize], off); err != nil {
			return err
		}
	}
	return nil
}

// anchor implements medium: a partition needs no name.
func (m *blockMedium) anchor() error { return nil }

// mend implements medium.
func (m *blockMedium) mend() error {
	if !m.android {
		return nil
	}
	s, err := m.openPartition(false)
	if err != nil {
		return err
	}
	fine, err := s.sealed()
	s.Close()
	if fine || err != nil {
		return err
	}
	if s, err = m.openPartition(true); err != nil {
		return err
	}
	defer s.Close()
	if ours, err := s.layoutKnown(); !ours || err != nil {
		return err
	}
	return s.flush()
}

// partitionSlots are the two slots on an open partition.
type partitionSlots struct {
	partition
	android bool
	bytes   int64 // of the partition
	blank   bool  // the mark was there: a store that was never made
}

// base returns where the first slot lies.
func (s *partitionSlots) base() int64 {
	if s.android {
		return pageSize // behind the page with Android's header
	}
	return 0
}

func (s *partitionSlots) measure() (err error) {
	if s.bytes, err = s.partition.size(); err != nil {
		return fmt.Errorf("cannot find out the size of the partition: %w", err)
	}
	if s.bytes < minPartition || s.bytes > maxPartition || s.bytes%sectorBytes != 0 {
		return fmt.Errorf("the partition has %d bytes; a store needs one of %d to %d, in whole sectors", s.bytes, minPartition, maxPartition)
	}
	return nil
}

func (s *partitionSlots) lookForMark() error {
	page := make([]byte, pageSize)
	if err := readFull(s.partition, page, s.base()+making); err != nil {
		return fmt.Errorf("cannot read the partition: %w", err)
	}
	s.blank = string(page[:len(mark)]) == mark
	return nil
}

// size implements slots: a partition always has room for both.
func (s *partitionSlots) size() (int64, error) { return storeSize, nil }

// at returns where on the partition a byte of a slot is.
func (s *partitionSlots) at(off int64) int64 {
	return s.base() + off/slotSize*secondSlot + off%slotSize
}

// ReadAt implements io.ReaderAt, for ranges within one slot.
func (s *partitionSlots) ReadAt(p []byte, off int64) (int, error) {
	if s.blank {
		clear(p)
		return len(p), nil
	}
	return s.partition.ReadAt(p, s.at(off))
}

// WriteAt implements io.WriterAt, for ranges within one slot.
func (s *partitionSlots) WriteAt(p []byte, off int64) (int, error) {
	return s.partition.WriteAt(p, s.at(off))
}

// flush implements slots. Android's header is written and flushed together with
// the slot that it vouches for: no order of the two would spare it being wrong in
// between, and no reader of ours looks at it.
func (s *partitionSlots) flush() error {
	if !s.android {
		return s.partition.flush()
	}
	head, err := s.seal()
	if err != nil {
		return err
	}
	if err := s.partition.flush(); err != nil {
		return err
	}
	back := make([]byte, pageSize)
	if err := readFull(s.partition, back, 0); err != nil {
		return fmt.Errorf("cannot read the header back: %w", err)
	}
	if !bytes.Equal(head, back) {
		return errors.New("the header reads back otherwise than it was written")
	}
	return nil
}

// make makes a store where nothing is: mark, flush; slots, flush; mark away, flush.
func (s *partitionSlots) make(image []byte) error {
	page := make([]byte, pageSize)
	copy(page, mark)
	if err := s.putPage(page); err != nil {
		return err
	}
	s.blank = false // from here on what is read is what is there
	if _, err := s.WriteAt(image[:slotSize], 0); err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	if err := putBack(s, image[slotSize:], slotSize); err != nil {
		return err
	}
	back := make([]byte, slotSize)
	defer clear(back)
	if err := readFull(s, back, 0); err != nil {
		return fmt.Errorf("cannot read back: %w", err)
	}
	if !bytes.Equal(back, image[:slotSize]) {
		return errReadsBack
	}
	clear(page)
	return s.putPage(page)
}

// putPage writes the page of the mark, flushes it, reads it back and compares.
func (s *partitionSlots) putPage(page []byte) error {
	at := s.base() + making
	if _, err := s.partition.WriteAt(page, at); err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	if err := s.flush(); err != nil {
		return fmt.Errorf("cannot flush: %w", err)
	}
	back := make([]byte, len(page))
	if err := readFull(s.partition, back, at); err != nil {
		return fmt.Errorf("cannot read back: %w", err)
	}
	if !bytes.Equal(page, back) {
		return errReadsBack
	}
	return nil
}

// readFull reads all of p; a partition that ends before is an error.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	default:
		return err
	}
}
