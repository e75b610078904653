// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

type claims map[string]any

// with returns the claims with some changed; nil takes one away.
func (c claims) with(more claims) claims {
	out := claims{}
	for k, v := range c {
		out[k] = v
	}
	for k, v := range more {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = v
	}
	return out
}

var grantClaims = claims{
	"aud": deviceID, "purpose": "unlock", "nonce": string(nonce), "iat": 1000, "exp": 1060, "jti": "1", "hint": "j•••",
	"link": claims{"id": "link-1", "generation": 3, "account_id": "12345678"},
}

var stateClaims = grantClaims.with(claims{"purpose": "statement", "status": "linked"})

func sign(t testing.TB, c any, typ string, key ed25519.PrivateKey) string {
	t.Helper()
	s, err := accountapi.Sign(c, typ, key)
	must(t, err)
	return s
}

func TestAGrantCountsOnlyAsItWasAskedFor(t *testing.T) {
	const refused, untrusted, ok = fault.GrantRefused, fault.ServiceUntrusted, fault.Code("")
	link := func(more claims) claims { return claims{"link": grantClaims["link"].(claims).with(more)} }
	stranger := newKey(t)
	for _, c := range []struct {
		name   string
		change claims
		want   fault.Code
	}{
		{"as asked for", nil, ok},
		{"with a claim that this program does not know", claims{"colour": "blue"}, ok},
		{"for another device", claims{"aud": "ABCD-EFGH-JKMP"}, refused},
		{"for no device", claims{"aud": nil}, refused},
		{"for another nonce", claims{"nonce": strings.Repeat("A", 43)}, refused},
		{"for no nonce", claims{"nonce": nil}, refused},
		{"that ran out before it was made", claims{"exp": 999}, refused},
		{"that runs out as it is made", claims{"exp": 1000}, refused},
		{"from before all time", claims{"iat": 0}, refused},
		{"from far below zero", claims{"iat": math.MinInt64, "exp": math.MaxInt64}, refused},
		{"from after all time", claims{"iat": int64(1) << 60, "exp": int64(1)<<60 + 60}, refused},
		{"that never runs out", claims{"exp": math.MaxInt64}, refused},
		{"about a link without a name", link(claims{"id": ""}), refused},
		{"about a link whose name is a path", link(claims{"id": "../x"}), refused},
		{"about a link whose name is too long", link(claims{"id": strings.Repeat("x", 65)}), refused},
		{"about generation 0", link(claims{"generation": 0}), refused},
		{"about a generation below 0", link(claims{"generation": -1}), refused},
		{"about an account ID of other than letters", link(claims{"account_id": "1\x00"}), refused},
		{"about a generation that is no number", link(claims{"generation": "3"}), untrusted},
		{"of 15 KiB", claims{"hint": strings.Repeat("x", 15<<10)}, untrusted},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, setup{})
			w.handle = step(map[string]any{"step": "done", "grant": sign(t, grantClaims.with(c.change), accountapi.TypeGrant, w.key)})
			r, err := w.client.Begin(t.Context(), w.creds, flow.Begin{Kind: "unlock", Nonce: nonce})
			if fault.CodeOf(err) != c.want {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if err == nil && (r.Grant.Purpose != "unlock" || r.Grant.Link != lock.Link{ID: "link-1", Generation: 3} || r.Grant.AccountID != "12345678" || r.Grant.Lifetime.Seconds() != 60) {
				t.Fatalf("got %+v", r.Grant)
			}
			if err != nil && r != (flow.Remote{}) {
				t.Fatalf("an error with %+v", r)
			}
		})
	}
	for name, c := range map[string]struct {
		typ   string
		key   func(*world) ed25519.PrivateKey
		token func(string) string
	}{
		"a statement's typ":  {typ: accountapi.TypeStatement},
		"a key set's typ":    {typ: accountapi.TypeKeySet},
		"a stranger's key":   {typ: accountapi.TypeGrant, key: func(*world) ed25519.PrivateKey { return stranger }},
		"the root key":       {typ: accountapi.TypeGrant, key: func(w *world) ed25519.PrivateKey { return w.root }},
		"the device's key":   {typ: accountapi.TypeGrant, key: func(w *world) ed25519.PrivateKey { return w.creds.Key.(ed25519.PrivateKey) }},
		"another's kid":      {typ: accountapi.TypeGrant, token: func(s string) string { return s[:len(s)-4] + "AAAA" }},
		"no signature":       {typ: accountapi.TypeGrant, token: func(s string) string { return s[:strings.LastIndex(s, ".")+1] }},
		"nothing at all":     {typ: accountapi.TypeGrant, token: func(string) string { return "" }},
		"a megabyte of text": {typ: accountapi.TypeGrant, token: func(string) string { return strings.Repeat("a.", 100<<10) }},
	} {
		t.Run("with "+name, func(t *testing.T) {
			w := newWorld(t, setup{})
			w.sets = func(rw http.ResponseWriter, _ *http.Request) {
				answer(rw, 200, "application/json", map[string]any{"key_sets": []string{}})
			}
			key := w.key
			if c.key != nil {
				key = c.key(w)
			}
			token := sign(t, grantClaims, c.typ, key)
			if c.token != nil {
				token = c.token(token)
			}
			w.handle = step(map[string]any{"step": "done", "grant": token})
			if err := w.begin(); fault.CodeOf(err) != untrusted {
				t.Fatalf("got %v", err)
			}
			if n := len(w.requests()); n > 2 {
				t.Fatalf("%d requests", n)
			}
		})
	}
}

func TestAStatementSaysWhatItSays(t *testing.T) {
	gone := claims{"link": nil}
	for _, c := range []struct {
		name   string
		change claims
		want   fault.Code
	}{
		{"linked", nil, ""},
		{"lost, with a message", claims{"status": "lost", "lost": claims{"message": "call me\x00\x1b", "contact": "+49"}}, ""},
		{"unlinked, without a link", claims{"status": "unlinked", "link": nil}, ""},
		{"account deleted, without a link", claims{"status": "account-deleted", "link": nil}, ""},
		{"linked, without a link", gone, fault.GrantRefused},
		{"signed out, without a link", claims{"status": "signed-out", "link": nil}, fault.GrantRefused},
		{"lost, without a link", claims{"status": "lost", "link": nil}, fault.GrantRefused},
		{"nothing", claims{"status": nil}, fault.GrantRefused},
		{"a receipt in its place", claims{"purpose": "receipt"}, fault.GrantRefused},
		{"an unlock in its place", claims{"purpose": "unlock"}, fault.GrantRefused},
		{"an end of something unspeakable", claims{"ended": "a b"}, fault.GrantRefused},
		{"another device", claims{"aud": "ABCD-EFGH-JKMP"}, fault.GrantRefused},
		{"another nonce", claims{"nonce": "x"}, fault.GrantRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, setup{})
			w.handle = func(rw http.ResponseWriter, _ *http.Request) {
				answer(rw, 200, "application/json", map[string]any{"statement": sign(t, stateClaims.with(c.change), accountapi.TypeStatement, w.key)})
			}
			st, err := w.client.State(t.Context(), w.creds, "link-1", nonce)
			if fault.CodeOf(err) != c.want {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if err != nil && st != (lock.Statement{}) {
				t.Fatalf("an error with %+v", st)
			}
			if strings.ContainsAny(st.LostMessage+st.Hint, "\x00\x1b") {
				t.Fatalf("got %q", st.LostMessage)
			}
		})
	}
}

func TestAReceiptForAnotherIsLeftOut(t *testing.T) {
	for name, c := range map[string]struct {
		change claims
		kept   bool
	}{"ours": {nil, true}, "another device's": {claims{"aud": "X"}, false}, "a statement": {claims{"purpose": "statement"}, false}} {
		w := newWorld(t, setup{})
		receipt := sign(t, stateClaims.with(claims{"purpose": "receipt", "nonce": nil}).with(c.change), accountapi.TypeStatement, w.key)
		w.handle = step(map[string]any{"step": "done", "receipt": receipt})
		r, err := w.client.Begin(t.Context(), w.creds, flow.Begin{Kind: "unlink", Nonce: nonce})
		must(t, err)
		if (r.Receipt != "") != c.kept {
			t.Errorf("%s: receipt %q", name, r.Receipt)
		}
	}
}

func TestTheDeviceCatchesUpWithTheKeys(t *testing.T) {
	set := func(w *world, number int, signer ed25519.PrivateKey, keys ...ed25519.PrivateKey) string {
		return sign(w, map[string]any{"number": number, "keys": jwks(keys...)}, accountapi.TypeKeySet, signer)
	}
	second, third, stranger := newKey(t), newKey(t), newKey(t)
	for _, c := range []struct {
		name   string
		signed ed25519.PrivateKey
		sets   func(*world) any
		want   fault.Code
		number uint64
	}{
		{"by a predecessor's word", second, func(w *world) any { return []string{set(w, 2, w.key, second)} }, "", 2},
		{"by a chain of predecessors", third, func(w *world) any { return []string{set(w, 2, w.key, second), set(w, 3, second, third)} }, "", 3},
		{"by the root's word", third, func(w *world) any { return []string{set(w, 7, w.root, third)} }, "", 7},
		{"not by a chain with a link missing", third, func(w *world) any { return []string{set(w, 3, second, third)} }, fault.ServiceUntrusted, 1},
		{"not by a stranger's word", second, func(w *world) any { return []string{set(w, 2, stranger, second)} }, fault.ServiceUntrusted, 1},
		{"not by its own word", second, func(w *world) any { return []string{set(w, 2, second, second)} }, fault.ServiceUntrusted, 1},
		{"not by a set of the same number", second, func(w *world) any { return []string{set(w, 1, w.key, second)} }, fault.ServiceUntrusted, 1},
		{"not by a set of a lower number", second, func(w *world) any { return []string{set(w, 0, w.key, second)} }, fault.ServiceUntrusted, 1},
		{"not by a set of a number below zero", second, func(w *world) any { return []string{set(w, -5, w.root, second)} }, fault.ServiceUntrusted, 1},
		{"not by a set without keys", second, func(w *world) any { return []string{set(w, 2, w.key)} }, fault.ServiceUntrusted, 1},
		{"not by a grant in its place", second, func(w *world) any {
			return []string{sign(w, map[string]any{"number": 2, "keys": jwks(second)}, accountapi.TypeGrant, w.key)}
		}, fault.ServiceUntrusted, 1},
		{"not by nothing", second, func(*world) any { return []string{} }, fault.ServiceUntrusted, 1},
		{"not by garbage", second, func(*world) any { return []string{"a.b.c"} }, fault.ServiceUntrusted, 1},
		{"and keeps what held before it did not", third, func(w *world) any { return []string{set(w, 2, w.key, second), set(w, 3, stranger, third)} }, fault.ServiceUntrusted, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, setup{})
			asked := ""
			w.sets = func(rw http.ResponseWriter, r *http.Request) {
				asked += r.URL.RawQuery + ";"
				answer(rw, 200, "application/json", map[string]any{"key_sets": c.sets(w)})
			}
			w.handle = step(map[string]any{"step": "done", "grant": sign(t, grantClaims, accountapi.TypeGrant, c.signed)})
			if err := w.begin(); fault.CodeOf(err) != c.want {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if got := w.client.KeySet().Number; got != c.number || asked != "after=1;" {
				t.Fatalf("set %d after asking %q", got, asked)
			}
		})
	}
}

func TestAKeyThatWasGivenUpOpensNothing(t *testing.T) {
	w := newWorld(t, setup{})
	second := newKey(t)
	w.sets = func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, 200, "application/json", map[string]any{"key_sets": []string{
			sign(t, map[string]any{"number": 2, "keys": jwks(second)}, accountapi.TypeKeySet, w.key)}})
	}
	w.handle = step(map[string]any{"grant": sign(t, grantClaims, accountapi.TypeGrant, second)})
	must(t, w.begin())
	w.handle = step(map[string]any{"grant": sign(t, grantClaims, accountapi.TypeGrant, w.key)})
	if err := w.begin(); fault.CodeOf(err) != fault.ServiceUntrusted {
		t.Fatal(err)
	}
	// A new process with the record's set, and the image's old one.
	c := w.config
	c.Known = w.client.KeySet()
	w.client = w.connect(c)
	if err := w.begin(); fault.CodeOf(err) != fault.ServiceUntrusted || w.client.KeySet().Number != 2 {
		t.Fatal(err)
	}
}

func TestARecordsKeySetThatCannotBeUsedDoesNotStrandTheDevice(t *testing.T) {
	w := newWorld(t, setup{})
	c := w.config
	c.Known = lock.KeySet{Number: 9, Keys: []lock.ServiceKey{{ID: "x", Public: []byte("short")}}}
	w.client = w.connect(c)
	w.handle = step(map[string]any{"grant": sign(t, grantClaims, accountapi.TypeGrant, w.key)})
	must(t, w.begin())
}

func TestAnEndlessAnswerOfKeySetsIsBounded(t *testing.T) {
	second := newKey(t)
	for name, sets := range map[string]func(w *world) http.HandlerFunc{
		"of sets": func(w *world) http.HandlerFunc {
			one, _ := json.Marshal(sign(t, map[string]any{"number": 2, "keys": jwks(second)}, accountapi.TypeKeySet, w.key))
			return func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "application/json")
				_, _ = fmt.Fprintf(rw, `{"key_sets":[%s`, one)
				for {
					if _, err := fmt.Fprintf(rw, ",%s", one); err != nil {
						return
					}
				}
			}
		},
		"refused as a wrong password": func(*world) http.HandlerFunc { return problem(403, fault.InvalidCredentials, nil) },
		"refused as unknown":          func(*world) http.HandlerFunc { return problem(404, fault.DeviceUnknown, nil) },
		"of a page":                   func(*world) http.HandlerFunc { return body(200, "text/html", "<html>") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{})
			w.sets = sets(w)
			w.handle = step(map[string]any{"grant": sign(t, grantClaims, accountapi.TypeGrant, second)})
			if err := w.begin(); fault.CodeOf(err) != fault.ServiceUnavailable {
				t.Fatal(err)
			}
		})
	}
}
