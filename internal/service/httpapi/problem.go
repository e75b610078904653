// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// statusError is a fault that is told with another status than its own.
type statusError struct {
	status int
	fault  *fault.Error
	// versions are those of the API that are served, where another was asked for.
	versions []int
}

// Error implements error.
func (e *statusError) Error() string { return e.fault.Error() }

// Unwrap makes the fault be found.
func (e *statusError) Unwrap() error { return e.fault }

// narrowed is fault.InvalidArgument with a status that says more.
func narrowed(status int, message string) error {
	return &statusError{status: status, fault: fault.Newf(fault.InvalidArgument, "%s", message)}
}

// unauthorized is a request that is not, or wrongly, signed.
func unauthorized(cause error) error {
	f := fault.Newf(fault.NotAuthorized, "The request is not signed as the account API asks.")
	f.Remedy = "Sign it with the nonce of this answer, by the device's key."
	f.Err = cause
	return f
}

// refuse answers with a problem and tells the log of what is the service's own
// fault.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.As(err)
	if f.Code == fault.Internal && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		// It took too long, or the client did not wait: asking again helps.
		f = fault.New(fault.ServiceUnavailable, err)
	}
	p := accountapi.NewProblem(f)
	var narrow *statusError
	if errors.As(err, &narrow) {
		p.Status = narrow.status
		if narrow.versions != nil {
			p.Versions = &narrow.versions
		}
	}
	if f.Code == fault.Internal || f.Code == fault.StorageFailed {
		incident := rand.Text()[:10]
		p.Instance = &incident
		s.log.ErrorContext(r.Context(), "a request failed", "incident", incident, "route", route(r), "error", causeOf(f))
	}
	if p.Status == http.StatusUnauthorized {
		s.addNonce(w, &p)
	}
	wait := f.RetryAfter
	if wait <= 0 && (p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable) {
		wait = time.Second
	}
	if wait > 0 {
		seconds := int(math.Ceil(wait.Seconds()))
		p.RetryAfter = &seconds
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	note(r, f.Code)
	s.metrics.refusals.WithLabelValues(string(f.Code)).Inc()
	s.writeProblem(w, r, p)
}

// causeOf is what the log says of a fault: its sentence is for people.
func causeOf(f *fault.Error) error {
	if f.Err != nil {
		return f.Err
	}
	return f
}

func (s *Server) addNonce(w http.ResponseWriter, p *accountapi.Problem) {
	if nonce := w.Header().Get(accountapi.HeaderNonce); nonce != "" {
		now := s.clock().Unix()
		p.Nonce, p.Time = &nonce, &now
	}
}

func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, p accountapi.Problem) {
	b, err := json.Marshal(p)
	if err != nil {
		s.log.ErrorContext(r.Context(), "cannot encode a problem", "error", err)
		b = []byte("{}")
	}
	w.Header().Set("Content-Type", accountapi.ProblemMediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(p.Status)
	if _, err := w.Write(b); err != nil {
		s.log.DebugContext(r.Context(), "a client did not wait for its answer", slog.String("route", route(r)))
	}
}
