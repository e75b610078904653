// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/accountlock/accountlock/internal/secret"
)

// modhex is the alphabet that stays the same on most keyboard layouts, as
// systemd-homed prints its recovery keys.
const modhex = "cbdefghijklnrtuv"

const (
	recoveryBytes  = 32 // 256 bits: 64 letters
	recoveryGroups = 8
	groupLetters   = 2 * recoveryBytes / recoveryGroups
	groupsAsked    = 2
)

// recoveryCode is the code that an owner writes down at link time, in its one
// written form: eight groups of eight letters with dashes.
type recoveryCode struct {
	letters secret.Bytes
	// asked are the groups to be typed back, counted from 1.
	asked []uint32
}

func newRecoveryCode(random io.Reader) (recoveryCode, error) {
	raw := make([]byte, recoveryBytes+groupsAsked)
	if _, err := io.ReadFull(random, raw); err != nil {
		return recoveryCode{}, fmt.Errorf("cannot make a recovery code: %w", err)
	}
	defer clear(raw)
	c := recoveryCode{letters: make(secret.Bytes, 0, 2*recoveryBytes)}
	for _, b := range raw[:recoveryBytes] {
		c.letters = append(c.letters, modhex[b>>4], modhex[b&15])
	}
	// Which groups are asked for is no secret; it only has to vary.
	first := uint32(raw[recoveryBytes]) % recoveryGroups
	second := (first + 1 + uint32(raw[recoveryBytes+1])%(recoveryGroups-1)) % recoveryGroups
	c.asked = []uint32{first + 1, second + 1}
	slices.Sort(c.asked)
	return c, nil
}

// String returns the code as it is to be written down. It is a secret that is
// shown once; nothing else prints it.
func (c recoveryCode) written() string {
	groups := make([][]byte, 0, recoveryGroups)
	for g := range slices.Chunk(c.letters, groupLetters) {
		groups = append(groups, g)
	}
	return string(bytes.Join(groups, []byte("-")))
}

// hash returns the SHA-256 of the letters, which is what the record keeps.
func (c recoveryCode) hash() []byte {
	h := sha256.Sum256(c.letters)
	return h[:]
}

// fits reports whether typed is the whole code or the groups asked for. Case,
// dashes and spaces do not matter.
func (c recoveryCode) fits(typed secret.Bytes) bool {
	letters := normaliseRecovery(typed)
	defer letters.Wipe()
	var groups secret.Bytes
	for _, g := range c.asked {
		groups = append(groups, c.letters[(g-1)*groupLetters:g*groupLetters]...)
	}
	defer groups.Wipe()
	// Both are compared whatever the first one says.
	whole, part := c.letters.Equal(letters), groups.Equal(letters)
	return len(c.letters) > 0 && (whole || part)
}

func normaliseRecovery(typed secret.Bytes) secret.Bytes {
	out := make(secret.Bytes, 0, len(typed))
	for _, b := range typed {
		if b == '-' || b == ' ' || b == '\n' || b == '\r' || b == '\t' {
			continue
		}
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		out = append(out, b)
	}
	return out
}
