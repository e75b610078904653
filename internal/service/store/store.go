// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"modernc.org/sqlite"
)

// Config says which database to open: Path of SQLite or URL of PostgreSQL, one of
// the two. The zero value of each other field is its default.
type Config struct {
	// URL names a PostgreSQL database (libpq's connection URI or keywords); Password
	// is used where it holds none. What speaks PostgreSQL's protocol and gives
	// SERIALIZABLE transactions, such as CockroachDB, serves as well.
	URL, Password string
	// Connections bounds those to PostgreSQL; 16 by default.
	Connections int
	// Path is the database file. It is made, mode 0600, if it is not there; its
	// folder must be. Beside it SQLite keeps PATH-wal and PATH-shm.
	Path string
	// BusyTimeout is how long one attempt at a write waits for another process
	// to finish its own; 5 seconds by default.
	BusyTimeout time.Duration
	// Readers is how many transactions may read at once; 4 by default.
	Readers int
	// Wrap, if set, is given the driver of each pool, SQLite's two or PostgreSQL's
	// one, and returns what is used in its place: for tests that count or break
	// statements.
	Wrap func(driver.Connector) driver.Connector
}

const (
	defaultBusyTimeout = 5 * time.Second
	defaultReaders     = 4
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	engine engine
	// path is SQLite's file.
	path string
	// write holds the one connection that writes: SQLite has one writer at a
	// time anyway, and a queue in this process is fairer than its busy handler.
	write *sql.DB
	// PostgreSQL has one pool for both.
	read *sql.DB
}

// Open opens the database, and proves that it is one by reading it; Migrate
// brings its schema up to date. The caller closes it.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.URL != "" {
		return openPostgres(ctx, cfg)
	}
	path, err := prepareFile(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the database %q: %w", cfg.Path, err)
	}
	if cfg.BusyTimeout <= 0 {
		cfg.BusyTimeout = defaultBusyTimeout
	}
	if cfg.Readers <= 0 {
		cfg.Readers = defaultReaders
	}
	db := &DB{engine: sqliteEngine{}, path: path}
	if db.write, err = pool(cfg, path, 1, true); err != nil {
		return nil, err
	}
	if db.read, err = pool(cfg, path, cfg.Readers, false); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	// The writer comes first: it is what turns a new file into one in WAL mode.
	for _, p := range []*sql.DB{db.write, db.read} {
		var tables int64
		if err := p.QueryRowContext(ctx, `SELECT COUNT(*) FROM sqlite_schema`).Scan(&tables); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot open the database %q: %w", path, err), db.Close())
		}
	}
	return db, nil
}

// Close waits for running transactions and closes the database.
func (db *DB) Close() error {
	var errs []error
	for _, p := range []*sql.DB{db.read, db.write} {
		if p != nil {
			errs = append(errs, p.Close()) // closing twice is no error
		}
	}
	return errors.Join(errs...)
}

// Ping returns nil if the database answers and has a schema.
func (db *DB) Ping(ctx context.Context) error {
	var version sql.NullInt64
	if err := db.read.QueryRowContext(ctx, `SELECT MAX(version_id) FROM `+versionTable).Scan(&version); err != nil {
		return fmt.Errorf("the database does not answer: %w", err)
	}
	return nil
}

// prepareFile returns the absolute path of the database after making an empty
// file where there is none, so that nobody else may read it from the start.
func prepareFile(path string) (string, error) {
	if path == "" {
		return "", errors.New("no path given")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	return path, errors.Join(err, f.Close())
}

// pool opens one pool of connections. synchronous=FULL flushes each commit:
// what was answered to a device must outlive a power cut.
func pool(cfg Config, path string, size int, writes bool) (*sql.DB, error) {
	q := url.Values{}
	q.Set("_busy_timeout", strconv.FormatInt(cfg.BusyTimeout.Milliseconds(), 10))
	q.Set("_journal_mode", "WAL")
	q.Set("_synchronous", "FULL")
	q.Set("_foreign_keys", "1")
	q.Set("_defensive", "1")
	q.Set("_dqs", "0")
	if writes {
		// Taking the lock at the beginning keeps a transaction that reads
		// first from failing at its first write.
		q.Set("_txlock", "immediate")
	} else {
		q.Set("_query_only", "1")
	}
	name := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	connector, err := sqlite.NewConnector(name.String())
	if err != nil {
		return nil, fmt.Errorf("cannot open the database %q: %w", path, err)
	}
	connector = statementCache{connector}
	if cfg.Wrap != nil {
		connector = cfg.Wrap(connector)
	}
	p := sql.OpenDB(connector)
	p.SetMaxOpenConns(size)
	p.SetMaxIdleConns(size)
	return p, nil
}
