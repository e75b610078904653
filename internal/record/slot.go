// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/accountlock/accountlock/internal/lock"
)

// The format. A slot is a frame padded with zeros to slotSize. All integers of
// the frame are big-endian:
//
//	offset  size  field
//	     0     8  magic
//	     8     4  format version
//	    12     4  length of the payload in bytes
//	    16     8  sequence number, 1 for the first write, at most maxSequence
//	    24    32  SHA-256 over the 24 bytes before it and the payload
//	    56        payload; in version 1 the JSON object of lock.Record, in version 2
//	              (binding.go) one that is bound to a TPM
//
// The frame is the same in every version to come, so that a newer record can be
// told from a damaged one: a flipped bit in the version fails the checksum.
const (
	slotSize   = 8 << 10
	headerSize = 56
	sumAt      = 24
	magic      = "acctlock"
	version    = 1
	newest     = boundVersion

	// maxPayload is the longest payload that fits into a slot.
	maxPayload = slotSize - headerSize
	// maxSequence is never reached by a device. A frame that claims more is
	// taken as damaged, so that none can stop the count for good.
	maxSequence = 1 << 62
)

// SlotState says what one slot holds.
type SlotState string

// What a slot can hold.
const (
	// SlotValid: a whole frame of a version that this program knows.
	SlotValid SlotState = "valid"
	// SlotBlank: nothing but zeros, or nothing but ones, as erased flash reads.
	SlotBlank SlotState = "blank"
	// SlotDamaged: something that is no whole frame, or a part of a slot.
	SlotDamaged SlotState = "damaged"
	// SlotNewer: a whole frame of a version that this program does not know.
	SlotNewer SlotState = "newer"
	// SlotUnreadable: the medium failed to give it.
	SlotUnreadable SlotState = "unreadable"
)

// SlotInfo is what `explain` and `doctor` tell about one slot.
type SlotInfo struct {
	State SlotState
	// Sequence is what the slot claims; 0 where its frame is not whole.
	Sequence uint64
	// Bound: the record in it is bound to a TPM.
	Bound bool
	// Err says why the slot is neither valid nor blank; nil otherwise.
	Err error
}

// slot is one slot as read.
type slot struct {
	SlotInfo
	record lock.Record
	sum    [sha256.Size]byte
	// bound is nil where the record is not bound to a TPM.
	bound *bound
}

// encode returns the slot that holds r under the sequence number: bound to the
// TPM as p says, or unbound where p is nil.
func encode(r lock.Record, sequence uint64, p *plan) ([]byte, error) {
	if p != nil {
		return encodeBound(r, sequence, p.keys, p.counter)
	}
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the record: %w", err)
	}
	defer clear(payload) // it holds the device key
	if len(payload) > maxPayload {
		return nil, fmt.Errorf("%w: %d bytes, of which %d fit", ErrTooLarge, len(payload), maxPayload)
	}
	return frame(version, sequence, payload), nil
}

// frame returns a whole slot around payload, which must fit.
func frame(v uint32, sequence uint64, payload []byte) []byte {
	return seal(newFrame(v, sequence, payload), len(payload))
}

// newFrame is frame without the checksum.
func newFrame(v uint32, sequence uint64, payload []byte) []byte {
	b := make([]byte, slotSize)
	copy(b, magic)
	binary.BigEndian.PutUint32(b[8:], v)
	binary.BigEndian.PutUint32(b[12:], uint32(len(payload))) //nolint:gosec // at most maxPayload
	binary.BigEndian.PutUint64(b[16:], sequence)
	copy(b[headerSize:], payload)
	return b
}

// seal puts the checksum into a frame.
func seal(b []byte, length int) []byte {
	sum := checksum(b, length)
	copy(b[sumAt:], sum[:])
	return b
}

func checksum(b []byte, length int) [sha256.Size]byte {
	h := sha256.New()
	h.Write(b[:sumAt])
	h.Write(b[headerSize : headerSize+length])
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}

// decode tells what the slotSize bytes in b are. The padding behind a payload
// is not looked at: nothing is decided from it, and a write that replaces the
// slot may leave a torn end of the old one there.
func decode(b []byte) slot {
	if len(b) != slotSize {
		return damagedSlot(0, fmt.Errorf("%d bytes of %d are there", len(b), slotSize))
	}
	if erased(b) {
		return slot{SlotInfo: SlotInfo{State: SlotBlank}}
	}
	if string(b[:len(magic)]) != magic {
		return damagedSlot(0, errors.New("the magic number is wrong"))
	}
	length := binary.BigEndian.Uint32(b[12:])
	if length > maxPayload {
		return damagedSlot(0, fmt.Errorf("a length of %d bytes is claimed, of which %d fit", length, maxPayload))
	}
	sum := checksum(b, int(length))
	if !bytes.Equal(sum[:], b[sumAt:headerSize]) {
		return damagedSlot(0, errors.New("the checksum is wrong"))
	}
	sequence := binary.BigEndian.Uint64(b[16:])
	if sequence == 0 || sequence > maxSequence {
		return damagedSlot(0, fmt.Errorf("the sequence number %d is out of range", sequence))
	}
	v := binary.BigEndian.Uint32(b[8:])
	switch {
	case v > newest:
		return slot{
			SlotInfo: SlotInfo{State: SlotNewer, Sequence: sequence, Err: fmt.Errorf("%w: version %d", ErrNewer, v)},
			sum:      sum,
		}
	case v < version:
		return damagedSlot(sequence, fmt.Errorf("there never was a version %d", v))
	}
	out := slot{SlotInfo: SlotInfo{State: SlotValid, Sequence: sequence, Bound: v == boundVersion}, sum: sum}
	var err error
	if v == boundVersion {
		out.record, out.bound, err = parseBound(b, int(length))
	} else {
		out.record, err = decodePayload(b[headerSize : headerSize+length])
	}
	if err != nil {
		return damagedSlot(sequence, err)
	}
	return out
}

// decodePayload reads a record. Fields that are not known are passed over: a
// field whose absence could open a device raises the format version.
func decodePayload(b []byte) (lock.Record, error) {
	var r lock.Record
	if len(b) == 0 || b[0] != '{' {
		// fails locked: JSON's null would otherwise read as a record that is disarmed.
		return lock.Record{}, errors.New("the payload is no JSON object")
	}
	if err := json.Unmarshal(b, &r); err != nil {
		// The text of the error may quote the payload, which holds the device key.
		return lock.Record{}, errors.New("the payload is no record in JSON")
	}
	return r, nil
}

func damagedSlot(sequence uint64, err error) slot {
	return slot{SlotInfo: SlotInfo{State: SlotDamaged, Sequence: sequence, Err: err}}
}

// erased reports whether every bit is like the first one.
func erased(b []byte) bool {
	if b[0] != 0 && b[0] != 0xff {
		return false
	}
	for _, c := range b {
		if c != b[0] {
			return false
		}
	}
	return true
}
