// SPDX-License-Identifier: Apache-2.0

package accountapi

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
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
	algorithm      = "ed25519"
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
	list.Params.Add("alg", algorithm)
	params, err := httpsfv.Marshal(httpsfv.List{list})
	if err != nil {
		return fmt.Errorf("cannot encode signature parameters: %w", err)
	}
	sig, err := signer.Sign(rand.Reader, signatureBase(r, params), crypto.Hash(0))
	if err != nil {
		return fmt.Errorf("cannot sign the request: %w", err)
	}
	r.Header.Set(HeaderSignatureInput, signatureLabel+"="+params)
	r.Header.Set(HeaderSignature, signatureLabel+"=:"+base64.StdEncoding.EncodeToString(sig)+":")
	return nil
}

// RequestSignature is what a request says of its signature, not yet verified.
type RequestSignature struct {
	KeyID string
	Nonce string

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
	params, list, err := signatureInput(r.Header.Get(HeaderSignatureInput))
	if err != nil {
		return nil, err
	}
	sig, err := signatureBytes(r.Header.Get(HeaderSignature))
	if err != nil {
		return nil, err
	}
	out := &RequestSignature{base: signatureBase(r, params), sig: sig}
	alg := ""
	for name, into := range map[string]*string{"keyid": &out.KeyID, "nonce": &out.Nonce, "alg": &alg} {
		v, ok := list.Params.Get(name)
		if !ok {
			return nil, fmt.Errorf("%w: no parameter %s", ErrBadSignature, name)
		}
		if *into, ok = v.(string); !ok {
			return nil, fmt.Errorf("%w: parameter %s is no string", ErrBadSignature, name)
		}
	}
	if len(list.Params.Names()) != 3 || alg != algorithm {
		return nil, fmt.Errorf("%w: its parameters must be keyid, nonce and alg=ed25519, and no other", ErrBadSignature)
	}
	return out, nil
}

// Verify returns ErrBadSignature unless the request was signed by key.
func (s *RequestSignature) Verify(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, s.base, s.sig) {
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
	values := map[string]string{
		"@method":         r.Method,
		"@authority":      strings.TrimSuffix(strings.ToLower(authority), ":443"), // section 2.2.3: without the scheme's own port
		"@path":           path,
		"content-digest":  r.Header.Get(HeaderContentDigest),
		"idempotency-key": r.Header.Get(HeaderIdempotencyKey),
	}
	var b strings.Builder
	for _, c := range components {
		fmt.Fprintf(&b, "%q: %s\n", c, values[c])
	}
	b.WriteString(`"@signature-params": ` + params)
	return []byte(b.String())
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
