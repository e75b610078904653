// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
)

// longestGrant is how long the document lets a grant be good for: a ticket's day.
const longestGrant = 24 * time.Hour

// skew is what the time of a signed word may be off the service's own time.
const skew = 5 * time.Minute

// trust is the service's newest key set.
type trust struct {
	number int64
	keys   map[string]crypto.PublicKey
}

// keys returns what the service's words are verified by.
func (p *probe) keys() *trust {
	if p.trust == nil {
		t, _, err := p.follow(0)
		p.must(err, "the key sets")
		p.trust = t
	}
	return p.trust
}

// follow asks for all key sets after a number and goes from one to the next. rooted
// is whether the first hung on the root key of the image.
func (p *probe) follow(after int64) (newest *trust, rooted bool, err error) {
	a := p.get(fmt.Sprintf("/v1/keys?after=%d", after))
	p.want(a, 200, "", "the question for the key sets")
	var answered accountapi.KeysResponse
	p.decode(a, &answered)
	if len(answered.KeySets) == 0 {
		return nil, false, errors.New("there is none")
	}
	root := map[string]crypto.PublicKey{}
	if p.cfg.KeySet != nil {
		if root, err = public([]accountapi.JWK{p.cfg.KeySet.Root}); err != nil {
			return nil, false, fmt.Errorf("the root key in the file given: %w", err)
		}
	}
	for i, token := range answered.KeySets {
		var set accountapi.KeySet
		allowed := map[string]crypto.PublicKey{}
		if newest != nil {
			allowed = newest.keys
		}
		err := open(token, accountapi.TypeKeySet, allowed, &set)
		if err != nil && len(root) > 0 {
			err = open(token, accountapi.TypeKeySet, root, &set)
			rooted = rooted || err == nil
		} else if err != nil && i == 0 {
			// Without the image's file nothing says who may sign the first.
			err = unverified(token, &set)
		}
		if err != nil {
			return nil, rooted, fmt.Errorf("number %d in the answer is signed neither by a key of the one before it nor by the root key: %w", i+1, err)
		}
		if newest != nil && set.Number <= newest.number || set.Number <= after {
			return nil, rooted, fmt.Errorf("set %d comes after a higher or the same number", set.Number)
		}
		keys, err := public(set.Keys)
		if err != nil {
			return nil, rooted, fmt.Errorf("set %d: %w", set.Number, err)
		}
		newest = &trust{set.Number, keys}
	}
	return newest, rooted, nil
}

// public returns keys by their ID.
func public(set []accountapi.JWK) (map[string]crypto.PublicKey, error) {
	if len(set) < 1 || len(set) > 8 {
		return nil, fmt.Errorf("it holds %d keys, not 1 to 8", len(set))
	}
	out := map[string]crypto.PublicKey{}
	for _, k := range set {
		pub, err := k.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("a key is no JWK of Ed25519: %w", err)
		}
		out[accountapi.Thumbprint(pub)] = pub
	}
	return out, nil
}

// open is accountapi.Open with the header looked at first, so that what is wrong is said.
func open(token, typ string, keys map[string]crypto.PublicKey, v any) error {
	var h struct{ Alg, Kid, Typ string }
	first, _, _ := strings.Cut(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil || json.Unmarshal(b, &h) != nil {
		return errors.New("it is no JWS in compact form")
	}
	switch {
	case h.Alg != "EdDSA":
		return fmt.Errorf("its alg is %q, not EdDSA", h.Alg)
	case h.Typ != typ:
		return fmt.Errorf("its typ is %q, not %s", h.Typ, typ)
	case keys[h.Kid] == nil:
		return fmt.Errorf("its kid %q is none of the keys that may sign it", h.Kid)
	}
	return accountapi.Open(token, typ, keys, v)
}

// unverified reads a signed word without asking by whom.
func unverified(token string, v any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("it is no JWS in compact form")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// word verifies a signed word about the device, and what every word says. nonce is the
// one that it must answer, empty for a receipt.
func (d *device) word(token *string, typ string, purpose accountapi.ClaimsPurpose, nonce string) accountapi.Claims {
	p := d.p
	if token == nil {
		p.failf("there is no signed word of purpose %s in the answer", purpose)
	}
	var c accountapi.Claims
	p.must(open(*token, typ, p.keys().keys, &c), fmt.Sprintf("the signed word of purpose %s", purpose))
	iat, exp, now := time.Unix(c.Iat, 0), time.Unix(c.Exp, 0), p.now()
	switch {
	case c.Purpose != purpose:
		p.failf("a word of purpose %q came, not %s", c.Purpose, purpose)
	case c.Aud != d.id:
		p.failf("the %s is for %q, not for the device %s", purpose, c.Aud, d.id)
	case nonce != "" && (c.Nonce == nil || *c.Nonce != nonce):
		p.failf("the %s does not answer the device's newest nonce", purpose)
	case nonce == "" && c.Nonce != nil:
		p.failf("the %s has a nonce", purpose)
	case iat.Sub(now).Abs() > skew:
		p.failf("the iat of the %s is %s off the service's own time", purpose, iat.Sub(now).Round(time.Second))
	case !exp.After(iat) || !exp.After(now):
		p.failf("the %s has expired when it comes", purpose)
	case nonce != "" && exp.Sub(iat) > longestGrant:
		p.failf("the %s is good for %s, longer than a day", purpose, exp.Sub(iat))
	case c.Jti == "":
		p.failf("the %s has no jti", purpose)
	case p.jtis[c.Jti]:
		p.failf("the jti of the %s was used before", purpose)
	}
	p.jtis[c.Jti] = true
	return c
}

// statement asks how the link stands. asked is the link on the device's record, if any.
func (d *device) statement(asked string) accountapi.Claims {
	nonce := newNonce()
	r := accountapi.StatementRequest{Nonce: nonce}
	if asked != "" {
		r.LinkId = &asked
	}
	a := d.post("/v1/devices/"+d.id+"/statement", r)
	d.p.want(a, 200, "", "the question for a statement")
	var out accountapi.StatementResponse
	d.p.decode(a, &out)
	c := d.word(&out.Statement, accountapi.TypeStatement, accountapi.ClaimsPurposeStatement, nonce)
	if c.Status == nil || !c.Status.Valid() {
		d.p.failf("the statement says no status that the document knows")
	}
	return c
}

// states ends the check unless the service states that status.
func (d *device) states(want accountapi.ClaimsStatus, when string) accountapi.Claims {
	c := d.statement("")
	if *c.Status != want {
		d.p.failf("%s the service states %s, not %s", when, *c.Status, want)
	}
	return c
}
