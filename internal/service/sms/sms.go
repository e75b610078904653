// SPDX-License-Identifier: Apache-2.0

// Package sms hands SMS over to a gateway by one HTTP request each. Gateways
// differ in everything, so address, headers and body are templates of the
// configuration; each request can be signed.
//
// It must not know why an SMS is sent, nor try one twice: internal/service/delivery
// does.
package sms

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
)

// The headers of every request: the message's name, by which a gateway drops a
// repetition; and, where there is a key, its time and signature.
const (
	HeaderKey       = "Idempotency-Key"
	HeaderTime      = "Accountlock-Timestamp"
	HeaderSignature = "Accountlock-Signature"
)

const (
	// maxRequest bounds, in bytes, an address, a header and a body.
	maxRequest = 64 << 10
	// maxAnswer bounds what is read of an answer; its text is not used.
	maxAnswer = 64 << 10
	// maxPause bounds the Retry-After that a gateway may ask for.
	maxPause = time.Hour
)

// Config says how to ask the gateway. URL, Body and Timeout must be given.
type Config struct {
	// URL, Headers and Body are templates (text/template) over To (E.164), Text, ID and
	// Token, with the functions json, query (form and query escaping) and path. In URL
	// each value has to be escaped by query or path.
	URL, Body string
	Headers   map[string]string
	// Method is POST by default; ContentType application/json.
	Method, ContentType string
	// Token is put where the templates say; Key signs: HMAC-SHA-256 over timestamp,
	// a full stop and the body, in hexadecimal.
	Token, Key secret.Bytes
	// Roots verify the gateway; nil is the system's.
	Roots *x509.CertPool
	// Timeout bounds one request.
	Timeout time.Duration
	// Now is the time; time.Now by default.
	Now func() time.Time
}

// Sender hands SMS over. It is safe for concurrent use.
type Sender struct {
	cfg       Config
	url, body *template.Template
	headers   map[string]*template.Template
	client    *http.Client
}

// values is what the templates see.
type values struct{ To, Text, ID, Token string }

var functions = template.FuncMap{
	"json": func(s string) (string, error) {
		b, err := json.Marshal(s)
		return string(b), err
	},
	"query": url.QueryEscape,
	"path":  url.PathEscape,
}

// New checks the configuration: every template is tried. It does not ask the
// gateway.
func New(cfg Config) (*Sender, error) {
	if cfg.Method == "" {
		cfg.Method = http.MethodPost
	}
	if cfg.ContentType == "" {
		cfg.ContentType = "application/json"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Sender{cfg: cfg, headers: map[string]*template.Template{}}
	var err error
	if s.url, err = parse("url", cfg.URL); err != nil {
		return nil, err
	}
	if s.body, err = parse("body", cfg.Body); err != nil {
		return nil, err
	}
	for name, text := range cfg.Headers {
		if s.headers[name], err = parse(name, text); err != nil {
			return nil, err
		}
	}
	if _, err := s.request(context.Background(), "id", account.Message{To: "+10000000000", Text: "text"}); err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     time.Minute,
	}
	s.client = &http.Client{
		Transport: transport, Timeout: cfg.Timeout,
		// Codes and the token go to no other place than the configured one.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

func parse(name, text string) (*template.Template, error) {
	t, err := template.New(name).Funcs(functions).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("cannot use the template of the SMS gateway's %s: %w", name, err)
	}
	return t, nil
}

// Carry hands one message over, named id. Errors are as those of mail's Carry:
// none repeats the number or the text; one of type *backoff.PermanentError is not
// worth another try, and one of type *backoff.RetryAfterError says when to.
func (s *Sender) Carry(ctx context.Context, id string, m account.Message) error {
	r, err := s.request(ctx, id, m)
	if err != nil {
		return backoff.Permanent(err)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		// What net/http says repeats the address, and with it the number.
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("cannot reach the SMS gateway: %w", err)
	}
	defer resp.Body.Close()
	// Read to its end, so that the connection serves the next one; what it says is
	// not looked at.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return outcome(resp)
}

func outcome(resp *http.Response) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	err := fmt.Errorf("the SMS gateway refused a message with status %d", resp.StatusCode)
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if s, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && s > 0 {
			return backoff.RetryAfter(min(s, int(maxPause.Seconds())))
		}
		return err
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly,
		// A wrong token is the operator's mistake: the message waits for its end.
		http.StatusUnauthorized, http.StatusForbidden:
		return err
	}
	if resp.StatusCode/100 == 4 {
		return backoff.Permanent(err)
	}
	return err
}

func (s *Sender) request(ctx context.Context, id string, m account.Message) (*http.Request, error) {
	v := values{To: m.To, Text: m.Text, ID: id, Token: string(s.cfg.Token.Reveal())}
	address, err := fill(s.url, v)
	if err != nil {
		return nil, err
	}
	body, err := fill(s.body, v)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, s.cfg.Method, address, strings.NewReader(body))
	if err != nil {
		return nil, errors.New("cannot ask the SMS gateway: the filled-in url is none")
	}
	r.Header.Set("Content-Type", s.cfg.ContentType)
	r.Header.Set(HeaderKey, id)
	for name, t := range s.headers {
		value, err := fill(t, v)
		if err != nil {
			return nil, err
		}
		r.Header.Set(name, value)
	}
	if len(s.cfg.Key) > 0 {
		stamp := strconv.FormatInt(s.cfg.Now().Unix(), 10)
		r.Header.Set(HeaderTime, stamp)
		r.Header.Set(HeaderSignature, Sign(s.cfg.Key, stamp, []byte(body)))
	}
	return r, nil
}

// Sign returns the signature of a request.
func Sign(key secret.Bytes, timestamp string, body []byte) string {
	h := hmac.New(sha256.New, key.Reveal())
	h.Write([]byte(timestamp + "."))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

func fill(t *template.Template, v values) (string, error) {
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return "", fmt.Errorf("cannot fill in the SMS gateway's %s", t.Name())
	}
	if b.Len() > maxRequest {
		return "", fmt.Errorf("the SMS gateway's %s is longer than %d bytes", t.Name(), maxRequest)
	}
	return b.String(), nil
}
