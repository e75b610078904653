// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/accountlock/accountlock/internal/service/store"
)

// Begun notes what the provider calls a session of the portal.
func (s *Service) Begun(ctx context.Context, sessionID, accountID string, who Person) error {
	var proven int64
	if !who.Proven.IsZero() {
		proven = who.Proven.UnixMilli()
	}
	err := s.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO oidc_sessions (session_id, issuer, sid, account_id, proven_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			sessionID, s.Issuer, who.sid, accountID, proven, s.Now().Add(sessionTime).UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot note a session: %w", err)
	}
	return nil
}

// Proven reports whether the provider has lately asked the person of a session for
// their password. fails shut: a session that it says nothing of is not proven.
func (s *Service) Proven(ctx context.Context, sessionID string) (bool, error) {
	var at int64
	err := s.DB.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT proven_at FROM oidc_sessions WHERE session_id = $1`, sessionID).Scan(&at)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot look up a session: %w", err)
	}
	return s.Now().Sub(time.UnixMilli(at)) <= ProofTime, nil
}

// EndURL is where a browser that has signed out here signs out of the provider too;
// empty where it has no such place (OpenID Connect RP-Initiated Logout 1.0).
func (s *Service) EndURL(ctx context.Context) string {
	p, err := s.ask(ctx)
	if err != nil || p.endSession == "" {
		return ""
	}
	u, err := url.Parse(p.endSession)
	if err != nil || u.Scheme != "https" {
		return ""
	}
	q := u.Query()
	q.Set("client_id", s.ClientID)
	q.Set("post_logout_redirect_uri", s.PublicURL+"/")
	u.RawQuery = q.Encode()
	return u.String()
}

// logoutEvent is what makes a token one of logout (OpenID Connect Back-Channel Logout
// 1.0, 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// Ended has end called with the sessions of the portal that the provider says have ended,
// by a logout token. It is called within the transaction that forgets what the provider
// calls them: where it fails, the provider's next try finds them again. Errors are end's, and faults: Declined for one that is none, ServiceUnavailable.
func (s *Service) Ended(ctx context.Context, raw string, end func(tx *sql.Tx, ids []string) error) error {
	p, err := s.ask(ctx)
	if err != nil {
		return err
	}
	t, err := p.logout.Verify(ctx, raw)
	if err != nil {
		return refused("the logout token does not hold: " + err.Error())
	}
	var c struct {
		Events map[string]json.RawMessage `json:"events"`
		SID    string                     `json:"sid"`
		Nonce  *string                    `json:"nonce"`
		ID     string                     `json:"jti"`
	}
	if err := t.Claims(&c); err != nil {
		return refused("the logout token's claims cannot be read")
	}
	_, event := c.Events[logoutEvent]
	switch {
	case !event || c.Nonce != nil || c.ID == "":
		return refused("it is no logout token")
	case c.SID == "" && t.Subject == "":
		return refused("the logout token says nobody's")
	case s.Now().Sub(t.IssuedAt).Abs() > 5*time.Minute:
		// Sent again it would end what was begun since.
		return refused("the logout token is too old")
	}
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		var named []string
		// By the provider's name for it; and where it gave none, every one of the person.
		if c.SID != "" {
			var err error
			if named, err = store.Collect(ctx, tx, store.One[string], `DELETE FROM oidc_sessions WHERE issuer = $1 AND sid = $2 RETURNING session_id`, s.Issuer, c.SID); err != nil {
				return err
			}
		}
		others, err := store.Collect(ctx, tx, store.One[string], `DELETE FROM oidc_sessions WHERE session_id IN
(SELECT p.id FROM oidc_subjects u JOIN portal_sessions p ON p.account_id = u.account_id WHERE u.issuer = $1 AND u.subject = $2)
AND (sid = '' OR $3 = '') RETURNING session_id`, s.Issuer, t.Subject, c.SID)
		if err != nil {
			return err
		}
		return end(tx, append(named, others...))
	})
	if err != nil {
		return fmt.Errorf("cannot end sessions: %w", err)
	}
	return nil
}
