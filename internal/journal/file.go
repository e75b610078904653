// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite" // the driver "sqlite", and its errors
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed migrations/*.sql
var migrations embed.FS

// schema is the number of the newest migration.
const schema = 2

func openFile(ctx context.Context, path string) (*sql.DB, error) {
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	// Mode 0600 from the first byte; SQLite gives -wal and -shm the same.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(cutShort(f), f.Close()); err != nil {
		return nil, err
	}
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "secure_delete(ON)", "busy_timeout(2000)", "cache_size(-256)", "journal_size_limit(262144)"}}
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

// migrate brings the schema up to date. By hand: a library for it brings templates and
// reflection that would be resident in every daemon.
func migrate(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch {
	case version == schema:
		return nil
	case version > schema:
		return fmt.Errorf("the journal has schema %d, newer than this program's %d", version, schema)
	}
	for n := version + 1; n <= schema; n++ {
		if err := step(ctx, db, n); err != nil {
			return fmt.Errorf("cannot bring the journal to schema %d: %w", n, err)
		}
	}
	return nil
}

// step applies the migration of that number: all of it and its number, or nothing.
func step(ctx context.Context, db *sql.DB, n int) error {
	found, err := fs.Glob(migrations, fmt.Sprintf("migrations/%05d_*.sql", n))
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("%d migrations have that number", len(found))
	}
	text, err := migrations.ReadFile(found[0])
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf("%s;\nPRAGMA user_version = %d", text, n))
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// errCutShort is the error of a file that lacks pages that it says it has. SQLite
// would find out only on reading one of them.
var errCutShort = errors.New("the database is cut short")

// cutShort returns errCutShort where the header (SQLite, 'Database File Format',
// 1.3) counts more pages than there are. Beside a log the count may be behind.
func cutShort(f *os.File) error {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err
	}
	if log, err := os.Stat(f.Name() + "-wal"); err == nil && log.Size() > 0 {
		return nil
	}
	var h [100]byte
	if _, err := f.ReadAt(h[:], 0); errors.Is(err, io.EOF) {
		return errCutShort
	} else if err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint16(h[16:]))
	if size == 1 {
		size = 1 << 16
	}
	// The count holds only if it was written with the last change.
	counted := bytes.Equal(h[24:28], h[92:96])
	if counted && st.Size() < size*int64(binary.BigEndian.Uint32(h[28:])) {
		return errCutShort
	}
	return nil
}

func damaged(err error) bool {
	if errors.Is(err, errCutShort) {
		return true
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// mend closes what is damaged and moves it aside.
func (j *Journal) mend(cause error) error {
	aside := j.Path() + ".damaged"
	j.log.Error("the journal is damaged; it is kept aside and begun anew", "error", cause, "kept", aside)
	if j.db != nil {
		_ = j.db.Close() // what it could not say before it cannot say now
		j.db = nil
	}
	return moveAside(j.Path(), aside)
}

// moveAside moves the database last: a crash in between leaves a damaged one to be
// found again, and never a new one beside an old log.
func moveAside(path, aside string) error {
	for _, suffix := range []string{"-shm", "-wal", ""} {
		err := os.Rename(path+suffix, aside+suffix)
		if errors.Is(err, fs.ErrNotExist) {
			// What is kept is one database, and not parts of two.
			err = os.Remove(aside + suffix)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
