// SPDX-License-Identifier: Apache-2.0

package device

import (
	"encoding/base64"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// alphabet is Crockford's base 32: no I, L, O or U, so that an ID that is read
// out over the telephone is understood.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

var idPattern = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$`)

// NewID returns a random device ID: 60 bits as XXXX-XXXX-XXXX.
func NewID(random io.Reader) (string, error) {
	var b [12]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("cannot make a device ID: %w", err)
	}
	var out strings.Builder
	for i, c := range b {
		if i > 0 && i%4 == 0 {
			out.WriteByte('-')
		}
		// 32 divides 256, so that every character is equally likely.
		out.WriteByte(alphabet[int(c)%len(alphabet)])
	}
	return out.String(), nil
}

// ParseID returns a device ID as people type it in its one written form: case,
// spaces and dashes do not matter, and I, L and O are the digits they look like.
// It reports false for anything else.
func ParseID(typed string) (string, bool) {
	plain := strings.NewReplacer("-", "", " ", "", "I", "1", "L", "1", "O", "0").Replace(strings.ToUpper(typed))
	if len(plain) != 12 {
		return "", false
	}
	id := plain[:4] + "-" + plain[4:8] + "-" + plain[8:]
	return id, idPattern.MatchString(id)
}

// newLinkID returns 128 random bits in base64url.
func newLinkID(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("cannot make a link ID: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}
