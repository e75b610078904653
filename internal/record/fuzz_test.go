// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

// FuzzRead reads anything as a store. a and b are the beginnings of the slots,
// size the length of the file; with seal, both get a right checksum, so that
// what is behind it is reached too.
func FuzzRead(f *testing.F) {
	f.Add(slotOf(f, 1, armed(1)), slotOf(f, 2, disarmed(armed(1))), uint16(2*slotBytes), false)
	f.Fuzz(func(t *testing.T, a, b []byte, size uint16, seal bool) {
		a, b = a[:min(len(a), slotBytes)], b[:min(len(b), slotBytes)]
		if seal {
			a, b = sealed(a), sealed(b)
		}
		content := image(a, b)[:min(int(size), 2*slotBytes)]
		d := record.NewDisk("/p")
		d.Put(where, content)
		s := record.NewOn(d, where)
		r := s.Read()
		if got := decide(r, nil); got.Open() && r.Store != lock.StoreBlank && (r.Store != lock.StoreValid || r.OneCopy || r.Record.Armed) {
			t.Fatalf("decides %s on %s, one copy %v, armed %v", got, r.Store, r.OneCopy, r.Record.Armed)
		}
		if r.Store == lock.StoreBlank && (len(content) != 2*slotBytes || !erased(content[:slotBytes]) || !erased(content[slotBytes:])) {
			t.Fatal("blank, and it is not")
		}
		if r.Store == lock.StoreValid && !stands(inFile, content, r) {
			t.Fatalf("read a record that stands in no whole slot: %+v", r.Slots)
		}
		err := s.Write(armed(5), true)
		if again := s.Read(); err == nil && !reflect.DeepEqual(again.Record, armed(5)) {
			t.Fatalf("written, and reads back as %s", again.Store)
		}
		if err != nil && !errors.Is(err, record.ErrNewer) {
			t.Fatal(err)
		}
	})
}

func erased(b []byte) bool {
	return bytes.Count(b, []byte{0}) == len(b) || bytes.Count(b, []byte{0xff}) == len(b)
}

// FuzzReadPartition reads anything as a partition: a and b are the beginnings of
// the slots, head that of the partition, mark what stands at the mark's place.
func FuzzReadPartition(f *testing.F) {
	a, b := slotOf(f, 1, armed(1)), slotOf(f, 2, disarmed(armed(1)))
	f.Add(a, b, androidFormatted(64 << 10)[:40], []byte(nil), uint16(0), true)
	f.Add(a, b, []byte(nil), []byte("accountlock store in the making\n"), uint16(0), false)
	f.Fuzz(func(t *testing.T, a, b, head, mark []byte, cut uint16, android bool) {
		p := onBlock
		if android {
			p = onPDB
		}
		content := make([]byte, p.size)
		if android {
			copy(content, androidFormatted(p.size))
			copy(content, head[:min(len(head), 4096)])
		}
		copy(p.slot(content, 0), a)
		copy(p.slot(content, 1), b)
		copy(content[p.base+16384:][:4096], mark)
		content = content[:len(content)-int(cut)]
		d := p.filled(content)
		s := p.on(d)
		r := s.Read()
		if got := decide(r, nil); got.Open() && r.Store != lock.StoreBlank && (r.Store != lock.StoreValid || r.OneCopy || r.Record.Armed) {
			t.Fatalf("decides %s on %s, one copy %v, armed %v", got, r.Store, r.OneCopy, r.Record.Armed)
		}
		marked := strings.HasPrefix(string(mark), "accountlock store in the making\n")
		switch {
		case (r.Store == lock.StoreUnreadable) != (cut > 0):
			t.Fatalf("%d bytes short, and reads as %s", cut, r.Store)
		case cut > 0:
			return
		case (r.Store == lock.StoreBlank) != (marked || erased(p.slot(content, 0)) && erased(p.slot(content, 1))):
			t.Fatalf("reads as %s", r.Store)
		case r.Store == lock.StoreValid && !stands(p, content, r):
			t.Fatalf("read a record that stands in no whole slot: %+v", r.Slots)
		}
		if err := s.Mend(); err != nil || !reflect.DeepEqual(s.Read(), r) {
			t.Fatalf("mended (%v), and reads otherwise", err)
		}
		if err := s.Write(armed(5), true); err != nil {
			if !errors.Is(err, record.ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		if again := s.Read(); !reflect.DeepEqual(again.Record, armed(5)) || again.OneCopy {
			t.Fatalf("written, and reads back as %s", again.Store)
		}
		if why := androidRefusesAt(p, d); why != "" {
			t.Fatalf("an Android would not take it: %s", why)
		}
	})
}

// stands reports whether the record that was read is that of a whole slot, by
// the tests' own reader.
func stands(p place, content []byte, r record.Reading) bool {
	for i := range 2 {
		if p.size == 0 && len(content) < (i+1)*slotBytes {
			break
		}
		version, sequence, text, ok := wholeFrame(p.slot(content, i))
		var there lock.Record
		if ok && version == 1 && sequence == r.Sequence && json.Unmarshal(text, &there) == nil && reflect.DeepEqual(there, r.Record) {
			return true
		}
	}
	return false
}

// sealed gives a slot a fitting length and a right checksum.
func sealed(slot []byte) []byte {
	if len(slot) < frameHead {
		return slot
	}
	version := uint32(slot[8])<<24 | uint32(slot[9])<<16 | uint32(slot[10])<<8 | uint32(slot[11])
	var sequence uint64
	for _, c := range slot[16:24] {
		sequence = sequence<<8 | uint64(c)
	}
	return makeFrame(version, sequence, slot[frameHead:])
}
