// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

// documented is what docs/record.md says that a store holds.
type documented struct {
	finding  string // valid, newer, blank, damaged, unreadable
	version  uint32
	sequence uint64
	alone    bool
	payload  []byte
}

// readAsDocumented is another implementation's reader, written from docs/record.md
// and from nothing else.
func readAsDocumented(scheme string, b []byte) documented {
	where := map[string][3]int{"file": {0, 8192, -1}, "block": {0, 32768, 16384}, "pdb": {4096, 36864, 20480}}[scheme]
	if scheme != "file" && (len(b) < 64<<10 || len(b) > 16<<20 || len(b)%512 != 0) {
		return documented{finding: "unreadable"}
	}
	marked := scheme != "file" && string(b[where[2]:where[2]+32]) == "accountlock store in the making\n"
	var found [2]documented
	for i := range found {
		slot := make([]byte, 8192)
		if !marked {
			slot = b[min(where[i], len(b)):min(where[i]+8192, len(b))]
		}
		found[i] = documentedSlot(slot)
	}
	x, y := found[0], found[1]
	whole := func(d documented) bool { return d.finding == "valid" || d.finding == "newer" }
	if x.finding == "valid" && y.finding == "valid" && x.sequence == y.sequence && !bytes.Equal(x.payload, y.payload) {
		return documented{finding: "damaged"}
	}
	if !whole(x) || whole(y) && (y.sequence > x.sequence || y.sequence == x.sequence && y.finding == "newer") {
		x, y = y, x
	}
	switch {
	case whole(x):
		x.alone = x.finding == "valid" && (y.finding != "valid" || y.sequence != x.sequence && y.sequence != x.sequence-1)
		return x
	case x.finding == "blank" && y.finding == "blank" && (scheme != "file" || len(b) == 16384):
		return documented{finding: "blank"}
	default:
		return documented{finding: "damaged"}
	}
}

func documentedSlot(s []byte) documented {
	if len(s) == 8192 && (bytes.Count(s, []byte{0}) == len(s) || bytes.Count(s, []byte{0xff}) == len(s)) {
		return documented{finding: "blank"}
	}
	if len(s) != 8192 || string(s[:8]) != "acctlock" {
		return documented{finding: "damaged"}
	}
	d := documented{finding: "valid", version: binary.BigEndian.Uint32(s[8:]), sequence: binary.BigEndian.Uint64(s[16:])}
	n := binary.BigEndian.Uint32(s[12:])
	if n > 8136 || d.version < 1 || d.sequence < 1 || d.sequence > 1<<62 {
		return documented{finding: "damaged"}
	}
	d.payload = s[56 : 56+n]
	if sum := sha256.Sum256(append(bytes.Clone(s[:24]), d.payload...)); !bytes.Equal(sum[:], s[24:56]) {
		return documented{finding: "damaged"}
	}
	switch {
	case d.version > 2:
		d.finding = "newer"
	case d.version == 1 && (!json.Valid(d.payload) || d.payload[0] != '{'):
		return documented{finding: "damaged"}
	}
	return d
}

// What our own store leaves, at every moment of a device's life and damaged in any
// way, the reader of the document finds too, and the same in it.
func TestAReaderWrittenFromTheDocumentFindsTheSame(t *testing.T) {
	each(t, everywhere, func(t *testing.T, p place) {
		d := p.disk()
		contents := [][]byte{slices.Clone(d.Content(where))}
		for _, st := range life() {
			write(t, p.on(d), st.record, st.ownership)
			contents = append(contents, slices.Clone(d.Content(where)))
		}
		compared := 0
		rapid.Check(t, func(t *rapid.T) {
			content := slices.Clone(rapid.SampledFrom(contents[1:]).Draw(t, "content"))
			for range rapid.IntRange(0, 3).Draw(t, "damages") {
				at := rapid.IntRange(0, len(content)-1).Draw(t, "at")
				switch rapid.IntRange(0, 4).Draw(t, "kind") {
				case 0:
					content[at] ^= 1 << (at % 8)
				case 1:
					clear(p.slot(content, at%2))
				case 2:
					copy(p.slot(content, at%2), p.slot(contents[1+at%(len(contents)-1)], at%2))
				case 3:
					copy(p.slot(content, at%2), makeFrame(3, uint64(1+at%4), []byte("of a later program")))
				case 4:
					in := p.slot(content, at%2)
					in[at%60] ^= 1
				}
			}
			got, want := p.read(content), readAsDocumented(p.name, content)
			if string(got.Store) != want.finding || got.Sequence != want.sequence && want.finding == "valid" || got.OneCopy != want.alone {
				t.Fatalf("our reader finds %s, sequence %d, one copy %v; the document says %+v", got.Store, got.Sequence, got.OneCopy, want)
			}
			var r lock.Record
			if want.finding == "valid" && (json.Unmarshal(want.payload, &r) != nil || !reflect.DeepEqual(r, got.Record)) {
				t.Fatalf("another record: %s", want.payload)
			}
			compared++
		})
		t.Logf("%d stores compared", compared)
	})
}

// Records of version 1 are read on every medium, and bound to the TPM by the next
// write under the account service's word. Wherever the power fails in that write,
// a device that was reset stays locked, and the service's word binds it after all.
func TestARecordOfVersionOneIsReadEverywhereAndRewrittenWhole(t *testing.T) {
	each(t, everywhere, func(t *testing.T, p place) {
		d, c := p.disk(), &chip{seed: 0x5a}
		write(t, p.on(d), armed(1), true)
		old := p.on(d, c.option(false)).Read()
		if old.TPM != lock.TPMUnbound || old.Store != lock.StoreValid || old.Slots[0].Bound {
			t.Fatalf("version 1 reads as %s, %s", old.Store, old.TPM)
		}
		bound := old.Record.Apply([]lock.Effect{lock.Trust}, lock.Change{})
		states, seen := 0, map[lock.TPM]int{}
		visit := func(op string) {
			states += d.PowerCuts(func(after *record.Disk) {
				p.mended(t, after)
				left := c.same()
				r := p.on(after, left.option(false)).Read()
				seen[r.TPM]++
				if r.Store != lock.StoreValid || decide(r, nil).Open() {
					t.Fatalf("power cut before %q: %s, %s, decides %s", op, r.Store, r.TPM, decide(r, nil))
				}
				write(t, p.on(after, left.option(false)), bound, true)
				if again := p.on(after, left.option(false)).Read(); again.TPM != lock.TPMVouches || !reflect.DeepEqual(again.Record, bound) {
					t.Fatalf("power cut before %q: it cannot be bound any more: %s", op, again.TPM)
				}
			})
		}
		d.Before = func(op string) error { visit(op); return nil }
		c.before = visit
		write(t, p.on(d, c.option(false)), bound, true)
		d.Before, c.before = nil, nil
		visit("end")
		r := p.on(d, c.option(false)).Read()
		if r.TPM != lock.TPMVouches || !r.Slots[0].Bound || !r.Slots[1].Bound || !reflect.DeepEqual(r.Record, bound) {
			t.Fatalf("rewritten it reads as %s, %+v", r.TPM, r.Slots)
		}
		if want := readAsDocumented(p.name, d.Content(where)); want.finding != "valid" || want.version != 2 || want.sequence != r.Sequence {
			t.Errorf("the document says %s, version %d", want.finding, want.version)
		}
		t.Logf("%d states after a power cut: %v", states, seen)
	})
}
