// SPDX-License-Identifier: Apache-2.0

package staff

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/audit"
)

// How long a session lasts: a shift, and half an hour without a request (OWASP
// ASVS 5.0, 7.3).
const (
	SessionTime = 8 * time.Hour
	idleTime    = 30 * time.Minute
	// seenEvery is how exactly it is kept when a session was last used.
	seenEvery = time.Minute
)

func hashOf(token string) string {
	h := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// Begin signs a member in, ends their other sessions and returns the token that
// only the browser holds.
func (s *Service) Begin(ctx context.Context, m Member) (string, error) {
	token := rand.Text() + rand.Text()
	now := s.now()
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM staff_sessions WHERE staff_id = $1`, m.ID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO staff_sessions (token_hash, staff_id, seen_at, expires_at) VALUES ($1, $2, $3, $4)`,
			hashOf(token), m.ID, now.UnixMilli(), now.Add(SessionTime).UnixMilli())
		return err
	})
	return token, wrap("begin a session", err)
}

// Find returns who is signed in by a token, or fault.NotAuthorized. fails shut: so
// is any token of who was disabled since.
func (s *Service) Find(ctx context.Context, token string) (Member, error) {
	var m Member
	var seen int64
	now := s.now()
	err := s.db.Read(ctx, func(tx *sql.Tx) (err error) {
		m, err = scan(tx.QueryRowContext(ctx, `SELECT s.id, s.name, s.role, s.disabled_at, s.created_at, e.seen_at
FROM staff_sessions e JOIN staff s ON s.id = e.staff_id
WHERE e.token_hash = $1 AND e.expires_at > $2 AND e.seen_at > $3 AND s.disabled_at = 0`,
			hashOf(token), now.UnixMilli(), now.Add(-idleTime).UnixMilli()), &seen)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Member{}, fault.New(fault.NotAuthorized, nil)
	}
	if err == nil && now.Sub(time.UnixMilli(seen)) >= seenEvery {
		err = s.exec(ctx, `UPDATE staff_sessions SET seen_at = $1 WHERE token_hash = $2`, now.UnixMilli(), hashOf(token))
	}
	return m, wrap("look up a session", err)
}

// End signs a member out whose session a token opens.
func (s *Service) End(ctx context.Context, m Member, token string) error {
	return wrap("end a session", s.db.Tx(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM staff_sessions WHERE token_hash = $1 AND staff_id = $2`, hashOf(token), m.ID)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return s.audit.Append(ctx, tx, audit.Entry{Actor: m.Name, Action: "staff-signed-out"})
	}))
}

// Sweep removes the sessions that have ended.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.now()
	return s.exec(ctx, `DELETE FROM staff_sessions WHERE expires_at <= $1 OR seen_at <= $2`, now.UnixMilli(), now.Add(-idleTime).UnixMilli())
}

func (s *Service) exec(ctx context.Context, query string, args ...any) error {
	return wrap("change sessions", s.db.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}))
}
