// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/flow"
)

// with returns ctx with the key that its calls are signed by.
func with(ctx context.Context, c flow.Credentials) context.Context {
	pub, ok := c.Key.Public().(ed25519.PublicKey)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, credsKey{}, signer{key: c.Key, keyID: accountapi.Thumbprint(pub)})
}

// signed sends a request under the device's key. The server's nonce is taken
// from its last answer; where it has expired, or there was none yet, the 401 brings
// one. A connection that breaks is tried once more under the same
// Idempotency-Key, so that a lost answer is not a lost consent.
func (c *Client) signed(req *http.Request, s signer) (*http.Response, error) {
	body, err := drain(req)
	if err != nil {
		return nil, err
	}
	// Passwords and codes are in it.
	defer clear(body)
	broken := false
	for tries := 0; ; tries++ {
		again := req.Clone(req.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		again.ContentLength = int64(len(body))
		if err := accountapi.SignRequest(again, body, s.key, s.keyID, c.takeNonce()); err != nil {
			return nil, err
		}
		resp, err := c.bounded(again)
		if err != nil {
			if !broken && connectionBroke(err) {
				broken = true
				continue
			}
			return nil, err
		}
		c.putNonce(resp.Header.Get(accountapi.HeaderNonce))
		if resp.StatusCode != http.StatusUnauthorized || tries >= 2 || resp.Header.Get(accountapi.HeaderNonce) == "" {
			return resp, nil
		}
		_ = resp.Body.Close()
	}
}

func drain(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(req.Body)
	_ = req.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot read the request's own body: %w", err)
	}
	return body, nil
}

func connectionBroke(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
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

func (c *Client) putNonce(n string) {
	if n == "" || len(n) > 256 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nonce = n
}

// bounded sends a request and bounds the size of what comes back.
func (c *Client) bounded(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &limited{ReadCloser: resp.Body, left: maxBody}
	return resp, nil
}

var errTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxBody)

type limited struct {
	io.ReadCloser
	left int
}

// Read fails, rather than ends, at the bound: a cut answer is not an answer.
func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooLarge
	}
	n, err := l.ReadCloser.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
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
