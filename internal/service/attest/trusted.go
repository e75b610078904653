// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-tpm/tpm2"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/device"
)

// Trusted are those whose word counts: of TPMs, their makers, and of devices, their
// vendors. Without any maker every TPM is taken for one, an emulated one too; the
// zero Trusted has neither.
type Trusted struct {
	roots, intermediates *x509.CertPool
	vendors              []ed25519.PublicKey
}

// Trust reads the certificates of TPM makers and the public keys of vendors
// (Ed25519), both in PEM, either empty.
func Trust(makers, vendors []byte) (Trusted, error) {
	var out Trusted
	for block := range blocks(makers) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			return Trusted{}, errors.New("a certificate of a TPM's maker cannot be read")
		}
		if out.roots == nil {
			out.roots, out.intermediates = x509.NewCertPool(), x509.NewCertPool()
		}
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			out.roots.AddCert(c)
		} else {
			out.intermediates.AddCert(c)
		}
	}
	if len(makers) > 0 && out.roots == nil {
		return Trusted{}, errors.New("there is no certificate of a TPM's maker")
	}
	for block := range blocks(vendors) {
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		k, ok := key.(ed25519.PublicKey)
		if err != nil || !ok {
			return Trusted{}, errors.New("a vendor's key is no public Ed25519 key")
		}
		out.vendors = append(out.vendors, k)
	}
	if len(vendors) > 0 && len(out.vendors) == 0 {
		return Trusted{}, errors.New("there is no vendor's key")
	}
	return out, nil
}

func blocks(text []byte) func(func(*pem.Block) bool) {
	return func(yield func(*pem.Block) bool) {
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if !yield(block) {
				return
			}
		}
	}
}

// alternativeName is the extension that names the TPM's maker and model, critical
// in every endorsement certificate (TCG EK Credential Profile); crypto/x509 does
// not know names of that form.
var alternativeName = asn1.ObjectIdentifier{2, 5, 29, 17}

// endorses returns nil if a maker says that the key is a TPM's, or no maker is asked.
func (t Trusted) endorses(ek *tpm2.TPMTPublic, der []byte, now time.Time) error {
	if t.roots == nil {
		return nil
	}
	if len(der) == 0 {
		return errors.New("it has no certificate")
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return errors.New("its certificate cannot be read")
	}
	point, err := ek.Unique.ECC()
	if err != nil {
		return errors.New("it is not on P-256")
	}
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return errors.New("its certificate is for another key")
	}
	raw, err := key.Bytes()
	if err != nil || len(raw) != 65 || !bytes.Equal(raw[1:33], padded(point.X.Buffer)) || !bytes.Equal(raw[33:], padded(point.Y.Buffer)) {
		return errors.New("its certificate is for another key")
	}
	c.UnhandledCriticalExtensions = slices.DeleteFunc(c.UnhandledCriticalExtensions, alternativeName.Equal)
	_, err = c.Verify(x509.VerifyOptions{
		Roots: t.roots, Intermediates: t.intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("no maker that is known vouches for it: %w", err)
	}
	return nil
}

func padded(b []byte) []byte { return append(make([]byte, max(0, 32-len(b))), b...) }

// TokenType is the header `typ` of an enrolment token.
const TokenType = "accountlock-enrolment+jwt" //nolint:gosec // a media type, not a token

// token is what a vendor signs.
type token struct {
	Identities []accountapi.Identity `json:"identities"`
	// Exp is in seconds since the epoch; 0 is never.
	Exp int64 `json:"exp,omitempty"`
}

// byToken returns which of the identities a vendor's token names. One that names
// none of them is another device's.
func (t Trusted) byToken(text string, ids []device.Identity, now time.Time) []device.Identity {
	if text == "" {
		return nil
	}
	jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil || len(jws.Signatures) != 1 || jws.Signatures[0].Header.ExtraHeaders[jose.HeaderType] != TokenType {
		return nil
	}
	for _, key := range t.vendors {
		payload, err := jws.Verify(key)
		if err != nil {
			continue
		}
		var says token
		if json.Unmarshal(payload, &says) != nil || says.Exp != 0 && now.Unix() >= says.Exp {
			return nil
		}
		var out []device.Identity
		for _, id := range ids {
			if slices.Contains(says.Identities, accountapi.Identity{Source: accountapi.IdentitySource(id.Source), Digest: id.Digest}) {
				out = append(out, id)
			}
		}
		return out
	}
	return nil
}
