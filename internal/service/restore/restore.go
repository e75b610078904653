// SPDX-License-Identifier: Apache-2.0

// Package restore owns what has to be done to a database that was restored from a
// backup before it is served again: devices have seen more of their links than it
// knows, and what was ended since must not come alive.
//
// It must not decide what a link is: it only makes what is stated of it newer than
// anything stated before.
package restore

import (
	"context"
	"database/sql"
	"fmt"
)

// Ahead is by how much generations rise. A device takes no statement of a lower
// generation than its record's; no link has changed this often since any backup.
const Ahead = 1_000_000

// batch bounds the links that are changed in one transaction.
const batch = 5000

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Read(ctx context.Context, fn func(*sql.Tx) error) error
}

// Done is what was done.
type Done struct {
	// Links is how many were made newer.
	Links int64 `json:"links"`
	// Ended is how many sessions, flows, codes, approvals and recoveries were ended.
	Ended int64 `json:"ended"`
}

// void ends what somebody may have ended since the backup, or used up: a session, a
// code, a recovery that its owner has stopped. Whoever is at it begins anew.
var void = []string{
	`DELETE FROM portal_sessions`,
	`DELETE FROM staff_sessions`,
	`DELETE FROM known_browsers`,
	`DELETE FROM oidc_sessions`,
	`DELETE FROM oidc_logins`,
	`DELETE FROM codes`,
	`DELETE FROM recovery_asks`,
	`UPDATE recoveries SET status = 'void', telling = 0 WHERE status = 'open'`,
	`DELETE FROM approvals`,
	`DELETE FROM links WHERE status = 'pending'`,
	`DELETE FROM flows`,
	`UPDATE accounts SET password_hash = '', password_until = 0 WHERE password_until > 0`,
	// Codes in them are void, and the rest was sent.
	`DELETE FROM messages`,
}

// Finish makes a restored database fit to be served. No server may be running on it. It may be broken off
// and begun again: generations then rise once more, which does no harm.
func Finish(ctx context.Context, db DB) (Done, error) {
	var out Done
	for _, query := range void {
		err := db.Tx(ctx, func(tx *sql.Tx) error {
			r, err := tx.ExecContext(ctx, query)
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			out.Ended += n
			return err
		})
		if err != nil {
			return out, fmt.Errorf("cannot end what was going on: %w", err)
		}
	}
	for after, more := "", true; more; {
		last, err := end(ctx, db, after)
		if err != nil {
			return out, fmt.Errorf("cannot read the links: %w", err)
		}
		if more = last != ""; !more {
			break
		}
		err = db.Tx(ctx, func(tx *sql.Tx) error {
			r, err := tx.ExecContext(ctx, `UPDATE links SET generation = generation + $1 WHERE id > $2 AND id <= $3`, Ahead, after, last)
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			out.Links += n
			return err
		})
		if err != nil {
			return out, fmt.Errorf("cannot make the links newer: %w", err)
		}
		after = last
	}
	return out, nil
}

// end returns the last ID of the batch of links that comes after one; empty where there
// is none.
func end(ctx context.Context, db DB, after string) (string, error) {
	var last sql.NullString
	err := db.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT MAX(id) FROM (SELECT id FROM links WHERE id > $1 ORDER BY id LIMIT $2) AS part`, after, batch).Scan(&last)
	})
	return last.String, err
}
