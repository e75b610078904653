// SPDX-License-Identifier: Apache-2.0

// Package journal owns the SQLite database in the state directory: the
// operations in progress, the audit trail and the time of the last check-in. A
// factory reset wipes it, and nothing in it decides whether a device opens: it
// only says what is to be asked of the account service again.
//
// It must not hold a secret.
package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

const (
	fileName = "journal.db"
	// auditKept is how many lines of the audit trail are kept.
	auditKept = 5000
	maxEvent  = 64
	maxDetail = 500
	// operationsKept is how many operations that are over are kept.
	operationsKept = 100
	opTime         = 5 * time.Second
)

// Journal is the database, opened at its first use: an unlinked device that is
// asked for a property pays nothing for it. It is safe for concurrent use.
type Journal struct {
	dir string
	now func() time.Time
	log *slog.Logger

	mu sync.Mutex
	db *sql.DB
}

var (
	_ flow.Journal = (*Journal)(nil)
	_ flow.Diary   = (*Journal)(nil)
)

// New returns the journal in dir. It does no I/O.
func New(dir string, now func() time.Time, log *slog.Logger) *Journal {
	return &Journal{dir: dir, now: now, log: log}
}

// Path returns the database's file.
func (j *Journal) Path() string { return filepath.Join(j.dir, fileName) }

// Close closes the database if it was opened.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.db == nil {
		return nil
	}
	err := j.db.Close()
	j.db = nil
	return err
}

// exists reports whether there is anything to read: a journal that was never
// written holds no operation.
func (j *Journal) exists() bool {
	j.mu.Lock()
	open := j.db != nil
	j.mu.Unlock()
	if open {
		return true
	}
	_, err := os.Stat(j.Path())
	return !errors.Is(err, fs.ErrNotExist)
}

// open returns the database, made where need be. The caller holds mu.
func (j *Journal) open(ctx context.Context) (*sql.DB, error) {
	if j.db != nil {
		return j.db, nil
	}
	db, err := openFile(ctx, j.Path())
	if err != nil {
		return nil, err
	}
	j.db = db
	return db, nil
}

// with runs do on the database. A file that is no database, or a broken one, which
// may show at any page, is moved aside and kept, and do runs once more on a new
// one: the account service and the lock record hold the truth, and the next
// check-in brings it back.
func (j *Journal) with(ctx context.Context, what string, do func(context.Context, *sql.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.try(ctx, do)
	if damaged(err) {
		if err = j.mend(err); err == nil {
			err = j.try(ctx, do)
		}
	}
	if err != nil {
		return failed(what, err)
	}
	return nil
}

func (j *Journal) try(ctx context.Context, do func(context.Context, *sql.DB) error) error {
	db, err := j.open(ctx)
	if err != nil {
		return err
	}
	return do(ctx, db)
}

// exec runs statements, each in a transaction of its own.
func (j *Journal) exec(ctx context.Context, what string, statements ...statement) error {
	return j.with(ctx, what, func(ctx context.Context, db *sql.DB) error {
		for _, s := range statements {
			if _, err := db.ExecContext(ctx, s.query, s.args...); err != nil {
				return err
			}
		}
		return nil
	})
}

type statement struct {
	query string
	args  []any
}

func do(query string, args ...any) statement { return statement{query, args} }

// Begin implements flow.Journal. Beginning again what is noted already changes
// nothing but its state: it is in progress.
func (j *Journal) Begin(ctx context.Context, op flow.Operation) error {
	return j.exec(ctx, "note the operation", do(
		`INSERT INTO operations (flow_id, kind, link_id, begun_at) VALUES (?, ?, ?, ?)
		 ON CONFLICT (flow_id) DO UPDATE SET outcome = ''`,
		op.FlowID, string(op.Kind), op.LinkID, j.now().Unix()))
}

// End implements flow.Journal. Of operations that are over the newest are kept,
// without the link that they were about.
func (j *Journal) End(ctx context.Context, flowID, outcome string) error {
	return j.exec(ctx, "close the operation",
		do(`UPDATE operations SET outcome = ?, link_id = '' WHERE flow_id = ?`, outcome, flowID),
		do(`DELETE FROM operations WHERE outcome <> '' AND rowid NOT IN
			(SELECT rowid FROM operations WHERE outcome <> '' ORDER BY rowid DESC LIMIT ?)`, operationsKept))
}

// Pending implements flow.Journal.
func (j *Journal) Pending(ctx context.Context) ([]flow.Operation, error) {
	if !j.exists() {
		return nil, nil
	}
	var out []flow.Operation
	err := j.with(ctx, "read the operations", func(ctx context.Context, db *sql.DB) (err error) {
		out, err = pending(ctx, db)
		return err
	})
	return out, err
}

func pending(ctx context.Context, db *sql.DB) ([]flow.Operation, error) {
	rows, err := db.QueryContext(ctx, `SELECT flow_id, kind, link_id FROM operations WHERE outcome = '' ORDER BY begun_at, rowid LIMIT 16`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []flow.Operation
	for rows.Next() {
		var op flow.Operation
		var kind string
		if err := rows.Scan(&op.FlowID, &kind, &op.LinkID); err != nil {
			return nil, err
		}
		op.Kind = lock.Kind(kind)
		out = append(out, op)
	}
	return out, rows.Err()
}

// LastCheckIn implements flow.Diary.
func (j *Journal) LastCheckIn(ctx context.Context) (int64, error) {
	if !j.exists() {
		return 0, nil
	}
	var at int64
	err := j.with(ctx, "read the last check-in", func(ctx context.Context, db *sql.DB) error {
		err := db.QueryRowContext(ctx, `SELECT value FROM facts WHERE name = 'last-check-in'`).Scan(&at)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return at, err
}

// SetLastCheckIn implements flow.Diary.
func (j *Journal) SetLastCheckIn(ctx context.Context, at int64) error {
	return j.exec(ctx, "keep the last check-in", do(
		`INSERT INTO facts (name, value) VALUES ('last-check-in', ?)
		 ON CONFLICT (name) DO UPDATE SET value = excluded.value`, at))
}

// Note implements flow.Diary. The trail keeps its newest lines.
func (j *Journal) Note(ctx context.Context, event, detail string) error {
	return j.exec(ctx, "write the audit trail",
		do(`INSERT INTO audit (at, event, detail) VALUES (?, ?, ?)`, j.now().Unix(), cut(event, maxEvent), cut(detail, maxDetail)),
		do(`DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?`, auditKept))
}

// WipeAccount implements flow.Diary: operations that are over name links and
// flows of the account, and go, with the events that its owner was not told. Their pages are overwritten, and so is the log
// that they were written through.
func (j *Journal) WipeAccount(ctx context.Context) error {
	if !j.exists() {
		return nil
	}
	return j.exec(ctx, "wipe the account's data",
		do(`DELETE FROM operations WHERE outcome <> ''`), do(`DELETE FROM events`), do(`PRAGMA wal_checkpoint(TRUNCATE)`))
}

// cut shortens s to at most n bytes of whole characters.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func failed(what string, err error) error {
	f := fault.New(fault.StorageFailed, fmt.Errorf("cannot %s: %w", what, err))
	f.Message = "The device could not " + what + " in its state directory."
	return f
}
