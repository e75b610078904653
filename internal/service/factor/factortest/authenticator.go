// SPDX-License-Identifier: Apache-2.0

// Package factortest is an authenticator in software, for tests of passkeys: it does what
// a phone does behind navigator.credentials (WebAuthn, Level 3, section 6), with ES256 and
// no attestation. Real browsers are tested in test/portal.
package factortest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// Authenticator holds one passkey.
type Authenticator struct {
	// Origin is the page that it is used on.
	Origin string
	// Count is how often it has signed; a copy of it falls behind.
	Count uint32
	// Unverified has it sign without finger, face or PIN.
	Unverified bool

	id, handle []byte
	key        *ecdsa.PrivateKey
}

// asked is what the service asks, in the parts that matter here.
type asked struct {
	Options struct {
		Challenge string `json:"challenge"`
		RPID      string `json:"rpId"`
		RP        struct {
			ID string `json:"id"`
		} `json:"rp"`
		User struct {
			ID string `json:"id"`
		} `json:"user"`
	} `json:"options"`
	Offer string `json:"offer"`
}

func read(t testing.TB, ceremony []byte) asked {
	t.Helper()
	var a asked
	if err := json.Unmarshal(ceremony, &a); err != nil {
		t.Fatalf("%v: %s", err, ceremony)
	}
	return a
}

// Create makes the passkey that a service asks for (a factor.Ceremony in JSON) and returns
// what a page sends back.
func (a *Authenticator) Create(t testing.TB, ceremony []byte) (offer string, answer []byte) {
	t.Helper()
	q := read(t, ceremony)
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	a.id = []byte(rand.Text())
	a.handle = must(base64.RawURLEncoding.DecodeString(q.Options.User.ID))(t)
	point := must(a.key.PublicKey.Bytes())(t)
	// RFC 9053, 7.1.1: kty EC2, alg ES256, crv P-256, x, y.
	public := must(cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]}))(t)
	data := a.data(q.Options.RP.ID, 0x40)
	data = append(data, make([]byte, 16)...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.id))) //nolint:gosec // 26
	data = append(append(data, a.id...), public...)
	object := must(cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data}))(t)
	return q.Offer, a.credential(t, map[string]any{
		"clientDataJSON": encoded(a.client(t, "webauthn.create", q.Options.Challenge)), "attestationObject": encoded(object),
		"transports": []string{"internal"},
	})
}

// Sign signs what a service asks and returns what a page sends back.
func (a *Authenticator) Sign(t testing.TB, ceremony []byte) (offer string, answer []byte) {
	t.Helper()
	q := read(t, ceremony)
	a.Count++
	client := a.client(t, "webauthn.get", q.Options.Challenge)
	data := a.data(q.Options.RPID, 0)
	hash := sha256.Sum256(client)
	sum := sha256.Sum256(append(append([]byte{}, data...), hash[:]...))
	signature := must(ecdsa.SignASN1(rand.Reader, a.key, sum[:]))(t)
	return q.Offer, a.credential(t, map[string]any{
		"clientDataJSON": encoded(client), "authenticatorData": encoded(data), "signature": encoded(signature), "userHandle": encoded(a.handle),
	})
}

// data are the authenticator data: present and, unless Unverified, verified.
func (a *Authenticator) data(host string, flags byte) []byte {
	flags |= 0x01
	if !a.Unverified {
		flags |= 0x04
	}
	hash := sha256.Sum256([]byte(host))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), a.Count)
}

func (a *Authenticator) client(t testing.TB, kind, challenge string) []byte {
	return must(json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.Origin, "crossOrigin": false}))(t)
}

func (a *Authenticator) credential(t testing.TB, response map[string]any) []byte {
	return must(json.Marshal(map[string]any{
		"id": encoded(a.id), "rawId": encoded(a.id), "type": "public-key", "response": response,
		"clientExtensionResults": map[string]any{}, "authenticatorAttachment": "platform",
	}))(t)
}

func encoded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
