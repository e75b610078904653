// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// authority is a certificate authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the vendor's authority"},
		NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &authority{cert, key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// leaf returns the account service's certificate, as change leaves it, for key, or for
// a new one.
func (a *authority) leaf(t testing.TB, own crypto.PrivateKey, change ...func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, ok := own.(*ecdsa.PrivateKey)
	if !ok {
		var err error
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "account service"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{hostName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range change {
		c(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// mode is what a front does to whoever connects.
type mode struct {
	// raw takes the connection before TLS, if set.
	raw func(net.Conn)
	// tls is the configuration of TLS.
	tls *tls.Config
	// handle answers over TLS.
	handle http.Handler
}

// front is a TLS server before the account service, which can be made hostile.
type front struct {
	listener net.Listener
	server   *http.Server
	ready    chan net.Conn

	mu    sync.Mutex
	mode  mode
	conns map[net.Conn]bool
	work  sync.WaitGroup
}

// newFront serves on l until the test ends.
func newFront(t testing.TB, l net.Listener, m mode) *front {
	f := &front{listener: l, mode: m, conns: map[net.Conn]bool{}, ready: make(chan net.Conn)}
	f.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.now().handle.ServeHTTP(w, r) }),
		TLSConfig: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return f.now().tls, nil
		}},
		ConnState: f.track,
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	f.work.Go(func() { _ = f.server.ServeTLS(f, "", "") })
	f.work.Go(f.accept)
	t.Cleanup(func() {
		f.become(mode{raw: func(net.Conn) {}})
		_ = f.server.Close()
		f.work.Wait()
	})
	return f
}

func (f *front) accept() {
	defer close(f.ready)
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return
		}
		if raw := f.now().raw; raw != nil {
			f.track(c, http.StateNew)
			f.work.Go(func() {
				defer f.track(c, http.StateClosed)
				defer c.Close()
				raw(c)
			})
			continue
		}
		f.ready <- c
	}
}

// Accept implements net.Listener for the HTTP server.
func (f *front) Accept() (net.Conn, error) {
	c, ok := <-f.ready
	if !ok {
		return nil, errors.New("closed")
	}
	return c, nil
}

// Close implements net.Listener.
func (f *front) Close() error { return f.listener.Close() }

// Addr implements net.Listener.
func (f *front) Addr() net.Addr { return f.listener.Addr() }

func (f *front) track(c net.Conn, s http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s == http.StateClosed || s == http.StateHijacked {
		delete(f.conns, c)
	} else {
		f.conns[c] = true
	}
}

// open counts the connections that are there.
func (f *front) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

func (f *front) now() mode {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mode
}

// become changes the mode and cuts the connections of the old one.
func (f *front) become(m mode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode = m
	for c := range f.conns {
		_ = c.Close()
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
