// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/diagnose"
)

// trail remembers how far a call came: net/http gives up on a connection that is
// being made without saying where it stood.
type trail struct {
	mu        sync.Mutex
	stage     diagnose.Stage
	addresses []netip.Addr
}

type trailKey struct{}

// maxTried bounds the addresses that are remembered.
const maxTried = 8

func newTrail(ctx context.Context) (context.Context, *trail) {
	t := &trail{}
	return context.WithValue(ctx, trailKey{}, t), t
}

// trailOf returns the trail of a call; a call without one leaves none.
func trailOf(ctx context.Context) *trail {
	if t, ok := ctx.Value(trailKey{}).(*trail); ok {
		return t
	}
	return &trail{}
}

func (t *trail) reach(s diagnose.Stage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stage = s
}

// tried is net.Dialer's Control: a connection to an address is about to be made.
func (t *trail) tried(address string) {
	a, err := netip.ParseAddrPort(address)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stage = diagnose.Connect
	if err == nil && len(t.addresses) < maxTried && !slices.Contains(t.addresses, a.Addr()) {
		t.addresses = append(t.addresses, a.Addr())
	}
}

func (t *trail) read() (diagnose.Stage, []netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stage, slices.Clone(t.addresses)
}

// callError is the error of a call that got no answer, with how far it came.
type callError struct {
	err       error
	stage     diagnose.Stage
	addresses []netip.Addr
}

// Error implements error.
func (e *callError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *callError) Unwrap() error { return e.err }

// statusError is the error of an answer that is neither the expected one nor a problem
// of the account API.
type statusError struct {
	status, size int
	failure      diagnose.Failure
}

// Error implements error.
func (e *statusError) Error() string {
	return "the account service's answer is not what the API promises: " + string(e.failure)
}

// attempt reads from an error what became of a call.
func attempt(err error, host string) diagnose.Attempt {
	a := diagnose.Attempt{Host: host, Stage: diagnose.Answer}
	var (
		call   *callError
		shake  *handshakeError
		dns    *net.DNSError
		status *statusError
	)
	if errors.As(err, &call) {
		a.Stage, a.Addresses = call.stage, call.addresses
	}
	switch {
	case errors.As(err, &shake):
		a.Stage = diagnose.Handshake
		a.Failure, a.From, a.To, a.Issuer, a.HTTP = shake.failure, shake.from, shake.to, shake.issuer, shake.plain
		return a
	case errors.As(err, &status):
		a.Stage, a.Failure, a.Status = diagnose.Answer, status.failure, status.status
		return a
	case errors.As(err, &dns):
		a.Stage, a.Failure = diagnose.Resolve, diagnose.ServerFailed
		if dns.IsNotFound {
			a.Failure = diagnose.NoSuchName
		}
		if dns.IsTimeout {
			a.Failure = diagnose.TimedOut
		}
		return a
	}
	a.Failure = failureOf(err)
	return a
}

// failureOf sorts the errors that any stage may have.
func failureOf(err error) diagnose.Failure {
	var (
		slow   net.Error
		syntax *json.SyntaxError
	)
	switch {
	case errors.Is(err, accountapi.ErrUntrusted), errors.Is(err, accountapi.ErrUnknownKey):
		return diagnose.BadSignature
	case errors.Is(err, errTooLarge):
		return diagnose.TooLarge
	case errors.Is(err, syscall.ECONNREFUSED):
		return diagnose.Refused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETDOWN),
		errors.Is(err, syscall.EHOSTDOWN), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return diagnose.Unreachable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return diagnose.TimedOut
	case errors.As(err, &syntax):
		return diagnose.Garbled
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, net.ErrClosed):
		return diagnose.Cut
	default:
		return diagnose.Garbled
	}
}

// handshakeError is the error of a connection that was made and then failed to
// become TLS with the account service.
type handshakeError struct {
	err     error
	failure diagnose.Failure
	// from and to are when the certificates are good, issuer who signed the first.
	from, to time.Time
	issuer   string
	// plain is what came in plain HTTP instead of TLS.
	plain diagnose.Plain
}

// Error implements error.
func (e *handshakeError) Error() string { return "cannot agree on TLS: " + e.err.Error() }

// Unwrap returns the cause.
func (e *handshakeError) Unwrap() error { return e.err }

// shaken says why a handshake failed. raw is the connection, read as far as TLS
// has.
func (d *dialer) shaken(err error, host string, raw *recorded) *handshakeError {
	e := &handshakeError{err: err}
	var (
		record tls.RecordHeaderError
		verify *tls.CertificateVerificationError
		alert  tls.AlertError
	)
	if errors.As(err, &verify) && len(verify.UnverifiedCertificates) > 0 {
		e.from, e.to, e.issuer = validity(verify.UnverifiedCertificates)
	}
	switch {
	case errors.Is(err, errPin):
		e.failure = diagnose.OtherPin
	case errors.As(err, &verify):
		e.failure = d.certificate(err, host)
	case errors.As(err, &record):
		e.failure = diagnose.OtherProtocol
		if p, ok := raw.http(host); ok {
			e.failure, e.plain = diagnose.PlainHTTP, p
		}
	case errors.As(err, &alert):
		e.failure = diagnose.NoTLS13
	default:
		if e.failure = failureOf(err); e.failure == diagnose.Garbled {
			e.failure = diagnose.NoTLS13
		}
	}
	return e
}

// certificate says what is wrong with a certificate that was not accepted.
func (d *dialer) certificate(err error, host string) diagnose.Failure {
	var (
		verify    *tls.CertificateVerificationError
		invalid   x509.CertificateInvalidError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
	)
	errors.As(err, &verify)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		// A stranger's expired certificate is a stranger's.
		chains, terr := d.timeless(verify.UnverifiedCertificates, host)
		switch {
		case terr != nil:
			return d.certificate(&tls.CertificateVerificationError{Err: terr, UnverifiedCertificates: verify.UnverifiedCertificates}, host)
		case d.pinned(chains) != nil:
			return diagnose.OtherPin
		}
		return diagnose.Dates
	case errors.As(err, &authority):
		return diagnose.Authority
	case errors.As(err, &name):
		return diagnose.OtherHost
	default:
		return diagnose.OtherCertificate
	}
}

// validity is when all of the certificates are good, and who signed the first.
func validity(certs []*x509.Certificate) (from, to time.Time, issuer string) {
	from, to = certs[0].NotBefore, certs[0].NotAfter
	for _, c := range certs[1:] {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
		if c.NotAfter.Before(to) {
			to = c.NotAfter
		}
	}
	issuer = certs[0].Issuer.CommonName
	if issuer == "" && len(certs[0].Issuer.Organization) > 0 {
		issuer = certs[0].Issuer.Organization[0]
	}
	return from, to, issuer
}

const (
	// maxHead bounds, in bytes, the head of an answer in plain HTTP.
	maxHead = 4 << 10
	// headTime is how long the rest of such a head is waited for.
	headTime = 300 * time.Millisecond
)

// recorded is a connection that keeps the first bytes that it reads.
type recorded struct {
	net.Conn

	head []byte
}

// Read implements io.Reader.
func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if room := maxHead - len(r.head); room > 0 {
		r.head = append(r.head, p[:min(n, room)]...)
	}
	return n, err
}

// http reads what came as an answer in plain HTTP.
func (r *recorded) http(host string) (diagnose.Plain, bool) {
	if !bytes.HasPrefix(r.head, []byte("HTTP/")) {
		return diagnose.Plain{}, false
	}
	_ = r.SetReadDeadline(time.Now().Add(headTime))
	for buf := make([]byte, 1<<10); len(r.head) < maxHead && !bytes.Contains(r.head, []byte("\r\n\r\n")); {
		if _, err := r.Read(buf); err != nil {
			break
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(r.head)), nil)
	if err != nil {
		return diagnose.Plain{}, true
	}
	defer resp.Body.Close()
	return plain(resp, host), true
}
