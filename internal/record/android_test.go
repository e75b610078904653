// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Android's own reader and writer of the partition, after the rules of its
// PersistentDataBlockService and from nothing of ours.

var frpSecretMagic = []byte{0xda, 0xc2, 0xfc, 0xcd, 0xb9, 0x1b, 0x09, 0x88}

// androidRefuses says why a reader that trusts the digest would format the
// partition, or give no data; empty where it would not.
func androidRefuses(b []byte) string {
	sum := androidDigest(b)
	switch n := binary.BigEndian.Uint32(b[36:]); {
	case !bytes.Equal(sum[:], b[:32]):
		return "the digest is wrong"
	case binary.BigEndian.Uint32(b[32:]) != 0x19901873:
		return "the marker is wrong"
	case n > 102400 || int(n) > len(b)-11081:
		return fmt.Sprintf("a data block of %d bytes", n)
	}
	return ""
}

// androidData returns the data block as an application gets it.
func androidData(b []byte) []byte { return b[40 : 40+binary.BigEndian.Uint32(b[36:])] }

func androidDigest(b []byte) [32]byte {
	return sha256.Sum256(append(make([]byte, 32), b[32:]...))
}

// androidFormatted is what formatting leaves of a partition, its test harness
// data and OEM unlock byte being what they were.
func androidFormatted(size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint32(b[32:], 0x19901873)
	copy(b[size-11041:], frpSecretMagic)
	copy(b[size-11001:], "\x00\x00\x00\x04test")
	b[size-1] = 1
	sum := androidDigest(b)
	copy(b, sum[:])
	return b
}

// androidWrite puts data into the data block.
func androidWrite(b, data []byte) {
	binary.BigEndian.PutUint32(b[36:], uint32(len(data)))
	copy(b[40:], data)
	sum := androidDigest(b)
	copy(b, sum[:])
}
