// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Person is who has signed in, in the provider's words.
type Person struct {
	// Issuer and Subject name the person for good.
	Issuer, Subject string
	// Emails and Phones are verified by the provider.
	Emails, Phones []string
	// Proven is when the provider last asked the person for their password or the
	// like; zero where it does not say.
	Proven time.Time

	sid string
}

// login is a sign-in on its way.
type login struct {
	// token is what the browser alone has. State, nonce and the secret of PKCE come
	// from it, so that the database finishes nobody's sign-in.
	token, to string
	again     bool
}

func (l login) derived(what string) string {
	return hashOf("accountlock-server " + what + "\x00" + l.token)
}
func (l login) state() string    { return l.derived("state") }
func (l login) nonce() string    { return l.derived("nonce") }
func (l login) verifier() string { return l.derived("verifier") }

func hashOf(token string) string {
	h := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// Begin begins a sign-in that is to go on at to. It returns where to send the
// browser, and what it must bring back in a cookie: so nobody goes on with a
// sign-in that another browser has begun. again has the provider ask for the password
// even of who is signed in there. Its error is fault.ServiceUnavailable.
func (s *Service) Begin(ctx context.Context, to string, again bool) (address, token string, err error) {
	p, err := s.ask(ctx)
	if err != nil {
		return "", "", err
	}
	token = rand.Text() + rand.Text()
	l := login{token: token, to: to, again: again}
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO oidc_logins (token_hash, going_to, again, expires_at) VALUES ($1, $2, $3, $4)`,
			hashOf(token), to, flag(again), s.Now().Add(loginTime).UnixMilli())
		return err
	})
	if err != nil {
		return "", "", fmt.Errorf("cannot begin a sign-in: %w", err)
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(l.nonce()), oauth2.S256ChallengeOption(l.verifier())}
	age := maxAge
	if again {
		age = 0
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"))
	}
	// Who is asked for an age has to say it (OpenID Connect Core, 3.1.2.1).
	options = append(options, oauth2.SetAuthURLParam("max_age", strconv.Itoa(int(age/time.Second))))
	return p.AuthCodeURL(l.state(), options...), token, nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// take returns the sign-in that the browser has begun, once.
func (s *Service) take(ctx context.Context, token string) (l login, err error) {
	var again, expires int64
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		l = login{token: token}
		err := tx.QueryRowContext(ctx, `DELETE FROM oidc_logins WHERE token_hash = $1 RETURNING going_to, again, expires_at`,
			hashOf(token)).Scan(&l.to, &again, &expires)
		if errors.Is(err, sql.ErrNoRows) {
			return refused("this browser has begun no sign-in, or has come back from it before")
		}
		return err
	})
	if err != nil {
		return login{}, err
	}
	l.again = again == 1
	if !s.Now().Before(time.UnixMilli(expires)) {
		return login{}, refused("the sign-in has taken too long")
	}
	return l, nil
}

// Finish takes in what the provider sent the browser back with, and returns who has
// signed in and where to go on. Errors are faults: Declined (whatever is wrong
// with it), ServiceUnavailable.
func (s *Service) Finish(ctx context.Context, token string, came url.Values) (Person, string, error) {
	p, err := s.ask(ctx)
	if err != nil {
		return Person{}, "", err
	}
	l, err := s.take(ctx, token)
	if err != nil {
		return Person{}, "", err
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(came.Get("state")), []byte(l.state())) != 1:
		return Person{}, l.to, refused("the state is another")
	case p.namesItself && came.Get("iss") != s.Issuer, came.Has("iss") && came.Get("iss") != s.Issuer:
		return Person{}, l.to, refused("another provider sent the browser back") // RFC 9207
	case came.Has("error"):
		return Person{}, l.to, refused("the provider refused: " + came.Get("error"))
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, s.http), callTime)
	defer cancel()
	got, err := p.Exchange(ctx, came.Get("code"), oauth2.VerifierOption(l.verifier()))
	if err != nil {
		var told *oauth2.RetrieveError
		if errors.As(err, &told) && told.Response.StatusCode < 500 {
			return Person{}, l.to, refused("the provider does not take the code: " + told.ErrorCode)
		}
		return Person{}, l.to, unavailable(err)
	}
	raw, ok := got.Extra("id_token").(string)
	if !ok {
		return Person{}, l.to, refused("the provider gave no ID token")
	}
	who, err := s.read(ctx, p, raw, l)
	if err == nil {
		err = s.addresses(ctx, p, got, &who)
	}
	return who, l.to, err
}

// claims are those of an ID token that are looked at here (OpenID Connect Core, 2 and 5.1).
type claims struct {
	AuthorizedParty string `json:"azp"`
	AuthTime        int64  `json:"auth_time"`
	SID             string `json:"sid"`
}

// read verifies an ID token: signature, iss, aud, exp and iat by the library, the rest
// here.
func (s *Service) read(ctx context.Context, p *provider, raw string, l login) (Person, error) {
	t, err := p.verifier.Verify(ctx, raw)
	if err != nil {
		return Person{}, refused("the ID token does not hold: " + err.Error())
	}
	var c claims
	if err := t.Claims(&c); err != nil {
		return Person{}, refused("the ID token's claims cannot be read")
	}
	now := s.Now()
	proven := time.Unix(c.AuthTime, 0)
	switch {
	case subtle.ConstantTimeCompare([]byte(t.Nonce), []byte(l.nonce())) != 1:
		return Person{}, refused("the ID token answers another sign-in")
	case t.Subject == "" || len(t.Subject) > 255:
		return Person{}, refused("the ID token names nobody")
	case len(t.Audience) > 1 && c.AuthorizedParty == "", c.AuthorizedParty != "" && c.AuthorizedParty != s.ClientID:
		return Person{}, refused("the ID token was given to somebody else")
	case t.IssuedAt.After(now.Add(skew)):
		return Person{}, refused("the ID token is of the future")
	case l.again && (c.AuthTime == 0 || now.Sub(proven) > loginTime+skew):
		return Person{}, refused("the provider has not asked for the password")
	}
	who := Person{Issuer: s.Issuer, Subject: t.Subject, sid: c.SID}
	if c.AuthTime > 0 && !proven.After(now.Add(skew)) {
		who.Proven = proven
	}
	return who, nil
}

// addresses adds what the provider has verified of the person's addresses. A
// conforming one tells them at its UserInfo endpoint alone (OpenID Connect Core, 5.3, 5.4).
func (s *Service) addresses(ctx context.Context, p *provider, t *oauth2.Token, who *Person) error {
	info, err := p.discovered.UserInfo(ctx, oauth2.StaticTokenSource(t))
	if err != nil {
		return unavailable(err)
	}
	if info.Subject != who.Subject {
		return refused("the provider tells of somebody else")
	}
	var c struct {
		Phone    string `json:"phone_number"`
		Verified bool   `json:"phone_number_verified"`
	}
	if err := info.Claims(&c); err != nil {
		return refused("what the provider tells of the person cannot be read")
	}
	if info.EmailVerified && info.Email != "" {
		who.Emails = []string{info.Email}
	}
	if c.Verified && c.Phone != "" {
		who.Phones = []string{c.Phone}
	}
	return nil
}
