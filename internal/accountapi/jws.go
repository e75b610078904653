// SPDX-License-Identifier: Apache-2.0

package accountapi

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
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

// Sign returns v as JWS in compact form, signed by key under its thumbprint.
func Sign(v any, typ string, key ed25519.PrivateKey) (string, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("cannot encode the %s: %w", typ, err)
	}
	pub, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("cannot sign: not an Ed25519 key")
	}
	opts := (&jose.SignerOptions{}).WithType(jose.ContentType(typ)).WithHeader("kid", Thumbprint(pub))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, opts)
	if err != nil {
		return "", fmt.Errorf("cannot sign the %s: %w", typ, err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("cannot sign the %s: %w", typ, err)
	}
	return jws.CompactSerialize()
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
	if err := json.NewDecoder(bytes.NewReader(payload)).Decode(v); err != nil {
		return fmt.Errorf("%w: its payload: %w", ErrUntrusted, err)
	}
	return nil
}
