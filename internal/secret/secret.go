// SPDX-License-Identifier: Apache-2.0

// Package secret owns the type in which passwords, codes and keys travel
// inside the programs: it prints as '[redacted]' whichever way it is printed
// and can be wiped. Wiping is best effort, since Go's runtime may have copied
// the bytes before.
package secret

import (
	"crypto/subtle"
	"log/slog"
)

const redacted = "[redacted]"

// Bytes is a secret. The function that reads one from outside wipes it.
type Bytes []byte

// String implements fmt.Stringer without telling the secret.
func (Bytes) String() string { return redacted }

// GoString implements fmt.GoStringer without telling the secret.
func (Bytes) GoString() string { return redacted }

// LogValue implements slog.LogValuer without telling the secret.
func (Bytes) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler without telling the secret, so
// that no encoder writes it by accident; what must send it says so by Reveal.
func (Bytes) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements json.Marshaler without telling the secret.
func (Bytes) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Reveal returns the bytes themselves, not a copy.
func (b Bytes) Reveal() []byte { return b }

// Wipe overwrites the bytes with zeros.
func (b Bytes) Wipe() { clear(b) }

// Equal compares in constant time for secrets of one length.
func (b Bytes) Equal(other []byte) bool { return subtle.ConstantTimeCompare(b, other) == 1 }
