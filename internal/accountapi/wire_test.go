// SPDX-License-Identifier: Apache-2.0

package accountapi_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// key is the example of RFC 8032, 7.1, test 1, and of RFC 8037, A.1.
func key(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

func public(t testing.TB) ed25519.PublicKey {
	return key(t).Public().(ed25519.PublicKey)
}

func TestThumbprintIsThatOfRFC8037(t *testing.T) {
	if got := accountapi.Thumbprint(public(t)); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("got %s", got)
	}
	jwk := accountapi.NewJWK(public(t))
	if jwk.X != "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" {
		t.Errorf("x is %s", jwk.X)
	}
	back, err := jwk.PublicKey()
	if err != nil || !back.Equal(public(t)) {
		t.Errorf("the key does not come back: %v", err)
	}
}

func TestAWordIsOpenedOnlyAsWhatItIs(t *testing.T) {
	k := key(t)
	kid := accountapi.Thumbprint(public(t))
	token, err := accountapi.Sign(accountapi.KeySet{Number: 7}, accountapi.TypeKeySet, k)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]crypto.PublicKey{kid: public(t)}
	var set accountapi.KeySet
	if err := accountapi.Open(token, accountapi.TypeKeySet, keys, &set); err != nil || set.Number != 7 {
		t.Fatalf("it opens as %+v, %v", set, err)
	}
	other, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	forge := func(header string) string {
		signing := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1]
		return signing + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(k, []byte(signing)))
	}
	for name, c := range map[string]struct {
		token string
		typ   string
		keys  map[string]crypto.PublicKey
		want  error
	}{
		"as another type":              {token, accountapi.TypeGrant, keys, accountapi.ErrUntrusted},
		"under keys that lack its own": {token, accountapi.TypeKeySet, map[string]crypto.PublicKey{"x": public(t)}, accountapi.ErrUnknownKey},
		"under another key of its ID":  {token, accountapi.TypeKeySet, map[string]crypto.PublicKey{kid: other}, accountapi.ErrUntrusted},
		"with another payload":         {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"number":9}`)) + "." + parts[2], accountapi.TypeKeySet, keys, accountapi.ErrUntrusted},
		"without a signature":          {parts[0] + "." + parts[1] + ".", accountapi.TypeKeySet, keys, accountapi.ErrUntrusted},
		"under no algorithm":           {forge(`{"alg":"none","kid":"` + kid + `","typ":"` + accountapi.TypeKeySet + `"}`), accountapi.TypeKeySet, keys, accountapi.ErrUntrusted},
		"under an HMAC":                {forge(`{"alg":"HS256","kid":"` + kid + `","typ":"` + accountapi.TypeKeySet + `"}`), accountapi.TypeKeySet, keys, accountapi.ErrUntrusted},
		"without a type":               {forge(`{"alg":"EdDSA","kid":"` + kid + `"}`), accountapi.TypeKeySet, keys, accountapi.ErrUntrusted},
		"with a critical extension":    {forge(`{"alg":"EdDSA","crit":["exp"],"exp":1,"kid":"` + kid + `","typ":"` + accountapi.TypeKeySet + `"}`), accountapi.TypeKeySet, keys, accountapi.ErrUntrusted},
		"when it is empty":             {"", accountapi.TypeKeySet, keys, accountapi.ErrUntrusted},
		"when it is huge":              {token + strings.Repeat("A", 1<<20), accountapi.TypeKeySet, keys, accountapi.ErrUntrusted},
	} {
		t.Run(name, func(t *testing.T) {
			var set accountapi.KeySet
			if err := accountapi.Open(c.token, c.typ, c.keys, &set); !errors.Is(err, c.want) || set.Number != 0 {
				t.Errorf("got %+v, %v; want %v", set, err, c.want)
			}
		})
	}
}

// signedRequest is a request as the other side receives it.
func signedRequest(t testing.TB, body []byte) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://Accounts.example.org/v1/flows", bytes.NewReader(body))
	r.Header.Set(accountapi.HeaderIdempotencyKey, "0123456789abcdef")
	if err := accountapi.SignRequest(r, body, key(t), "the-key", "the-nonce"); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestASignatureCoversWhatTheDocumentSays(t *testing.T) {
	body := []byte(`{"kind":"link"}`)
	r := signedRequest(t, body)
	want := `device=("@method" "@authority" "@path" "content-digest" "idempotency-key");keyid="the-key";nonce="the-nonce";alg="ed25519"`
	if got := r.Header.Get(accountapi.HeaderSignatureInput); got != want {
		t.Errorf("Signature-Input is\n%s, want\n%s", got, want)
	}
	s, err := accountapi.ParseSignature(r, body)
	if err != nil {
		t.Fatal(err)
	}
	if s.KeyID != "the-key" || s.Nonce != "the-nonce" || s.Verify(public(t)) != nil {
		t.Errorf("read as %q, %q: %v", s.KeyID, s.Nonce, s.Verify(public(t)))
	}
	// Put together by hand, as RFC 9421, 2.5, has it.
	base := "\"@method\": POST\n\"@authority\": accounts.example.org\n\"@path\": /v1/flows\n" +
		"\"content-digest\": " + accountapi.ContentDigest(body) + "\n\"idempotency-key\": 0123456789abcdef\n" +
		"\"@signature-params\": " + strings.TrimPrefix(want, "device=")
	if got, want := r.Header.Get(accountapi.HeaderSignature), "device=:"+base64.StdEncoding.EncodeToString(ed25519.Sign(key(t), []byte(base)))+":"; got != want {
		t.Errorf("Signature is\n%s, want\n%s", got, want)
	}
	for name, change := range map[string]func(*http.Request){
		"another method":          func(r *http.Request) { r.Method = http.MethodDelete },
		"another host":            func(r *http.Request) { r.Host = "accounts.example.com" },
		"another path":            func(r *http.Request) { r.URL.Path = "/v1/devices" },
		"another idempotency key": func(r *http.Request) { r.Header.Set(accountapi.HeaderIdempotencyKey, "fedcba9876543210") },
		"another key ID": func(r *http.Request) {
			r.Header.Set(accountapi.HeaderSignatureInput, strings.Replace(want, "the-key", "a-key", 1))
		},
		"another nonce": func(r *http.Request) {
			r.Header.Set(accountapi.HeaderSignatureInput, strings.Replace(want, "the-nonce", "a-nonce", 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := signedRequest(t, body)
			change(r)
			s, err := accountapi.ParseSignature(r, body)
			if err == nil {
				err = s.Verify(public(t))
			}
			if !errors.Is(err, accountapi.ErrBadSignature) {
				t.Errorf("it holds: %v", err)
			}
		})
	}
}

func TestEachFaultIsAProblemAndBack(t *testing.T) {
	for _, code := range fault.Codes() {
		f := fault.New(code, errors.New("a cause that nobody is told"))
		f.Counted, f.AttemptsLeft, f.RetryAfter, f.Hint = true, 3, 90*time.Second, "d…@example.org"
		p := accountapi.NewProblem(f)
		if p.Status < 400 || p.Status > 599 || p.Type != accountapi.ProblemType+string(code) {
			t.Errorf("%s is %d, %s", code, p.Status, p.Type)
		}
		b, err := json.Marshal(p)
		if err != nil || bytes.Contains(b, []byte("a cause")) {
			t.Errorf("%s: %s, %v", code, b, err)
		}
		back := p.Fault()
		if back == nil || back.Code != code || !back.Counted || back.AttemptsLeft != 3 || back.RetryAfter != 90*time.Second || back.Hint != f.Hint {
			t.Errorf("%s comes back as %+v", code, back)
		}
	}
	for _, typ := range []string{"about:blank", accountapi.ProblemType, accountapi.ProblemType + "Nonsense", "https://example.org/problems/Internal"} {
		if f := (accountapi.Problem{Type: typ}).Fault(); f != nil {
			t.Errorf("%s is taken for %s", typ, f.Code)
		}
	}
}

func TestASecretIsPrintedAsSuch(t *testing.T) {
	s := accountapi.Secret("hunter2")
	for _, format := range []string{"%v", "%s", "%#v", "%+v", "%q"} {
		if got := fmt.Sprintf(format, s); strings.Contains(got, "hunter2") {
			t.Errorf("%s prints %s", format, got)
		}
	}
	b, err := json.Marshal(s)
	if err != nil || string(b) != `"hunter2"` {
		t.Errorf("on the wire: %s, %v", b, err)
	}
	s.Wipe()
	if strings.Trim(string([]byte(s)), "\x00") != "" {
		t.Error("it is still there")
	}
}

func FuzzParseSignature(f *testing.F) {
	good := signedRequest(f, nil)
	f.Add(good.Header.Get(accountapi.HeaderSignatureInput), good.Header.Get(accountapi.HeaderSignature))
	f.Add(`device=();keyid="a"`, `device=::`)
	f.Add(`device=("@method";req "@authority");keyid=1`, `device=?1`)
	f.Add("", "")
	f.Fuzz(func(t *testing.T, input, signature string) {
		r := signedRequest(t, nil)
		r.Header.Set(accountapi.HeaderSignatureInput, input)
		r.Header.Set(accountapi.HeaderSignature, signature)
		s, err := accountapi.ParseSignature(r, nil)
		switch {
		case err != nil && !errors.Is(err, accountapi.ErrBadSignature):
			t.Errorf("%q, %q: %v", input, signature, err)
		case err == nil && s.Verify(public(t)) == nil && (s.KeyID != "the-key" || s.Nonce != "the-nonce"):
			t.Errorf("%q, %q holds for another key ID or nonce", input, signature)
		}
	})
}

func FuzzOpen(f *testing.F) {
	k := key(f)
	for _, typ := range []string{accountapi.TypeGrant, accountapi.TypeStatement} {
		token, err := accountapi.Sign(accountapi.Claims{Aud: "0000-0000-0000", Purpose: accountapi.ClaimsPurposeUnlock}, typ, k)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(token)
	}
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	good, err := accountapi.Sign(accountapi.Claims{Aud: "0000-0000-0000", Purpose: accountapi.ClaimsPurposeUnlock}, accountapi.TypeGrant, k)
	if err != nil {
		f.Fatal(err)
	}
	keys := map[string]crypto.PublicKey{accountapi.Thumbprint(public(f)): public(f)}
	f.Fuzz(func(t *testing.T, token string) {
		var c accountapi.Claims
		err := accountapi.Open(token, accountapi.TypeGrant, keys, &c)
		switch {
		case err != nil && !errors.Is(err, accountapi.ErrUntrusted) && !errors.Is(err, accountapi.ErrUnknownKey):
			t.Errorf("%q: %v", token, err)
		case err == nil && strings.SplitN(token, ".", 3)[1] != strings.SplitN(good, ".", 3)[1]:
			t.Errorf("%q opens, and nobody signed it", token)
		}
	})
}
