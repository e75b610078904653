// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/conformance"
)

// wrong are servers that each do one thing otherwise than the document says.
var wrong = []struct {
	does string
	// caught is the check that is meant to find it; before are those that have to be
	// made before it.
	caught string
	before []string
	breaks func(*exchange)
}{
	{"answers livez with 500", "livez", nil, func(x *exchange) {
		if x.asks("/livez") {
			x.status = 500
		}
	}},
	{"is never ready", "readyz", nil, func(x *exchange) {
		if x.asks("/readyz") {
			x.status = 503
		}
	}},
	{"gives the key sets in the wrong order", "keys", nil, func(x *exchange) {
		keySetsOf(x, func(sets []string) []string { slices.Reverse(sets); return sets })
	}},
	{"signs a key set by a key that is none of the set before", "keys", nil, func(x *exchange) {
		keySetsOf(x, func(sets []string) []string {
			if len(sets) > 1 {
				sets[1] = foreign(accountapi.KeySet{Number: 2, Keys: []accountapi.JWK{}}, accountapi.TypeKeySet)
			}
			return sets
		})
	}},
	{"gives every key set whatever comes after", "keys", nil, func(x *exchange) {
		if x.asks("/keys") && x.status == 200 {
			all, err := x.s.Keys.Sets(0)
			if err != nil {
				x.t.Error(err)
			}
			x.member("key_sets", all)
		}
	}},
	{"gives all devices one ID", "enrol", nil, func(x *exchange) {
		if x.r.URL.Path == "/v1/devices" && x.status == 200 {
			id, _ := x.kept("id", has(x.body, "device_id"))
			x.member("device_id", id)
		}
	}},
	{"gives IDs of another form", "enrol", nil, func(x *exchange) {
		if x.r.URL.Path == "/v1/devices" && x.status == 200 {
			x.member("device_id", strings.ToLower(has(x.body, "device_id"))+"-x")
		}
	}},
	{"gives known hardware a new ID", "enrol-again", nil, func(x *exchange) {
		if x.r.URL.Path == "/v1/devices" && x.status == 200 {
			if _, again := x.kept(has(x.body, "device_id"), ""); again {
				x.member("device_id", "ZZZZ-ZZZZ-ZZZZ")
			}
		}
	}},
	{"takes the enrolment of somebody else's key", "enrol-signed", nil, func(x *exchange) {
		if x.r.URL.Path == "/v1/devices" && x.status == 401 {
			x.accept()
		}
	}},
	{"takes an enrolment without bounds", "enrol-bounds", nil, acceptsStatus(400)},
	{"makes another key of a linked device its own at once", "link-again", nil, func(x *exchange) {
		if x.r.URL.Path == "/v1/devices" && x.status == 200 {
			x.member("key_status", "active")
		}
	}},
	{"tells a pending key the account's hint", "link-again", nil, inStatement(func(c *accountapi.Claims) { c.Hint = ptr("o…@example.org") })},
	{"knows no P-256", "signature", nil, func(x *exchange) {
		if x.inSignature("alg") == "ecdsa-p256-sha256" {
			problem(x, 401, "NotAuthorized")
		}
	}},
	{"answers what is not signed", "signature-missing", nil, func(x *exchange) {
		if x.status == 401 && x.r.Header.Get("Signature") == "" {
			x.accept()
		}
	}},
	{"looks for a signature and not at it", "signature-wrong", nil, func(x *exchange) {
		if x.status == 401 && x.r.Header.Get("Signature") != "" && x.digestFits() && x.inSignature("nonce") != "" {
			x.accept()
		}
	}},
	{"does not look at the digest", "signature-digest", nil, func(x *exchange) {
		if x.status == 401 && !x.digestFits() {
			x.accept()
		}
	}},
	{"takes signatures over less", "signature-covers", nil, func(x *exchange) {
		if x.status == 401 && !strings.Contains(x.r.Header.Get("Signature-Input"), "content-digest") {
			x.accept()
		}
	}},
	{"takes nonces of the device's own", "nonce-unknown", nil, func(x *exchange) {
		if n := x.inSignature("nonce"); x.status == 401 && n != "" && x.memory[n] == "" {
			x.accept()
		}
		x.memory[x.header.Get("Accountlock-Nonce")] = "given"
	}},
	{"answers what was captured", "nonce-used", nil, func(x *exchange) {
		n := x.inSignature("nonce")
		if _, used := x.kept(n, "used"); used && x.status == 401 && n != "" {
			x.accept()
		}
	}},
	{"answers a device that asks about another", "device-own", nil, acceptsStatus(404)},
	{"does a repeated request again", "idempotent", nil, func(x *exchange) {
		if _, again := x.kept(x.r.Header.Get("Idempotency-Key"), ""); again && x.status == 200 {
			x.member("flow_id", rand.Text())
		}
	}},
	{"takes one key for two requests", "idempotency-reused", nil, acceptsStatus(422)},
	{"needs no Idempotency-Key", "idempotency-key", nil, acceptsStatus(400)},
	{"signs statements for another device", "statement", nil, inStatement(func(c *accountapi.Claims) { c.Aud = "0000-0000-0000" })},
	{"signs statements of another purpose", "statement", nil, inStatement(func(c *accountapi.Claims) { c.Purpose = accountapi.ClaimsPurposeUnlock })},
	{"signs statements over another nonce", "statement", nil, inStatement(func(c *accountapi.Claims) { c.Nonce = ptr(apitest.NewNonce()) })},
	{"signs statements without a nonce", "statement", nil, inStatement(func(c *accountapi.Claims) { c.Nonce = nil })},
	{"dates statements an hour back", "statement", nil, inStatement(func(c *accountapi.Claims) { c.Iat -= 3600 })},
	{"signs statements that have expired", "statement", nil, inStatement(func(c *accountapi.Claims) { c.Exp = c.Iat })},
	{"signs statements for a year", "statement", nil, inStatement(func(c *accountapi.Claims) { c.Exp += 365 * 86400 })},
	{"numbers all statements alike", "statement", nil, inStatement(func(c *accountapi.Claims) { c.Jti = "1" })},
	{"states a status of its own", "statement", nil, inStatement(func(c *accountapi.Claims) { c.Status = ptr(accountapi.ClaimsStatus("free")) })},
	{"states devices linked that never were", "statement", nil, inStatement(func(c *accountapi.Claims) { c.Status = ptr(accountapi.ClaimsStatusLinked) })},
	{"does not say that a link has ended", "statement", nil, inStatement(func(c *accountapi.Claims) { c.Ended = nil })},
	{"signs statements by a key of nobody", "statement", nil, func(x *exchange) {
		if has(x.body, "statement") != "" {
			x.member("statement", foreign(accountapi.Claims{}, accountapi.TypeStatement))
		}
	}},
	{"signs statements as grants", "statement", nil, func(x *exchange) {
		if has(x.body, "statement") != "" {
			x.member("statement", x.sign(accountapi.Claims{}, accountapi.TypeGrant))
		}
	}},
	{"does not sign statements", "statement", nil, func(x *exchange) {
		if s := strings.Split(has(x.body, "statement"), "."); len(s) == 3 {
			x.member("statement", "eyJhbGciOiJub25lIiwidHlwIjoiYWNjb3VudGxvY2stc3RhdGVtZW50K2p3dCJ9."+s[1]+".")
		}
	}},
	{"answers events with 200", "events", nil, func(x *exchange) {
		if x.status == 204 && x.asks("/events") {
			x.answer(200, map[string]bool{"ok": true})
		}
	}},
	{"begins an unlock of a device without owner", "flow-begin", nil, acceptsStatus(409)},
	{"says at once that nobody has an identifier", "flow-identify", nil, func(x *exchange) {
		if strings.HasSuffix(has(x.sent, "identifier"), "@nobody.example") {
			problem(x, 403, "InvalidCredentials")
		}
	}},
	{"takes steps in any order", "flow-order", nil, acceptsStatus(409)},
	{"lets a device have any number of flows", "flow-limit", nil, func(x *exchange) {
		if x.status == 410 {
			x.answer(200, accountapi.FlowStep{FlowId: strings.Split(x.r.URL.Path, "/")[3], Step: accountapi.Password})
		}
	}},
	{"says that a flow is ended and goes on", "flow-end", nil, acceptsStatus(410)},
	{"resends what was never sent", "resend", nil, acceptsStatus(409)},
	{"gives the same captcha again", "resend", nil, func(x *exchange) {
		if has(x.body, "captcha") != "" {
			c, _ := x.kept("captcha", has(x.body, "captcha"))
			x.member("captcha", c)
		}
	}},
	{"shows a page by plain HTTP to approve on", "approve", nil, func(x *exchange) {
		if has(x.body, "verification_uri") != "" {
			x.member("verification_uri", "http://accounts.example.org/approve")
		}
	}},
	{"has one code to approve by for ever", "approve", nil, func(x *exchange) {
		if has(x.body, "user_code") != "" {
			c, _ := x.kept("user_code", has(x.body, "user_code"))
			x.member("user_code", c)
		}
	}},
	{"approves by itself", "approve", nil, func(x *exchange) {
		if x.status == 429 && strings.Contains(string(x.body), "RateLimited") && strings.Contains(x.r.URL.Path, "/v1/flows/") {
			x.status = 200
			x.body = []byte(`{"flow_id":"` + strings.TrimPrefix(x.r.URL.Path, "/v1/flows/") + `","step":"done"}`)
		}
	}},
	{"does not say when a code ends", "approve", nil, func(x *exchange) {
		if has(x.body, "user_code") != "" {
			x.member("expires", nil)
		}
	}},
	{"sends a stranger's device a code at once", "recover", nil, func(x *exchange) {
		if has(x.body, "step") == "wait" {
			x.member("step", "code")
		}
	}},
	{"does not say how long a recovery waits", "recover", nil, func(x *exchange) { x.member("until", nil) }},
	{"links without a word of the account", "link", nil, func(x *exchange) {
		x.claims("grant", func(c *accountapi.Claims) {
			if c.Link != nil {
				c.Link.AccountId = nil
			}
		})
	}},
	{"links before the device has committed", "link", nil, func(x *exchange) {
		if has(x.sent, "step") == "confirm" {
			x.memory["confirmed"] = "yes"
		}
		if x.asks("/statement") && x.memory["confirmed"] != "" {
			x.claims("statement", func(c *accountapi.Claims) { c.Status = ptr(accountapi.ClaimsStatusLinked) })
		}
	}},
	{"rehearses with the real grant", "link", nil, func(x *exchange) {
		x.claims("grant", func(c *accountapi.Claims) {
			if c.Purpose == accountapi.ClaimsPurposeRehearsal {
				c.Purpose = accountapi.ClaimsPurposeLink
			}
		})
	}},
	{"keeps what was reserved", "link-dropped", nil, acceptsStatus(410)},
	{"does not count changes", "unlock", nil, func(x *exchange) {
		for _, m := range []string{"grant", "statement"} {
			x.claims(m, func(c *accountapi.Claims) {
				if c.Link != nil {
					c.Link.Generation = 1
				}
			})
		}
	}},
	{"gives a second grant", "grant-once", nil, func(x *exchange) {
		if g := has(x.body, "grant"); g != "" && has(x.body, "step") == "done" {
			x.memory["done"] = string(x.body)
		}
		if x.status == 409 && x.memory["done"] != "" {
			x.answer(200, json.RawMessage(x.memory["done"]))
		}
	}},
	{"grants over the nonce of the beginning", "grant-bound", nil, func(x *exchange) {
		if x.r.URL.Path == "/v1/flows" {
			x.memory["nonce"] = has(x.sent, "nonce")
		}
		x.claims("grant", func(c *accountapi.Claims) { c.Nonce = ptr(x.memory["nonce"]) })
	}},
	{"grants an unlock where a sign-out was asked for", "sign-out", nil, func(x *exchange) {
		x.claims("grant", func(c *accountapi.Claims) {
			if c.Purpose == accountapi.ClaimsPurposeSignOut {
				c.Purpose = accountapi.ClaimsPurposeUnlock
			}
		})
	}},
	{"signs a device out before it has committed", "sign-out", nil, func(x *exchange) {
		x.claims("grant", func(c *accountapi.Claims) {
			if c.Purpose == accountapi.ClaimsPurposeSignOut {
				x.memory["granted"] = "yes"
			}
		})
		if x.asks("/statement") && x.memory["granted"] != "" {
			x.claims("statement", func(c *accountapi.Claims) { c.Status = ptr(accountapi.ClaimsStatusSignedOut) })
		}
	}},
	{"gives no receipt", "unlink", nil, func(x *exchange) { x.member("receipt", nil) }},
	{"keeps the hint after an unlink", "unlink", nil, inStatement(func(c *accountapi.Claims) { c.Hint = ptr("o…@example.org") })},
	{"grants a reset before it is confirmed", "reset", nil, func(x *exchange) {
		if has(x.body, "step") == "confirm" && has(x.body, "grant") == "" {
			x.member("grant", x.sign(accountapi.Claims{Purpose: accountapi.ClaimsPurposeReset}, accountapi.TypeGrant))
		}
	}},
	{"commits twice", "commit-again", nil, func(x *exchange) {
		if has(x.sent, "step") == "commit" {
			if _, again := x.kept(x.r.URL.Path, ""); again {
				x.claims("statement", func(c *accountapi.Claims) { c.Link.Generation++ })
			}
		}
	}},
	{"says that nobody has the identifier", "wrong-password", nil, func(x *exchange) {
		toNobody(x, func() { x.member("detail", "There is no such account.") })
	}},
	{"has another error for an identifier of nobody", "wrong-password", nil, func(x *exchange) {
		toNobody(x, func() { problem(x, 404, "DeviceUnknown") })
	}},
	{"does not say that a guess counted", "wrong-password", nil, func(x *exchange) {
		if x.code() == "InvalidCredentials" {
			x.member("counted", false)
		}
	}},
	{"looks at no password where there is no account", "wrong-password-time", nil, func(x *exchange) {
		if !ofNobody(x) && x.code() == "InvalidCredentials" {
			time.Sleep(60 * time.Millisecond) // what hashing takes
		}
	}},
	{"looks for an account that is none for a while", "wrong-password-time", nil, func(x *exchange) {
		toNobody(x, func() { time.Sleep(60 * time.Millisecond) })
	}},
	{"takes another account's owner for a guesser", "wrong-account", nil, func(x *exchange) {
		if x.code() == "WrongAccount" {
			problem(x, 403, "InvalidCredentials")
		}
	}},
	{"counts the right password of another account", "wrong-account", nil, func(x *exchange) {
		if x.code() == "WrongAccount" {
			x.member("counted", true)
		}
	}},
	{"takes bodies of any size", "body-size", nil, acceptsStatus(413)},
	{"takes forms for JSON", "body-type", nil, acceptsStatus(415)},
	{"takes nonces of any length", "body-bounds", nil, func(x *exchange) {
		if x.status == 400 && has(x.sent, "nonce") == "short" {
			x.accept()
		}
	}},
	{"takes members that it does not know", "body-unknown", nil, func(x *exchange) {
		if x.status == 400 && has(x.sent, "colour") != "" {
			x.accept()
		}
	}},
	{"does not say which versions it serves", "versions", nil, func(x *exchange) { x.member("versions", nil) }},
	{"serves what it takes for version 2", "versions", nil, func(x *exchange) {
		if strings.HasPrefix(x.r.URL.Path, "/v2/") {
			x.accept()
		}
	}},
	{"has an answer on every path", "paths", nil, func(x *exchange) {
		if x.status == 404 {
			x.answer(200, map[string]string{})
		}
	}},
	{"answers no list of contacts", "support", nil, func(x *exchange) {
		if x.asks("/support") {
			x.member("contacts", nil)
		}
	}},
	{"takes any region", "support", nil, acceptsStatus(400)},
	{"lets anybody guess for ever", "guesses", nil, func(x *exchange) {
		if x.status == 429 {
			x.header.Del("Retry-After")
			problem(x, 403, "InvalidCredentials")
		}
	}},
	{"makes a person wait after the first mistake", "guesses", nil, func(x *exchange) {
		if x.code() == "InvalidCredentials" {
			if _, again := x.kept("guessed", ""); again {
				x.header.Set("Retry-After", "60")
				problem(x, 429, "RateLimited")
			}
		}
	}},
	{"does not say when to try again", "retry-after", []string{"guesses"}, func(x *exchange) { x.header.Del("Retry-After") }},
	{"says by a date when to try again", "retry-after", []string{"guesses"}, func(x *exchange) {
		if x.status == 429 {
			x.header.Set("Retry-After", "Fri, 31 Dec 2038 23:59:59 GMT")
		}
	}},
	{"brings nonces with refusals alone", "nonces", []string{"statement"}, func(x *exchange) {
		if x.status == 200 {
			x.header.Del("Accountlock-Nonce")
		}
	}},
	{"brings one nonce for all", "nonces", []string{"statement"}, func(x *exchange) {
		n, _ := x.kept("nonce", x.header.Get("Accountlock-Nonce"))
		x.header.Set("Accountlock-Nonce", n)
	}},
	{"does not tell the time with a 401", "nonces", []string{"statement"}, func(x *exchange) {
		if x.status == 401 {
			x.member("time", nil)
		}
	}},
	{"refuses in plain words", "problems", []string{"paths"}, func(x *exchange) {
		if x.status >= 400 {
			x.header.Set("Content-Type", "text/plain")
			x.body = []byte("no")
		}
	}},
	{"refuses as application/json", "problems", []string{"paths"}, func(x *exchange) {
		if x.status >= 400 {
			x.header.Set("Content-Type", "application/json")
		}
	}},
	{"has problem types of its own", "problems", []string{"paths"}, func(x *exchange) {
		if x.status >= 400 {
			x.member("type", "https://vendor.example/errors/1")
		}
	}},
	{"has another status in the problem", "problems", []string{"paths"}, func(x *exchange) {
		if x.status >= 400 {
			x.member("status", 200)
		}
	}},
	{"leads elsewhere", "problems", []string{"support"}, func(x *exchange) {
		if x.asks("/support") {
			x.status = 302
			x.header.Set("Location", "https://vendor.example/")
		}
	}},
	{"answers as text/html", "media-types", []string{"support"}, func(x *exchange) {
		if x.status == 200 {
			x.header.Set("Content-Type", "text/html")
		}
	}},
}

// keySetsOf changes the sets of an answer.
func keySetsOf(x *exchange, change func([]string) []string) {
	var out accountapi.KeysResponse
	if x.asks("/keys") && x.status == 200 && json.Unmarshal(x.body, &out) == nil {
		x.answer(200, accountapi.KeysResponse{KeySets: change(out.KeySets)})
	}
}

// problem answers with a problem.
func problem(x *exchange, status int, code string) {
	counted := true
	x.answer(status, accountapi.Problem{Type: accountapi.ProblemType + code, Title: code, Status: status, Counted: &counted})
	x.header.Set("Content-Type", accountapi.ProblemMediaType)
}

// toNobody breaks the refusal of a password in a flow that names nobody.
func toNobody(x *exchange, breaks func()) {
	if ofNobody(x) && x.code() == "InvalidCredentials" {
		breaks()
	}
}

// ofNobody reports whether the flow names nobody.
func ofNobody(x *exchange) bool {
	if id := has(x.sent, "identifier"); id != "" {
		x.memory[x.r.URL.Path] = id
	}
	return strings.HasSuffix(x.memory[x.r.URL.Path], "@nobody.example")
}

func TestServersThatDoOneThingWrongAreFoundOut(t *testing.T) {
	// One service for all: a mutant changes what is answered, and nothing behind it.
	s := apitest.Start(t)
	if _, err := s.Keys.Rotate(); err != nil {
		t.Fatal(err)
	}
	m := &mutant{t: t, s: s}
	at := serve(t, s, m, nil)
	right := map[string]bool{}
	for _, w := range wrong {
		t.Run(w.does, func(t *testing.T) {
			only := append([]string{w.caught}, w.before...)
			if name := strings.Join(only, " "); !right[name] {
				m.become(func(*exchange) {})
				if got := failed(check(t, s, at, only...)); len(got) > 0 {
					t.Fatalf("unbroken, it fails %v", got)
				}
				right[name] = true
			}
			var r conformance.Report
			for try := range 4 {
				s.Clock.Advance(48 * time.Hour) // and no guess is remembered
				m.become(w.breaks)
				r = check(t, s, at, only...)
				// On a busy machine a difference of 60 ms is hidden now and then.
				if slices.Contains(failed(r), w.caught) || try == 3 || !strings.HasSuffix(w.caught, "-time") {
					break
				}
			}
			if !slices.Contains(failed(r), w.caught) {
				t.Errorf("the check %s does not find it; %v do", w.caught, failed(r))
			}
			for _, c := range r.Checks {
				if c.Name == w.caught {
					t.Log(c.Found)
				}
			}
		})
	}
}

func TestAServerThatSpeaksAnOlderTLSIsFoundOut(t *testing.T) {
	s := apitest.Start(t)
	at := serve(t, s, s.API, func(srv *httptest.Server) { srv.TLS.MinVersion = tls.VersionTLS12 })
	if got := failed(check(t, s, at, "tls")); !slices.Equal(got, []string{"tls"}) {
		t.Errorf("%v fail", got)
	}
}

func TestAServerThatAnswersWithoutTLSIsFoundOut(t *testing.T) {
	s := apitest.Start(t)
	at := serve(t, s, s.API, func(srv *httptest.Server) { srv.Listener = blunt{srv.Listener} })
	if got := failed(check(t, s, at, "no-plain-http")); !slices.Equal(got, []string{"no-plain-http"}) {
		t.Errorf("%v fail", got)
	}
}

// blunt is a listener that answers whoever does not begin with TLS.
type blunt struct{ net.Listener }

func (b blunt) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		r := bufio.NewReader(c)
		if first, err := r.Peek(1); err != nil || first[0] == 22 {
			return peeked{c, r}, nil
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		_ = c.Close()
	}
}

type peeked struct {
	net.Conn
	r io.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.r.Read(b) }
