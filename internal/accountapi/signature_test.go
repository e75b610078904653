// SPDX-License-Identifier: Apache-2.0

package accountapi_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
)

const keyID = "thumbprint-of-a-key"

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicOf(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

var content = []byte(`{"step":"password"}`)

// signedRequest returns a request as the service receives it.
func requestOf(t testing.TB, key crypto.Signer) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "https://Service.example:443/v1/flows/flow-1", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(accountapi.HeaderIdempotencyKey, "0123456789abcdef")
	if err := accountapi.SignRequest(r, content, key, keyID, "the-nonce"); err != nil {
		t.Fatal(err)
	}
	in := httptest.NewRequest(r.Method, r.URL.RequestURI(), bytes.NewReader(content))
	in.Host, in.Header = r.URL.Host, r.Header
	return in
}

func verify(r *http.Request, body []byte, key crypto.PublicKey) error {
	s, err := accountapi.ParseSignature(r, body)
	if err != nil {
		return err
	}
	return s.Verify(key)
}

func TestASignedRequestIsReadBackAsItWasSigned(t *testing.T) {
	key := newKey(t)
	for _, host := range []string{"service.example", "SERVICE.EXAMPLE", "service.example:443"} {
		r := requestOf(t, key)
		r.Host = host
		s, err := accountapi.ParseSignature(r, content)
		if err != nil || s.KeyID != keyID || s.Nonce != "the-nonce" {
			t.Fatalf("%s: %+v, %v", host, s, err)
		}
		if err := s.Verify(publicOf(key)); err != nil {
			t.Fatalf("%s: %v", host, err)
		}
	}
}

func TestASignatureHoldsOverAnEmptyBodyAndAnEmptyPath(t *testing.T) {
	key := newKey(t)
	r, _ := http.NewRequest(http.MethodDelete, "https://service.example", nil)
	r.Header.Set(accountapi.HeaderIdempotencyKey, "k")
	if err := accountapi.SignRequest(r, nil, key, keyID, ""); err != nil {
		t.Fatal(err)
	}
	in := httptest.NewRequest(http.MethodDelete, "/", nil)
	in.Host, in.Header = "service.example", r.Header
	if err := verify(in, nil, publicOf(key)); err != nil {
		t.Fatal(err)
	}
}

func TestNothingOfASignedRequestCanBeChanged(t *testing.T) {
	replace := func(header, old, with string) func(*http.Request) {
		return func(r *http.Request) {
			v := r.Header.Get(header)
			if !strings.Contains(v, old) {
				panic(header + " does not hold " + old + ": " + v)
			}
			r.Header.Set(header, strings.Replace(v, old, with, 1))
		}
	}
	input := func(old, with string) func(*http.Request) {
		return replace(accountapi.HeaderSignatureInput, old, with)
	}
	twice := func(header string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Add(header, r.Header.Get(header)) }
	}
	without := func(header string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(header) } }
	for name, change := range map[string]func(*http.Request){
		"the method":                  func(r *http.Request) { r.Method = http.MethodDelete },
		"the path":                    func(r *http.Request) { r.URL.Path = "/v1/flows/flow-2" },
		"an escape in the path":       func(r *http.Request) { r.URL.RawPath = "/v1/flows/flow%2D1" },
		"a query":                     func(r *http.Request) { r.URL.RawQuery = "admin=1" },
		"an empty query":              func(r *http.Request) { r.URL.ForceQuery = true },
		"the authority":               func(r *http.Request) { r.Host = "other.example" },
		"the port":                    func(r *http.Request) { r.Host = "service.example:8443" },
		"the idempotency key":         func(r *http.Request) { r.Header.Set(accountapi.HeaderIdempotencyKey, "fedcba9876543210") },
		"the digest":                  func(r *http.Request) { r.Header.Set(accountapi.HeaderContentDigest, accountapi.ContentDigest(nil)) },
		"another digest beside":       replace(accountapi.HeaderContentDigest, "sha-256=", "sha-512=:AAAA:, sha-256="),
		"the nonce":                   input("the-nonce", "a-nonce"),
		"the key ID":                  input(keyID, "another-key"),
		"the algorithm":               input("ed25519", "hmac-sha256"),
		"no algorithm":                input(`;alg="ed25519"`, ""),
		"no nonce":                    input(`;nonce="the-nonce"`, ""),
		"no key ID":                   input(`;keyid="`+keyID+`"`, ""),
		"the key ID as a token":       input(`"`+keyID+`"`, "token"),
		"the nonce as a number":       input(`"the-nonce"`, "7"),
		"an expiry":                   input(`;alg=`, `;expires=1;alg=`),
		"a tag":                       input(`;alg=`, `;tag="x";alg=`),
		"the order of parameters":     input(`;keyid="`+keyID+`";nonce="the-nonce"`, `;nonce="the-nonce";keyid="`+keyID+`"`),
		"a component less":            input(`"@path" `, ""),
		"a component more":            input(`"@path" `, `"@path" "host" `),
		"a component twice":           input(`"@path" `, `"@path" "@path" `),
		"a component for another":     input(`"@path"`, `"@query"`),
		"the order of components":     input(`"@method" "@authority"`, `"@authority" "@method"`),
		"a component's parameter":     input(`"@path"`, `"@path";req`),
		"a component that is a token": input(`"@path"`, `path`),
		"no components":               input(`"@method" "@authority" "@path" "content-digest" "idempotency-key"`, ""),
		"the label":                   input("device=", "server="),
		"a second label":              input("device=", `other=("@method"), device=`),
		"an input that is no list":    func(r *http.Request) { r.Header.Set(accountapi.HeaderSignatureInput, `device="x"`) },
		"an input that is nothing":    func(r *http.Request) { r.Header.Set(accountapi.HeaderSignatureInput, "") },
		"an input that is garbage":    func(r *http.Request) { r.Header.Set(accountapi.HeaderSignatureInput, `device=(((`) },
		"a signature's label":         replace(accountapi.HeaderSignature, "device=", "server="),
		"a second signature":          replace(accountapi.HeaderSignature, "device=", "other=:AAAA:, device="),
		"a signature's parameter": func(r *http.Request) {
			r.Header.Set(accountapi.HeaderSignature, r.Header.Get(accountapi.HeaderSignature)+";x")
		},
		"a signature that is a string":      func(r *http.Request) { r.Header.Set(accountapi.HeaderSignature, `device="x"`) },
		"a signature that is a list":        func(r *http.Request) { r.Header.Set(accountapi.HeaderSignature, `device=(:AAAA:)`) },
		"a signature that is garbage":       func(r *http.Request) { r.Header.Set(accountapi.HeaderSignature, `device=:!`) },
		"an empty signature":                func(r *http.Request) { r.Header.Set(accountapi.HeaderSignature, `device=::`) },
		"a short signature":                 func(r *http.Request) { r.Header.Set(accountapi.HeaderSignature, `device=:AAAA:`) },
		"two digests":                       twice(accountapi.HeaderContentDigest),
		"two inputs":                        twice(accountapi.HeaderSignatureInput),
		"two signatures":                    twice(accountapi.HeaderSignature),
		"two idempotency keys":              twice(accountapi.HeaderIdempotencyKey),
		"no digest":                         without(accountapi.HeaderContentDigest),
		"no input":                          without(accountapi.HeaderSignatureInput),
		"no signature":                      without(accountapi.HeaderSignature),
		"no idempotency key":                without(accountapi.HeaderIdempotencyKey),
		"a line break in the digest's line": func(r *http.Request) { r.Header.Set(accountapi.HeaderIdempotencyKey, "0123456789abcdef\n\"@path\": /") },
	} {
		t.Run(name, func(t *testing.T) {
			key := newKey(t)
			r := requestOf(t, key)
			change(r)
			if err := verify(r, content, publicOf(key)); !errors.Is(err, accountapi.ErrBadSignature) {
				t.Fatalf("got %v", err)
			}
		})
	}
	key := newKey(t)
	for name, body := range map[string][]byte{"another body": []byte(`{"step":"done"}`), "no body": nil, "a longer body": append(bytes.Clone(content), ' ')} {
		if err := verify(requestOf(t, key), body, publicOf(key)); !errors.Is(err, accountapi.ErrBadSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, k := range map[string]ed25519.PublicKey{"another key": publicOf(newKey(t)), "no key": nil, "half a key": publicOf(key)[:16]} {
		if err := verify(requestOf(t, key), content, k); !errors.Is(err, accountapi.ErrBadSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// RFC 9530, appendix B.1: {"hello": "world"} and a line feed.
func TestTheContentDigestIsThatOfRFC9530(t *testing.T) {
	if got := accountapi.ContentDigest([]byte("{\"hello\": \"world\"}\n")); got != "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:" {
		t.Fatal(got)
	}
}
