// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/httpapi"
)

// statement returns a signed request for a statement.
func statement(t testing.TB, d *apitest.Device) *http.Request {
	t.Helper()
	body, err := json.Marshal(accountapi.StatementRequest{Nonce: apitest.NewNonce()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Request(t.Context(), http.MethodPost, "/v1/devices/"+d.ID+"/statement", apitest.NewKey(), body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func send(t testing.TB, d *apitest.Device, r *http.Request) apitest.Answer {
	t.Helper()
	a, err := d.Send(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// again is the request as whoever captured it sends it.
func again(r *http.Request) *http.Request {
	out := r.Clone(r.Context())
	out.Body, _ = r.GetBody()
	return out
}

func TestRequestsThatAreNotRightlySigned(t *testing.T) {
	s := apitest.Start(t)
	d, other := s.Device(t), s.Device(t)
	for name, change := range map[string]func(*http.Request){
		"without a signature":           func(r *http.Request) { r.Header.Del(accountapi.HeaderSignature) },
		"without the signature's input": func(r *http.Request) { r.Header.Del(accountapi.HeaderSignatureInput) },
		"without a digest":              func(r *http.Request) { r.Header.Del(accountapi.HeaderContentDigest) },
		"with another body's digest":    func(r *http.Request) { r.Header.Set(accountapi.HeaderContentDigest, accountapi.ContentDigest(nil)) },
		"with another idempotency key":  func(r *http.Request) { r.Header.Set(accountapi.HeaderIdempotencyKey, apitest.NewKey()) },
		"with two signatures": func(r *http.Request) {
			r.Header.Add(accountapi.HeaderSignature, r.Header.Get(accountapi.HeaderSignature))
		},
		"for another host":                      func(r *http.Request) { r.Host = "localhost" + r.URL.Host[strings.Index(r.URL.Host, ":"):] },
		"by another key under the device's ID":  resign(d, func(x *apitest.Device) { x.Key = other.Key }, d.KeyID()),
		"with a nonce that nobody gave":         resign(d, func(x *apitest.Device) { x.Nonce = apitest.NewNonce() }, ""),
		"with a nonce of another service":       resign(d, func(x *apitest.Device) { x.Nonce = foreignNonce(t, s) }, ""),
		"with a nonce that is not base64":       resign(d, func(x *apitest.Device) { x.Nonce = "!!!" }, ""),
		"with an empty nonce":                   resign(d, func(x *apitest.Device) { x.Nonce = "" }, ""),
		"under an algorithm that is not ours":   replaceInput("ed25519", "hmac-sha256"),
		"over fewer parts than the API asks":    replaceInput(`"content-digest" `, ""),
		"with a label that is not the device's": replaceInput("device=", "proxy="),
	} {
		t.Run(name, func(t *testing.T) {
			d := d.Clone()
			d.Nonce = freshNonce(t, s)
			r := statement(t, d)
			change(r)
			a := send(t, d, r)
			wantCode(t, a, http.StatusUnauthorized, "NotAuthorized")
			if a.Problem.Nonce == nil || a.Header.Get(accountapi.HeaderNonce) != *a.Problem.Nonce {
				t.Errorf("the problem's nonce is not the header's: %s", a.Body)
			}
			if a.Problem.Time == nil || *a.Problem.Time != s.Clock.Now().Unix() {
				t.Errorf("the problem does not tell the time: %s", a.Body)
			}
			// The nonce that came with the refusal is good.
			if a := send(t, d, statement(t, d)); a.Status != http.StatusOK {
				t.Errorf("with the nonce of the refusal: %d %s", a.Status, a.Body)
			}
		})
	}
}

// resign signs the request anew by a changed device, under keyID if given.
func resign(d *apitest.Device, change func(*apitest.Device), keyID string) func(*http.Request) {
	return func(r *http.Request) {
		x := *d
		nonce := r.Header.Get(accountapi.HeaderSignatureInput)
		_, nonce, _ = strings.Cut(nonce, `nonce="`)
		x.Nonce, _, _ = strings.Cut(nonce, `"`)
		change(&x)
		if keyID == "" {
			keyID = x.KeyID()
		}
		body, _ := r.GetBody()
		b := make([]byte, r.ContentLength)
		_, _ = body.Read(b)
		if err := accountapi.SignRequest(r, b, x.Key, keyID, x.Nonce); err != nil {
			panic(err)
		}
	}
}

func replaceInput(what, with string) func(*http.Request) {
	return func(r *http.Request) {
		in := r.Header.Get(accountapi.HeaderSignatureInput)
		r.Header.Set(accountapi.HeaderSignatureInput, strings.Replace(in, what, with, 1))
	}
}

func freshNonce(t testing.TB, s *apitest.Service) string {
	t.Helper()
	n, err := s.API.NewNonce()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func foreignNonce(t testing.TB, s *apitest.Service) string {
	t.Helper()
	n, err := httpapi.NewNonces([]byte("another secret of thirty-two byte"), s.Clock.Now).New()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestACapturedRequestIsRefused(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	d.Nonce = freshNonce(t, s)
	r := statement(t, d)
	captured := again(r)
	if a := send(t, d, r); a.Status != http.StatusOK {
		t.Fatalf("the first: %d %s", a.Status, a.Body)
	}
	thief := d.Clone()
	wantCode(t, send(t, thief, captured), http.StatusUnauthorized, "NotAuthorized")

	t.Run("by another server on the same database too", func(t *testing.T) {
		api := s.NewAPI(t, slog.New(slog.DiscardHandler))
		defer api.Close()
		w := httptest.NewRecorder()
		third := again(captured)
		third.RequestURI = third.URL.RequestURI()
		api.ServeHTTP(w, third)
		if w.Code != http.StatusUnauthorized {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
	t.Run("of a call that changes something too", func(t *testing.T) {
		d.Nonce = freshNonce(t, s)
		body, _ := json.Marshal(accountapi.BeginRequest{Kind: accountapi.FlowKindLink, DeviceId: d.ID, Nonce: apitest.NewNonce()})
		r, err := d.Request(t.Context(), http.MethodPost, "/v1/flows", apitest.NewKey(), body)
		if err != nil {
			t.Fatal(err)
		}
		captured := again(r)
		wantStep(t, send(t, d, r), accountapi.Identify)
		wantCode(t, send(t, d.Clone(), captured), http.StatusUnauthorized, "NotAuthorized")
	})
}

func TestANonceIsGoodForFiveMinutes(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	for name, c := range map[string]struct {
		after time.Duration
		want  int
	}{
		"at once":                     {0, 200},
		"after five minutes":          {5 * time.Minute, 200},
		"after more":                  {5*time.Minute + time.Millisecond, 401},
		"of a server that is ahead":   {-5 * time.Minute, 200},
		"of one that is far ahead":    {-5*time.Minute - time.Millisecond, 401},
		"after the nonces were swept": {48 * time.Hour, 401},
	} {
		t.Run(name, func(t *testing.T) {
			d := d.Clone()
			d.Nonce = freshNonce(t, s)
			r := statement(t, d)
			s.Clock.Advance(c.after)
			defer s.Clock.Advance(-c.after)
			if a := send(t, d, r); a.Status != c.want {
				t.Errorf("got %d %s, want %d", a.Status, a.Body, c.want)
			}
		})
	}
}

func TestEachAnswerToASignedCallBringsANonce(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	for name, send := range map[string]func() apitest.Answer{
		"done": func() apitest.Answer {
			return d.Post(t, "/v1/devices/"+d.ID+"/statement", accountapi.StatementRequest{Nonce: apitest.NewNonce()})
		},
		"malformed":     func() apitest.Answer { return d.Post(t, "/v1/devices/"+d.ID+"/statement", []int{1}) },
		"refused":       func() apitest.Answer { a, _ := d.Begin(t, accountapi.FlowKindUnlock); return a },
		"nothing there": func() apitest.Answer { return d.Post(t, "/v1/nothing", nil) },
		"no such flow":  func() apitest.Answer { return d.Post(t, "/v1/flows/AAAAAAAAAAAAAAAAAAAAAA", apitest.Confirm()) },
		"unknown device ID": func() apitest.Answer {
			return d.Post(t, "/v1/devices/AAAA-AAAA-AAAA/statement", accountapi.StatementRequest{Nonce: apitest.NewNonce()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := send()
			if len(a.Header.Values(accountapi.HeaderNonce)) != 1 {
				t.Errorf("%d %s: nonces %q", a.Status, a.Body, a.Header.Values(accountapi.HeaderNonce))
			}
		})
	}
}

func TestWhoMayAskForWhat(t *testing.T) {
	s := apitest.Start(t)
	d, other := s.Device(t), s.Device(t)
	s.Link(t, d, s.Owner)

	t.Run("another device's statement is not given", func(t *testing.T) {
		x := other.Clone()
		x.ID = d.ID
		wantCode(t, x.Post(t, "/v1/devices/"+d.ID+"/statement", accountapi.StatementRequest{Nonce: apitest.NewNonce()}), 404, "DeviceUnknown")
	})
	t.Run("a flow for another device is not begun", func(t *testing.T) {
		x := other.Clone()
		x.ID = d.ID
		a, _ := x.Begin(t, accountapi.FlowKindUnlock)
		wantCode(t, a, 404, "DeviceUnknown")
	})
	t.Run("another device's flow is not answered, resent or ended", func(t *testing.T) {
		begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
		path := "/v1/flows/" + begun.Step.FlowId
		wantCode(t, other.Post(t, path, apitest.UseHint()), 410, "Timeout")
		wantCode(t, other.Post(t, path+"/resend", nil), 410, "Timeout")
		a, err := other.Call(t.Context(), http.MethodDelete, path, apitest.NewKey(), nil)
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, a, 410, "Timeout")
		wantStep(t, d.Reply(t, begun.Step.FlowId, apitest.UseHint()), accountapi.Password)
	})
	t.Run("an enrolment is signed by the key in it", func(t *testing.T) {
		x := apitest.NewDevice(s.URL, apitest.Client(s.CA))
		stolen := accountapi.EnrolRequest{
			Key:        accountapi.NewJWK(d.Key.Public().(ed25519.PublicKey)),
			Identities: []accountapi.Identity{apitest.Identity(accountapi.Dmi, x.Serial)},
		}
		wantCode(t, x.Post(t, "/v1/devices", stolen), 401, "NotAuthorized")
	})
}
