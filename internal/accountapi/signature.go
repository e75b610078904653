// SPDX-License-Identifier: Apache-2.0

package accountapi

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// Header names of a signed request (RFC 9421, RFC 9530) and of the answer that
// brings the next nonce.
const (
	HeaderContentDigest  = "Content-Digest"
	HeaderSignatureInput = "Signature-Input"
	HeaderSignature      = "Signature"
	HeaderIdempotencyKey = "Idempotency-Key"
	HeaderNonce          = "Accountlock-Nonce"
)

const (
	signatureLabel = "device"
	// The algorithms (RFC 9421, 3.3.6 and 3.3.4), one for each kind of key.
	algEd25519 = "ed25519"
	algP256    = "ecdsa-p256-sha256"
)

// components are what a signature covers, in this order and no other.
var components = []string{"@method", "@authority", "@path", "content-digest", "idempotency-key"}

// ErrBadSignature is the error of a request that is not, or wrongly, signed.
var ErrBadSignature = errors.New("the request's signature does not hold")

// ContentDigest returns the Content-Digest field of a body (RFC 9530, sha-256).
func ContentDigest(body []byte) string {
	h := sha256.Sum256(body)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(h[:]) + ":"
}

// SignRequest sets Content-Digest, Signature-Input and Signature. The request
// must have its Idempotency-Key; body is what it sends, keyID the thumbprint of
// the signer's key, nonce the server's.
func SignRequest(r *http.Request, body []byte, signer crypto.Signer, keyID, nonce string) error {
	r.Header.Set(HeaderContentDigest, ContentDigest(body))
	list := httpsfv.InnerList{Params: httpsfv.NewParams()}
	for _, c := range components {
		list.Items = append(list.Items, httpsfv.NewItem(c))
	}
	list.Params.Add("keyid", keyID)
	list.Params.Add("nonce", nonce)
	list.Params.Add("alg", algorithmOf(signer.Public()))
	params, err := httpsfv.Marshal(httpsfv.List{list})
	if err != nil {
		return fmt.Errorf("cannot encode signature parameters: %w", err)
	}
	sig, err := sign(signer, signatureBase(r, params))
	if err != nil {
		return fmt.Errorf("cannot sign the request: %w", err)
	}
	r.Header.Set(HeaderSignatureInput, signatureLabel+"="+params)
	r.Header.Set(HeaderSignature, signatureLabel+"=:"+base64.StdEncoding.EncodeToString(sig)+":")
	return nil
}

// algorithmOf returns the algorithm that a key of this kind signs with.
func algorithmOf(key crypto.PublicKey) string {
	if _, ok := key.(*ecdsa.PublicKey); ok {
		return algP256
	}
	return algEd25519
}

func sign(signer crypto.Signer, base []byte) ([]byte, error) {
	if algorithmOf(signer.Public()) == algEd25519 {
		return signer.Sign(rand.Reader, base, crypto.Hash(0))
	}
	digest := sha256.Sum256(base)
	der, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	// RFC 9421, 3.3.4: both numbers in full, where a crypto.Signer gives ASN.1.
	var n struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &n); err != nil || len(rest) > 0 || n.R.Sign() <= 0 || n.S.Sign() <= 0 || n.R.BitLen() > 8*p256Size || n.S.BitLen() > 8*p256Size {
		return nil, errors.New("the signature is none of ECDSA on P-256")
	}
	out := make([]byte, 2*p256Size)
	n.R.FillBytes(out[:p256Size])
	n.S.FillBytes(out[p256Size:])
	return out, nil
}

// RequestSignature is what a request says of its signature, not yet verified.
type RequestSignature struct {
	KeyID string
	Nonce string

	alg  string
	base []byte
	sig  []byte
}

// ParseSignature reads the signature of a request whose whole body is given. It
// returns ErrBadSignature for anything but the one form this API uses.
func ParseSignature(r *http.Request, body []byte) (*RequestSignature, error) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get(HeaderContentDigest)), []byte(ContentDigest(body))) != 1 {
		return nil, fmt.Errorf("%w: Content-Digest does not fit the body", ErrBadSignature)
	}
	for _, h := range []string{HeaderContentDigest, HeaderSignatureInput, HeaderSignature, HeaderIdempotencyKey} {
		if len(r.Header.Values(h)) != 1 {
			return nil, fmt.Errorf("%w: %s must be given once", ErrBadSignature, h)
		}
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return nil, fmt.Errorf("%w: it does not cover a query, and signed requests have none", ErrBadSignature)
	}
	sig, err := signatureBytes(r.Header.Get(HeaderSignature))
	if err != nil {
		return nil, err
	}
	out := &RequestSignature{sig: sig}
	params, ok := plain(r.Header.Get(HeaderSignatureInput), out)
	if !ok {
		if params, err = out.read(r.Header.Get(HeaderSignatureInput)); err != nil {
			return nil, err
		}
	}
	if out.alg != algEd25519 && out.alg != algP256 {
		return nil, fmt.Errorf("%w: alg must be %s or %s", ErrBadSignature, algEd25519, algP256)
	}
	out.base = signatureBase(r, params)
	return out, nil
}

// read reads a Signature-Input and returns its parameters as they are signed.
func (s *RequestSignature) read(field string) (params string, err error) {
	params, list, err := signatureInput(field)
	if err != nil {
		return "", err
	}
	for name, into := range map[string]*string{"keyid": &s.KeyID, "nonce": &s.Nonce, "alg": &s.alg} {
		v, ok := list.Params.Get(name)
		if !ok {
			return "", fmt.Errorf("%w: no parameter %s", ErrBadSignature, name)
		}
		if *into, ok = v.(string); !ok {
			return "", fmt.Errorf("%w: parameter %s is no string", ErrBadSignature, name)
		}
	}
	if len(list.Params.Names()) != 3 {
		return "", fmt.Errorf("%w: its parameters must be keyid, nonce and alg, and no other", ErrBadSignature)
	}
	return params, nil
}

// Verify returns ErrBadSignature unless the request was signed by key, and says
// so itself: the key decides the algorithm, not the request.
func (s *RequestSignature) Verify(key crypto.PublicKey) error {
	holds := false
	switch k := key.(type) {
	case ed25519.PublicKey:
		holds = s.alg == algEd25519 && len(k) == ed25519.PublicKeySize && ed25519.Verify(k, s.base, s.sig)
	case *ecdsa.PublicKey:
		if s.alg != algP256 || len(s.sig) != 2*p256Size {
			return ErrBadSignature
		}
		digest := sha256.Sum256(s.base)
		holds = ecdsa.Verify(k, digest[:], new(big.Int).SetBytes(s.sig[:p256Size]), new(big.Int).SetBytes(s.sig[p256Size:]))
	}
	if !holds {
		return ErrBadSignature
	}
	return nil
}

// signatureBase is RFC 9421, section 2.5.
func signatureBase(r *http.Request, params string) []byte {
	authority := r.Host
	if authority == "" {
		authority = r.URL.Host
	}
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	values := [...]string{ // of components, in their order
		r.Method,
		strings.TrimSuffix(strings.ToLower(authority), ":443"), // section 2.2.3: without the scheme's own port
		path,
		r.Header.Get(HeaderContentDigest),
		r.Header.Get(HeaderIdempotencyKey),
	}
	b := make([]byte, 0, 512)
	for i, c := range components {
		b = append(append(append(append(b, '"'), c...), `": `...), values[i]...)
		b = append(b, '\n')
	}
	return append(append(b, `"@signature-params": `...), params...)
}

// plainInput is how Signature-Input begins as SignRequest writes it.
const plainInput = signatureLabel + `=("@method" "@authority" "@path" "content-digest" "idempotency-key");`

// plain reads a Signature-Input that is, to the byte, as SignRequest writes it; what is not may be right
// all the same. Nearly all are, and the library takes as long for one as half of what else there is to do
// about a request but for the signature itself.
func plain(field string, into *RequestSignature) (params string, ok bool) {
	rest, ok := strings.CutPrefix(field, plainInput)
	for _, p := range []struct {
		name string
		into *string
	}{{`keyid="`, &into.KeyID}, {`;nonce="`, &into.Nonce}, {`;alg="`, &into.alg}} {
		if !ok {
			return "", false
		}
		if rest, ok = strings.CutPrefix(rest, p.name); ok {
			*p.into, rest, ok = strings.Cut(rest, `"`)
		}
		ok = ok && !strings.ContainsFunc(*p.into, func(c rune) bool { return c < ' ' || c > '~' || c == '\\' })
	}
	return field[len(signatureLabel)+1:], ok && rest == ""
}

func signatureInput(field string) (string, *httpsfv.InnerList, error) {
	dict, err := httpsfv.UnmarshalDictionary([]string{field})
	if err != nil {
		return "", nil, fmt.Errorf("%w: Signature-Input: %w", ErrBadSignature, err)
	}
	member, ok := dict.Get(signatureLabel)
	list, isList := member.(httpsfv.InnerList)
	if !ok || !isList || len(dict.Names()) != 1 || len(list.Items) != len(components) {
		return "", nil, fmt.Errorf("%w: Signature-Input must hold the label %s alone, over %q", ErrBadSignature, signatureLabel, components)
	}
	for i, c := range components {
		if list.Items[i].Value != c || len(list.Items[i].Params.Names()) != 0 {
			return "", nil, fmt.Errorf("%w: it must cover %q in this order", ErrBadSignature, components)
		}
	}
	params, err := httpsfv.Marshal(httpsfv.List{list})
	if err != nil {
		return "", nil, fmt.Errorf("%w: Signature-Input: %w", ErrBadSignature, err)
	}
	return params, &list, nil
}

func signatureBytes(field string) ([]byte, error) {
	if text, ok := strings.CutPrefix(field, signatureLabel+"=:"); ok && strings.HasSuffix(text, ":") {
		// As SignRequest writes it.
		if sig, err := base64.StdEncoding.Strict().DecodeString(text[:len(text)-1]); err == nil {
			return sig, nil
		}
	}
	dict, err := httpsfv.UnmarshalDictionary([]string{field})
	if err != nil {
		return nil, fmt.Errorf("%w: Signature: %w", ErrBadSignature, err)
	}
	member, _ := dict.Get(signatureLabel)
	item, ok := member.(httpsfv.Item)
	if !ok || len(dict.Names()) != 1 || len(item.Params.Names()) != 0 {
		return nil, fmt.Errorf("%w: Signature must hold the label %s alone", ErrBadSignature, signatureLabel)
	}
	sig, ok := item.Value.([]byte)
	if !ok {
		return nil, fmt.Errorf("%w: Signature is no byte sequence", ErrBadSignature)
	}
	return sig, nil
}
