// SPDX-License-Identifier: Apache-2.0

// Package totp owns the codes of authenticator apps: time-based one-time
// passwords (RFC 6238) with what every app understands: HMAC-SHA-1, six digits, a
// new one each 30 seconds.
//
// It is a pure function of its arguments. It must not keep keys, count guesses or
// remember which code was used: the caller does, and passes in the last step.
package totp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6238 names it, and apps know no other; HMAC does not rest on collisions
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/secret"
)

const (
	// Digits is how many a code has.
	Digits = 6
	// Period is how long one code is shown.
	Period = 30 * time.Second
	// drift is how many steps a clock may be off, either way (RFC 6238, 5.2).
	drift = 1
	// keySize is that of HMAC-SHA-1's output, in bytes (RFC 4226, 4, R6).
	keySize = 20
)

// NewKey returns a random key. Its owner wipes it.
func NewKey() (secret.Bytes, error) {
	key := make(secret.Bytes, keySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("cannot make a key for an authenticator app: %w", err)
	}
	return key, nil
}

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Text returns a key as a person types it into an app: base32 in groups of four.
func Text(key secret.Bytes) string {
	plain := encoding.EncodeToString(key.Reveal())
	var groups []string
	for len(plain) > 4 {
		groups, plain = append(groups, plain[:4]), plain[4:]
	}
	return strings.Join(append(groups, plain), " ")
}

// URI returns what an app reads from a QR code: issuer names the service, name the
// account in it. (otpauth is documented by Google Authenticator's wiki alone.)
func URI(issuer, name string, key secret.Bytes) string {
	issuer, name = strings.ReplaceAll(issuer, ":", " "), strings.ReplaceAll(name, ":", " ")
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + name}
	// Some apps show a '+' as it is.
	u.RawQuery = "secret=" + encoding.EncodeToString(key.Reveal()) + "&issuer=" + strings.ReplaceAll(url.QueryEscape(issuer), "+", "%20")
	return u.String()
}

// Step is the number of the period that a time lies in.
func Step(at time.Time) int64 { return at.Unix() / int64(Period/time.Second) }

// Code returns the code of a step (RFC 4226, 5.3).
func Code(key secret.Bytes, step int64) string {
	var message [8]byte
	binary.BigEndian.PutUint64(message[:], uint64(step)) //nolint:gosec // a count of half minutes since 1970
	m := hmac.New(sha1.New, key.Reveal())
	m.Write(message[:])
	sum := m.Sum(nil)
	offset := sum[len(sum)-1] & 0x0f
	number := binary.BigEndian.Uint32(sum[offset:]) & 0x7fff_ffff
	return fmt.Sprintf("%0*d", Digits, number%1_000_000)
}

// Match returns the step whose code was typed: the present one or a neighbour, and
// later than last, the step of the code that was taken before. So no code serves
// twice, nor one that was shown before it (RFC 6238, 5.2). The time it takes does not
// tell which step fits.
func Match(key secret.Bytes, typed string, now time.Time, last int64) (step int64, ok bool) {
	at := Step(now)
	for s := at - drift; s <= at+drift; s++ {
		if subtle.ConstantTimeCompare([]byte(Code(key, s)), []byte(typed)) == 1 && s > last {
			step, ok = s, true
		}
	}
	return step, ok
}
