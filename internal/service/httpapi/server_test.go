// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/httpapi"
)

func get(t testing.TB, c *http.Client, url string) (int, http.Header, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestWhatOperatorsAsk(t *testing.T) {
	s := apitest.Start(t)
	c := apitest.Client(s.CA)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	d.Begin(t, accountapi.FlowKindLink)
	for _, path := range []string{"/livez", "/readyz"} {
		if status, _, body := get(t, c, s.URL+path); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	_, _, figures := get(t, c, s.URL+"/metrics")
	for _, want := range []string{
		`accountlock_requests_total{code="200",route="POST /v1/flows/{flow_id}"} 4`,
		`accountlock_requests_total{code="409",route="POST /v1/flows"} 1`,
		`accountlock_refusals_total{problem="AlreadyLinked"} 1`,
		`accountlock_flow_steps_total{kind="link",step="done"} 1`,
		`accountlock_request_seconds_count{route="POST /v1/devices"}`,
		"go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(figures, want) {
			t.Errorf("the figures hold no %s", want)
		}
	}
	if strings.Contains(figures, d.ID) || strings.Contains(figures, s.Owner.ID) {
		t.Error("the figures name a device or a person")
	}
	t.Run("a database that does not answer is not ready", func(t *testing.T) {
		if err := s.DB.Close(); err != nil {
			t.Fatal(err)
		}
		status, header, _ := get(t, c, s.URL+"/readyz")
		if status != 503 || header.Get("Retry-After") == "" {
			t.Errorf("got %d, Retry-After %q", status, header.Get("Retry-After"))
		}
		if status, _, _ := get(t, c, s.URL+"/livez"); status != 200 {
			t.Errorf("/livez: %d", status)
		}
		a := d.Post(t, "/v1/devices/"+d.ID+"/statement", accountapi.StatementRequest{Nonce: apitest.NewNonce()})
		wantCode(t, a, 500, "Internal")
		if a.Problem.Instance == nil || !strings.Contains(s.Log.String(), *a.Problem.Instance) {
			t.Errorf("the incident of %s is not in the log", a.Body)
		}
		if strings.Contains(string(a.Body), "sql") {
			t.Errorf("the problem tells the cause: %s", a.Body)
		}
	})
}

func TestSupportContacts(t *testing.T) {
	s := apitest.Start(t)
	c := apitest.Client(s.CA)
	for query, want := range map[string]string{
		"": "Everywhere", "?region=": "Everywhere", "?region=GB": "Britain Everywhere", "?region=FR": "Everywhere",
	} {
		status, _, body := get(t, c, s.URL+"/v1/support"+query)
		var out accountapi.SupportResponse
		decode(t, []byte(body), &out)
		var labels []string
		for _, contact := range out.Contacts {
			labels = append(labels, contact.Label)
		}
		if got := strings.Join(labels, " "); status != 200 || got != want {
			t.Errorf("%q: %d %s, want %s", query, status, got, want)
		}
	}
	for _, query := range []string{"?region=gb", "?region=GBR", "?region=%00"} {
		if status, header, body := get(t, c, s.URL+"/v1/support"+query); status != 400 || header.Get("Content-Type") != accountapi.ProblemMediaType {
			t.Errorf("%q: %d %s", query, status, body)
		}
	}
}

func TestKeySets(t *testing.T) {
	s := apitest.Start(t)
	c := apitest.Client(s.CA)
	for range 3 {
		if _, err := s.Keys.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]int{"": 4, "?after=0": 4, "?after=1": 3, "?after=4": 0, "?after=9223372036854775807": 0} {
		status, _, body := get(t, c, s.URL+"/v1/keys"+query)
		var out struct {
			KeySets []string `json:"key_sets"`
		}
		decode(t, []byte(body), &out)
		if status != 200 || len(out.KeySets) != want || out.KeySets == nil {
			t.Errorf("%q: %d, %d sets, want %d", query, status, len(out.KeySets), want)
		}
	}
	for _, query := range []string{"?after=-1", "?after=x", "?after=1&after=2", "?after=9223372036854775808"} {
		if status, header, body := get(t, c, s.URL+"/v1/keys"+query); status != 400 || header.Get("Content-Type") != accountapi.ProblemMediaType {
			t.Errorf("%q: %d %s", query, status, body)
		}
	}
}

// home is a portal of one page.
type home http.HandlerFunc

func (h home) Register(mux *http.ServeMux) { mux.HandleFunc("GET /{$}", h) }

func (h home) NotFound(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }

func TestAPanicIsAProblemWithAnIncident(t *testing.T) {
	s := apitest.Start(t)
	var log apitest.Log
	api := httpapi.New(httpapi.Config{
		DB: s.DB, Devices: s.Devices, Attest: s.Attest, Flows: s.Flows, Keys: s.Keys, Notices: s.Notices, Secret: s.Secret,
		Log:    slog.New(slog.NewTextHandler(&log, nil)),
		Portal: home(func(http.ResponseWriter, *http.Request) { panic("a bug") }),
	})
	defer api.Close()
	url, stop := serve(t, api, s)
	defer stop()
	status, header, body := get(t, apitest.Client(s.CA), url+"/")
	var p accountapi.Problem
	decode(t, []byte(body), &p)
	if status != 500 || header.Get("Content-Type") != accountapi.ProblemMediaType || p.Instance == nil || strings.Contains(body, "a bug") {
		t.Errorf("%d %s", status, body)
	}
	if !strings.Contains(log.String(), *p.Instance) || !strings.Contains(log.String(), "a bug") {
		t.Errorf("the log says %s", log.String())
	}
}

// serve runs Serve on a free port; stop ends it and returns what it returned.
func serve(t testing.TB, api *httpapi.Server, s *apitest.Service) (url string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- api.Serve(ctx, l, &tls.Config{Certificates: s.TLS.TLS.Certificates, MinVersion: tls.VersionTLS12})
	}()
	return "https://" + l.Addr().String(), sync.OnceValue(func() error { cancel(); return <-ended })
}

func TestServeSpeaksTLS13AndHTTP2(t *testing.T) {
	s := apitest.Start(t)
	url, stop := serve(t, s.API, s)
	for name, c := range map[string]struct {
		max   uint16
		proto string
		want  string
	}{
		"TLS 1.3, HTTP/2":   {tls.VersionTLS13, "h2", "h2"},
		"TLS 1.3, HTTP/1.1": {tls.VersionTLS13, "http/1.1", "http/1.1"},
		"TLS 1.2":           {tls.VersionTLS12, "h2", ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{
				InsecureSkipVerify: true, MaxVersion: c.max, NextProtos: []string{c.proto},
			})
			if err != nil {
				if c.want != "" {
					t.Error(err)
				}
				return
			}
			defer conn.Close()
			if got := conn.ConnectionState().NegotiatedProtocol; c.want != got {
				t.Errorf("%s is spoken, want %q", got, c.want)
			}
		})
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAShutdownFinishesWhatIsInFlight(t *testing.T) {
	s := apitest.Start(t)
	entered, let := make(chan struct{}), make(chan struct{})
	api := httpapi.New(httpapi.Config{
		DB: s.DB, Devices: s.Devices, Attest: s.Attest, Flows: s.Flows, Keys: s.Keys, Notices: s.Notices, Secret: s.Secret,
		Log: slog.New(slog.DiscardHandler),
		Portal: home(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-let
			_, _ = w.Write([]byte("finished"))
		}),
	})
	defer api.Close()
	url, stop := serve(t, api, s)
	c := apitest.Client(s.CA)
	// A connection that is there before the shutdown begins, in the middle of
	// its request.
	answer := make(chan string, 1)
	go func() {
		resp, err := c.Get(url + "/")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		answer <- string(b) + errorText(err)
	}()
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	for {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "https://"))
		if err != nil {
			break // no more connections are taken
		}
		conn.Close()
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended (%v) with a request in flight", err)
	default:
	}
	close(let)
	if got := <-answer; got != "finished" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestASlowClientIsNotWaitedForWithoutEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes as long as the server waits")
	}
	t.Parallel()
	s := apitest.Start(t)
	url, stop := serve(t, s.API, s)
	t.Cleanup(func() { _ = stop() })
	for name, request := range map[string]string{
		"in its header": "POST /v1/devices HTTP/1.1\r\nHost: x\r\n",
		"in its form":   "POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nidentifier=",
		"in its body":   "POST /v1/devices HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: AAAAAAAAAAAAAAAA\r\nContent-Length: 1000\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, conn)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Error("the connection is still open after a minute")
			}
		})
	}
}

func TestTheLogTellsNoSecretsAndNoNames(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
	id := begun.Step.FlowId
	d.Reply(t, id, apitest.Identify(s.Careful.Email))
	d.Reply(t, id, apitest.Password(s.Careful.Password))
	d.Reply(t, id, apitest.Password("another password"))
	d.Reply(t, id, apitest.UseHint())
	done := d.Reply(t, id, apitest.Password(s.Owner.Password))
	wantStep(t, done, accountapi.Done)
	log := s.Log.String()
	if !strings.Contains(log, "POST /v1/flows/{flow_id}") {
		t.Fatal("the log holds no requests")
	}
	for what, text := range map[string]string{
		"a password": s.Owner.Password, "another account's password": s.Careful.Password, "a wrong password": "another password",
		"an e-mail address": s.Owner.Email, "an account ID": s.Owner.ID, "a flow's ID": id, "a device ID": d.ID, "a grant": *done.Step.Grant,
		"a server's nonce": d.Nonce,
	} {
		if strings.Contains(log, text) {
			t.Errorf("the log holds %s", what)
		}
	}
}

func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")}
	for name, c := range map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"a connection of its own":                    {"192.0.2.1:99", nil, "192.0.2.1"},
		"a stranger who says it forwards":            {"192.0.2.1:99", []string{"198.51.100.7"}, "192.0.2.1"},
		"a proxy":                                    {"10.1.1.1:99", []string{"198.51.100.7"}, "198.51.100.7"},
		"two proxies":                                {"10.1.1.1:99", []string{"198.51.100.7, 10.2.2.2"}, "198.51.100.7"},
		"two proxies in two fields":                  {"10.1.1.1:99", []string{"198.51.100.7", "10.2.2.2"}, "198.51.100.7"},
		"a client that invents one before the proxy": {"10.1.1.1:99", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		"a proxy that says nothing":                  {"10.1.1.1:99", nil, "10.1.1.1"},
		"a proxy that says nonsense":                 {"10.1.1.1:99", []string{"unknown"}, "10.1.1.1"},
		"a proxy over IPv6":                          {"[2001:db8::1]:99", []string{"2001:db8:5::9"}, "2001:db8:5::9"},
		"an IPv4 address in IPv6":                    {"[::ffff:192.0.2.1]:99", nil, "192.0.2.1"},
		"no address":                                 {"@", nil, "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forwarded}}
			if got := httpapi.ClientAddress(r, trusted).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func FuzzBodies(f *testing.F) {
	for name, body := range map[string]string{
		"ChallengeDevice": `{"key":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},"endorsement_key":"AAAA","device_key":"AAAA","certificate":"AAAA"}`,
		"EnrolDevice":     `{"key":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},"identities":[{"source":"dmi","digest":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}],"model":"x"}`,
		"StateDevice":     `{"nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","link_id":"x"}`,
		"ReportEvents":    `{"events":[{"kind":"started","time":1,"detail":"x"}]}`,
		"BeginFlow":       `{"kind":"link","device_id":"0000-0000-0000","nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","region":"GB"}`,
		"AnswerFlow":      `{"step":"password","password":"x","code":"1","confirm":true,"use_hint":false}`,
	} {
		f.Add(name, []byte(body))
	}
	f.Add("AnswerFlow", []byte(`{"step":"password","password":"\ud800"}`))
	f.Add("AnswerFlow", []byte(`null`))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		v, err := httpapi.Decode(name, body)
		if err != nil {
			return
		}
		// What was taken can be said again, and is then taken too.
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := httpapi.Decode(name, b); err != nil {
			t.Errorf("%s was taken as %s, which is refused: %v", body, b, err)
		}
	})
}
