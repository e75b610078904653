// SPDX-License-Identifier: Apache-2.0

// Package seal makes the keys under which the account service keeps secrets in its
// database, so that whoever has the database alone reads none of them.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"github.com/accountlock/accountlock/internal/secret"
)

// New returns AES-256-GCM, which draws its nonces itself, under a key derived from the
// service's secret (HKDF, RFC 5869) for one use, named by label. A label is never
// changed: what was sealed under it would open no more.
func New(serviceSecret secret.Bytes, label string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, serviceSecret.Reveal(), nil, label, 32)
	if err != nil {
		return nil, fmt.Errorf("cannot derive the key %s: %w", label, err)
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cannot use the key %s: %w", label, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("cannot use the key %s: %w", label, err)
	}
	return aead, nil
}
