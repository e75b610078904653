// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

// BenchmarkStatements is to be read beside BenchmarkStatementsFloor: the same
// client, the same TLS, and nothing but a signature made. Requests are signed
// before the clock runs: that is the devices' work.
func BenchmarkStatements(b *testing.B) { statements(b, 0, false) }

// BenchmarkStatementsAmongMany is the same where the database holds many devices
// more: what one costs must not grow with their number.
func BenchmarkStatementsAmongMany(b *testing.B) { statements(b, 200_000, false) }

// BenchmarkStatementsConnecting is statements as devices ask for them: each over a
// connection of its own. Its floor is BenchmarkStatementsConnectingFloor.
func BenchmarkStatementsConnecting(b *testing.B) { statements(b, 0, true) }

func statements(b *testing.B, among int, connecting bool) {
	s := apitest.Start(b)
	s.Crowd(b, among)
	requests := make([]*http.Request, b.N)
	devices := make([]*apitest.Device, 64)
	for i := range devices {
		devices[i] = s.Device(b)
	}
	for i := range requests {
		d := devices[i%len(devices)]
		nonce, err := s.API.NewNonce()
		if err != nil {
			b.Fatal(err)
		}
		d.Nonce = nonce
		body, err := json.Marshal(accountapi.StatementRequest{Nonce: apitest.NewNonce()})
		if err != nil {
			b.Fatal(err)
		}
		requests[i], err = d.Request(b.Context(), http.MethodPost, "/v1/devices/"+d.ID+"/statement", apitest.NewKey(), body)
		if err != nil {
			b.Fatal(err)
		}
	}
	ask(b, http1(s.CA), requests, connecting)
}

// BenchmarkStatementsFloor is bare TLS and one Ed25519 signature.
func BenchmarkStatementsFloor(b *testing.B) { floor(b, false) }

// BenchmarkStatementsConnectingFloor is the same, each over a connection of its own.
func BenchmarkStatementsConnectingFloor(b *testing.B) { floor(b, true) }

func floor(b *testing.B, connecting bool) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	answer := bytes.Repeat([]byte("x"), 600)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sig := ed25519.Sign(key, body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
		_, _ = w.Write(sig)
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{apitest.Certificate(b)}, MinVersion: tls.VersionTLS13}
	srv.StartTLS()
	defer srv.Close()
	requests := make([]*http.Request, b.N)
	for i := range requests {
		requests[i], err = http.NewRequestWithContext(b.Context(), http.MethodPost, srv.URL+"/", bytes.NewReader(answer[:60]))
		if err != nil {
			b.Fatal(err)
		}
	}
	ask(b, srv.Client(), requests, connecting)
}

// BenchmarkSignIns unlocks devices, from the flow's first step to the grant; to be
// read beside BenchmarkSignInsFloor, the hash alone.
func BenchmarkSignIns(b *testing.B) {
	s := apitest.StartHashing(b, account.DefaultHashParams())
	made := make(chan *apitest.Device, 8)
	for range cap(made) {
		d := apitest.NewDevice(s.URL, http1(s.CA))
		d.Enrol(b)
		s.Link(b, d, s.Owner)
		made <- d
	}
	b.SetParallelism(cap(made) / 2)
	before := cpuTime(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			d := <-made
			begun, _ := d.Begin(b, accountapi.FlowKindUnlock)
			d.Reply(b, begun.Step.FlowId, apitest.UseHint())
			if a := d.Reply(b, begun.Step.FlowId, apitest.Password(s.Owner.Password)); a.Step.Step != accountapi.Done {
				b.Errorf("%d %s", a.Status, a.Body)
			}
			made <- d
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkSignInsFloor is Argon2id with the same parameters.
func BenchmarkSignInsFloor(b *testing.B) {
	p := account.DefaultHashParams()
	before := cpuTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			argon2.IDKey([]byte("correct horse battery"), []byte("sixteen bytes :)"), p.Passes, p.MemoryKiB, p.Lanes, 32)
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

func http1(ca []byte) *http.Client {
	c := apitest.Client(ca)
	t := c.Transport.(*http.Transport)
	t.ForceAttemptHTTP2 = false
	t.TLSClientConfig.NextProtos = []string{"http/1.1"}
	return c
}

func ask(b *testing.B, c *http.Client, requests []*http.Request, connecting bool) {
	b.Helper()
	c.Transport.(*http.Transport).MaxIdleConnsPerHost = 256
	c.Transport.(*http.Transport).DisableKeepAlives = connecting
	var next atomic.Int64
	b.SetParallelism(64)
	before := cpuTime(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := c.Do(requests[next.Add(1)-1])
			if err != nil {
				b.Error(err)
				return
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Errorf("got %d, %v", resp.StatusCode, err)
				return
			}
		}
	})
	b.StopTimer()
	// The machine's other work does not count against either side.
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpuTime returns what this process, client and server, has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
