// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/accountlock/accountlock/internal/fault"
)

// maxTries bounds how often a transaction is begun again; each try has waited
// for BusyTimeout before, so this is for the rare conflict, not for a queue.
const maxTries = 4

// Tx runs fn in a transaction that may write and commits it; when it returns
// nil, the changes are on the medium. An error of fn rolls back and comes back
// as it is. When another process holds the database, the whole is tried again a
// few times: fn may run more than once and must have no effect but its
// statements. The error after the last try is fault.ServiceUnavailable.
//
// fn must not call Tx: the one writing connection is taken.
func (db *DB) Tx(ctx context.Context, fn func(*sql.Tx) error) error {
	return retry(ctx, func() error { return run(ctx, db.write, nil, fn) })
}

// Read runs fn in a transaction that sees one state of the database and cannot
// change it. Errors are as with Tx.
func (db *DB) Read(ctx context.Context, fn func(*sql.Tx) error) error {
	return retry(ctx, func() error { return run(ctx, db.read, &sql.TxOptions{ReadOnly: true}, fn) })
}

func run(ctx context.Context, pool *sql.DB, opts *sql.TxOptions, fn func(*sql.Tx) error) error {
	tx, err := pool.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("cannot begin a transaction: %w", err)
	}
	// After a commit this does nothing; after a panic of fn it gives the
	// connection back.
	defer tx.Rollback()
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("cannot commit: %w", err)
	}
	return nil
}

func retry(ctx context.Context, try func() error) error {
	for n := 1; ; n++ {
		err := try()
		if err == nil || !busy(err) {
			return err
		}
		if n == maxTries {
			f := fault.New(fault.ServiceUnavailable, err)
			f.RetryAfter = time.Second
			return f
		}
		// A little disorder, so that two that collided do not collide again.
		pause := time.NewTimer(time.Duration(n)*10*time.Millisecond + rand.N(20*time.Millisecond)) //nolint:gosec // no secret
		select {
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		case <-pause.C:
		}
	}
}

// busy reports whether err is of another writer, so that trying again helps.
func busy(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	// The low byte is the primary code (SQLITE_BUSY_SNAPSHOT and its like).
	primary := e.Code() & 0xff
	return primary == sqlite3.SQLITE_BUSY || primary == sqlite3.SQLITE_LOCKED
}
