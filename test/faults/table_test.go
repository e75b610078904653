// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/test/bus"
)

// row is one fault, and what must be said of it.
type row struct {
	name string
	// fault makes it; heal takes it away again.
	fault func(*rig)
	want  diagnose.Cause
	// says stands in the sentences besides.
	says string
	// slow: the fault takes seconds to show, so that the row gets a device of its own.
	slow bool
}

// hello reads a client's first message.
func hello(c net.Conn) { _, _ = c.Read(make([]byte, 16<<10)) }

// raw is a front that speaks to a connection before TLS.
func raw(do func(net.Conn)) func(*rig) {
	return func(r *rig) { r.front.become(mode{raw: do}) }
}

// says is a raw front that answers the first message with a text.
func says(text string) func(*rig) {
	return raw(func(c net.Conn) {
		hello(c)
		_, _ = io.WriteString(c, text)
	})
}

// held keeps a connection open until its client or the test leaves.
func held(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// answers is a front that answers every request by h.
func answers(h http.Handler) func(*rig) {
	return func(r *rig) { r.front.become(mode{tls: r.tls(), handle: h}) }
}

// shows is a front with another certificate.
func shows(change ...func(*x509.Certificate)) func(*rig) {
	return func(r *rig) {
		m := r.honest()
		m.tls.Certificates = []tls.Certificate{r.leaf(change...)}
		r.front.become(m)
	}
}

// poison is a toxic of toxiproxy.
func poison(name string, attributes map[string]any) func(*rig) {
	return func(r *rig) {
		r.proxy.Stop() // and with it every connection from before
		must(r.T, r.proxy.Start())
		r.toxic(name, attributes)
	}
}

// request reads a whole request.
func request(c net.Conn) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

// frame is an HTTP/2 frame (RFC 9113, 4.1).
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	out := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(out, stream), payload...)
}

// overTLS is a front that speaks its own protocol once TLS is agreed on.
func overTLS(do func(*tls.Conn)) func(*rig) {
	return func(r *rig) {
		cfg := r.tls()
		r.front.become(mode{raw: func(c net.Conn) {
			s := tls.Server(c, cfg)
			if s.Handshake() == nil {
				do(s)
			}
		}})
	}
}

const okHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

func rows() []row {
	stranger := func(r *rig) {
		m := r.honest()
		m.tls.Certificates = []tls.Certificate{newAuthority(r.T).leaf(r.T, nil)}
		r.front.become(m)
	}
	selfSigned := func(r *rig) {
		m := r.honest()
		m.tls.Certificates = []tls.Certificate{apitest.Certificate(r.T)}
		r.front.become(m)
	}
	return []row{
		// The connection.
		{name: "a refused connection", fault: func(r *rig) { r.proxy.Stop() }, want: diagnose.ServiceRefused},
		{name: "a reset at once", fault: poison("reset_peer", map[string]any{"timeout": 0}), want: diagnose.ServiceCut},
		{name: "a reset within an answer", fault: answers(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(c, okHead+"Content-Length: 500\r\n\r\n{\"flow_id\":")
				_ = c.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			}
		})), want: diagnose.ServiceCut},
		{name: "an answer cut short by the way", fault: poison("limit_data", map[string]any{"bytes": 2500}), want: diagnose.ServiceCut},
		{name: "a connection closed without a word", fault: raw(func(net.Conn) {}), want: diagnose.ServiceCut},
		{name: "a connection closed after the greeting", fault: raw(hello), want: diagnose.ServiceCut},
		{name: "a way that swallows everything", fault: poison("timeout", map[string]any{"timeout": 0}), want: diagnose.ServiceSilent, slow: true},
		{name: "a peer that never speaks", fault: raw(held), want: diagnose.ServiceSilent, slow: true},

		// TLS.
		{name: "a stranger's certificate", fault: stranger, want: diagnose.CertAuthority},
		{name: "a self-signed certificate", fault: selfSigned, want: diagnose.CertAuthority},
		{name: "another host's certificate", fault: shows(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"login.example"} }), want: diagnose.CertHost},
		{name: "a client's certificate", fault: shows(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), want: diagnose.CertOther},
		{name: "a stranger's certificate that has expired", fault: func(r *rig) {
			m := r.honest()
			m.tls.Certificates = []tls.Certificate{newAuthority(r.T).leaf(r.T, nil, expired)}
			r.front.become(m)
		}, want: diagnose.CertAuthority},
		{name: "a certificate that has expired by the service's own time", fault: shows(expired), want: diagnose.CertDates},
		{name: "a certificate not valid yet by the service's own time", fault: shows(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(1, 0, 0), time.Now().AddDate(2, 0, 0)
		}), want: diagnose.CertDates},
		{name: "TLS 1.2 alone", fault: func(r *rig) {
			m := r.honest()
			m.tls.MinVersion, m.tls.MaxVersion = 0, tls.VersionTLS12
			r.front.become(m)
		}, want: diagnose.TLSRefused},
		{name: "a mail server", fault: says("220 mail.example ESMTP ready\r\n"), want: diagnose.NotTLS},
		{name: "plain HTTP that is no page", fault: says("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), want: diagnose.NotTLS},

		// What stands between.
		{name: "a login page in place of TLS", fault: says("HTTP/1.1 302 Found\r\nLocation: http://login.example/hotel\r\nContent-Length: 0\r\n\r\n"), want: diagnose.LoginPage, says: "http://login.example/hotel"},
		{name: "status 511 in place of TLS", fault: says("HTTP/1.1 511 Network Authentication Required\r\nContent-Length: 0\r\n\r\n"), want: diagnose.LoginPage},
		{name: "a page in place of TLS", fault: says("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"), want: diagnose.LoginPage},
		{name: "a login page whose address is a trap", fault: says("HTTP/1.1 302 Found\r\nLocation: http://a@login.example/\r\nContent-Length: 0\r\n\r\n"), want: diagnose.LoginPage},
		{name: "a proxy that wants a password", fault: says("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"), want: diagnose.ProxyBetween},
		{name: "a squid", fault: says("HTTP/1.1 400 Bad Request\r\nX-Squid-Error: ERR_INVALID_REQ 0\r\nContent-Length: 0\r\n\r\n"), want: diagnose.ProxyBetween},

		// The answers.
		{name: "status 500 in HTML", fault: answers(always(500, "text/html", "<h1>oops")), want: diagnose.ServiceError},
		{name: "status 502 of a load balancer", fault: answers(always(502, "text/plain", "bad gateway")), want: diagnose.ServiceError},
		{name: "status 503 with a problem", fault: answers(problem(503, fault.ServiceUnavailable, map[string]any{"retry_after": 7})), want: diagnose.ServiceError, says: "7s"},
		{name: "status 429 of a load balancer", fault: answers(always(429, "text/plain", "slow down")), want: diagnose.ServiceError},
		{name: "a redirect", fault: answers(http.RedirectHandler("https://elsewhere.example/", http.StatusFound)), want: diagnose.ServiceElse},
		{name: "a permanent redirect to itself", fault: answers(http.RedirectHandler("/v1/flows", http.StatusPermanentRedirect)), want: diagnose.ServiceElse},
		{name: "a web site", fault: answers(always(404, "text/html", "<h1>not found")), want: diagnose.ServiceNotAPI},
		{name: "a page for everything, over the right TLS", fault: answers(always(200, "text/html", "<h1>welcome")), want: diagnose.ServiceGarbled},
		{name: "another version", fault: answers(problem(404, fault.ServiceUnavailable, map[string]any{"versions": []int{2, 3}})), want: diagnose.ServiceVersion},
		{name: "a step of another version", fault: answers(always(200, "application/json", `{"flow_id":"0123456789abcdef","step":"dance"}`)), want: diagnose.ServiceVersion},
		{name: "JSON of another type", fault: answers(always(200, "application/json", `[1,2,3]`)), want: diagnose.ServiceGarbled},
		{name: "fields of another type", fault: answers(always(200, "application/json", `{"flow_id":17,"step":{}}`)), want: diagnose.ServiceGarbled},
		{name: "JSON cut short", fault: answers(always(200, "application/json", `{"flow_id":"01234`)), want: diagnose.ServiceGarbled},
		{name: "a body cut short", fault: overTLS(func(c *tls.Conn) {
			request(c)
			_, _ = io.WriteString(c, okHead+"Content-Length: 5000\r\n\r\n{")
		}), want: diagnose.ServiceCut},
		{name: "JSON and something more", fault: answers(always(200, "application/json", `{"flow_id":"0123456789abcdef","step":"identify"} {}`)), want: diagnose.ServiceGarbled},
		{name: "JSON that is null", fault: answers(always(200, "application/json", "null")), want: diagnose.ServiceGarbled},
		{name: "JSON of another media type", fault: answers(always(200, "text/plain", `{"flow_id":"0123456789abcdef","step":"identify"}`)), want: diagnose.ServiceGarbled},
		{name: "JSON in another encoding", fault: answers(always(200, "application/json", "\xff\xfe{\x00}\x00")), want: diagnose.ServiceGarbled},
		{name: "a compressed body that nobody asked for", fault: answers(squeezed()), want: diagnose.ServiceGarbled},
		{name: "status 204 for everything", fault: answers(always(204, "", "")), want: diagnose.ServiceGarbled},
		{name: "a problem of a code that there is not", fault: answers(problem(403, "Nonsense", nil)), want: diagnose.ServiceNotAPI},
		{name: "status 401 without a nonce", fault: answers(problem(401, fault.NotAuthorized, nil)), want: diagnose.ServiceGarbled},
		{name: "an empty body", fault: answers(always(200, "application/json", "")), want: diagnose.ServiceGarbled},
		{name: "nothing but nesting", fault: answers(always(200, "application/json", strings.Repeat("[", 100_000))), want: diagnose.ServiceGarbled},
		{name: "a hundred megabytes", fault: answers(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			chunk := []byte(strings.Repeat(" ", 1<<20))
			for range 100 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		})), want: diagnose.ServiceTooLarge},
		{name: "a header without an end", fault: overTLS(func(c *tls.Conn) {
			request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for i := range 1 << 16 {
				if _, err := fmt.Fprintf(c, "X-%d: %s\r\n", i, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		}), want: diagnose.ServiceGarbled},
		{name: "HTTP/2 that nobody asked for", fault: overTLS(func(c *tls.Conn) {
			_, _ = c.Write(frame(4, 0, 0, nil))
			request(c)
			_, _ = c.Write(frame(7, 0, 0, make([]byte, 8)))
		}), want: diagnose.ServiceGarbled},
		{name: "HTTP/2 alone", fault: func(r *rig) {
			m := r.honest()
			m.tls.NextProtos = []string{"h2"}
			m.handle = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			r.front.become(m)
		}, want: diagnose.ServiceCut},
		{name: "a switch to HTTP/2", fault: overTLS(func(c *tls.Conn) {
			request(c)
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
			_, _ = c.Write(frame(4, 0, 0, nil))
			held(c)
		}), want: diagnose.ServiceNotAPI},
		{name: "HTTP/0.9", fault: overTLS(func(c *tls.Conn) {
			request(c)
			_, _ = io.WriteString(c, `{"flow_id":"0123456789abcdef","step":"identify"}`)
		}), want: diagnose.ServiceGarbled},
		{name: "a chunk of a length that is none", fault: overTLS(func(c *tls.Conn) {
			request(c)
			_, _ = io.WriteString(c, okHead+"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
		}), want: diagnose.ServiceGarbled},
		{name: "a length below zero", fault: overTLS(func(c *tls.Conn) {
			request(c)
			_, _ = io.WriteString(c, okHead+"Content-Length: -1\r\n\r\n{}")
		}), want: diagnose.ServiceGarbled},
		{name: "an endless row of 1xx", fault: overTLS(func(c *tls.Conn) {
			request(c)
			for range 1 << 20 {
				if _, err := io.WriteString(c, "HTTP/1.1 102 Processing\r\n\r\n"); err != nil {
					return
				}
			}
		}), want: diagnose.ServiceGarbled},
		{name: "two lengths", fault: overTLS(func(c *tls.Conn) {
			request(c)
			_, _ = io.WriteString(c, okHead+"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}")
		}), want: diagnose.ServiceGarbled},
		{name: "a service that thinks for ever", fault: answers(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })), want: diagnose.ServiceSlow, slow: true},
		{name: "a body that drips", fault: overTLS(func(c *tls.Conn) {
			request(c)
			_, _ = io.WriteString(c, okHead+"Content-Length: 5000\r\n\r\n")
			for {
				if _, err := io.WriteString(c, " "); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}), want: diagnose.ServiceSlow, slow: true},
		{name: "a way of twenty seconds", fault: poison("latency", map[string]any{"latency": 20_000}), want: diagnose.ServiceSilent, slow: true},
	}
}

// squeezed is a megabyte of zeros in a thousandth of that.
func squeezed() http.Handler {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(make([]byte, 1<<20))
	_ = z.Close()
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(b.Bytes())
	})
}

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().AddDate(-2, 0, 0), time.Now().AddDate(-1, 0, 0)
}

// problem answers with a problem of the account API.
func problem(status int, code fault.Code, more map[string]any) http.Handler {
	return jsonOf(status, accountapi.ProblemMediaType, more, map[string]any{
		"type": accountapi.ProblemType + string(code), "title": "x", "status": status,
	})
}

func TestEachFaultIsToldAsWhatItIs(t *testing.T) {
	t.Parallel()
	var quick, slow []row
	for _, c := range rows() {
		if c.slow {
			slow = append(slow, c)
		} else {
			quick = append(quick, c)
		}
	}
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		for _, c := range slow {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				r.expect(t, c)
				r.heal()
				r.unlock()
			})
		}
	})
	t.Run("quick", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		for _, c := range quick {
			t.Run(c.name, func(t *testing.T) {
				r.expect(t, c)
				r.heal()
			})
		}
		// After all that the owner still gets in.
		r.unlock()
	})
}

func TestACertificateWithoutThePinIsNotTrusted(t *testing.T) {
	t.Parallel()
	good := newAuthority(t).leaf(t, nil) // its key alone matters
	r := newRig(t, func(r *rig) {
		cert, err := x509.ParseCertificate(good.Certificate[0])
		must(t, err)
		pin := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		r.pins = []string{"sha256/" + base64.StdEncoding.EncodeToString(pin[:])}
		r.key = good.PrivateKey
	})
	r.expect(t, row{name: "a certificate of the right authority without the pin", fault: func(r *rig) { r.key = nil; r.heal() }, want: diagnose.CertPin})
	r.key = good.PrivateKey
	r.heal()
	r.unlock()
}

func TestAMediumThatFailsKeepsNoOwnerOutAndIsNamed(t *testing.T) {
	t.Parallel()
	bus.NeedRoot(t, "a read-only mount")
	r := newRig(t)
	r.StopDaemon()
	r.Launch = func(c *exec.Cmd) *bus.Process {
		read := exec.Command("unshare", append([]string{"-m", "sh", "-ec",
			`mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"; shift; exec "$@"`, "sh", r.Path("kept"), c.Path}, c.Args[1:]...)...)
		return r.Bus.StartProcess(t, read)
	}
	r.StartDaemon()
	r.wantState("locked")
	f := r.begin("Unlock")
	f.submit("identifier", "")
	start := time.Now()
	f.submit("password", []byte(r.service.Owner.Password))
	measured("a record store that cannot be written", diagnose.Cause(fault.StorageFailed), time.Since(start))
	if e := f.refusal(); e.Name != "StorageFailed" || e.Counted || !strings.Contains(e.Message, "open") || e.Remedy == "" {
		t.Errorf("got %+v", e)
	}
	r.wantState("linked")
	// It was not written down: the next start asks again.
	r.StopDaemon()
	r.StartDaemon()
	r.wantState("locked")
}

func TestTheEnvironmentNamesNoProxy(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(r *rig) {
		start := r.Launch
		r.Launch = func(c *exec.Cmd) *bus.Process {
			for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
				c.Env = append(c.Env, name+"=http://127.0.0.1:1")
			}
			return start(c)
		}
	})
	r.unlock()
}

// looks is how often a verdict may be asked for again. Whether something is in between
// is asked in plain text within a second or so (accountapi/client), which passes on a busy
// machine; what was not heard by then is not said.
func looks(want diagnose.Cause) int {
	if want == diagnose.LoginPage || want == diagnose.ProxyBetween {
		return 2
	}
	return 0
}

// expect makes the fault and compares what is said of it with what should be.
func (r *rig) expect(t *testing.T, c row) {
	t.Helper()
	c.fault(r)
	e, took := r.tryUnlock(r.service.Owner.Password)
	want := diagnose.Named(c.want)
	for range looks(c.want) {
		if e.Name == string(want.Code) {
			break
		}
		t.Logf("at first: %+v", e)
		e, took = r.tryUnlock(r.service.Owner.Password)
	}
	host, _, err := net.SplitHostPort(strings.TrimPrefix(r.url, "https://"))
	if err != nil {
		host = hostName
	}
	sentence := strings.ReplaceAll(want.Message, "HOST", host)
	remedy := strings.ReplaceAll(want.Remedy, "HOST", host)
	if c.says != "" || c.want == diagnose.LoginPage {
		remedy = e.Remedy // with this case's own figures
	}
	switch {
	case e.Name != string(want.Code) || !strings.HasPrefix(e.Message, sentence) || e.Remedy != remedy:
		t.Errorf("got %+v, want %s: %q %q", e, want.Code, sentence, remedy)
	case !strings.Contains(e.Message+e.Remedy, c.says):
		t.Errorf("%q is not in %+v", c.says, e)
	case e.Counted:
		t.Error("it counted as an attempt")
	case took > inTime:
		t.Errorf("the verdict took %v", took)
	}
	if state := r.get("State"); state != "locked" {
		t.Errorf("the device is %s", state)
	}
	measured(c.name, c.want, took)
}
