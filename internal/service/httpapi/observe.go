// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// seen is what is noted of a request while it is served.
type seen struct {
	code  fault.Code
	route string
}

type seenKey struct{}

// note remembers the fault that a request was refused with.
func note(r *http.Request, code fault.Code) {
	if s, ok := r.Context().Value(seenKey{}).(*seen); ok {
		s.code = code
	}
}

// route returns the pattern under which a request is served: a path has
// identifiers in it.
func route(r *http.Request) string {
	if s, ok := r.Context().Value(seenKey{}).(*seen); ok && s.route != "" {
		return s.route
	}
	return "none"
}

// observed is the outermost handler: it gives each answer its headers, counts
// and logs it, and turns a panic into a problem.
func (s *Server) observed(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		found := &seen{}
		if _, found.route = mux.Handler(r); found.route == metricsRoute && s.figuresApart {
			found.route = "" // they are for operators, at an address of their own
		}
		r = r.WithContext(context.WithValue(r.Context(), seenKey{}, found))
		rec := &recorder{ResponseWriter: w}
		s.metrics.inFlight.Inc()
		defer func() {
			s.metrics.inFlight.Dec()
			if p := recover(); p != nil {
				s.panicked(rec, r, p)
			}
			s.observe(r, rec.status, found, time.Since(start))
		}()
		s.serve(rec, r, mux)
	})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, mux *http.ServeMux) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if (r.Method == http.MethodPost || r.Method == http.MethodDelete) && strings.HasPrefix(r.URL.Path, "/v1/") {
		nonce, err := s.nonces.New()
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		h.Set(accountapi.HeaderNonce, nonce)
	}
	if s.portal != nil && route(r) == "none" && r.Method == http.MethodGet && !versioned.MatchString(r.URL.Path) {
		s.portal.NotFound(w, r)
		return
	}
	if r.URL.Path != path.Clean(r.URL.Path) || route(r) == "none" {
		s.refuse(w, r, unrouted(mux, r, h))
		return
	}
	mux.ServeHTTP(w, r)
}

// unrouted says why nothing serves a request: no such path, or another method.
func unrouted(mux *http.ServeMux, r *http.Request, h http.Header) error {
	handler, pattern := mux.Handler(r)
	if pattern == metricsRoute {
		return narrowed(http.StatusNotFound, "There is nothing at this address.")
	}
	probe := newAnswer()
	handler.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		h.Set("Allow", probe.header.Get("Allow"))
		return narrowed(http.StatusMethodNotAllowed, "This address does not take this method.")
	}
	if otherVersion.MatchString(r.URL.Path) {
		return &statusError{
			status: http.StatusNotFound, versions: []int{accountapi.Version},
			fault: fault.Newf(fault.ServiceUnavailable, "This version of the account API is not served here."),
		}
	}
	return narrowed(http.StatusNotFound, "There is nothing at this address.")
}

// versioned is an address of some version of the account API, which is no page.
var versioned = regexp.MustCompile(`^/v[0-9]+/`)

// otherVersion is an address of a version of the account API; our own version's
// addresses that are none stay what they are.
var otherVersion = regexp.MustCompile(`^/v([02-9]|[1-9][0-9]+)/`)

func (s *Server) panicked(rec *recorder, r *http.Request, p any) {
	if p == http.ErrAbortHandler { //nolint:errorlint // it is compared as net/http does
		panic(p)
	}
	err := fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	if rec.status != 0 {
		s.log.ErrorContext(r.Context(), "a request panicked after its answer had begun", "route", route(r), "error", err)
		return
	}
	s.refuse(rec, r, err)
}

func (s *Server) observe(r *http.Request, status int, found *seen, took time.Duration) {
	if found.route == "" {
		found.route = "none"
	}
	s.metrics.requests.WithLabelValues(found.route, strconv.Itoa(status)).Inc()
	s.metrics.seconds.WithLabelValues(found.route).Observe(took.Seconds())
	if !s.log.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "request",
		slog.String("route", found.route), slog.Int("status", status), slog.Duration("took", took),
		slog.String("refusal", string(found.code)), slog.String("protocol", r.Proto))
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController and http.MaxBytesReader find the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
