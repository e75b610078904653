// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// behind is where the account service listens that a front stands before.
const behind = serviceHost + ":8444"

// Front stands where the device looks for its account service and hands on what
// comes, save what it is told to hold: a network that is slow at that moment.
type Front struct {
	service http.RoundTripper

	mu   sync.Mutex
	held *Held
}

// Held is a step of a conversation that the front holds.
type Held struct {
	step     string
	answered bool
	// Reached is closed when the step has come.
	Reached  chan struct{}
	reached  sync.Once
	released chan struct{}
	release  sync.Once
}

// Release lets go what was held, and what comes. What nobody waits for any more
// reaches the account service all the same, as it does in a network.
func (h *Held) Release() { h.release.Do(func() { close(h.released) }) }

func (h *Held) wait() {
	h.reached.Do(func() { close(h.Reached) })
	<-h.released
}

// Behind puts a front before the account service.
func (s *Service) Behind(t testing.TB) *Front {
	t.Helper()
	s.Stop(t)
	s.listen = behind
	s.Start(t)
	ca, certificate := s.certificate(t)
	trusted := x509.NewCertPool()
	trusted.AddCert(ca)
	f := &Front{service: &http.Transport{
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return s.Dial(behind) },
		TLSClientConfig: &tls.Config{RootCAs: trusted},
	}}
	l, err := s.Listen(serviceAddress)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: f, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
	}
	go func() { _ = server.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.held != nil {
			f.held.Release()
		}
		_ = server.Close()
	})
	return f
}

// Hold has the step held from now on: before the account service hears of it, or when
// it has answered and the device has not heard.
func (f *Front) Hold(step string, answered bool) *Held {
	h := &Held{step: step, answered: answered, Reached: make(chan struct{}), released: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = h
	return h
}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var said struct{ Step string }
	_ = json.Unmarshal(body, &said) // not all that comes has one
	f.mu.Lock()
	held := f.held
	f.mu.Unlock()
	holds := held != nil && held.step == said.Step
	if holds && !held.answered {
		held.wait()
	}
	out := r.Clone(context.WithoutCancel(r.Context()))
	out.RequestURI, out.URL.Scheme, out.URL.Host = "", "https", behind
	out.Body = io.NopCloser(bytes.NewReader(body))
	answer, err := f.service.RoundTrip(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if holds && held.answered {
		held.wait()
	}
	maps.Copy(w.Header(), answer.Header)
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(text)
}

// certificate makes one for the account service's address by the service's own
// authority, which it returns too.
func (s *Service) certificate(t testing.TB) (ca *x509.Certificate, leaf tls.Certificate) {
	t.Helper()
	authority, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "ca.pem"), filepath.Join(s.dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(serviceHost)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.Leaf, key.Public(), authority.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return authority.Leaf, tls.Certificate{Certificate: [][]byte{der, authority.Leaf.Raw}, PrivateKey: key}
}
