// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

// The format once more, written from its description and not from the code: a
// change of either shows as a difference.
const (
	slotBytes = 8192
	frameHead = 56
)

func makeFrame(version uint32, sequence uint64, payload []byte) []byte {
	head := binary.BigEndian.AppendUint32([]byte("acctlock"), version)
	head = binary.BigEndian.AppendUint32(head, uint32(len(payload)))
	head = binary.BigEndian.AppendUint64(head, sequence)
	sum := sha256.Sum256(append(bytes.Clone(head), payload...))
	return append(append(head, sum[:]...), payload...)
}

// image returns a store of two slots, each of which may be shorter than a slot.
func image(a, b []byte) []byte {
	out := make([]byte, 2*slotBytes)
	copy(out[:slotBytes], a)
	copy(out[slotBytes:], b)
	return out
}

func payload(t testing.TB, r lock.Record) []byte {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// slotOf returns the frame of r under a sequence number.
func slotOf(t testing.TB, sequence uint64, r lock.Record) []byte {
	t.Helper()
	return makeFrame(1, sequence, payload(t, r))
}

// wholeFrame is a reader of its own: what a slot holds, if it is a frame.
func wholeFrame(slot []byte) (version uint32, sequence uint64, content []byte, ok bool) {
	if len(slot) != slotBytes || string(slot[:8]) != "acctlock" {
		return 0, 0, nil, false
	}
	n := binary.BigEndian.Uint32(slot[12:])
	if n > slotBytes-frameHead {
		return 0, 0, nil, false
	}
	version, sequence = binary.BigEndian.Uint32(slot[8:]), binary.BigEndian.Uint64(slot[16:])
	content = slot[frameHead : frameHead+n]
	return version, sequence, content, bytes.Equal(makeFrame(version, sequence, content), slot[:frameHead+n])
}

func TestTheFormatIsTheDescribedOne(t *testing.T) {
	d := record.NewDisk("/p")
	s := record.NewOn(d, "/p/record")
	write(t, s, armed(1), true)
	write(t, s, armed(2), false)
	want := image(slotOf(t, 3, armed(2)), slotOf(t, 2, armed(1)))
	if got := d.Content("/p/record"); !bytes.Equal(got, want) {
		t.Fatalf("the store differs from the description at byte %d", firstDifference(got, want))
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func mustJSON(r lock.Record) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return b
}
