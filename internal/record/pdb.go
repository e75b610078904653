// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/accountlock/accountlock/internal/lock"
)

// The layout of Android's persistent data block, as its
// PersistentDataBlockService reads it. Integers are big-endian, N is the size of
// the partition:
//
//	 offset     size  field
//	      0       32  SHA-256 over the whole partition, with these bytes as zeros
//	     32        4  marker
//	     36        4  length of the data block in bytes
//	     40           data block, at most 102400 bytes and N - 11081
//	N-11041    11041  not ours, and never written: FRP secret, test harness data,
//	                  credential handle, OEM unlock byte
//
// Android takes a wrong digest as a reason to format the partition, which anyone
// who can write one byte can bring about. So the digest is kept right for others,
// and nothing here is decided from it.
const (
	digestSize   = sha256.Size
	markerAt     = digestSize
	lengthAt     = 36
	dataAt       = 40
	pdbMarker    = 0x19901873
	maxData      = 100 << 10
	notData      = 11081
	neededLength = pageSize + secondSlot + slotSize - dataAt
)

// dataFits reports whether length can be that of a data block with both slots.
func (s *partitionSlots) dataFits(length uint32) bool {
	return length >= neededLength && int64(length) <= min(maxData, s.bytes-notData)
}

// seal writes the header that fits what is on the partition, and returns the
// page that begins with it. Of that page only the first 40 bytes change, all in
// one sector.
func (s *partitionSlots) seal() ([]byte, error) {
	head, err := s.head()
	if err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(head[markerAt:]) != pdbMarker || !s.dataFits(binary.BigEndian.Uint32(head[lengthAt:])) {
		binary.BigEndian.PutUint32(head[markerAt:], pdbMarker)
		binary.BigEndian.PutUint32(head[lengthAt:], neededLength)
	}
	sum, err := s.digest(head)
	if err != nil {
		return nil, err
	}
	copy(head, sum)
	if _, err := s.partition.WriteAt(head, 0); err != nil {
		return nil, fmt.Errorf("cannot write the header: %w", err)
	}
	return head, nil
}

// sealed reports whether Android would take the partition as it is.
func (s *partitionSlots) sealed() (bool, error) {
	head, err := s.head()
	if err != nil {
		return false, err
	}
	sum, err := s.digest(head)
	if err != nil {
		return false, err
	}
	return bytes.Equal(sum, head[:digestSize]) && binary.BigEndian.Uint32(head[markerAt:]) == pdbMarker, nil
}

// layoutKnown reports whether this is a partition that Android or we have laid
// out: one that never was is not given a header without a record.
func (s *partitionSlots) layoutKnown() (bool, error) {
	head, err := s.head()
	if err != nil || binary.BigEndian.Uint32(head[markerAt:]) == pdbMarker {
		return err == nil, err
	}
	reading, _ := look(s)
	return s.blank || reading.Store == lock.StoreValid || reading.Store == lock.StoreNewer, nil
}

func (s *partitionSlots) head() ([]byte, error) {
	head := make([]byte, pageSize)
	if err := readFull(s.partition, head, 0); err != nil {
		return nil, fmt.Errorf("cannot read the header: %w", err)
	}
	return head, nil
}

// digest returns the SHA-256 over the partition, its first page being head, with
// zeros in the place of the digest.
func (s *partitionSlots) digest(head []byte) ([]byte, error) {
	h := sha256.New()
	h.Write(make([]byte, digestSize))
	h.Write(head[digestSize:])
	buf := make([]byte, 64<<10)
	defer clear(buf) // it holds the device key
	for off := int64(pageSize); off < s.bytes; off += int64(len(buf)) {
		chunk := buf[:min(int64(len(buf)), s.bytes-off)]
		if err := readFull(s.partition, chunk, off); err != nil {
			return nil, fmt.Errorf("cannot read the partition for its digest: %w", err)
		}
		h.Write(chunk)
	}
	return h.Sum(nil), nil
}
