// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/accountlock/accountlock/internal/service/attest"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/flow"
	"github.com/accountlock/accountlock/internal/service/keys"
	"github.com/accountlock/accountlock/internal/service/stub"
	"github.com/accountlock/accountlock/internal/service/support"
)

// What a client may take of the server's time and memory.
const (
	headerTime = 5 * time.Second
	readTime   = 15 * time.Second
	replyTime  = answerTime + 15*time.Second
	idleTime   = 2 * time.Minute
	maxHeader  = 16 << 10
	// maxStreams bounds the requests at once on one HTTP/2 connection.
	maxStreams = 64
	// maxAtOnce bounds the signed requests that are worked on at once.
	maxAtOnce = 512
	// sweepEvery is how often what has run out is removed.
	sweepEvery = time.Minute
)

// DrainTime bounds how long a shutdown waits for requests in flight.
const DrainTime = 30 * time.Second

// Notices tells owners of what has happened, as *notice.Queue does.
type Notices interface {
	// Kick says that there may be something to tell.
	Kick()
}

// Portal is the pages for people, as *portal.Portal serves them.
type Portal interface {
	// Register adds the pages to mux, each under a pattern of its own.
	Register(mux *http.ServeMux)
	// NotFound answers a browser where there is no page.
	NotFound(w http.ResponseWriter, r *http.Request)
}

// Cases are support's, as *support.Service keeps them; the errors of its methods
// are told there.
type Cases interface {
	ForDevice(ctx context.Context, caller device.Caller, a support.Asked) (support.Case, error)
}

// Config is what a Server is made of. All but Cases, Support, Trusted, Portal, Sweep
// and Now must be given.
type Config struct {
	DB      DB
	Devices *device.Registry
	Attest  *attest.Verifier
	Flows   *flow.Service
	Keys    *keys.Ring
	Notices Notices
	// Cases are opened for devices that ask for one; nil where support has none.
	Cases Cases
	// Secret is the service secret, from which the keys of nonces and of
	// stored requests are derived; the same for every server on the database.
	Secret []byte
	Log    *slog.Logger
	// Support are the contacts of GET /v1/support.
	Support []Contact
	// Trusted are the proxies whose X-Forwarded-For is believed.
	Trusted []netip.Prefix
	// Portal serves the pages for people, if set.
	Portal Portal
	// FiguresApart keeps the metrics off the API's address; ServeMetrics has them.
	FiguresApart bool
	// Sweep removes what has run out elsewhere; it is called each minute.
	Sweep func(context.Context) error
	// Now is the time of day; time.Now by default. It dates nonces too.
	Now func() time.Time
}

// Server answers the account API. It is safe for concurrent use.
type Server struct {
	db           DB
	devices      *device.Registry
	attest       *attest.Verifier
	flows        *flow.Service
	keys         *keys.Ring
	notices      Notices
	cases        Cases
	support      []Contact
	trusted      []netip.Prefix
	log          *slog.Logger
	clock        func() time.Time
	nonces       *Nonces
	requests     *requests
	metrics      *metrics
	sweep        func(context.Context) error
	portal       Portal
	figuresApart bool
	// slots are the signed requests being worked on.
	slots    chan struct{}
	seen     sightings
	draining atomic.Bool
	handler  http.Handler
}

// New returns a Server. The caller closes it when nothing is served any more.
func New(cfg Config) *Server {
	steady := cfg.Now
	if cfg.Now == nil {
		cfg.Now, steady = time.Now, SteadyClock()
	}
	s := &Server{
		db: cfg.DB, devices: cfg.Devices, attest: cfg.Attest, flows: cfg.Flows, keys: cfg.Keys, notices: cfg.Notices, cases: cfg.Cases,
		support: cfg.Support, trusted: cfg.Trusted, log: cfg.Log, clock: cfg.Now,
		nonces: NewNonces(cfg.Secret, steady),
		requests: newRequests(cfg.DB, cfg.Secret, cfg.Now, func(err error) {
			cfg.Log.Warn("cannot keep an answer", "error", err)
		}),
		metrics: newMetrics(), sweep: cfg.Sweep, portal: cfg.Portal, figuresApart: cfg.FiguresApart, slots: make(chan struct{}, maxAtOnce),
	}
	mux := http.NewServeMux()
	strict := stub.NewStrictHandlerWithOptions(handlers{s}, nil, stub.StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  func(w http.ResponseWriter, r *http.Request, _ error) { s.refuse(w, r, invalid("the body")) },
		ResponseErrorHandlerFunc: s.refuse,
	})
	stub.HandlerWithOptions(strict, stub.StdHTTPServerOptions{
		BaseRouter:  mux,
		Middlewares: []stub.MiddlewareFunc{s.signed},
		ErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, _ error) {
			s.refuse(w, r, invalid("a header or parameter is missing, given twice or of the wrong form"))
		},
	})
	if cfg.Portal != nil {
		cfg.Portal.Register(mux)
	}
	s.handler = s.observed(mux)
	return s
}

// Close waits for what is being written.
func (s *Server) Close() { s.requests.close() }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Serve answers on the listener, over TLS 1.3, until ctx ends; then it says that
// it is not ready, takes no more connections and finishes the requests in
// flight, within DrainTime. It closes the listener. The error of an orderly end
// is nil.
func (s *Server) Serve(ctx context.Context, l net.Listener, cfg *tls.Config) error {
	cfg = cfg.Clone()
	cfg.MinVersion = tls.VersionTLS13
	srv := s.serving(s)
	srv.TLSConfig = cfg
	swept := make(chan struct{})
	sweeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(swept)
		s.sweepUntil(sweeping)
	}()
	defer func() {
		stop()
		<-swept
		if err := s.seen.flush(context.WithoutCancel(ctx), s.devices); err != nil {
			s.log.WarnContext(ctx, "cannot tidy up", "error", err)
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeTLS(l, "", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("cannot serve: %w", err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), DrainTime)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		return fmt.Errorf("cannot finish the requests in flight within %s: %w", DrainTime, errors.Join(err, srv.Close()))
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve: %w", err)
	}
	return nil
}

// serving returns a server of h, with what a client may take of its time and memory.
func (s *Server) serving(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       readTime,
		WriteTimeout:      replyTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// sweepUntil removes what has run out, now and each minute, and writes down
// which devices were seen.
func (s *Server) sweepUntil(ctx context.Context) {
	sweep, flush := time.NewTicker(sweepEvery), time.NewTicker(seenFlush)
	defer sweep.Stop()
	defer flush.Stop()
	do := s.Sweep
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "cannot tidy up", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			do = s.Sweep
		case <-flush.C:
			do = func(ctx context.Context) error { return s.seen.flush(ctx, s.devices) }
		}
	}
}

// Sweep removes what has run out; Serve does it each minute.
func (s *Server) Sweep(ctx context.Context) error {
	_, flows := s.flows.DropExpired(ctx)
	_, links := s.devices.DropExpired(ctx)
	err := errors.Join(flows, links, s.requests.dropExpired(ctx))
	if s.sweep != nil {
		err = errors.Join(err, s.sweep(ctx))
	}
	return err
}
