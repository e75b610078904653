// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/secret"
)

// hijacked writes raw bytes as the answer and closes the connection, with a
// reset where reset says so.
func hijacked(raw string, reset bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, raw)
		if reset {
			if tcp, ok := conn.(interface{ NetConn() net.Conn }); ok {
				_ = tcp.NetConn().(*net.TCPConn).SetLinger(0)
			}
		}
		_ = conn.Close()
	}
}

func body(status int, media, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, status, media, []byte(text)) }
}

const okHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

func TestAnAnswerThatIsNoneIsTheServiceNotAnsweringProperly(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"a page with status 500", body(500, "text/html", "<html>oops")},
		{"a page with status 200", body(200, "text/html", "<html>welcome")},
		{"a page that calls itself JSON", body(200, "application/json", "<html>welcome")},
		{"JSON cut short", body(200, "application/json", `{"flow_id":"flow-01234`)},
		{"JSON of wrong types", body(200, "application/json", `{"flow_id":7,"step":[]}`)},
		{"JSON that is no object", body(200, "application/json", `[]`)},
		{"null", body(200, "application/json", `null`)},
		{"an empty object", body(200, "application/json", `{}`)},
		{"an empty body", body(200, "application/json", ``)},
		{"JSON and garbage behind", body(200, "application/json", `{"flow_id":"`+flowID+`","step":"password"}{}`)},
		{"a flow ID that is a path", step(map[string]any{"flow_id": ".."})},
		{"a flow ID too long", step(map[string]any{"flow_id": strings.Repeat("a", 65)})},
		{"a step too long", step(map[string]any{"step": strings.Repeat("a", 65)})},
		{"a captcha too long", step(map[string]any{"captcha": strings.Repeat("a", 9000)})},
		{"a redirect", redirect("https://other.example/v1/flows")},
		{"status 204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }},
		{"status 511 over TLS", body(511, "text/html", "log in")},
		{"a problem of no type", body(400, accountapi.ProblemMediaType, `{"title":"x"}`)},
		{"a problem of a foreign type", body(403, accountapi.ProblemMediaType, `{"type":"https://evil.example/InvalidCredentials"}`)},
		{"a problem cut short", body(403, accountapi.ProblemMediaType, `{"type":"https://accountlock.org/prob`)},
		{"a body cut in the middle", hijacked(okHead+"Content-Length: 500\r\n\r\n{\"flow_id\":", false)},
		{"a body reset in the middle", hijacked(okHead+"Content-Length: 500\r\n\r\n{\"flow_id\":", true)},
		{"a chunk of wrong length", hijacked(okHead+"Transfer-Encoding: chunked\r\n\r\nzz\r\n", false)},
		{"garbage for HTTP", hijacked("\x00\x01\x02\x03\x04\x05\x06\x07\r\n\r\n", false)},
		{"huge headers", hijacked("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("a", 1<<20)+"\r\n\r\n", false)},
		{"very many headers", hijacked("HTTP/1.1 200 OK\r\n"+strings.Repeat("X: y\r\n", 1<<17)+"\r\n", false)},
		{"endless interim answers", hijacked(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 1<<14), false)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, setup{})
			w.handle = c.answer
			err := w.begin()
			if fault.CodeOf(err) != fault.ServiceUnavailable {
				t.Fatalf("got %v", err)
			}
			if len(err.Error()) > 2000 {
				t.Fatalf("%d bytes of error", len(err.Error()))
			}
			if n := len(w.requests()); n > 2 {
				t.Fatalf("it was asked %d times", n)
			}
		})
	}
}

func TestNobodyIsMadeToReadMoreThanTheBound(t *testing.T) {
	w := newWorld(t, setup{})
	sent := 0
	w.handle = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		chunk := bytes.Repeat([]byte(" "), 1<<20)
		for sent = 0; sent < 100<<20; sent += len(chunk) {
			if _, err := rw.Write(chunk); err != nil {
				return
			}
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := w.begin()
	runtime.ReadMemStats(&after)
	if fault.CodeOf(err) != fault.ServiceUnavailable {
		t.Fatal(err)
	}
	w.server.Close() // waits for the handler
	if sent >= 100<<20 {
		t.Fatal("all of it was taken")
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Fatalf("%d bytes were allocated", used)
	}
}

func TestAnAnswerOfJustTheBoundIsTaken(t *testing.T) {
	w := newWorld(t, setup{})
	good := []byte(`{"flow_id":"` + flowID + `","step":"password"}`)
	for _, c := range []struct {
		size int
		want fault.Code
	}{{256 << 10, ""}, {256<<10 + 1, fault.ServiceUnavailable}} {
		w.handle = body(200, "application/json", string(good)+strings.Repeat(" ", c.size-len(good)))
		if err := w.begin(); fault.CodeOf(err) != c.want {
			t.Fatalf("%d bytes: %v", c.size, err)
		}
	}
}

func TestAStalledAnswerEndsInTime(t *testing.T) {
	for name, handle := range map[string]func(http.ResponseWriter, *http.Request, chan struct{}){
		"before the headers": func(_ http.ResponseWriter, _ *http.Request, stop chan struct{}) { <-stop },
		"in the body": func(w http.ResponseWriter, _ *http.Request, stop chan struct{}) {
			answer(w, http.StatusOK, "application/json", []byte(`{"flow_id":`))
			w.(http.Flusher).Flush()
			<-stop
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{})
			stop := make(chan struct{})
			defer close(stop)
			w.handle = func(rw http.ResponseWriter, r *http.Request) { handle(rw, r, stop) }
			w.client.Hurry(3 * time.Second) // for all that comes before the answer
			if err := w.begin(); fault.CodeOf(err) != fault.ServiceUnavailable {
				t.Fatal(err)
			}
			if n := len(w.requests()); n != 1 {
				t.Fatalf("a slow service was asked %d times", n)
			}
		})
	}
}

func TestARefusalIsWhatTheServiceMaySay(t *testing.T) {
	const overClaimed = fault.ServiceUnavailable
	want := map[fault.Code]fault.Code{
		fault.NetworkUnavailable: overClaimed, fault.CaptivePortal: overClaimed, fault.ClockWrong: overClaimed,
		fault.ServiceUntrusted: overClaimed, fault.StorageFailed: overClaimed, fault.Internal: overClaimed, fault.Locked: overClaimed,
		fault.NotAuthorized: fault.DeviceUnknown,
	}
	for _, code := range fault.Codes() {
		t.Run(string(code), func(t *testing.T) {
			w := newWorld(t, setup{})
			w.handle = func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set(accountapi.HeaderNonce, "nonce")
				problem(403, code, map[string]any{"counted": true, "attempts_left": 3, "hint": "j•••@example.org\x00\x1b[2J\u202e"})(rw, r)
			}
			expected := code
			if c, ok := want[code]; ok {
				expected = c
			}
			f := fault.As(w.begin())
			if f == nil || f.Code != expected {
				t.Fatalf("got %v, want %s", f, expected)
			}
			if expected == fault.ServiceUnavailable {
				if f.Cause != string(diagnose.ServiceError) || f.Counted || f.Message == "x" {
					t.Fatalf("got %+v", f)
				}
				return
			}
			if expected == code && (!f.Counted || f.AttemptsLeft != 3 || f.Hint != "j•••@example.org[2J") {
				t.Fatalf("got %+v", f)
			}
			if own := fault.New(expected, nil); f.Message != own.Message || f.Remedy != own.Remedy {
				t.Fatalf("the service's own words were taken: %q", f.Message)
			}
		})
	}
}

func TestTheWaitIsTheServicesWithinBounds(t *testing.T) {
	for _, c := range []struct {
		header string
		field  any
		want   time.Duration
	}{
		{"30", nil, 30 * time.Second}, {"30", 60, time.Minute}, {"-1", nil, 0}, {"soon", nil, 0},
		{"99999999999999999999", nil, 0}, {"9999999", nil, 72 * time.Hour}, {"", 1 << 40, 72 * time.Hour}, {"", -5, 0},
	} {
		t.Run(fmt.Sprint(c.header, "/", c.field), func(t *testing.T) {
			w := newWorld(t, setup{})
			w.handle = func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Retry-After", c.header)
				more := map[string]any{}
				if c.field != nil {
					more["retry_after"] = c.field
				}
				problem(503, fault.ServiceUnavailable, more)(rw, r)
			}
			if f := fault.As(w.begin()); f == nil || f.Code != fault.ServiceUnavailable || f.RetryAfter != c.want {
				t.Fatalf("got %+v", f)
			}
		})
	}
}

func TestNoSecretIsInAnyError(t *testing.T) {
	answers := []http.HandlerFunc{
		body(500, "text/html", password), body(200, "application/json", password), body(200, "application/json", `{"flow_id":"`+password+`"}`),
		hijacked("", false), hijacked(okHead+"Content-Length: 9\r\n\r\n", true), hijacked(password+"\r\n\r\n", false),
		problem(403, fault.InvalidCredentials, map[string]any{"title": password, "detail": password, "remedy": password}),
		problem(401, fault.NotAuthorized, nil), redirect("https://other.example/"),
		step(map[string]any{"grant": "a.b.c"}), step(map[string]any{"flow_id": ""}),
	}
	for i, handle := range answers {
		w := newWorld(t, setup{})
		w.handle = func(rw http.ResponseWriter, r *http.Request) {
			raw, _ := io.ReadAll(r.Body)
			if !bytes.Contains(raw, []byte(password)) {
				t.Errorf("%d: the password did not arrive: %q", i, raw)
			}
			handle(rw, r)
		}
		_, err := w.client.Answer(t.Context(), w.creds, flowID, flow.Answer{
			Step: "password", Password: secret.Bytes(password), Code: secret.Bytes(password), Nonce: nonce,
		})
		f := fault.As(err)
		if f == nil {
			t.Fatalf("%d: no error", i)
		}
		all := f.Message + f.Remedy + f.Hint
		for e := err; e != nil; e = errors.Unwrap(e) {
			all += fmt.Sprintf("%v %+v %#v", e, e, e)
		}
		if strings.Contains(all, password) {
			t.Errorf("%d: %s", i, all)
		}
	}
}

func TestWhatIsNoTextIsTakenOutOfWhatIsShown(t *testing.T) {
	w := newWorld(t, setup{})
	w.handle = step(map[string]any{"sent_to": "j•••@\x00example.org\x07", "captcha": "a\nb\x00"})
	r, err := w.client.Begin(t.Context(), w.creds, flow.Begin{Kind: "unlock", Nonce: nonce})
	must(t, err)
	if r.SentTo != "j•••@example.org" || r.Captcha != "a\nb" {
		t.Fatalf("got %+v", r)
	}
	w.handle = func(rw http.ResponseWriter, _ *http.Request) {
		contacts := []map[string]string{{"kind": "rumour", "label": "x", "address": "y"}}
		for range 1000 {
			contacts = append(contacts, map[string]string{"kind": "phone", "label": "a\x00" + strings.Repeat("é", 70), "address": "1"})
		}
		answer(rw, 200, "application/json", map[string]any{"contacts": contacts})
	}
	contacts, err := w.client.Support(t.Context(), "DE")
	must(t, err)
	if len(contacts) != 32 || strings.ContainsRune(contacts[0].Label, 0) || contacts[0].Kind != "phone" {
		t.Fatalf("%d contacts, the first %+v", len(contacts), contacts[0])
	}
}
