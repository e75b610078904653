// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

// exchange is one request with the right service's answer to it, which a mutant
// changes before it is sent.
type exchange struct {
	*mutant
	r    *http.Request
	sent []byte

	status int
	header http.Header
	body   []byte
}

// mutant is a server that answers as the reference service does, and then breaks
// one thing.
type mutant struct {
	t *testing.T
	s *apitest.Service
	// mu is held while one answer is changed.
	mu sync.Mutex
	// memory is what a mutant keeps between requests.
	memory map[string]string
	breaks func(*exchange)
}

// become makes the mutant another one.
func (m *mutant) become(breaks func(*exchange)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.memory, m.breaks = map[string]string{}, breaks
}

func (m *mutant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	length := r.ContentLength
	r.Body = io.NopCloser(bytes.NewReader(sent))
	r.ContentLength = length
	rec := httptest.NewRecorder()
	m.s.API.ServeHTTP(rec, r)
	x := &exchange{mutant: m, r: r, sent: sent, status: rec.Code, header: rec.Header(), body: rec.Body.Bytes()}
	m.mu.Lock()
	m.breaks(x)
	m.mu.Unlock()
	x.header.Del("Content-Length")
	for k, v := range x.header {
		w.Header()[k] = v
	}
	w.WriteHeader(x.status)
	_, _ = w.Write(x.body)
}

// asks reports whether the request's path ends so.
func (x *exchange) asks(suffix string) bool { return strings.HasSuffix(x.r.URL.Path, suffix) }

// kept returns what is remembered under a name, and remembers first if there is
// nothing yet.
func (x *exchange) kept(name, first string) (value string, known bool) {
	if v, ok := x.memory[name]; ok {
		return v, true
	}
	x.memory[name] = first
	return first, false
}

// code is that of the problem.
func (x *exchange) code() string {
	var p accountapi.Problem
	_ = json.Unmarshal(x.body, &p)
	return strings.TrimPrefix(p.Type, accountapi.ProblemType)
}

// member changes members of the JSON body; nil takes one away.
func (x *exchange) member(name string, value any) {
	v := map[string]any{}
	if json.Unmarshal(x.body, &v) != nil {
		return
	}
	v[name] = value
	if value == nil {
		delete(v, name)
	}
	x.body, _ = json.Marshal(v)
}

// has returns a member of the answer, or of what was sent.
func has(body []byte, name string) string {
	v := map[string]any{}
	_ = json.Unmarshal(body, &v)
	s, _ := v[name].(string)
	return s
}

// answer replaces the answer.
func (x *exchange) answer(status int, body any) {
	x.status = status
	x.body, _ = json.Marshal(body)
	x.header.Set("Content-Type", "application/json")
}

// accept answers what was refused, as who does not look does.
func (x *exchange) accept() {
	nonce, id := has(x.sent, "nonce"), strings.Split(x.r.URL.Path, "/")
	switch {
	case x.asks("/statement"):
		status := accountapi.ClaimsStatusUnlinked
		c := accountapi.Claims{Aud: id[3], Purpose: accountapi.ClaimsPurposeStatement, Status: &status, Nonce: &nonce, Jti: rand.Text()}
		c.Iat = x.s.Clock.Now().Unix()
		c.Exp = c.Iat + 60
		x.answer(200, accountapi.StatementResponse{Statement: x.sign(c, accountapi.TypeStatement)})
	case x.r.URL.Path == "/v1/devices":
		x.answer(200, accountapi.EnrolResponse{DeviceId: "0000-0000-0000", KeyStatus: accountapi.Active})
	case x.r.Method == http.MethodDelete || x.asks("/events"):
		x.status, x.body = http.StatusNoContent, nil
		x.header.Del("Content-Type")
	default:
		x.answer(200, accountapi.FlowStep{FlowId: "forged-flow-00001", Step: accountapi.Identify})
	}
}

func (m *mutant) sign(v any, typ string) string {
	token, err := m.s.Keys.Sign(v, typ)
	if err != nil {
		m.t.Error(err)
	}
	return token
}

// claims changes what a signed word in the answer says, and signs it anew.
func (x *exchange) claims(member string, change func(*accountapi.Claims)) {
	token := has(x.body, member)
	if token == "" {
		return
	}
	var c accountapi.Claims
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err := json.Unmarshal(payload, &c); err != nil {
		x.t.Error(err)
	}
	typ := accountapi.TypeGrant
	if member != "grant" {
		typ = accountapi.TypeStatement
	}
	change(&c)
	x.member(member, x.sign(c, typ))
}

// foreign signs by a key that is nobody's.
func foreign(v any, typ string) string {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	token, _ := accountapi.Sign(v, typ, key)
	return token
}

// inSignature returns a parameter of the request's signature.
func (x *exchange) inSignature(name string) string {
	_, v, _ := strings.Cut(x.r.Header.Get(accountapi.HeaderSignatureInput), name+`="`)
	v, _, _ = strings.Cut(v, `"`)
	return v
}

// digestFits reports whether the digest is the body's.
func (x *exchange) digestFits() bool {
	return x.r.Header.Get(accountapi.HeaderContentDigest) == accountapi.ContentDigest(x.sent)
}

// inStatement breaks what a statement says.
func inStatement(change func(*accountapi.Claims)) func(*exchange) {
	return func(x *exchange) {
		if x.asks("/statement") && x.status == 200 {
			x.claims("statement", change)
		}
	}
}

// acceptsStatus answers what was refused with that status.
func acceptsStatus(status int) func(*exchange) {
	return func(x *exchange) {
		if x.status == status {
			x.accept()
		}
	}
}

func ptr[T any](v T) *T { return &v }
