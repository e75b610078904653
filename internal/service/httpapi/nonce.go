// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// NonceTime is how long a nonce is good for, by the server's clock.
const NonceTime = 5 * time.Minute

// The parts of a nonce, in bytes: time, random, authentication.
const (
	nonceStamp  = 8
	nonceRandom = 12
	nonceMAC    = 16
	nonceSize   = nonceStamp + nonceRandom + nonceMAC
)

// Nonces gives and recognises the nonces that devices sign with. They carry
// their own proof, so that every server with the same secret knows them and none
// remembers them; that each is used once is for the requests table to see. It is
// safe for concurrent use.
type Nonces struct {
	key    []byte
	now    func() time.Time
	random io.Reader
}

// NewNonces returns nonces under the service secret. now is best a SteadyClock.
func NewNonces(secret []byte, now func() time.Time) *Nonces {
	return &Nonces{key: derive(secret, "nonce"), now: now, random: rand.Reader}
}

// New returns a fresh nonce.
func (n *Nonces) New() (string, error) {
	b := make([]byte, nonceStamp+nonceRandom, nonceSize)
	binary.BigEndian.PutUint64(b, uint64(n.now().UnixMilli()))
	if _, err := io.ReadFull(n.random, b[nonceStamp:]); err != nil {
		return "", fmt.Errorf("cannot make a nonce: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(append(b, n.mac(b)...)), nil
}

// Check returns, in the form in which used nonces are stored, a nonce that a
// server of this service gave within NonceTime; of the future within as much,
// since servers' clocks differ. For any other it reports false.
func (n *Nonces) Check(nonce string) (stored string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(b) != nonceSize {
		return "", false
	}
	body := b[:nonceStamp+nonceRandom]
	if !hmac.Equal(b[len(body):], n.mac(body)) {
		return "", false
	}
	given := time.UnixMilli(int64(binary.BigEndian.Uint64(body))) //nolint:gosec // the MAC says that New wrote it
	return hex.EncodeToString(body), n.now().Sub(given).Abs() <= NonceTime
}

// storedBefore returns what the stored nonces from before t are smaller than.
func storedBefore(t time.Time) string {
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(t.UnixMilli())))
}

func (n *Nonces) mac(b []byte) []byte {
	h := hmac.New(sha256.New, n.key)
	h.Write(b)
	return h.Sum(nil)[:nonceMAC]
}

// derive returns a key for one purpose out of the service secret.
func derive(secret []byte, purpose string) []byte {
	h := hmac.New(sha256.New, secret)
	io.WriteString(h, "accountlock-server "+purpose) //nolint:errcheck // a hash takes everything
	return h.Sum(nil)
}

// SteadyClock returns a clock that shows the time of day as it was when it was
// made, and goes on from there whatever becomes of the system's clock.
func SteadyClock() func() time.Time {
	start := time.Now()
	return func() time.Time { return start.Add(time.Since(start)) }
}
