// SPDX-License-Identifier: Apache-2.0

package accountapi_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/accountlock/accountlock/internal/accountapi"
)

func newP256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A TPM's key: ECDSA on P-256, its signature both numbers in full.
func TestARequestMayBeSignedByAKeyOnP256(t *testing.T) {
	for range 50 { // a number in 256 begins with a zero
		key := newP256(t)
		r := requestOf(t, key)
		if !strings.Contains(r.Header.Get(accountapi.HeaderSignatureInput), `;alg="ecdsa-p256-sha256"`) {
			t.Fatalf("got %s", r.Header.Get(accountapi.HeaderSignatureInput))
		}
		raw := strings.Trim(strings.TrimPrefix(r.Header.Get(accountapi.HeaderSignature), "device="), ":")
		if b, err := base64.StdEncoding.DecodeString(raw); err != nil || len(b) != 64 {
			t.Fatalf("the signature has %d bytes, %v", len(b), err)
		}
		if err := verify(r, content, key.Public()); err != nil {
			t.Fatal(err)
		}
		if err := verify(r, content, newP256(t).Public()); !errors.Is(err, accountapi.ErrBadSignature) {
			t.Fatalf("another key's: %v", err)
		}
	}
}

// The key decides the algorithm: what the request says must be the same.
func TestASignatureUnderAnotherAlgorithmsNameIsNone(t *testing.T) {
	ed, ec := newKey(t), newP256(t)
	for name, c := range map[string]struct {
		signer   crypto.Signer
		from, to string
		key      crypto.PublicKey
	}{
		"Ed25519 called ECDSA":          {ed, "ed25519", "ecdsa-p256-sha256", ed.Public()},
		"ECDSA called Ed25519":          {ec, "ecdsa-p256-sha256", "ed25519", ec.Public()},
		"an Ed25519 key for ECDSA's":    {ec, "", "", ed.Public()},
		"a key on P-256 for Ed25519's":  {ed, "", "", ec.Public()},
		"one that nobody knows":         {ec, "ecdsa-p256-sha256", "hmac-sha256", ec.Public()},
		"no key":                        {ec, "", "", nil},
		"a key of another kind":         {ec, "", "", "key"},
		"an Ed25519 key that is no key": {ed, "", "", ed25519.PublicKey{}},
	} {
		r := requestOf(t, c.signer)
		r.Header.Set(accountapi.HeaderSignatureInput, strings.Replace(r.Header.Get(accountapi.HeaderSignatureInput), c.from, c.to, 1))
		if err := verify(r, content, c.key); !errors.Is(err, accountapi.ErrBadSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADevicesKeyIsReadBackAsItWasWritten(t *testing.T) {
	for _, key := range []crypto.PublicKey{newKey(t).Public(), newP256(t).Public()} {
		text, err := json.Marshal(accountapi.NewJWK(key))
		if err != nil {
			t.Fatal(err)
		}
		var k accountapi.JWK
		if err := json.Unmarshal(text, &k); err != nil {
			t.Fatal(err)
		}
		got, err := k.DeviceKey()
		if err != nil || !reflect.DeepEqual(got, key) || *k.Kid != accountapi.Thumbprint(key) {
			t.Errorf("%s: %v", text, err)
		}
		if kept, err := accountapi.ParseKey(accountapi.KeyBytes(key)); err != nil || !reflect.DeepEqual(kept, key) {
			t.Errorf("kept as %v, %v", kept, err)
		}
		// Another implementation reads the same.
		var theirs jose.JSONWebKey
		if err := json.Unmarshal(text, &theirs); err != nil || !reflect.DeepEqual(theirs.Key, key) {
			t.Errorf("go-jose reads %v, %v", theirs.Key, err)
		}
	}
}

func TestADevicesKeyThatIsNoneIsRefused(t *testing.T) {
	good := accountapi.NewJWK(newP256(t).Public())
	ed := accountapi.NewJWK(newKey(t).Public())
	other, short, off := accountapi.NewJWK(newP256(t).Public()), "AA", base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	for name, k := range map[string]accountapi.JWK{
		"nothing":                   {},
		"without y":                 {Kty: good.Kty, Crv: good.Crv, X: good.X},
		"of another kind":           {Kty: accountapi.OKP, Crv: good.Crv, X: good.X, Y: good.Y},
		"on another curve":          {Kty: good.Kty, Crv: accountapi.Ed25519, X: good.X, Y: good.Y},
		"not on the curve":          {Kty: good.Kty, Crv: good.Crv, X: good.X, Y: other.Y},
		"zero":                      {Kty: good.Kty, Crv: good.Crv, X: off, Y: &off},
		"too short":                 {Kty: good.Kty, Crv: good.Crv, X: good.X, Y: &short},
		"an Ed25519 key with a y":   {Kty: ed.Kty, Crv: ed.Crv, X: ed.X, Y: good.Y},
		"an Ed25519 key called EC":  {Kty: accountapi.EC, Crv: ed.Crv, X: ed.X},
		"an Ed25519 key, too short": {Kty: ed.Kty, Crv: ed.Crv, X: short},
	} {
		if key, err := k.DeviceKey(); err == nil {
			t.Errorf("%s: %v", name, key)
		}
	}
	for _, n := range []int{0, 31, 33, 64, 65, 66} {
		if key, err := accountapi.ParseKey(make([]byte, n)); err == nil {
			t.Errorf("%d bytes: %v", n, key)
		}
	}
	// What the account service signs is Ed25519 alone.
	if _, err := good.PublicKey(); err == nil {
		t.Error("a key of the account service's on P-256")
	}
}
