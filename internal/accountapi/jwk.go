// SPDX-License-Identifier: Apache-2.0

package accountapi

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// NewJWK returns an Ed25519 public key as a JWK (RFC 8037) with its thumbprint
// as `kid`.
func NewJWK(key ed25519.PublicKey) JWK {
	kid := Thumbprint(key)
	return JWK{Kty: OKP, Crv: Ed25519, X: base64.RawURLEncoding.EncodeToString(key), Kid: &kid}
}

// PublicKey returns the key that k holds.
func (k JWK) PublicKey() (ed25519.PublicKey, error) {
	if k.Kty != OKP || k.Crv != Ed25519 {
		return nil, fmt.Errorf("cannot use a key of kty %q, crv %q", k.Kty, k.Crv)
	}
	x, err := base64.RawURLEncoding.Strict().DecodeString(k.X)
	if err != nil || len(x) != ed25519.PublicKeySize || strings.ContainsAny(k.X, "\r\n") {
		return nil, fmt.Errorf("cannot decode the key's x")
	}
	return ed25519.PublicKey(x), nil
}

// Thumbprint returns the SHA-256 thumbprint of a key (RFC 7638), base64url
// without padding.
func Thumbprint(key ed25519.PublicKey) string {
	jwk := jose.JSONWebKey{Key: key}
	t, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		// Only an unknown key type fails, and this one is known.
		panic("thumbprint of an Ed25519 key: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(t)
}
