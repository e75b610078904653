// SPDX-License-Identifier: Apache-2.0

package accountapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"unicode/utf8"
)

// Secret is a password or a code on the wire: JSON encodes it as the string it
// is, and everything else prints it as '[redacted]'.
type Secret []byte

// String implements fmt.Stringer without telling the secret.
func (Secret) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer without telling the secret.
func (Secret) GoString() string { return "[redacted]" }

// Format implements fmt.Formatter without telling the secret: verbs such as %d would
// pass String by.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// LogValue implements slog.LogValuer without telling the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalJSON encodes the secret itself. It fails on bytes that are not UTF-8.
func (s Secret) MarshalJSON() ([]byte, error) {
	if !utf8.Valid(s) {
		return nil, errors.New("cannot encode a secret that is not UTF-8")
	}
	return json.Marshal(string(s))
}

// UnmarshalJSON decodes a JSON string.
func (s *Secret) UnmarshalJSON(b []byte) error {
	var str string
	if err := json.Unmarshal(b, &str); err != nil {
		return errors.New("cannot decode a secret: not a string")
	}
	*s = Secret(str)
	return nil
}

// Wipe overwrites the bytes with zeros.
func (s Secret) Wipe() { clear(s) }
