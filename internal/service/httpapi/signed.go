// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/device"
)

const (
	// answerTime bounds how long one signed request is worked on.
	answerTime = 15 * time.Second
	// leaseTime is after how long a repeated request takes over from a server
	// that is gone; one that is still at it says so every renewTime.
	leaseTime = 5 * time.Second
	renewTime = 2 * time.Second
)

// operation is one signed call of the account API.
type operation struct {
	name string
	// decode reads the body; nil for one without.
	decode func([]byte) (any, error)
	// pure calls change nothing: no more than the nonce is written down of them.
	pure bool
}

// operations holds the signed calls by the pattern under which they are served; a
// test holds it equal to the API's document.
var operations = map[string]operation{
	"POST /v1/devices":                       {name: "EnrolDevice", decode: bodies["EnrolDevice"]},
	"POST /v1/devices/challenge":             {name: "ChallengeDevice", decode: bodies["ChallengeDevice"], pure: true},
	"POST /v1/devices/{device_id}/statement": {name: "StateDevice", decode: bodies["StateDevice"], pure: true},
	"POST /v1/devices/{device_id}/events":    {name: "ReportEvents", decode: bodies["ReportEvents"]},
	"POST /v1/devices/{device_id}/cases":     {name: "OpenCase", decode: bodies["OpenCase"]},
	"POST /v1/flows":                         {name: "BeginFlow", decode: bodies["BeginFlow"]},
	"POST /v1/flows/{flow_id}":               {name: "AnswerFlow", decode: bodies["AnswerFlow"]},
	"DELETE /v1/flows/{flow_id}":             {name: "EndFlow"},
	"POST /v1/flows/{flow_id}/resend":        {name: "ResendCode"},
}

// asked is what the handlers know of a signed request besides its body.
type asked struct {
	caller device.Caller
	// key is the idempotency key.
	key string
	// address is where the request came from.
	address netip.Addr
}

type askedKey struct{}

func askedOf(ctx context.Context) asked {
	a, _ := ctx.Value(askedKey{}).(asked)
	return a
}

// signed lets a request through to next that is as the API says, signed by who
// may ask, with a nonce that nobody has used; and gives one that was answered
// before its answer again.
func (s *Server) signed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		op, ok := operations[r.Pattern]
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		if err := s.serveSigned(w, r, op, next); err != nil {
			s.refuse(w, r, err)
		}
	})
}

func (s *Server) serveSigned(w http.ResponseWriter, r *http.Request, op operation, next http.Handler) error {
	body, err := readBody(w, r, op)
	if err != nil {
		return err
	}
	defer clear(body)
	sig, err := accountapi.ParseSignature(r, body)
	if err != nil {
		return unauthorized(err)
	}
	nonce, ok := s.nonces.Check(sig.Nonce)
	if !ok {
		return unauthorized(errors.New("the nonce is not one of this service, or too old"))
	}
	var value any
	if op.decode != nil {
		if value, err = op.decode(body); err != nil {
			return err
		}
		defer wipe(value)
	}
	if err := checkPath(r); err != nil {
		return err
	}
	caller, err := s.callerOf(r, value, sig.KeyID)
	if err != nil {
		return err
	}
	if err := sig.Verify(caller.Public); err != nil {
		return unauthorized(err)
	}
	s.seen.note(caller, s.clock())
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return fault.New(fault.ServiceUnavailable, errors.New("too many requests at once"))
	}
	// A device that has gone away asks again and finds the work done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), answerTime)
	defer cancel()
	idempotencyKey := r.Header.Get(accountapi.HeaderIdempotencyKey)
	r = r.WithContext(context.WithValue(ctx, askedKey{}, asked{caller: caller, key: idempotencyKey, address: ClientAddress(r, s.trusted)}))
	r.Body = io.NopCloser(bytes.NewReader(body))
	if op.pure {
		return s.servePure(w, r, nonce, next)
	}
	k := kept{
		nonce:   nonce,
		request: s.requests.name(sig.KeyID, idempotencyKey),
		digest:  s.requests.digest(r.Method, r.URL.Path, body),
	}
	return s.serveOnce(w, r, k, next)
}

// servePure answers, and sends the answer once the nonce is used up. A request that changes
// nothing is answered anew each time: its answer is kept for nobody.
func (s *Server) servePure(w http.ResponseWriter, r *http.Request, nonce string, next http.Handler) error {
	a := newAnswer()
	a.header[accountapi.HeaderNonce] = w.Header()[accountapi.HeaderNonce]
	next.ServeHTTP(a, r)
	f, err := s.requests.spend(r.Context(), nonce)
	if err != nil {
		return err
	}
	if f != fresh {
		return giveAgain(w, f, kept{})
	}
	a.copyTo(w)
	return nil
}

// serveOnce writes the request down, answers it, and has its answer added.
func (s *Server) serveOnce(w http.ResponseWriter, r *http.Request, k kept, next http.Handler) error {
	k.leasedTo = s.clock().Add(leaseTime)
	f, first, err := s.requests.take(r.Context(), k)
	if err != nil {
		return err
	}
	if f != fresh {
		return giveAgain(w, f, first)
	}
	a := newAnswer()
	a.header[accountapi.HeaderNonce] = w.Header()[accountapi.HeaderNonce]
	letGo := s.holdLease(r.Context(), k)
	defer letGo() // of a panic
	next.ServeHTTP(a, r)
	letGo()
	k.status, k.mediaType, k.body = a.status, a.header.Get("Content-Type"), a.body.String()
	if !a.keeps() {
		k.request = ""
	}
	s.requests.answer(k)
	a.copyTo(w)
	return nil
}

// holdLease renews the lease of a request until the function it returns is
// called, which waits for a renewal that is under way. Few requests take long
// enough for one.
func (s *Server) holdLease(ctx context.Context, k kept) (letGo func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	timer := time.AfterFunc(renewTime, func() {
		defer close(ended)
		tick := time.NewTicker(renewTime)
		defer tick.Stop()
		for ctx.Err() == nil {
			if err := s.requests.renew(ctx, k.nonce, s.clock().Add(leaseTime)); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "cannot renew the lease of a request", "error", err)
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		if !timer.Stop() {
			<-ended
		}
	})
}

// giveAgain answers a request that is not fresh.
func giveAgain(w http.ResponseWriter, f fate, first kept) error {
	switch f {
	case answered:
		if first.mediaType != "" {
			w.Header().Set("Content-Type", first.mediaType)
		}
		w.WriteHeader(first.status)
		_, _ = io.WriteString(w, first.body)
		return nil
	case replayed:
		return unauthorized(errors.New("the nonce was used before"))
	case changed:
		return narrowed(http.StatusUnprocessableEntity, "The idempotency key was used for another request.")
	default:
		f := fault.Newf(fault.ServiceUnavailable, "The same request is being answered at this moment.")
		f.RetryAfter = time.Second
		return &statusError{status: http.StatusConflict, fault: f}
	}
}

// callerOf returns the device that a request must be signed by: the one in its
// path, in its body, or whose flow it is. The key of an enrolment is its own.
func (s *Server) callerOf(r *http.Request, value any, keyID string) (device.Caller, error) {
	switch v := value.(type) {
	case *accountapi.EnrolRequest:
		return stranger(v.Key, keyID)
	case *accountapi.ChallengeRequest:
		return stranger(v.Key, keyID)
	case *accountapi.BeginRequest:
		return s.devices.Caller(r.Context(), v.DeviceId, keyID)
	}
	if id := r.PathValue("device_id"); id != "" {
		return s.devices.Caller(r.Context(), id, keyID)
	}
	return s.flows.Caller(r.Context(), r.PathValue("flow_id"), keyID)
}

// stranger is a caller who brings their own key.
func stranger(key accountapi.JWK, keyID string) (device.Caller, error) {
	pub, err := key.DeviceKey()
	if err != nil || accountapi.Thumbprint(pub) != keyID {
		return device.Caller{}, unauthorized(errors.New("keyid is not the thumbprint of the key in the body"))
	}
	return device.Caller{KeyID: keyID, Public: pub}, nil
}

func checkPath(r *http.Request) error {
	if id := r.PathValue("device_id"); id != "" && !deviceIDPattern.MatchString(id) {
		return invalid("device_id is not a device ID")
	}
	if id := r.PathValue("flow_id"); id != "" && !tokenPattern.MatchString(id) {
		return invalid("flow_id is not a flow's ID")
	}
	if !tokenPattern.MatchString(r.Header.Get(accountapi.HeaderIdempotencyKey)) {
		return invalid("Idempotency-Key must be 16 to 64 of A-Z, a-z, 0-9, - and _")
	}
	return nil
}

// readBody returns the whole body, which is empty where the operation takes none.
func readBody(w http.ResponseWriter, r *http.Request, op operation) ([]byte, error) {
	limit := int64(MaxBody)
	if op.decode == nil {
		limit = 0
	}
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if op.decode != nil && !isJSON(r.Header.Values("Content-Type")) {
		return nil, narrowed(http.StatusUnsupportedMediaType, "The body must be application/json.")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, narrowed(http.StatusUnsupportedMediaType, "The body must not be encoded.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooLarge(limit)
	case err != nil:
		// The client went away or was too slow.
		return nil, narrowed(http.StatusRequestTimeout, "The body did not arrive whole in time.")
	}
	return body, nil
}

func tooLarge(limit int64) error {
	return narrowed(http.StatusRequestEntityTooLarge, "The body is larger than "+strconv.FormatInt(limit, 10)+" bytes.")
}

func isJSON(values []string) bool {
	if len(values) != 1 {
		return false
	}
	media, params, err := mime.ParseMediaType(values[0])
	if err != nil || media != "application/json" {
		return false
	}
	charset, ok := params["charset"]
	return len(params) == 0 || (len(params) == 1 && ok && (charset == "utf-8" || charset == "UTF-8"))
}

// wipe clears the secrets of a decoded body.
func wipe(v any) {
	if a, ok := v.(*accountapi.FlowAnswer); ok {
		for _, s := range []*accountapi.Secret{a.Password, a.Code} {
			if s != nil {
				s.Wipe()
			}
		}
	}
}

// answer holds what a handler answers until it was written down.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newAnswer() *answer { return &answer{header: http.Header{}} }

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// keeps reports whether the same answer is given again: not one that says to
// try again.
func (a *answer) keeps() bool {
	return a.status != http.StatusUnauthorized && a.status != http.StatusTooManyRequests && a.status < 500
}

func (a *answer) copyTo(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes())
}
