// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
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
		if r.Store == lock.StoreValid && !stands(content, r) {
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

// stands reports whether the record that was read is that of a whole slot, by
// the tests' own reader.
func stands(content []byte, r record.Reading) bool {
	for i := range 2 {
		if len(content) < (i+1)*slotBytes {
			break
		}
		version, sequence, text, ok := wholeFrame(content[i*slotBytes : (i+1)*slotBytes])
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
