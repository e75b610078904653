// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi/client"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
)

func TestWhatKeepsAConnectionFromBeingTrustedIsToldApart(t *testing.T) {
	stranger := newAuthority(t)
	year := func(from, to int) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(from, 0, 0), time.Now().AddDate(to, 0, -1)
		}
	}
	otherHost := func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"login.example"} }
	for _, c := range []struct {
		name string
		setup
		want fault.Code
	}{
		{"a good certificate passes", setup{}, ""},
		{"a certificate of another authority is not trusted", setup{signer: stranger}, fault.ServiceUntrusted},
		{"an expired certificate means that the clock is wrong", setup{leaf: year(-2, -1)}, fault.ClockWrong},
		{"a certificate not valid yet means that the clock is wrong", setup{leaf: year(1, 2)}, fault.ClockWrong},
		{"an expired certificate of a stranger is a stranger's", setup{signer: stranger, leaf: year(-2, -1)}, fault.ServiceUntrusted},
		{"an expired certificate of another host is another host's", setup{leaf: func(c *x509.Certificate) {
			otherHost(c)
			year(-2, -1)(c)
		}}, fault.ServiceUntrusted},
		{"an expired certificate without the pin is not trusted", setup{leaf: year(-2, -1), change: func(c *client.Config) {
			c.Pins = []string{pin(stranger.cert)}
		}}, fault.ServiceUntrusted},
		{"a certificate of another host is not trusted", setup{leaf: otherHost}, fault.ServiceUntrusted},
		{"a wrong pin is not trusted", setup{change: func(c *client.Config) { c.Pins = []string{pin(stranger.cert)} }}, fault.ServiceUntrusted},
		{"a client's certificate is not trusted as a server's", setup{leaf: func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}}, fault.ServiceUntrusted},
		{"a server of TLS 1.2 alone is not trusted", setup{tls: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }}, fault.ServiceUntrusted},
		{"a device whose clock stands at its making finds the clock wrong", setup{change: func(c *client.Config) {
			c.Now = func() time.Time { return time.Unix(0, 0) }
		}}, fault.ClockWrong},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.setup)
			w.handle = step(nil)
			if err := w.begin(); fault.CodeOf(err) != c.want {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if c.want != "" && len(w.requests()) != 0 {
				t.Fatal("something was sent before the service was trusted")
			}
		})
	}
}

func TestThePinOfTheAuthorityOrTheServicePasses(t *testing.T) {
	w := newWorld(t, setup{})
	w.handle = step(nil)
	for _, cert := range []*x509.Certificate{w.ca.cert, w.server.Certificate()} {
		c := w.config
		c.Pins = []string{pin(newAuthority(t).cert), pin(cert)}
		w.client = w.connect(c)
		must(t, w.begin())
	}
}

// listener answers every connection with do and closes it.
func listener(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			do(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "https://" + l.Addr().String()
}

func refused(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return "https://" + l.Addr().String()
}

func TestANetworkThatDoesNotCarryIsToldApart(t *testing.T) {
	hello := func(c net.Conn) { _, _ = c.Read(make([]byte, 16<<10)) }
	for _, c := range []struct {
		name string
		url  func(*testing.T) string
		want fault.Code
	}{
		{"a refused connection is the service's being down", refused, fault.ServiceUnavailable},
		{"a name that does not resolve is the network's", func(*testing.T) string { return "https://service.invalid" }, fault.NetworkUnavailable},
		{"no route is the network's", func(*testing.T) string { return "https://[100::1]" }, fault.NetworkUnavailable},
		{"a page in plain text on the port is a login page", func(t *testing.T) string {
			return listener(t, func(c net.Conn) {
				hello(c)
				_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n")
			})
		}, fault.CaptivePortal},
		{"another protocol on the port is not trusted", func(t *testing.T) string {
			return listener(t, func(c net.Conn) {
				hello(c)
				_, _ = io.WriteString(c, "220 mail.example ESMTP ready\r\n")
			})
		}, fault.ServiceUntrusted},
		{"a connection cut in the handshake is the service's being down", func(t *testing.T) string { return listener(t, hello) }, fault.ServiceUnavailable},
		{"a connection reset in the handshake is the service's being down", func(t *testing.T) string {
			return listener(t, func(c net.Conn) {
				hello(c)
				_ = c.(*net.TCPConn).SetLinger(0)
			})
		}, fault.ServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, setup{})
			cfg := w.config
			cfg.URL = c.url(t)
			w.client = w.connect(cfg)
			if err := w.begin(); fault.CodeOf(err) != c.want {
				t.Fatalf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestASilentPeerEndsInTime(t *testing.T) {
	stop := make(chan struct{})
	w := newWorld(t, setup{})
	cfg := w.config
	cfg.URL = listener(t, func(net.Conn) { <-stop })
	w.client = w.connect(cfg)
	w.client.Hurry(200 * time.Millisecond)
	defer close(stop)
	if err := w.begin(); fault.CodeOf(err) != fault.ServiceUnavailable {
		t.Fatal(err)
	}
}

func TestALoginPageIsFoundByAskingInPlainText(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   fault.Code
	}{
		{"a redirect to another host is a login page", redirect("http://login.example/"), fault.CaptivePortal},
		{"status 511 is a login page", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNetworkAuthenticationRequired) }, fault.CaptivePortal},
		{"the service's own redirect to https is none", redirect("https://127.0.0.1/"), fault.ServiceUnavailable},
		{"a page of a host that has one is none", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>It works!") }, fault.ServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				if len(r.Header.Values("Authorization"))+len(r.Cookies()) > 0 || r.Method != http.MethodGet || r.ContentLength > 0 {
					t.Errorf("the question holds more than it should: %v", r.Header)
				}
				c.answer(w, r)
			}))
			defer plain.Close()
			w := newWorld(t, setup{})
			cfg := w.config
			cfg.URL, cfg.PortalURL = refused(t), plain.URL
			w.client = w.connect(cfg)
			if err := w.begin(); fault.CodeOf(err) != c.want || asked != 1 {
				t.Fatalf("got %v after asking %d times, want %s", err, asked, c.want)
			}
		})
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func TestACallerWhoLeavesIsNotTheService(t *testing.T) {
	w := newWorld(t, setup{})
	ctx, cancel := context.WithCancel(t.Context())
	w.handle = func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // an empty answer could overtake the leaving
	}
	_, err := w.client.Begin(ctx, w.creds, flow.Begin{Kind: "unlock", Nonce: nonce})
	if fault.CodeOf(err) != fault.Timeout || !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	w := newWorld(t, setup{})
	for name, change := range map[string]func(*client.Config){
		"plain HTTP":        func(c *client.Config) { c.URL = "http://service.example" },
		"no host":           func(c *client.Config) { c.URL = "https://" },
		"a user in the URL": func(c *client.Config) { c.URL = "https://me:secret@service.example" },
		"no CA file":        func(c *client.Config) { c.CAFile = "/nonexistent" },
		"a CA file without": func(c *client.Config) { c.CAFile = w.config.KeySetFile },
		"a folder as CA":    func(c *client.Config) { c.CAFile = t.TempDir() },
		"a short pin":       func(c *client.Config) { c.Pins = []string{"sha256/AAAA"} },
		"an unknown pin":    func(c *client.Config) { c.Pins = []string{"md5/AAAA"} },
		"no key set":        func(c *client.Config) { c.KeySetFile = "" },
		"a CA as key set":   func(c *client.Config) { c.KeySetFile = w.config.CAFile },
		"a set without key": func(c *client.Config) { c.KeySetFile = w.keySetFile(1) },
		"a set number 0":    func(c *client.Config) { c.KeySetFile = w.keySetFile(0, w.key) },
	} {
		t.Run(name, func(t *testing.T) {
			c := w.config
			change(&c)
			if _, err := client.New(c); err == nil {
				t.Fatal("it was taken")
			} else if len(fmt.Sprint(err)) > 500 {
				t.Fatalf("%d bytes of error", len(err.Error()))
			}
		})
	}
}
