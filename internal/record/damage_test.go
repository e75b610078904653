// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

// read returns what reading a store in a file with this content finds.
func read(content []byte) record.Reading { return inFile.read(content) }

// decide is the decision on what was read.
func decide(r record.Reading, marker []byte) lock.Status {
	return lock.Decide(lock.Evidence{
		Provisioned: true, Store: r.Store, Record: r.Record, OneCopy: r.OneCopy, Marker: marker, Policy: lock.AllowOffline, TPM: r.TPM,
	}).Status
}

// vouched returns r with the hash of marker.
func vouched(r lock.Record, marker []byte) lock.Record {
	h := sha256.Sum256(marker)
	r.MarkerHash = h[:]
	return r
}

func disarmed(r lock.Record) lock.Record {
	r.Armed = false
	return r
}

func TestWhatReadingFinds(t *testing.T) {
	one, two := slotOf(t, 1, armed(1)), slotOf(t, 2, armed(2))
	newer := func(sequence uint64) []byte { return makeFrame(3, sequence, []byte("of a later program")) }
	broken := func(frame []byte) []byte { b := slices.Clone(frame); b[30] ^= 1; return b }
	for _, c := range []struct {
		name    string
		content []byte
		store   lock.Store
		// generation of the record that is read, where one is
		generation uint64
		oneCopy    bool
		slots      [2]record.SlotState
	}{
		{"two whole copies: the higher sequence number counts", image(one, two), lock.StoreValid, 2, false, [2]record.SlotState{"valid", "valid"}},
		{"in either order", image(two, one), lock.StoreValid, 2, false, [2]record.SlotState{"valid", "valid"}},
		{"the same copy twice", image(two, two), lock.StoreValid, 2, false, [2]record.SlotState{"valid", "valid"}},
		{"two copies claim one number", image(one, slotOf(t, 1, armed(2))), lock.StoreDamaged, 0, false, [2]record.SlotState{"damaged", "damaged"}},
		{"a copy between them is lost", image(one, slotOf(t, 3, armed(3))), lock.StoreValid, 3, true, [2]record.SlotState{"valid", "valid"}},
		{"the older one is damaged", image(broken(one), two), lock.StoreValid, 2, true, [2]record.SlotState{"damaged", "valid"}},
		{"the newer one is damaged", image(one, broken(two)), lock.StoreValid, 1, true, [2]record.SlotState{"valid", "damaged"}},
		{"both are damaged", image(broken(one), broken(two)), lock.StoreDamaged, 0, false, [2]record.SlotState{"damaged", "damaged"}},
		{"one is blank", image(nil, two), lock.StoreValid, 2, true, [2]record.SlotState{"blank", "valid"}},
		{"the other one is blank beside the first copy", image(one, nil), lock.StoreValid, 1, true, [2]record.SlotState{"valid", "blank"}},
		{"one is blank, one is damaged", image(nil, broken(two)), lock.StoreDamaged, 0, false, [2]record.SlotState{"blank", "damaged"}},
		{"nothing but zeros", image(nil, nil), lock.StoreBlank, 0, false, [2]record.SlotState{"blank", "blank"}},
		{"nothing but ones, as erased flash", bytes.Repeat([]byte{0xff}, 2*slotBytes), lock.StoreBlank, 0, false, [2]record.SlotState{"blank", "blank"}},
		{"ones, but for one bit", append(bytes.Repeat([]byte{0xff}, 2*slotBytes-1), 0xfe), lock.StoreDamaged, 0, false, [2]record.SlotState{"blank", "damaged"}},
		{"one erased to ones", image(bytes.Repeat([]byte{0xff}, slotBytes), two), lock.StoreValid, 2, true, [2]record.SlotState{"blank", "valid"}},
		{"no byte at all", []byte{}, lock.StoreDamaged, 0, false, [2]record.SlotState{"damaged", "damaged"}},
		{"zeros, but one slot only", make([]byte, slotBytes), lock.StoreDamaged, 0, false, [2]record.SlotState{"blank", "damaged"}},
		{"zeros, one byte too few", make([]byte, 2*slotBytes-1), lock.StoreDamaged, 0, false, [2]record.SlotState{"blank", "damaged"}},
		{"zeros, one byte too many", make([]byte, 2*slotBytes+1), lock.StoreDamaged, 0, false, [2]record.SlotState{"blank", "blank"}},
		{"a last byte in zeros", append(make([]byte, 2*slotBytes-1), 1), lock.StoreDamaged, 0, false, [2]record.SlotState{"blank", "damaged"}},
		{"cut after the first slot", image(two, one)[:slotBytes], lock.StoreValid, 2, true, [2]record.SlotState{"valid", "damaged"}},
		{"cut in the padding", image(one, two)[:2*slotBytes-1], lock.StoreValid, 1, true, [2]record.SlotState{"valid", "damaged"}},
		{"something behind the slots", append(image(one, two), 1, 2, 3), lock.StoreValid, 2, false, [2]record.SlotState{"valid", "valid"}},
		{"both newer", image(newer(1), newer(2)), lock.StoreNewer, 0, false, [2]record.SlotState{"newer", "newer"}},
		{"the highest claim is newer", image(one, newer(2)), lock.StoreNewer, 0, false, [2]record.SlotState{"valid", "newer"}},
		{"newer beside damaged", image(broken(two), newer(1)), lock.StoreNewer, 0, false, [2]record.SlotState{"damaged", "newer"}},
		{"newer beside blank", image(nil, newer(1)), lock.StoreNewer, 0, false, [2]record.SlotState{"blank", "newer"}},
		{"newer, but older than a known one", image(newer(1), two), lock.StoreValid, 2, true, [2]record.SlotState{"newer", "valid"}},
		{"newer and known under one number", image(two, newer(2)), lock.StoreNewer, 0, false, [2]record.SlotState{"valid", "newer"}},
		{"a damaged newer one is no newer one", image(broken(newer(9)), broken(two)), lock.StoreDamaged, 0, false, [2]record.SlotState{"damaged", "damaged"}},
		{"version zero never was", image(makeFrame(0, 2, payload(t, armed(2))), one), lock.StoreValid, 1, true, [2]record.SlotState{"damaged", "valid"}},
		{"sequence zero never was", image(makeFrame(1, 0, payload(t, armed(2))), one), lock.StoreValid, 1, true, [2]record.SlotState{"damaged", "valid"}},
		{"no device counts that far", image(makeFrame(1, 1<<62+1, payload(t, armed(2))), one), lock.StoreValid, 1, true, [2]record.SlotState{"damaged", "valid"}},
		{"the last number that counts", image(makeFrame(1, 1<<62, payload(t, armed(2))), makeFrame(1, 1<<62-1, payload(t, armed(1)))), lock.StoreValid, 2, false, [2]record.SlotState{"valid", "valid"}},
		{"a payload that is no record", image(makeFrame(1, 2, []byte(`{"armed":"no"}`)), one), lock.StoreValid, 1, true, [2]record.SlotState{"damaged", "valid"}},
		{"a payload with something behind it", image(makeFrame(1, 2, []byte(`{}{}`)), one), lock.StoreValid, 1, true, [2]record.SlotState{"damaged", "valid"}},
		{"JSON's null is no disarmed record", image(makeFrame(1, 2, []byte(`null`)), one), lock.StoreValid, 1, true, [2]record.SlotState{"damaged", "valid"}},
		{"an empty payload is no disarmed record", image(makeFrame(1, 2, nil), makeFrame(1, 1, nil)), lock.StoreDamaged, 0, false, [2]record.SlotState{"damaged", "damaged"}},
		{"fields of a later minor version are passed over", image(one, makeFrame(1, 2, []byte(`{"armed":true,"link":{"generation":2},"new":1}`))), lock.StoreValid, 2, false, [2]record.SlotState{"valid", "valid"}},
		{"a text file", []byte("lorem ipsum\n"), lock.StoreDamaged, 0, false, [2]record.SlotState{"damaged", "damaged"}},
	} {
		for _, p := range everywhere {
			content := c.content
			if p.size > 0 {
				if len(content) != 2*slotBytes {
					continue // a partition has room for both
				}
				content = p.image(content[:slotBytes], content[slotBytes:])
			}
			t.Run(p.name+": "+c.name, func(t *testing.T) {
				r := p.read(content)
				if r.Store != c.store || r.Record.Link.Generation != c.generation || r.OneCopy != c.oneCopy {
					t.Errorf("got %s, generation %d, one copy %v (%v)", r.Store, r.Record.Link.Generation, r.OneCopy, r.Err)
				}
				if got := [2]record.SlotState{r.Slots[0].State, r.Slots[1].State}; got != c.slots {
					t.Errorf("slots: got %v", got)
				}
				if good := r.Store == lock.StoreValid || r.Store == lock.StoreBlank; good != (r.Err == nil) {
					t.Errorf("%s with the error %v", r.Store, r.Err)
				}
				if r.Store != lock.StoreValid && !reflect.DeepEqual(r.Record, lock.Record{}) {
					t.Errorf("%s with a record", r.Store)
				}
				if r.Err != nil && fault.CodeOf(r.Err) != fault.StorageFailed {
					t.Errorf("not a storage fault: %v", r.Err)
				}
				writeOver(t, p, content, r)
			})
		}
	}
}

// writeOver: whatever was found, writing either refuses and changes nothing, or
// ends with two good copies; it never stops for good but for a newer version.
func writeOver(t *testing.T, p place, content []byte, found record.Reading) {
	t.Helper()
	d := p.filled(content)
	s := p.on(d)
	err := s.Write(armed(77), true)
	if found.Slots[0].State == record.SlotNewer || found.Slots[1].State == record.SlotNewer {
		if !errors.Is(err, record.ErrNewer) || !bytes.Equal(d.Content(where), content) {
			t.Errorf("a newer version was written over: %v", err)
		}
		return
	}
	if err != nil {
		t.Errorf("cannot be written again: %v", err)
	}
	if r := s.Read(); r.Store != lock.StoreValid || r.OneCopy || r.Record.Link.Generation != 77 {
		t.Errorf("reads back as %s, one copy %v, generation %d", r.Store, r.OneCopy, r.Record.Link.Generation)
	}
}

// stores are what a thief may find, all of a device that has been reset, with
// whether the design opens it as it is.
func stores(t *testing.T, p place) map[string]struct {
	content []byte
	open    bool
} {
	t.Helper()
	marker := bytesOf(32, 1)
	on := vouched(armed(2), marker)
	off := disarmed(vouched(armed(1), marker))
	type store = struct {
		content []byte
		open    bool
	}
	return map[string]store{
		"armed twice":          {p.image(slotOf(t, 7, on), slotOf(t, 8, on)), false},
		"armed after disarmed": {p.image(slotOf(t, 8, on), slotOf(t, 7, off)), false},
		"disarmed after armed": {p.image(slotOf(t, 7, on), slotOf(t, 8, off)), true},
		"disarmed twice":       {p.image(slotOf(t, 7, off), slotOf(t, 8, off)), true},
	}
}

// Every single bit: never another record than those written, never 'blank', and
// never open unless the record was disarmed and both copies are whole. What is
// beside the slots of a partition changes nothing.
func TestAFlippedBitOpensNothing(t *testing.T) {
	each(t, everywhere, func(t *testing.T, p place) {
		flips, opened := 0, 0
		for name, st := range stores(t, p) {
			if (decide(p.read(st.content), nil).Open()) != st.open {
				t.Fatalf("%s: the decision on the whole store is another one", name)
			}
			d := p.filled(st.content)
			content, s := d.Content(where), p.on(d)
			for bit := range 8 * len(content) {
				at := bit / 8
				in, inSlot := p.inSlot(at)
				if (!inSlot || in >= 1024) && (bit%8 != at%8 || name != "armed after disarmed" && at%16 != 0) || raceDetector && at%16 != 0 {
					continue // all bits of the frames, one of each byte elsewhere, fewer in some stores
				}
				content[at] ^= 1 << (bit % 8)
				flips++
				r := s.Read()
				whole := r.Store == lock.StoreValid && !r.OneCopy
				got := decide(r, nil)
				if r.Store == lock.StoreBlank || got.Open() && (!st.open || !whole) || got.State == lock.Linked || !inSlot && !whole {
					t.Fatalf("%s: bit %d of byte %d: %s, decides %s", name, bit%8, at, r.Store, got)
				}
				if got.Open() {
					opened++
				}
				content[at] ^= 1 << (bit % 8)
			}
		}
		t.Logf("%d single bits flipped; %d of them in what nobody reads of a disarmed store", flips, opened)
	})
}

func TestACutOpensNothing(t *testing.T) {
	each(t, everywhere, func(t *testing.T, p place) {
		cuts := 0
		for name, st := range stores(t, p) {
			for n := range len(st.content) {
				if (raceDetector || p.size > 0) && n%31 != 0 && n%512 != 0 {
					continue
				}
				cuts++
				r := p.read(st.content[:n])
				if got := decide(r, nil); r.Store == lock.StoreBlank || got.Open() || p.size > 0 && r.Store != lock.StoreUnreadable {
					t.Fatalf("%s cut to %d bytes: %s, decides %s", name, n, r.Store, got)
				}
			}
		}
		t.Logf("%d truncations", cuts)
	})
}

// Any range of the store zeroed, as a discarded or bad block would read.
func TestAZeroedRangeOpensNothing(t *testing.T) {
	names := []string{"armed twice", "armed after disarmed"}
	each(t, everywhere, func(t *testing.T, p place) {
		all := stores(t, p)
		rapid.Check(t, func(t *rapid.T) {
			content := slices.Clone(all[rapid.SampledFrom(names).Draw(t, "store")].content)
			from := rapid.IntRange(0, len(content)-1).Draw(t, "from")
			to := rapid.IntRange(from, len(content)).Draw(t, "to")
			clear(content[from:to])
			if erased(p.slot(content, 0)) && erased(p.slot(content, 1)) {
				return // erased: the policy's matter
			}
			if r := p.read(content); r.Store == lock.StoreBlank || decide(r, nil).Open() {
				t.Fatalf("zeros from %d to %d: %s, decides %s", from, to, r.Store, decide(r, nil))
			}
		})
	})
}

// Each slot put back from any earlier moment of a device's life, the other one
// as it is: the decision table's answer, and on a reset device never open while
// the newest copy is armed.
func TestASlotMixedWithAnOlderOneOpensNothing(t *testing.T) {
	each(t, everywhere, func(t *testing.T, p place) {
		d := p.disk()
		var history [][]byte
		for _, st := range life() {
			write(t, p.on(d), st.record, st.ownership)
			history = append(history, slices.Clone(d.Content(where)))
		}
		mixes := 0
		for now, current := range history {
			if !p.read(current).Record.Armed {
				continue
			}
			for _, old := range history[:now] {
				for i := range 2 {
					content := slices.Clone(current)
					copy(p.slot(content, i), p.slot(old, i))
					mixes++
					if got := decide(p.read(content), nil); got.Open() {
						t.Errorf("after %q, slot %d from earlier: %s", life()[now].name, i, got)
					}
				}
			}
		}
		t.Logf("%d mixed stores", mixes)
	})
}

// The mark makes a store blank, which is what erasing it would do, and it takes
// all of its bytes: an accident does not make it.
func TestOnlyTheWholeMarkMakesAPartitionBlank(t *testing.T) {
	each(t, onPartition, func(t *testing.T, p place) {
		content := stores(t, p)["armed twice"].content
		mark := content[p.base+16384:][:32]
		copy(mark, "accountlock store in the making\n")
		if r := p.read(content); r.Store != lock.StoreBlank || decide(r, nil).State != lock.Unlinked {
			t.Errorf("with the mark it reads as %s", r.Store)
		}
		for i := range mark {
			mark[i] ^= 1
			if r := p.read(content); r.Store != lock.StoreValid || !r.Record.Armed {
				t.Errorf("with byte %d of the mark wrong it reads as %s", i, r.Store)
			}
			mark[i] ^= 1
		}
	})
}
