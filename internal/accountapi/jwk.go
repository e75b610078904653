// SPDX-License-Identifier: Apache-2.0

package accountapi

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// p256Size is the size of a coordinate on P-256, and pointSize of a point (SEC 1,
// 2.3.3, uncompressed).
const (
	p256Size  = 32
	pointSize = 1 + 2*p256Size
)

// NewJWK returns a public key as a JWK with its thumbprint as `kid`: Ed25519
// (RFC 8037) or P-256 (RFC 7518, section 6.2).
func NewJWK(key crypto.PublicKey) JWK {
	kid := Thumbprint(key)
	enc := base64.RawURLEncoding
	if k, ok := key.(ed25519.PublicKey); ok {
		return JWK{Kty: OKP, Crv: Ed25519, X: enc.EncodeToString(k), Kid: &kid}
	}
	point := KeyBytes(key)
	y := enc.EncodeToString(point[1+p256Size:])
	return JWK{Kty: EC, Crv: P256, X: enc.EncodeToString(point[1 : 1+p256Size]), Y: &y, Kid: &kid}
}

// PublicKey returns the Ed25519 key that k holds, which is all that the account
// service signs with.
func (k JWK) PublicKey() (ed25519.PublicKey, error) {
	if k.Kty != OKP || k.Crv != Ed25519 || k.Y != nil {
		return nil, fmt.Errorf("cannot use a key of kty %q, crv %q", k.Kty, k.Crv)
	}
	x, err := coordinate(k.X)
	if err != nil {
		return nil, err
	}
	return ed25519.PublicKey(x), nil
}

// DeviceKey returns the key of a device that k holds: an ed25519.PublicKey or, for
// one in a TPM, an *ecdsa.PublicKey on P-256.
func (k JWK) DeviceKey() (crypto.PublicKey, error) {
	if k.Kty != EC || k.Crv != P256 || k.Y == nil {
		return k.PublicKey()
	}
	point := []byte{4}
	for _, c := range []string{k.X, *k.Y} {
		b, err := coordinate(c)
		if err != nil {
			return nil, err
		}
		point = append(point, b...)
	}
	return ParseKey(point)
}

func coordinate(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != p256Size || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("cannot decode the key's coordinates")
	}
	return b, nil
}

// KeyBytes returns a device's public key as it is kept: the 32 bytes of Ed25519
// or the 65 of an uncompressed point on P-256.
func KeyBytes(key crypto.PublicKey) []byte {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return k
	case *ecdsa.PublicKey:
		if b, err := k.Bytes(); err == nil {
			return b
		}
	}
	// Only these two come out of DeviceKey and ParseKey.
	panic(fmt.Sprintf("a device's key of type %T", key))
}

// ParseKey returns the key that KeyBytes was given; a point that is not on the
// curve is an error.
func ParseKey(b []byte) (crypto.PublicKey, error) {
	switch len(b) {
	case ed25519.PublicKeySize:
		return ed25519.PublicKey(b), nil
	case pointSize:
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b)
		if err != nil {
			return nil, errors.New("the key is no point on P-256")
		}
		return key, nil
	}
	return nil, fmt.Errorf("a public key has no %d bytes", len(b))
}

// Thumbprint returns the SHA-256 thumbprint of a key (RFC 7638), base64url
// without padding.
func Thumbprint(key crypto.PublicKey) string {
	jwk := jose.JSONWebKey{Key: key}
	t, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		// Only an unknown key type fails, and these are known.
		panic("thumbprint of a public key: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(t)
}
