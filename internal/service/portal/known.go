// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/accountlock/accountlock/internal/service/recovery"
)

// knownCookie names the browser to the service after its session has run out; it opens
// nothing. Signing out drops it.
const knownCookie = "__Host-known"

// knownTime is how long a browser stays known after its last sign-in.
const knownTime = 180 * 24 * time.Hour

// remember makes a browser known from now on, unless it has been to this account before.
func (p *Portal) remember(w http.ResponseWriter, r *http.Request, accountID string) error {
	now := p.Now()
	token := cookieOf(r, knownCookie)
	err := p.DB.Tx(r.Context(), func(tx *sql.Tx) error {
		res, err := tx.ExecContext(r.Context(), `UPDATE known_browsers SET expires_at = $1 WHERE token_hash = $2 AND account_id = $3 AND expires_at > $4`,
			now.Add(knownTime).UnixMilli(), hashOf(token), accountID, now.UnixMilli())
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		// A token of our own making, whatever the browser came with.
		token = rand.Text() + rand.Text()
		_, err = tx.ExecContext(r.Context(), `INSERT INTO known_browsers (token_hash, account_id, since, expires_at) VALUES ($1, $2, $3, $4)`,
			hashOf(token), accountID, now.UnixMilli(), now.Add(knownTime).UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot remember a browser: %w", err)
	}
	giveCookie(w, knownCookie, token, knownTime)
	return nil
}

// knownTo returns the account that the browser has been signed in to for days; empty is
// none. fails closed: any doubt makes nobody known.
func (p *Portal) knownTo(r *http.Request) (string, error) {
	token := cookieOf(r, knownCookie)
	if token == "" {
		return "", nil
	}
	var accountID string
	now := p.Now()
	err := p.DB.Read(r.Context(), func(tx *sql.Tx) error {
		return tx.QueryRowContext(r.Context(), `SELECT account_id FROM known_browsers WHERE token_hash = $1 AND expires_at > $2 AND since <= $3`,
			hashOf(token), now.UnixMilli(), now.Add(-recovery.KnownAfter).UnixMilli()).Scan(&accountID)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot look up a known browser: %w", err)
	}
	return accountID, nil
}

// forget makes the browser unknown.
func (p *Portal) forget(w http.ResponseWriter, r *http.Request) error {
	if token := cookieOf(r, knownCookie); token != "" {
		if err := p.sessions.exec(r.Context(), `DELETE FROM known_browsers WHERE token_hash = $1`, hashOf(token)); err != nil {
			return err
		}
	}
	takeCookie(w, knownCookie)
	return nil
}

// forgetOthers makes every other browser of an account unknown.
func (p *Portal) forgetOthers(ctx context.Context, r *http.Request, accountID string) error {
	return p.sessions.exec(ctx, `DELETE FROM known_browsers WHERE account_id = $1 AND token_hash <> $2`, accountID, hashOf(cookieOf(r, knownCookie)))
}

func cookieOf(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

func giveCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: int(life / time.Second),
	})
}

func takeCookie(w http.ResponseWriter, name string) {
	http.SetCookie(w, &http.Cookie{Name: name, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: -1})
}
