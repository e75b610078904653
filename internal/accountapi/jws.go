// SPDX-License-Identifier: Apache-2.0

package accountapi

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// The `typ` of each kind of signed word, so that none is taken for another.
const (
	TypeGrant     = "accountlock-grant+jwt"
	TypeStatement = "accountlock-statement+jwt"
	TypeKeySet    = "accountlock-keyset+jwt"
)

// maxToken bounds, in bytes, a signed word from the network.
const maxToken = 16 << 10

// ErrUntrusted is the error of a signed word that does not verify, whatever is
// wrong with it.
var ErrUntrusted = errors.New("the signature of the account service does not hold")

// ErrUnknownKey is the error of a signed word under a key that is not in the
// given set: a newer set may hold it.
var ErrUnknownKey = errors.New("the account service signed with a key that is not in the pinned set")

// Signer signs under one key. It is safe for concurrent use.
type Signer struct {
	key ed25519.PrivateKey
	kid string
}

// NewSigner returns a Signer under the key's thumbprint.
func NewSigner(key ed25519.PrivateKey) (*Signer, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("cannot sign: not an Ed25519 key")
	}
	pub, _ := key.Public().(ed25519.PublicKey)
	return &Signer{key: key, kid: Thumbprint(pub)}, nil
}

// Sign returns v as JWS in compact form (RFC 7515, 7.1) of the type typ. It is put
// together here, and not by go-jose, since the account service does little
// else; Open reads it back by go-jose.
func (s *Signer) Sign(v any, typ string) (string, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("cannot encode the %s: %w", typ, err)
	}
	// None of the three needs escaping in JSON.
	header := `{"alg":"EdDSA","kid":"` + s.kid + `","typ":"` + typ + `"}`
	enc := base64.RawURLEncoding
	out := make([]byte, 0, enc.EncodedLen(len(header))+enc.EncodedLen(len(payload))+enc.EncodedLen(ed25519.SignatureSize)+2)
	out = enc.AppendEncode(out, []byte(header))
	out = enc.AppendEncode(append(out, '.'), payload)
	sig := ed25519.Sign(s.key, out)
	return string(enc.AppendEncode(append(out, '.'), sig)), nil
}

// Sign is Signer.Sign for a key that is used once.
func Sign(v any, typ string, key ed25519.PrivateKey) (string, error) {
	s, err := NewSigner(key)
	if err != nil {
		return "", err
	}
	return s.Sign(v, typ)
}

// Open verifies token against keys, by key ID, and decodes its payload into v. Its
// errors are ErrUnknownKey and ErrUntrusted. Unknown claims are allowed: a newer
// service may say more.
func Open(token, typ string, keys map[string]crypto.PublicKey, v any) error {
	if len(token) > maxToken {
		return fmt.Errorf("%w: it is larger than %d bytes", ErrUntrusted, maxToken)
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if got := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; got != typ {
		return fmt.Errorf("%w: typ is %q, not %q", ErrUntrusted, got, typ)
	}
	key, ok := keys[jws.Signatures[0].Protected.KeyID]
	if !ok {
		return ErrUnknownKey
	}
	payload, err := jws.Verify(key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if err := json.Unmarshal(payload, v); err != nil {
		return fmt.Errorf("%w: its payload: %w", ErrUntrusted, err)
	}
	return nil
}
