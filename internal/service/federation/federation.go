// SPDX-License-Identifier: Apache-2.0

// Package federation owns the sign-in by a vendor's own identity provider: OpenID
// Connect Core 1.0, authorization code with PKCE (RFC 7636), and Back-Channel
// Logout 1.0. It says who has come back from the provider, and keeps what a
// sign-in needs on its way there and what the provider calls a session.
//
// It must not know what an account is: it returns what the provider says of a
// person.
package federation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/accountlock/accountlock/internal/fault"
)

const (
	// callTime bounds one call to the provider.
	callTime = 10 * time.Second
	// maxAnswer bounds, in bytes, what it may answer.
	maxAnswer = 1 << 20
	// loginTime is how long a sign-in at the provider may take.
	loginTime = 15 * time.Minute
	// ProofTime is for how long the provider's word that it has asked for the password
	// stands in for it.
	ProofTime = 10 * time.Minute
	// maxAge is how long ago the provider may have asked for the password at a sign-in.
	maxAge = 14 * 24 * time.Hour
	// sessionTime is longer than any session of the portal.
	sessionTime = 15 * 24 * time.Hour
	// silentTime is how long a provider that did not answer is left alone.
	silentTime = 5 * time.Second
	// skew is what clocks may differ by.
	skew = time.Minute
)

// CallbackPath is where the provider sends a browser back to, and LogoutPath where
// it tells that a session has ended.
const (
	CallbackPath = "/sign-in/oidc/callback"
	LogoutPath   = "/sign-in/oidc/logout"
)

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Read(ctx context.Context, fn func(*sql.Tx) error) error
}

// Config says which provider it is, and what this service is to it. All but Roots and
// Now must be given.
type Config struct {
	DB DB
	// Issuer is the provider's identifier, an https URL, and Name what people call it.
	Issuer, Name string
	// ClientID and ClientSecret are what the provider knows this service by.
	ClientID, ClientSecret string
	// PublicURL is what browsers and the provider reach this service by.
	PublicURL string
	// Roots are the authorities of the provider's certificate; nil is the system's.
	Roots *x509.CertPool
	// Now is the time of day; time.Now by default.
	Now func() time.Time
}

// Service signs people in by the provider. It is safe for concurrent use.
type Service struct {
	Config

	http *http.Client
	// mu is held while the provider is asked about itself.
	mu       sync.Mutex
	provider *provider
	// silent is until when a provider that did not answer is not asked again.
	silent time.Time
}

// provider is what it says of itself (OpenID Connect Discovery 1.0).
type provider struct {
	oauth2.Config

	discovered       *oidc.Provider
	verifier, logout *oidc.IDTokenVerifier
	endSession       string
	namesItself      bool
}

// New returns a Service. The provider is asked about itself when somebody signs in: one
// that is down does not keep devices waiting.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
	}
	return &Service{Config: cfg, http: &http.Client{
		Transport: bounded{transport}, Timeout: callTime,
		// An answer is the provider's own, or none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// bounded cuts what the provider answers.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// ask returns the provider, asked about itself the first time.
func (s *Service) ask(ctx context.Context) (*provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.provider != nil:
		return s.provider, nil
	case s.Now().Before(s.silent):
		return nil, unavailable(errors.New("the identity provider did not answer a moment ago"))
	}
	// The keys are fetched by the same client for as long as the process lives.
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, s.http), s.Issuer)
	if err != nil {
		s.silent = s.Now().Add(silentTime)
		return nil, unavailable(err)
	}
	var more struct {
		EndSession string `json:"end_session_endpoint"`
		NamesIss   bool   `json:"authorization_response_iss_parameter_supported"`
	}
	if err := p.Claims(&more); err != nil {
		return nil, unavailable(err)
	}
	s.provider = &provider{
		discovered: p,
		Config: oauth2.Config{
			ClientID: s.ClientID, ClientSecret: s.ClientSecret, Endpoint: p.Endpoint(),
			RedirectURL: s.PublicURL + CallbackPath, Scopes: []string{oidc.ScopeOpenID, "email", "phone"},
		},
		verifier: p.VerifierContext(oidc.ClientContext(context.Background(), s.http), &oidc.Config{ClientID: s.ClientID, Now: s.Now}),
		// A logout token need not expire; its age is looked at instead.
		logout:      p.VerifierContext(oidc.ClientContext(context.Background(), s.http), &oidc.Config{ClientID: s.ClientID, Now: s.Now, SkipExpiryCheck: true}),
		endSession:  more.EndSession,
		namesItself: more.NamesIss,
	}
	return s.provider, nil
}

// unavailable is a provider that cannot be asked.
func unavailable(err error) error {
	f := fault.New(fault.ServiceUnavailable, err)
	f.RetryAfter = time.Minute
	return f
}

// refused is a sign-in that did not come to its end as it should. Nothing tells a
// visitor, or whoever sent them, which step it was.
func refused(why string) error { return fault.New(fault.Declined, errors.New(why)) }

// Sweep removes what has run out.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.Now().UnixMilli()
	return s.DB.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM oidc_logins WHERE expires_at <= $1`, now); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM oidc_sessions WHERE expires_at <= $1`, now)
		return err
	})
}
