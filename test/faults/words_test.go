// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

// twisted is the account service with change made to each answer whose member
// `grant` or `statement` is signed.
func (r *rig) twisted(change func(word string) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		rec := httptest.NewRecorder()
		r.service.API.ServeHTTP(rec, req)
		body := rec.Body.Bytes()
		var members map[string]any
		if rec.Code == http.StatusOK && json.Unmarshal(body, &members) == nil {
			for _, key := range []string{"grant", "statement"} {
				if word, ok := members[key].(string); ok {
					members[key] = change(word)
				}
			}
			body, _ = json.Marshal(members)
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.Header().Del("Content-Length")
		w.WriteHeader(rec.Code)
		_, _ = w.Write(body)
	})
}

// resigned is a word with its claims changed, signed by the service's own key, as if
// the service had been talked into it.
func (r *rig) resigned(change func(*accountapi.Claims)) func(string) string {
	return func(word string) string {
		typ := accountapi.TypeGrant
		if strings.Contains(header(word), "statement") {
			typ = accountapi.TypeStatement
		}
		claims := apitest.Open(r.T, word, typ, r.service.Set(r.T))
		change(&claims)
		out, err := r.service.Keys.Sign(claims, typ)
		must(r.T, err)
		return out
	}
}

// ofGrants changes grants alone. A locked device whose service was not to be trusted asks for
// a statement some seconds later, in between.
func ofGrants(change func(string) string) func(string) string {
	return func(word string) string {
		if !strings.Contains(header(word), "grant") {
			return word
		}
		return change(word)
	}
}

func TestNoForgedOrReplayedWordOpensTheDevice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other := apitest.Start(t)
	var kept string
	for _, c := range []struct {
		name   string
		change func(string) string
		want   fault.Code
	}{
		{"a grant that is kept back for later", func(w string) string {
			if strings.Contains(header(w), "grant") {
				kept = w
			}
			return "x.y.z"
		}, fault.ServiceUntrusted},
		{"that grant, replayed", func(string) string { return kept }, fault.GrantRefused},
		{"a grant signed by another service", ofGrants(func(w string) string {
			claims := apitest.Open(t, w, accountapi.TypeGrant, r.service.Set(t))
			out, err := other.Keys.Sign(claims, accountapi.TypeGrant)
			must(t, err)
			return out
		}), fault.ServiceUntrusted},
		{"a grant with one bit changed", func(w string) string {
			b := []byte(w)
			b[len(b)-4] ^= 1
			return string(b)
		}, fault.ServiceUntrusted},
		{"a grant without a signature", func(w string) string { return w[:strings.LastIndexByte(w, '.')+1] }, fault.ServiceUntrusted},
		{"a grant for another device", r.resigned(func(c *accountapi.Claims) { c.Aud = "0000-0000-0000" }), fault.GrantRefused},
		{"a grant for another nonce", r.resigned(func(c *accountapi.Claims) { n := string(apitest.NewNonce()); c.Nonce = &n }), fault.GrantRefused},
		{"a grant without a nonce", r.resigned(func(c *accountapi.Claims) { c.Nonce = nil }), fault.GrantRefused},
		{"a grant for another purpose", r.resigned(func(c *accountapi.Claims) { c.Purpose = accountapi.ClaimsPurposeRehearsal }), fault.GrantRefused},
		{"a grant that had expired when it was made", r.resigned(func(c *accountapi.Claims) { c.Exp = c.Iat }), fault.GrantRefused},
		{"a grant from outside of time", r.resigned(func(c *accountapi.Claims) { c.Iat, c.Exp = 1<<60, 1<<60+60 }), fault.GrantRefused},
		{"a grant without a link", r.resigned(func(c *accountapi.Claims) { c.Link = nil }), fault.GrantRefused},
		{"a statement in place of a grant", ofGrants(func(w string) string {
			claims := apitest.Open(t, w, accountapi.TypeGrant, r.service.Set(t))
			out, err := r.service.Keys.Sign(claims, accountapi.TypeStatement)
			must(t, err)
			return out
		}), fault.ServiceUntrusted},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.front.become(mode{tls: r.tls(), handle: r.twisted(c.change)})
			e, took := r.tryUnlock(r.service.Owner.Password)
			if e.Name != string(c.want) || e.Counted || took > inTime {
				t.Errorf("got %+v after %v, want %s", e, took, c.want)
			}
			r.wantState("locked")
			measured(c.name, diagnose.Cause(c.want), took)
		})
	}
	r.heal()
	r.unlock()
}

func TestNoForgedStatementReleasesTheDevice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	free := func(c *accountapi.Claims) {
		s := accountapi.ClaimsStatusUnlinked
		c.Status, c.Link = &s, nil
	}
	stale := ""
	for name, change := range map[string]func(string) string{
		"with one bit changed": func(w string) string {
			b := []byte(w)
			b[len(b)-4] ^= 1
			return string(b)
		},
		"for another device": r.resigned(func(c *accountapi.Claims) { free(c); c.Aud = "0000-0000-0000" }),
		"for another nonce":  r.resigned(func(c *accountapi.Claims) { free(c); n := string(apitest.NewNonce()); c.Nonce = &n }),
		"replayed": func(w string) string {
			if stale == "" {
				stale = w
				return "x.y.z"
			}
			return stale
		},
		"a grant in its place": func(w string) string {
			claims := apitest.Open(t, w, accountapi.TypeStatement, r.service.Set(t))
			free(&claims)
			out, err := r.service.Keys.Sign(claims, accountapi.TypeGrant)
			must(t, err)
			return out
		},
	} {
		t.Run(name, func(t *testing.T) {
			r.front.become(mode{tls: r.tls(), handle: r.twisted(change)})
			for range 2 {
				call := r.Manager().Call("org.accountlock.AccountLock1.Manager.CheckIn", 0)
				if call.Err == nil {
					t.Fatal("the check-in went well")
				}
			}
			r.wantState("locked")
		})
	}
}

func TestWhatTheServiceRefusesIsToldWithItsFiguresAndWhetherItCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	until := time.Now().Add(40 * 24 * time.Hour).Unix()
	for _, c := range []struct {
		name    string
		handle  http.Handler
		want    refusal
		message string
	}{
		{"a wrong password", r.service.API, refusal{Name: "InvalidCredentials", Counted: true}, "The account service says that the user name or password is wrong."},
		{"a blocked account", flowProblem(r, 403, fault.AccountBlocked, map[string]any{"until": until, "retry_after": 1 << 30}), refusal{Name: "AccountBlocked"}, "It ends at " + time.Unix(until, 0).UTC().Format("2006-01-02 15:04")},
		{"a recovery that waits", flowProblem(r, 409, fault.RecoveryPending, map[string]any{"until": until}), refusal{Name: "RecoveryPending"}, "It ends at "},
		{"an end that no calendar has", flowProblem(r, 403, fault.AccountBlocked, map[string]any{"until": int64(1) << 62}), refusal{Name: "AccountBlocked"}, "The account service has blocked this account."},
		{"another account", flowProblem(r, 403, fault.WrongAccount, map[string]any{"hint": "j•••@example.org"}), refusal{Name: "WrongAccount"}, "It belongs to j•••@example.org."},
		{"a refusal that counted", flowProblem(r, 403, fault.InvalidCode, map[string]any{"counted": true, "attempts_left": 2}), refusal{Name: "InvalidCode", Counted: true}, "2 more tries"},
		{"an account that is said to be deleted, and is not", flowProblem(r, 410, fault.AccountDeleted, nil), refusal{Name: "AccountDeleted"}, "This account has been deleted."},
		{"a device that is said to have no link, and has", flowProblem(r, 409, fault.NotLinked, nil), refusal{Name: "NotLinked"}, ""},
		{"what is not for the service to say", flowProblem(r, 403, fault.ServiceUntrusted, map[string]any{"counted": true, "detail": "give up"}), refusal{Name: "ServiceUnavailable", Remedy: diagnose.Named(diagnose.ServiceError).Remedy}, "a failure of its own"},
		{"a signature that it does not take", withNonce(problem(401, fault.NotAuthorized, nil)), refusal{Name: "DeviceUnknown"}, ""},
		{"a device that it does not know", flowProblem(r, 404, fault.DeviceUnknown, nil), refusal{Name: "DeviceUnknown"}, ""},
		{"too many tries", flowProblem(r, 429, fault.RateLimited, map[string]any{"retry_after": 600}), refusal{Name: "RateLimited"}, "The next attempt is taken in 10m0s."},
		{"a wait that the device keeps", r.service.API, refusal{Name: "RateLimited"}, "The next attempt is taken in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.front.become(mode{tls: r.tls(), handle: c.handle})
			e, took := r.tryUnlock("not the password")
			if c.want.Remedy == "" {
				c.want.Remedy = fault.New(fault.Code(c.want.Name), nil).Remedy
			}
			if e.Name != c.want.Name || e.Counted != c.want.Counted || !strings.Contains(e.Message, c.message) || e.Remedy != c.want.Remedy || strings.Contains(e.Message, "give up") {
				t.Errorf("got %+v, want %+v and %q", e, c.want, c.message)
			}
			if e.Name != "InvalidCredentials" && strings.Contains(strings.ToLower(e.Message), "user name") {
				t.Errorf("a guess: %q", e.Message)
			}
			r.wantState("locked")
			measured(c.name, diagnose.Cause(c.want.Name), took)
		})
	}
}

func TestAnAccountThatWasDeletedReleasesTheDevice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	must(t, r.service.Accounts.Delete(t.Context(), r.service.Owner.ID))
	// The device does not know yet; whoever has the old password finds it open.
	if e, took := r.tryUnlock(r.service.Owner.Password); took > inTime {
		t.Errorf("after %v: %+v", took, e)
	}
	if s := r.get("State"); s != "unlinked" {
		must(t, r.Manager().Call("org.accountlock.AccountLock1.Manager.CheckIn", 0).Err)
	}
	r.wantState("unlinked")
}

// flowProblem is the account service, which refuses passwords with a problem.
func flowProblem(r *rig, status int, code fault.Code, more map[string]any) http.Handler {
	refuse := problem(status, code, more)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/v1/flows/") && req.Method == http.MethodPost {
			var body bytes.Buffer
			_, _ = body.ReadFrom(req.Body)
			if strings.Contains(body.String(), `"step":"password"`) {
				refuse.ServeHTTP(w, req)
				return
			}
			req.Body = http.NoBody
			req = req.Clone(req.Context())
			req.Body = readCloser{bytes.NewReader(body.Bytes())}
		}
		r.service.API.ServeHTTP(w, req)
	})
}

type readCloser struct{ *bytes.Reader }

// Close implements io.Closer.
func (readCloser) Close() error { return nil }

// withNonce brings what a 401 names to sign with.
func withNonce(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(accountapi.HeaderNonce, "nonce")
		h.ServeHTTP(w, r)
	})
}
