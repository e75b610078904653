// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// imageKeys is the key set file in a device's image.
type imageKeys struct {
	Root   *accountapi.JWK  `json:"root"`
	Number uint64           `json:"number"`
	Keys   []accountapi.JWK `json:"keys"`
}

// trust is what signed words are verified by. Sets go up by number, each signed
// by a key of the one before it or by the root key in the image; a lower
// number is refused.
type trust struct {
	root map[string]crypto.PublicKey

	mu  sync.Mutex
	set lock.KeySet
	// keys are the set's, and public their form for verifying.
	public map[string]crypto.PublicKey
}

func newTrust(file string, known lock.KeySet) (*trust, error) {
	raw, err := readFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the account service's key set: %w", err)
	}
	var img imageKeys
	if err := json.Unmarshal(raw, &img); err != nil {
		return nil, fmt.Errorf("cannot read the key set %s: %w", file, err)
	}
	t := &trust{root: map[string]crypto.PublicKey{}}
	if img.Root != nil {
		key, err := img.Root.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("cannot use the root key in %s: %w", file, err)
		}
		t.root[accountapi.Thumbprint(key)] = key
	}
	set, err := keySet(img.Number, img.Keys)
	if err != nil {
		return nil, fmt.Errorf("cannot use the keys in %s: %w", file, err)
	}
	if known.Number > set.Number && t.take(known) == nil {
		return t, nil
	}
	// The image's set, also where the record's cannot be used: fails locked, since a
	// service that has moved on signs its way from here to its newest set.
	return t, t.take(set)
}

func keySet(number uint64, keys []accountapi.JWK) (lock.KeySet, error) {
	s := lock.KeySet{Number: number}
	if number == 0 || len(keys) == 0 || len(keys) > 8 {
		return s, errors.New("a key set has a number from 1 up and 1 to 8 keys")
	}
	for _, k := range keys {
		pub, err := k.PublicKey()
		if err != nil {
			return s, err
		}
		s.Keys = append(s.Keys, lock.ServiceKey{ID: accountapi.Thumbprint(pub), Public: pub})
	}
	return s, nil
}

func (t *trust) take(s lock.KeySet) error {
	public := map[string]crypto.PublicKey{}
	for _, k := range s.Keys {
		if len(k.Public) != ed25519.PublicKeySize {
			return errors.New("cannot use a key of the set: its length is wrong")
		}
		public[k.ID] = ed25519.PublicKey(k.Public)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.Number < t.set.Number {
		// fails locked: a key that was given up must not open anything again.
		return fmt.Errorf("%w: key set %d is older than %d", accountapi.ErrUntrusted, s.Number, t.set.Number)
	}
	t.set, t.public = s, public
	return nil
}

func (t *trust) current() lock.KeySet {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.set
}

func (t *trust) keys() map[string]crypto.PublicKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.public
}

// advance takes one signed set that follows the present one.
func (t *trust) advance(token string) error {
	allowed := map[string]crypto.PublicKey{}
	for id, k := range t.root {
		allowed[id] = k
	}
	for id, k := range t.keys() {
		allowed[id] = k
	}
	var s accountapi.KeySet
	if err := accountapi.Open(token, accountapi.TypeKeySet, allowed, &s); err != nil {
		return err
	}
	set, err := keySet(uint64(max(s.Number, 0)), s.Keys)
	if err != nil {
		return fmt.Errorf("%w: %w", accountapi.ErrUntrusted, err)
	}
	if set.Number <= t.current().Number {
		return nil
	}
	return t.take(set)
}

// open verifies a signed word, catching up with the key sets once where the key
// is not known.
func (c *Client) open(ctx context.Context, token, typ string) (accountapi.Claims, error) {
	var claims accountapi.Claims
	err := accountapi.Open(token, typ, c.trust.keys(), &claims)
	if errors.Is(err, accountapi.ErrUnknownKey) {
		if cerr := c.catchUp(ctx); cerr != nil {
			return claims, cerr
		}
		claims = accountapi.Claims{}
		err = accountapi.Open(token, typ, c.trust.keys(), &claims)
	}
	return claims, err
}

// catchUp asks for the key sets that came after the newest one known. Its errors
// say that the service is out of reach or not to be trusted, and never what a
// person typed wrongly.
func (c *Client) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	after := int64(min(c.trust.current().Number, math.MaxInt64))
	r, err := c.api.GetKeysWithResponse(ctx, &accountapi.GetKeysParams{After: &after})
	if err != nil {
		return err
	}
	if r.JSON200 == nil {
		return fault.New(fault.ServiceUnavailable, fmt.Errorf("cannot catch up with the key sets: %w",
			c.problem(r.HTTPResponse, r.Body, r.ApplicationproblemJSONDefault)))
	}
	for _, token := range r.JSON200.KeySets {
		if err := c.trust.advance(token); err != nil {
			return err
		}
	}
	return nil
}

const catchUpTime = 4 * time.Second
