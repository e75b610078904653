// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

// place is one of the media that a store may lie on, on a disk in memory.
type place struct {
	name string
	// size of the partition; 0 is a file.
	size int
	// base is where its first slot lies.
	base    int
	android bool
}

var (
	inFile      = place{name: "file"}
	onBlock     = place{name: "block", size: 64 << 10}
	onPDB       = place{name: "pdb", size: 64 << 10, base: 4096, android: true}
	everywhere  = []place{inFile, onBlock, onPDB}
	onPartition = []place{onBlock, onPDB}
)

// disk returns a disk with a blank store of the place.
func (p place) disk() *record.Disk {
	switch {
	case p.size == 0:
		return record.NewDisk("/p")
	case p.android:
		return p.filled(androidFormatted(p.size))
	default:
		return p.filled(make([]byte, p.size))
	}
}

func (p place) filled(content []byte) *record.Disk {
	d := record.NewDisk("/p")
	d.Put(where, content)
	return d
}

// on returns the place's store on a disk.
func (p place) on(d *record.Disk, options ...record.Option) *record.Store {
	if p.size == 0 {
		return record.NewOn(d, where, options...)
	}
	return record.NewOnPartition(d, where, p.android, options...)
}

// image returns a store of two slots, each of which may be shorter than a slot.
func (p place) image(a, b []byte) []byte {
	if p.size == 0 {
		return image(a, b)
	}
	out := make([]byte, p.size)
	if p.android {
		copy(out, androidFormatted(p.size))
	}
	copy(out[p.base:p.base+slotBytes], a)
	copy(out[p.base+32768:p.base+32768+slotBytes], b)
	return out
}

// slot returns the bytes of a slot within the content of the place.
func (p place) slot(content []byte, i int) []byte {
	at := p.base + i*32768
	if p.size == 0 {
		at = i * slotBytes
	}
	return content[at : at+slotBytes]
}

// inSlot reports whether a byte of the content belongs to a slot, and which byte
// of it.
func (p place) inSlot(at int) (offset int, ok bool) {
	if p.size == 0 {
		return at % slotBytes, true
	}
	for _, start := range []int{p.base, p.base + 32768} {
		if at >= start && at < start+slotBytes {
			return at - start, true
		}
	}
	return 0, false
}

// read returns what reading a store with this content finds.
func (p place) read(content []byte) record.Reading {
	return p.on(p.filled(content)).Read()
}

// each runs a test for each place.
func each(t *testing.T, places []place, test func(t *testing.T, p place)) {
	t.Helper()
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

// mended does what the next start does for others who read the partition, and
// returns whether an Android would have taken it before that.
func (p place) mended(t *testing.T, after *record.Disk) (validBefore bool) {
	t.Helper()
	if !p.android {
		return true
	}
	before := androidRefuses(after.Content(where)) == ""
	s := p.on(after)
	found := s.Read()
	tail := slices.Clone(after.Content(where)[p.size-11041:])
	must(t, s.Mend())
	if found.Store != lock.StoreValid && binary.BigEndian.Uint32(after.Content(where)[32:]) != 0x19901873 {
		return before // never laid out, and nothing of ours is there yet
	}
	if why := androidRefuses(after.Content(where)); why != "" {
		t.Fatalf("mended, and an Android would not take it: %s", why)
	}
	if again := s.Read(); again.Store != found.Store || again.Sequence != found.Sequence || again.OneCopy != found.OneCopy {
		t.Fatalf("mending made of %s, sequence %d, one of %s, %d", found.Store, found.Sequence, again.Store, again.Sequence)
	}
	if !slices.Equal(tail, after.Content(where)[p.size-11041:]) {
		t.Fatal("mending touched what is not ours")
	}
	return before
}
