// SPDX-License-Identifier: Apache-2.0

package sms_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/sms"
)

var message = account.Message{To: "+4915155501042", Channel: account.ChannelSMS, Text: `Ihr Code: "123456"` + "\n\\u0000 {{.Token}}"}

// gateway answers with a status and keeps what it was asked.
type gateway struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	header http.Header
	asked  []asked
}

type asked struct {
	method, path, body string
	header             http.Header
}

func newGateway(t *testing.T) *gateway {
	g := &gateway{status: http.StatusOK, header: http.Header{}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.asked = append(g.asked, asked{r.Method, r.URL.RequestURI(), string(b), r.Header})
		for k, v := range g.header {
			w.Header()[k] = v
		}
		w.WriteHeader(g.status)
		io.WriteString(w, "the answer repeats "+string(b))
	}))
	t.Cleanup(g.Close)
	return g
}

func newSender(t *testing.T, url string, change func(*sms.Config)) *sms.Sender {
	t.Helper()
	cfg := sms.Config{URL: url, Body: `{"to":{{json .To}},"text":{{json .Text}},"ref":{{json .ID}}}`, Timeout: time.Minute}
	if change != nil {
		change(&cfg)
	}
	s, err := sms.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestARequestIsWhatTheTemplatesSayAndSigned(t *testing.T) {
	g := newGateway(t)
	key := secret.Bytes(strings.Repeat("k", 32))
	s := newSender(t, g.URL+"/accounts/{{path .Token}}/messages?to={{query .To}}", func(c *sms.Config) {
		c.Token, c.Key = secret.Bytes("to/ken"), key
		c.Headers = map[string]string{"Authorization": "Bearer {{.Token}}"}
		c.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	})
	if err := s.Carry(t.Context(), "abc", message); err != nil {
		t.Fatal(err)
	}
	got := g.asked[0]
	var body struct{ To, Text, Ref string }
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || body.To != message.To || body.Text != message.Text || body.Ref != "abc" {
		t.Errorf("body %s: %v", got.body, err)
	}
	if got.method != http.MethodPost || got.path != "/accounts/to%2Fken/messages?to=%2B4915155501042" {
		t.Errorf("%s %s", got.method, got.path)
	}
	if got.header.Get("Authorization") != "Bearer to/ken" || got.header.Get(sms.HeaderKey) != "abc" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", got.header)
	}
	stamp := got.header.Get(sms.HeaderTime)
	if stamp != "1800000000" || got.header.Get(sms.HeaderSignature) != sms.Sign(key, stamp, []byte(got.body)) {
		t.Errorf("signature %q of %q", got.header.Get(sms.HeaderSignature), stamp)
	}
	if sms.Sign(key, "1800000001", []byte(got.body)) == got.header.Get(sms.HeaderSignature) {
		t.Error("the signature does not cover the time")
	}
}

func TestAnswersAreToldApart(t *testing.T) {
	g := newGateway(t)
	s := newSender(t, g.URL+"/", nil)
	for status, want := range map[int]struct{ sent, forGood bool }{
		200: {sent: true}, 202: {sent: true}, 302: {}, 400: {forGood: true}, 401: {}, 403: {}, 404: {forGood: true},
		408: {}, 409: {}, 422: {forGood: true}, 429: {}, 500: {}, 503: {},
	} {
		g.mu.Lock()
		g.status = status
		g.header.Set("Location", "http://198.51.100.1/")
		g.mu.Unlock()
		err := s.Carry(t.Context(), "id", message)
		var never *backoff.PermanentError
		if (err == nil) != want.sent || errors.As(err, &never) != want.forGood {
			t.Errorf("%d: %v", status, err)
		}
		if err != nil && (strings.Contains(err.Error(), "123456") || strings.Contains(err.Error(), "49151")) {
			t.Errorf("%d: the error repeats number or text: %v", status, err)
		}
	}
	g.mu.Lock()
	g.status = 429
	g.header.Set("Retry-After", "90")
	g.mu.Unlock()
	var pause *backoff.RetryAfterError
	if err := s.Carry(t.Context(), "id", message); !errors.As(err, &pause) || pause.Duration != 90*time.Second {
		t.Errorf("Retry-After: %v", err)
	}
}

func TestAGatewayThatIsNotThereIsNamedWithoutTheNumber(t *testing.T) {
	g := newGateway(t)
	s := newSender(t, g.URL+"/?to={{query .To}}", nil)
	g.Close()
	err := s.Carry(t.Context(), "id", message)
	if err == nil || strings.Contains(err.Error(), "49151") {
		t.Fatalf("got %v", err)
	}
}

func TestAGatewayUnderAnotherNameGetsNothing(t *testing.T) {
	g := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(g.Close)
	if err := newSender(t, g.URL+"/", nil).Carry(t.Context(), "id", message); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("got %v", err)
	}
}

func TestTemplatesThatCannotBeFilledInAreRefusedAtTheStart(t *testing.T) {
	for name, c := range map[string]sms.Config{
		"an unclosed action":  {URL: "https://x/", Body: "{{.To"},
		"an unknown value":    {URL: "https://x/", Body: "{{.Password}}"},
		"an unknown function": {URL: "https://x/", Body: "{{shout .To}}"},
		"a header":            {URL: "https://x/", Body: "x", Headers: map[string]string{"X": "{{.Nope}}"}},
		"a url that is none":  {URL: "https://x/\x00{{.To}}", Body: "x"},
	} {
		if _, err := sms.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
