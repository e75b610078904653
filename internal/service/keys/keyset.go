// SPDX-License-Identifier: Apache-2.0

// Package keys owns the keys under which the account service signs grants and
// statements: Ed25519 keys in files, and the numbered key sets, each signed by a
// key of its predecessor and the first by the root key, by which devices follow
// a rotation.
//
// It must not know what is signed.
package keys

import (
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/accountlock/accountlock/internal/accountapi"
)

// MaxSets bounds how many key sets there may be: an answer of the account API
// holds no more.
const MaxSets = 1000

// DeviceFile is what a device's image holds of the account service's keys, as
// JSON: the daemon's configuration names the file as `key_set`. The device takes
// sets with a number not below Number, chained from Keys or signed by Root.
type DeviceFile struct {
	Root   accountapi.JWK   `json:"root"`
	Number int64            `json:"number"`
	Keys   []accountapi.JWK `json:"keys"`
}

// Encode returns the file's content.
func (f DeviceFile) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot encode the key set: %w", err)
	}
	return append(b, '\n'), nil
}

// ErrBrokenChain is the error of key sets that do not follow from the root key.
var ErrBrokenChain = errors.New("the chain of key sets does not hold")

// Follow verifies the sets, oldest first, from the root key on: the first is
// number 1 and signed by root, each later one has the next number and is signed
// by a key of the one before it or by root. It returns the newest. Its error is
// ErrBrokenChain.
func Follow(root ed25519.PublicKey, sets []string) (accountapi.KeySet, error) {
	var newest accountapi.KeySet
	for _, token := range sets {
		trusted := map[string]crypto.PublicKey{accountapi.Thumbprint(root): root}
		if err := trust(trusted, newest.Keys); err != nil {
			return accountapi.KeySet{}, err
		}
		var next accountapi.KeySet
		if err := accountapi.Open(token, accountapi.TypeKeySet, trusted, &next); err != nil {
			return accountapi.KeySet{}, fmt.Errorf("%w after number %d: %w", ErrBrokenChain, newest.Number, err)
		}
		if next.Number != newest.Number+1 {
			return accountapi.KeySet{}, fmt.Errorf("%w: number %d follows %d", ErrBrokenChain, next.Number, newest.Number)
		}
		newest = next
	}
	if err := trust(map[string]crypto.PublicKey{}, newest.Keys); err != nil {
		return accountapi.KeySet{}, err
	}
	return newest, nil
}

func trust(into map[string]crypto.PublicKey, jwks []accountapi.JWK) error {
	for _, jwk := range jwks {
		pub, err := jwk.PublicKey()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBrokenChain, err)
		}
		into[accountapi.Thumbprint(pub)] = pub
	}
	return nil
}
