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

// engine is what the two databases do differently in a transaction.
type engine interface {
	// options returns those of a transaction that may write, or not.
	options(writes bool) *sql.TxOptions
	// again reports whether a transaction that ended so has changed nothing and may
	// go well if it is begun once more; committing is whether it had come so far.
	again(err error, committing bool) bool
	// tries bounds how often it is begun.
	tries() int
}

// Tx runs fn in a transaction that may write and commits it; when it returns
// nil, the changes are on the medium. An error of fn rolls back and comes back
// as it is. When another process holds the database, a transaction that ran beside
// this one came first (PostgreSQL's 40001), or the connection was lost before the
// commit, the whole is tried again a few times: fn may run more than once and must
// have no effect but its statements. The error after the last try, and that of a
// commit that got no answer, is fault.ServiceUnavailable.
//
// fn must not call Tx: SQLite's one writing connection is taken.
func (db *DB) Tx(ctx context.Context, fn func(*sql.Tx) error) error {
	return db.retry(ctx, func() (bool, error) { return db.run(ctx, db.write, true, fn) })
}

// Read runs fn in a transaction that sees one state of the database and cannot
// change it. Errors are as with Tx.
func (db *DB) Read(ctx context.Context, fn func(*sql.Tx) error) error {
	return db.retry(ctx, func() (bool, error) { return db.run(ctx, db.read, false, fn) })
}

func (db *DB) run(ctx context.Context, pool *sql.DB, writes bool, fn func(*sql.Tx) error) (committing bool, err error) {
	tx, err := pool.BeginTx(ctx, db.engine.options(writes))
	if err != nil {
		return false, fmt.Errorf("cannot begin a transaction: %w", err)
	}
	// After a commit this does nothing; after a panic of fn it gives the
	// connection back.
	defer tx.Rollback()
	if err := fn(tx); err != nil {
		return false, err
	}
	if err := tx.Commit(); err != nil {
		return true, fmt.Errorf("cannot commit: %w", err)
	}
	return false, nil
}

func (db *DB) retry(ctx context.Context, run func() (committing bool, err error)) error {
	for n := 1; ; n++ {
		committing, err := run()
		if err == nil {
			return nil
		}
		if !db.engine.again(err, committing) {
			if committing && ctx.Err() == nil && fault.CodeOf(err) == fault.Internal {
				// Nobody knows whether it was kept. Whoever asked asks again, under
				// the same idempotency key.
				return unavailable(err)
			}
			return err
		}
		if n == db.engine.tries() {
			return unavailable(err)
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

func unavailable(err error) error {
	f := fault.New(fault.ServiceUnavailable, err)
	f.RetryAfter = time.Second
	return f
}

// sqliteEngine is SQLite's way: one writer at a time, whose lock is waited for.
type sqliteEngine struct{}

func (sqliteEngine) options(writes bool) *sql.TxOptions {
	if writes {
		return nil
	}
	return &sql.TxOptions{ReadOnly: true}
}

// tries: each has waited for BusyTimeout before, so this is for the rare conflict,
// not for a queue.
func (sqliteEngine) tries() int { return 4 }

// again: another writer held the database.
func (sqliteEngine) again(err error, _ bool) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	// The low byte is the primary code (SQLITE_BUSY_SNAPSHOT and its like).
	primary := e.Code() & 0xff
	return primary == sqlite3.SQLITE_BUSY || primary == sqlite3.SQLITE_LOCKED
}
