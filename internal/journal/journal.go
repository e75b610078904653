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
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // the driver "sqlite", and its errors
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// schema is the number of the newest migration.
const schema = 1

const (
	fileName = "journal.db"
	// auditKept is how many lines of the audit trail are kept.
	auditKept = 5000
	maxDetail = 500
	opTime    = 5 * time.Second
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

// open returns the database, made or mended where need be. A file that is no
// database, or a broken one, is moved aside and kept: the account service and the
// lock record hold the truth, and the next check-in brings it back.
func (j *Journal) open(ctx context.Context) (*sql.DB, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.db != nil {
		return j.db, nil
	}
	db, err := openFile(ctx, j.Path())
	if damaged(err) {
		aside := j.Path() + ".damaged"
		j.log.Error("the journal is damaged; it is kept aside and begun anew", "error", err, "kept", aside)
		if rerr := moveAside(j.Path(), aside); rerr != nil {
			return nil, failed("mend the journal", rerr)
		}
		db, err = openFile(ctx, j.Path())
	}
	if err != nil {
		return nil, failed("open the journal", err)
	}
	j.db = db
	return db, nil
}

func openFile(ctx context.Context, path string) (*sql.DB, error) {
	// Mode 0600 from the first byte; SQLite gives -wal and -shm the same.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(2000)", "cache_size(-256)", "journal_size_limit(262144)"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if err := migrate(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch {
	case version == schema:
		// Nearly every start: spare it the migrations' own queries.
		return nil
	case version > schema:
		return fmt.Errorf("the journal has schema %d, newer than this program's %d", version, schema)
	}
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", schema))
	return err
}

func damaged(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

func moveAside(path, aside string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		err := os.Rename(path+suffix, aside+suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// exec runs one statement in a transaction of its own.
func (j *Journal) exec(ctx context.Context, what, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	db, err := j.open(ctx)
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, query, args...); err != nil {
		return failed(what, err)
	}
	return nil
}

// Begin implements flow.Journal. Beginning again what is noted already changes
// nothing but its state: it is in progress.
func (j *Journal) Begin(ctx context.Context, op flow.Operation) error {
	return j.exec(ctx, "note the operation",
		`INSERT INTO operations (flow_id, kind, link_id, begun_at) VALUES (?, ?, ?, ?)
		 ON CONFLICT (flow_id) DO UPDATE SET outcome = ''`,
		op.FlowID, string(op.Kind), op.LinkID, j.now().Unix())
}

// End implements flow.Journal.
func (j *Journal) End(ctx context.Context, flowID, outcome string) error {
	return j.exec(ctx, "close the operation",
		`UPDATE operations SET outcome = ? WHERE flow_id = ?`, outcome, flowID)
}

// Pending implements flow.Journal.
func (j *Journal) Pending(ctx context.Context) ([]flow.Operation, error) {
	if !j.exists() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	db, err := j.open(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, `SELECT flow_id, kind, link_id FROM operations WHERE outcome = '' ORDER BY begun_at LIMIT 16`)
	if err != nil {
		return nil, failed("read the operations", err)
	}
	defer func() { _ = rows.Close() }()
	var out []flow.Operation
	for rows.Next() {
		var op flow.Operation
		var kind string
		if err := rows.Scan(&op.FlowID, &kind, &op.LinkID); err != nil {
			return nil, failed("read the operations", err)
		}
		op.Kind = lock.Kind(kind)
		out = append(out, op)
	}
	if err := rows.Err(); err != nil {
		return nil, failed("read the operations", err)
	}
	return out, nil
}

// LastCheckIn implements flow.Diary.
func (j *Journal) LastCheckIn(ctx context.Context) (int64, error) {
	if !j.exists() {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	db, err := j.open(ctx)
	if err != nil {
		return 0, err
	}
	var at int64
	err = db.QueryRowContext(ctx, `SELECT value FROM facts WHERE name = 'last-check-in'`).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, failed("read the last check-in", err)
	}
	return at, nil
}

// SetLastCheckIn implements flow.Diary.
func (j *Journal) SetLastCheckIn(ctx context.Context, at int64) error {
	return j.exec(ctx, "keep the last check-in",
		`INSERT INTO facts (name, value) VALUES ('last-check-in', ?)
		 ON CONFLICT (name) DO UPDATE SET value = excluded.value`, at)
}

// Note implements flow.Diary. The trail keeps its newest lines.
func (j *Journal) Note(ctx context.Context, event, detail string) error {
	if len(detail) > maxDetail {
		detail = detail[:maxDetail]
	}
	if err := j.exec(ctx, "write the audit trail",
		`INSERT INTO audit (at, event, detail) VALUES (?, ?, ?)`, j.now().Unix(), event, detail); err != nil {
		return err
	}
	return j.exec(ctx, "shorten the audit trail",
		`DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?`, auditKept)
}

// WipeAccount implements flow.Diary: operations that are over name links and
// flows of the account, and go; the freed pages are overwritten.
func (j *Journal) WipeAccount(ctx context.Context) error {
	if !j.exists() {
		return nil
	}
	if err := j.exec(ctx, "wipe the account's data", `PRAGMA secure_delete = ON`); err != nil {
		return err
	}
	return j.exec(ctx, "wipe the account's data", `DELETE FROM operations WHERE outcome <> ''`)
}

func failed(what string, err error) error {
	f := fault.New(fault.StorageFailed, fmt.Errorf("cannot %s: %w", what, err))
	f.Message = "The device could not " + what + " in its state directory."
	return f
}
