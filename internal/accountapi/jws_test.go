// SPDX-License-Identifier: Apache-2.0

package accountapi_test

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/accountlock/accountlock/internal/accountapi"
)

type payload map[string]any

func segment(v any) string {
	raw, ok := v.([]byte)
	if !ok {
		raw, _ = json.Marshal(v)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// token signs any header and payload, as no signer of this project would.
func token(key ed25519.PrivateKey, header, body any) string {
	s := segment(header) + "." + segment(body)
	return s + "." + segment(ed25519.Sign(key, []byte(s)))
}

func keysOf(k ed25519.PrivateKey) map[string]crypto.PublicKey {
	return map[string]crypto.PublicKey{accountapi.Thumbprint(publicOf(k)): publicOf(k)}
}

func header(k ed25519.PrivateKey, more payload) payload {
	h := payload{"alg": "EdDSA", "kid": accountapi.Thumbprint(publicOf(k)), "typ": accountapi.TypeGrant}
	for name, v := range more {
		if v == nil {
			delete(h, name)
			continue
		}
		h[name] = v
	}
	return h
}

func TestASignedWordIsReadBackAsItWasSigned(t *testing.T) {
	key := newKey(t)
	s, err := accountapi.Sign(payload{"aud": "x", "new": true}, accountapi.TypeGrant, key)
	if err != nil {
		t.Fatal(err)
	}
	var c accountapi.Claims
	if err := accountapi.Open(s, accountapi.TypeGrant, keysOf(key), &c); err != nil || c.Aud != "x" {
		t.Fatalf("%+v, %v", c, err)
	}
	// And as go-jose reads it, with what the header says.
	jws, err := jose.ParseSignedCompact(s, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	if h := jws.Signatures[0].Protected; h.Algorithm != "EdDSA" || h.KeyID != accountapi.Thumbprint(publicOf(key)) || h.ExtraHeaders[jose.HeaderType] != accountapi.TypeGrant {
		t.Fatalf("got %+v", h)
	}
	if _, err := jws.Verify(publicOf(key)); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyWhatTheServiceSignedIsOpened(t *testing.T) {
	key, stranger := newKey(t), newKey(t)
	good := payload{"aud": "x"}
	hmac := func() string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(publicOf(key))},
			(&jose.SignerOptions{}).WithType(accountapi.TypeGrant).WithHeader("kid", accountapi.Thumbprint(publicOf(key))))
		if err != nil {
			t.Fatal(err)
		}
		s, err := signer.Sign([]byte(`{"aud":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		out, _ := s.CompactSerialize()
		return out
	}
	parts := strings.Split(token(key, header(key, nil), good), ".")
	untrusted, unknown := accountapi.ErrUntrusted, accountapi.ErrUnknownKey
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"as it should be":                     {token(key, header(key, nil), good), nil},
		"with a claim more":                   {token(key, header(key, nil), payload{"aud": "x", "y": 1}), nil},
		"alg none":                            {segment(header(key, payload{"alg": "none"})) + "." + segment(good) + ".", untrusted},
		"alg none, signed":                    {token(key, header(key, payload{"alg": "none"}), good), untrusted},
		"HS256 under the public key":          {hmac(), untrusted},
		"another alg's name":                  {token(key, header(key, payload{"alg": "RS256"}), good), untrusted},
		"no alg":                              {token(key, header(key, payload{"alg": nil}), good), untrusted},
		"a statement's typ":                   {token(key, header(key, payload{"typ": accountapi.TypeStatement}), good), untrusted},
		"no typ":                              {token(key, header(key, payload{"typ": nil}), good), untrusted},
		"a typ that is a number":              {token(key, header(key, payload{"typ": 7}), good), untrusted},
		"a typ in capitals":                   {token(key, header(key, payload{"typ": "JWT"}), good), untrusted},
		"an unknown kid":                      {token(key, header(key, payload{"kid": "x"}), good), unknown},
		"no kid":                              {token(key, header(key, payload{"kid": nil}), good), unknown},
		"a stranger under its own kid":        {token(stranger, header(stranger, nil), good), unknown},
		"a stranger under our kid":            {token(stranger, header(key, nil), good), untrusted},
		"a stranger who brings a key":         {token(stranger, header(key, payload{"jwk": accountapi.NewJWK(publicOf(stranger))}), good), untrusted},
		"an extension that must be known":     {token(key, header(key, payload{"crit": []string{"x"}, "x": 1}), good), untrusted},
		"a payload that is no JSON":           {token(key, header(key, nil), []byte("hello")), untrusted},
		"a payload of wrong types":            {token(key, header(key, nil), payload{"aud": 7}), untrusted},
		"a payload and garbage behind":        {token(key, header(key, nil), []byte(`{"aud":"x"}{}`)), untrusted},
		"an empty payload":                    {token(key, header(key, nil), []byte{}), untrusted},
		"a header that is no JSON":            {token(key, []byte("hello"), good), untrusted},
		"another payload":                     {parts[0] + "." + segment(payload{"aud": "y"}) + "." + parts[2], untrusted},
		"no signature":                        {parts[0] + "." + parts[1] + ".", untrusted},
		"two parts":                           {parts[0] + "." + parts[1], untrusted},
		"four parts":                          {strings.Join(parts, ".") + ".", untrusted},
		"JSON in place of the compact form":   {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, untrusted},
		"more than its bound":                 {token(key, header(key, nil), payload{"aud": strings.Repeat("x", 16<<10)}), untrusted},
		"a megabyte of dots":                  {strings.Repeat(".", 1<<20), untrusted},
		"nothing":                             {"", untrusted},
		"a signature cut short":               {parts[0] + "." + parts[1] + "." + parts[2][:40], untrusted},
		"a signature with its last bit moved": {parts[0] + "." + parts[1] + "." + segment(make([]byte, 64)), untrusted},
	} {
		t.Run(name, func(t *testing.T) {
			var claims accountapi.Claims
			err := accountapi.Open(c.token, accountapi.TypeGrant, keysOf(key), &claims)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Fatalf("%d bytes of error", len(err.Error()))
			}
		})
	}
}

func TestAKeyThatIsNoneIsRefused(t *testing.T) {
	good := accountapi.NewJWK(publicOf(newKey(t)))
	for name, change := range map[string]func(*accountapi.JWK){
		"of another type":       func(k *accountapi.JWK) { k.Kty = "EC" },
		"of another curve":      func(k *accountapi.JWK) { k.Crv = "X25519" },
		"too short":             func(k *accountapi.JWK) { k.X = k.X[:40] },
		"too long":              func(k *accountapi.JWK) { k.X += "AAAA" },
		"empty":                 func(k *accountapi.JWK) { k.X = "" },
		"padded":                func(k *accountapi.JWK) { k.X += "=" },
		"of the other alphabet": func(k *accountapi.JWK) { k.X = "++++" + k.X[4:] },
		"with a line break":     func(k *accountapi.JWK) { k.X = k.X[:8] + "\n" + k.X[8:] },
		"with bits behind": func(k *accountapi.JWK) {
			const a = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			k.X = k.X[:42] + string(a[strings.IndexByte(a, k.X[42])+1])
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := good
			change(&k)
			if pub, err := k.PublicKey(); err == nil {
				t.Fatalf("got %x", pub)
			}
		})
	}
}

func TestASignerNeedsAWholeKey(t *testing.T) {
	key := newKey(t)
	for _, k := range []ed25519.PrivateKey{nil, key[:32]} {
		if _, err := accountapi.NewSigner(k); err == nil {
			t.Errorf("%d bytes were taken", len(k))
		}
	}
	if _, err := accountapi.Sign(func() {}, accountapi.TypeGrant, key); err == nil {
		t.Error("what JSON cannot hold was signed")
	}
}
