// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/accountlock/accountlock/internal/service/store"
)

// How long a session lasts: idleTime without a request, lifeTime in all, and
// codeTime between the password and the code.
const (
	idleTime = 12 * time.Hour
	lifeTime = 14 * 24 * time.Hour
	codeTime = 15 * time.Minute
	// seenEvery is how exactly it is kept when a session was last used.
	seenEvery = 5 * time.Minute
	// maxSessions bounds those of one account; the oldest end.
	maxSessions = 50
)

// cookieName has the prefix that keeps other hosts and plain HTTP from setting
// the cookie (RFC 6265bis, 4.1.3.2).
const cookieName = "__Host-accountlock"

// stage is how far a sign-in has come.
type stage string

const (
	stageCode stage = "code"
	stageIn   stage = "in"
)

// session is one browser that is signed in, or about to be.
type session struct {
	ID        string
	AccountID string
	Client    string
	Address   string
	Created   time.Time
	Seen      time.Time
	Expires   time.Time

	stage stage
	hash  string
}

// sessions keeps them. Only what the browser holds opens one: a new token is made
// at each step up, so that none that somebody planted is ever raised.
type sessions struct {
	db  DB
	now func() time.Time
}

func hashOf(token string) string {
	h := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// begin makes a session of the account and returns its token.
func (s sessions) begin(ctx context.Context, accountID string, at stage, client, address string) (session, string, error) {
	token := rand.Text() + rand.Text()
	now := s.now()
	out := session{
		ID: rand.Text(), AccountID: accountID, Client: shorten(client), Address: address,
		Created: now, Seen: now, Expires: now.Add(lifeTime), stage: at, hash: hashOf(token),
	}
	if at == stageCode {
		out.Expires = now.Add(codeTime)
	}
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO portal_sessions (token_hash, id, account_id, stage, client, address, created_at, seen_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)`,
			out.hash, out.ID, accountID, string(at), out.Client, address, now.UnixMilli(), out.Expires.UnixMilli())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM portal_sessions WHERE account_id = $1 AND id NOT IN
(SELECT id FROM portal_sessions WHERE account_id = $1 ORDER BY created_at DESC, id LIMIT $2)`, accountID, maxSessions)
		return err
	})
	if err != nil {
		return session{}, "", fmt.Errorf("cannot begin a session: %w", err)
	}
	return out, token, nil
}

// errNoSession: the token opens none.
var errNoSession = errors.New("no such session")

const sessionColumns = `token_hash, id, account_id, stage, client, address, created_at, seen_at, expires_at`

func scanSession(row interface{ Scan(...any) error }) (session, error) {
	var (
		s                      session
		created, seen, expires int64
	)
	err := row.Scan(&s.hash, &s.ID, &s.AccountID, &s.stage, &s.Client, &s.Address, &created, &seen, &expires)
	s.Created, s.Seen, s.Expires = time.UnixMilli(created).UTC(), time.UnixMilli(seen).UTC(), time.UnixMilli(expires).UTC()
	return s, err
}

// find returns the session of a token that has come as far as at. fails shut:
// any doubt is errNoSession or an error, and so is a session of an account that is blocked.
func (s sessions) find(ctx context.Context, token string, at stage) (session, error) {
	var out session
	now := s.now()
	err := s.db.Read(ctx, func(tx *sql.Tx) (err error) {
		out, err = scanSession(tx.QueryRowContext(ctx, `SELECT `+sessionColumns+` FROM portal_sessions
WHERE token_hash = $1 AND stage = $2 AND expires_at > $3 AND seen_at > $4 AND NOT EXISTS
(SELECT 1 FROM accounts a WHERE a.id = account_id AND a.blocked = 1 AND (a.blocked_until = 0 OR a.blocked_until > $3))`,
			hashOf(token), string(at), now.UnixMilli(), now.Add(-idleTime).UnixMilli()))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return session{}, errNoSession
	}
	if err != nil {
		return session{}, fmt.Errorf("cannot look up a session: %w", err)
	}
	if now.Sub(out.Seen) >= seenEvery {
		err = s.exec(ctx, `UPDATE portal_sessions SET seen_at = $1 WHERE token_hash = $2`, now.UnixMilli(), out.hash)
	}
	return out, err
}

// of returns the sessions of an account, the newest first.
func (s sessions) of(ctx context.Context, accountID string) (out []session, err error) {
	now := s.now()
	err = s.db.Read(ctx, func(tx *sql.Tx) (err error) {
		out, err = store.Collect(ctx, tx, func(rows *sql.Rows) (session, error) { return scanSession(rows) }, `SELECT `+sessionColumns+` FROM portal_sessions WHERE account_id = $1 AND stage = 'in'
AND expires_at > $2 AND seen_at > $3 ORDER BY seen_at DESC, id`, accountID, now.UnixMilli(), now.Add(-idleTime).UnixMilli())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read an account's sessions: %w", err)
	}
	return out, nil
}

// end ends one session.
func (s sessions) end(ctx context.Context, one session) error {
	return s.exec(ctx, `DELETE FROM portal_sessions WHERE token_hash = $1`, one.hash)
}

// endAll ends, within a transaction, those sessions.
func endAll(ctx context.Context, tx *sql.Tx, ids []string) error {
	for _, id := range ids {
		if _, err := tx.ExecContext(ctx, `DELETE FROM portal_sessions WHERE id = $1`, id); err != nil {
			return fmt.Errorf("cannot end a session: %w", err)
		}
	}
	return nil
}

// endOthers ends every session of an account but the one kept.
func (s sessions) endOthers(ctx context.Context, kept session) error {
	return s.exec(ctx, `DELETE FROM portal_sessions WHERE account_id = $1 AND token_hash <> $2`, kept.AccountID, kept.hash)
}

// EndSessions ends, within a transaction, every session of an account, and no browser is
// known to it any more: its password was recovered, or it is gone.
func EndSessions(ctx context.Context, tx *sql.Tx, accountID string) error {
	for _, q := range []string{`DELETE FROM portal_sessions WHERE account_id = $1`, `DELETE FROM known_browsers WHERE account_id = $1`} {
		if _, err := tx.ExecContext(ctx, q, accountID); err != nil {
			return fmt.Errorf("cannot end an account's sessions: %w", err)
		}
	}
	return nil
}

func (s sessions) sweep(ctx context.Context) error {
	now := s.now()
	return errors.Join(
		s.exec(ctx, `DELETE FROM portal_sessions WHERE expires_at <= $1 OR seen_at <= $2`, now.UnixMilli(), now.Add(-idleTime).UnixMilli()),
		s.exec(ctx, `DELETE FROM known_browsers WHERE expires_at <= $1`, now.UnixMilli()))
}

func (s sessions) exec(ctx context.Context, query string, args ...any) error {
	return s.db.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return fmt.Errorf("cannot change sessions: %w", err)
		}
		return nil
	})
}

// shorten makes a browser's name for itself fit for a list.
func shorten(agent string) string {
	agent = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r < 0x7f {
			return r
		}
		return -1
	}, agent)
	return agent[:min(len(agent), 120)]
}

func setCookie(w http.ResponseWriter, token string) { giveCookie(w, cookieName, token, lifeTime) }

func dropCookie(w http.ResponseWriter) { takeCookie(w, cookieName) }

func tokenOf(r *http.Request) string { return cookieOf(r, cookieName) }

// signedIn lets in who has a session, and sends others to sign in and back.
func (p *Portal) signedIn(h ownPage) page {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := p.sessions.find(r.Context(), tokenOf(r), stageIn)
		switch {
		case errors.Is(err, errNoSession):
			p.toSignIn(w, r)
		case err != nil:
			p.fail(w, r, err)
		default:
			h(w, r.WithContext(context.WithValue(r.Context(), ownerKey{}, s.AccountID)), s)
		}
	}
}

// ownerKey is what the context of a request has the account of who is signed in under.
type ownerKey struct{}
