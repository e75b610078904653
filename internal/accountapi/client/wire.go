// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/flow"
)

// undatedKey marks, in its context, a call that the dates of certificates do not keep
// back. State alone sets it.
type undatedKey struct{}

func withoutDates(ctx context.Context) context.Context {
	return context.WithValue(ctx, undatedKey{}, true)
}

// way returns the connections that a call may take.
func (c *Client) way(ctx context.Context) *http.Client {
	if ctx.Value(undatedKey{}) != nil {
		return c.undated
	}
	return c.http
}

// onDates reports whether a call failed on the dates of certificates alone.
func onDates(err error) bool {
	var shake *handshakeError
	return errors.As(err, &shake) && shake.failure == diagnose.Dates
}

// credsKey carries the credentials of a signed call in its context.
type credsKey struct{}

type signer struct {
	key   crypto.Signer
	keyID string
}

var errUnsigned = errors.New("cannot sign a call without the device's key")

// with returns ctx with the key that its calls are signed by.
func with(ctx context.Context, c flow.Credentials) context.Context {
	if c.Key == nil {
		return ctx // and the call is refused: errUnsigned
	}
	return context.WithValue(ctx, credsKey{}, signer{key: c.Key, keyID: accountapi.Thumbprint(c.Key.Public())})
}

// maxDenied is how often a 401 with a fresh nonce is signed anew. The first call
// of a process has no nonce, and one that it had may have run out.
const maxDenied = 2

// signed sends a request under the device's key. The server's nonce is taken
// from its last answer; where it has expired, or there was none yet, the 401 brings
// one. A connection that breaks before an answer is tried once more under the same
// Idempotency-Key, so that a lost answer is not a lost consent.
func (c *Client) signed(req *http.Request, s signer) (*http.Response, error) {
	b, err := drain(req)
	if err != nil {
		return nil, err
	}
	// Passwords and codes are in it.
	defer b.wipe()
	denied, broken := 0, false
	for {
		var reused bool
		trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
		again := req.Clone(httptrace.WithClientTrace(req.Context(), trace))
		b.into(again)
		if err := accountapi.SignRequest(again, b.bytes, s.key, s.keyID, c.takeNonce()); err != nil {
			return nil, err
		}
		resp, err := c.way(req.Context()).Do(again) //nolint:gosec // the configuration names the host, and redirects are not followed
		if err != nil {
			if !broken && connectionBroke(err, reused) {
				broken = true
				// What broke one connection may have broken the others that wait.
				c.way(req.Context()).CloseIdleConnections()
				continue
			}
			return nil, err
		}
		nonce := nonceOf(resp)
		c.putNonce(nonce)
		if resp.StatusCode != http.StatusUnauthorized || denied >= maxDenied || nonce == "" {
			return resp, nil
		}
		denied++
		// Read to its end, so that the connection serves again.
		_, _ = io.CopyN(io.Discard, resp.Body, maxBody)
		_ = resp.Body.Close()
	}
}

// body is what a call sends, kept to be sent again and to be wiped.
type body struct {
	mu    sync.Mutex
	bytes []byte
	gone  bool
}

// drain takes the request's body over. What it was in is wiped: bytes.Reader, in
// which the generated client puts it, hands its own bytes to Write.
func drain(req *http.Request) (*body, error) {
	b := &body{}
	if req.Body == nil {
		return b, nil
	}
	_, err := io.Copy(b, req.Body)
	_ = req.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot read the request's own body: %w", err)
	}
	return b, nil
}

// Write takes p over and wipes it.
func (b *body) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p...)
	clear(p)
	return len(p), nil
}

// into makes b the body of a request. The request cannot be repeated by
// net/http behind our back: it has no GetBody.
func (b *body) into(req *http.Request) {
	req.GetBody, req.ContentLength = nil, int64(len(b.bytes))
	req.Body = http.NoBody
	if len(b.bytes) > 0 {
		req.Body = &bodyReader{of: b}
	}
}

// wipe overwrites the bytes. net/http may still be sending them when an answer
// came early: it then finds nothing more.
func (b *body) wipe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.bytes)
	b.gone = true
}

type bodyReader struct {
	of *body
	at int
}

// Read implements io.Reader.
func (r *bodyReader) Read(p []byte) (int, error) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if r.at == len(r.of.bytes) {
		return 0, io.EOF
	}
	if r.of.gone {
		return 0, errWiped
	}
	n := copy(p, r.of.bytes[r.at:])
	r.at += n
	return n, nil
}

// Close implements io.Closer.
func (r *bodyReader) Close() error { return nil }

var errWiped = errors.New("the call is over, and its body wiped")

// connectionBroke reports whether a call may have been lost with its
// connection: it was cut before an answer, or had been idle for too long.
func connectionBroke(err error, reused bool) bool {
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() || errors.Is(err, context.Canceled) {
		return false
	}
	var shake *handshakeError
	if errors.As(err, &shake) {
		return false
	}
	return reused || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (c *Client) takeNonce() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nonce
	c.nonce = ""
	if n == "" {
		return "none"
	}
	return n
}

// maxNonce bounds, in bytes, what is taken for a nonce.
const maxNonce = 256

// nonceOf is what an answer brings to sign the next request with; empty is nothing that
// could be.
func nonceOf(r *http.Response) string {
	if n := r.Header.Get(accountapi.HeaderNonce); len(n) <= maxNonce {
		return n
	}
	return ""
}

func (c *Client) putNonce(n string) {
	if n == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nonce = n
}

// Do implements accountapi.HttpRequestDoer: the generated client's way out. It
// signs, repeats, and bounds the time and the size of what comes back.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), c.callTime)
	ctx, on := newTrail(ctx)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { on.reach(diagnose.Answer) }})
	resp, err := c.send(req.WithContext(ctx))
	if err != nil {
		cancel()
		e := &callError{err: err}
		e.stage, e.addresses = on.read()
		return nil, e
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// What follows is no answer but the connection itself, which net/http lets
		// nobody's deadline reach any more: reading it could last for ever.
		_ = resp.Body.Close()
		resp.Body = http.NoBody
	}
	resp.Body = &limited{ReadCloser: resp.Body, left: maxBody, ctx: ctx, done: cancel}
	return resp, nil
}

func (c *Client) send(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet {
		return c.way(req.Context()).Do(req) //nolint:gosec // as in signed
	}
	s, ok := req.Context().Value(credsKey{}).(signer)
	if !ok {
		return nil, errUnsigned
	}
	return c.signed(req, s)
}

var errTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxBody)

// limited is a body of at most left bytes.
type limited struct {
	io.ReadCloser
	left int
	// ctx is the call's: when it ends, so does the connection, and no error says why.
	ctx  context.Context //nolint:containedctx // the body is part of the call
	done context.CancelFunc
}

// Read fails, rather than ends, beyond the bound: a cut answer is not an answer.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p[:min(len(p), l.left+1)])
	if n > l.left {
		return l.left, errTooLarge
	}
	l.left -= n
	if err != nil && !errors.Is(err, io.EOF) && l.ctx.Err() != nil {
		return n, l.ctx.Err()
	}
	return n, err
}

// Close also ends the call's time.
func (l *limited) Close() error {
	defer l.done()
	return l.ReadCloser.Close()
}

func newKey() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // crypto/rand never fails (Go 1.24)
	return base64.RawURLEncoding.EncodeToString(b)
}

func retryAfter(h http.Header) time.Duration {
	s, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return time.Duration(min(s, 72*3600)) * time.Second
}
