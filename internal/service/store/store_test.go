// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/store"
)

// open opens a database that waits for no writer for long.
func open(t *testing.T, path string) *store.DB {
	t.Helper()
	return opened(t, store.Config{Path: path, BusyTimeout: 20 * time.Millisecond})
}

func opened(t *testing.T, cfg store.Config) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func migrated(t *testing.T) (*store.DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a ?&#ü.db")
	db := open(t, path)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db, path
}

func issue(id string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO account_ids (id, issued_at) VALUES ($1, $2)`, id, 1)
		return err
	}
}

func issued(t *testing.T, db *store.DB) (n int) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT COUNT(*) FROM account_ids`).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDatabaseIsDurableAndItsOwn(t *testing.T) {
	db, path := migrated(t)
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "20",
	} {
		for name, in := range map[string]func(context.Context, func(*sql.Tx) error) error{"writer": db.Tx, "reader": db.Read} {
			var got string
			err := in(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow("PRAGMA " + pragma).Scan(&got) })
			if err != nil || got != want {
				t.Errorf("%s of the %s: %q, want %q (%v)", pragma, name, got, want, err)
			}
		}
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-migrate"} {
		info, err := os.Stat(path + suffix)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", suffix, info, err)
		}
	}
}

func TestPlaceholdersNumberedByFirstUseBindInOrderAndAgain(t *testing.T) {
	db, _ := migrated(t)
	var got string
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT $1 || '/' || $2 || '/' || $1 || '/' || $3 || '/' || $4 || '/' || $5 || '/' || $6 || '/' || $7 ||
			'/' || $8 || '/' || $9 || '/' || $10 || '/' || $11 || '/' || $2`,
			"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11").Scan(&got)
	})
	if want := "1/2/1/3/4/5/6/7/8/9/10/11/2"; err != nil || got != want {
		t.Fatalf("got %q, want %q (%v)", got, want, err)
	}
}

func TestErrorOfTheFunctionRollsBackAndComesBackAsItIs(t *testing.T) {
	db, _ := migrated(t)
	mine := fault.New(fault.WrongStep, nil)
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		if err := issue("10000001")(tx); err != nil {
			return err
		}
		return mine
	})
	if err != mine { //nolint:errorlint // the very same error is the point
		t.Fatalf("got %v", err)
	}
	if n := issued(t, db); n != 0 {
		t.Fatalf("%d rows after a rollback", n)
	}
}

func TestPanicOfTheFunctionGivesTheConnectionBack(t *testing.T) {
	db, _ := migrated(t)
	func() {
		defer func() { _ = recover() }()
		_ = db.Tx(t.Context(), func(*sql.Tx) error { panic("boom") })
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := db.Tx(ctx, issue("10000001")); err != nil {
		t.Fatal(err)
	}
}

func TestReadCannotWrite(t *testing.T) {
	db, _ := migrated(t)
	if err := db.Read(t.Context(), issue("10000001")); err == nil {
		t.Fatal("a reading transaction wrote")
	}
	if n := issued(t, db); n != 0 {
		t.Fatalf("%d rows", n)
	}
}

func TestConcurrentWritersInTwoProcessesAllGetTheirTurn(t *testing.T) {
	_, path := migrated(t)
	// A second handle on the same file stands for a second process.
	first, second := opened(t, store.Config{Path: path}), opened(t, store.Config{Path: path})
	var wg sync.WaitGroup
	for i := range 40 {
		db := first
		if i%2 == 1 {
			db = second
		}
		wg.Go(func() {
			if err := db.Tx(t.Context(), issue(string(rune('a'+i)))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := issued(t, first); n != 40 {
		t.Fatalf("%d rows, want 40", n)
	}
}

func TestWriterThatIsNeverLetInIsToldToComeBack(t *testing.T) {
	db, path := migrated(t)
	other := open(t, path)
	err := other.Tx(t.Context(), func(*sql.Tx) error {
		err := db.Tx(t.Context(), issue("10000001"))
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.ServiceUnavailable || f.RetryAfter <= 0 {
			t.Errorf("got %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestForeignKeysHold(t *testing.T) {
	db, _ := migrated(t)
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO accounts (id, password_hash, created_at) VALUES ($1, $2, $3)`, "10000001", "x", 1)
		return err
	})
	if err == nil {
		t.Fatal("an account without an issued ID was stored")
	}
}

func TestMigrateTwiceAndAtOnceChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	var wg sync.WaitGroup
	for range 4 {
		db := opened(t, store.Config{Path: path})
		wg.Go(func() {
			if err := db.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	db := open(t, path)
	if pending, err := db.Pending(t.Context()); pending || err != nil {
		t.Fatalf("pending %v, %v", pending, err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestUnmigratedDatabaseIsNotReady(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"))
	if err := db.Ping(t.Context()); err == nil {
		t.Fatal("ready without a schema")
	}
	if pending, err := db.Pending(t.Context()); !pending || err != nil {
		t.Fatalf("pending %v, %v", pending, err)
	}
}

func TestSchemaOfALaterVersionIsRefused(t *testing.T) {
	db, _ := migrated(t)
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO schema_version (version_id, is_applied) VALUES (99999, 1)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); !errors.Is(err, store.ErrNewerSchema) {
		t.Fatalf("got %v", err)
	}
}

func TestWhatIsNoDatabaseIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("this is a letter, not a database, and long enough to be read as one"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"no path": "", "a folder": dir, "a text": text, "a missing folder": filepath.Join(dir, "no", "db"), "a device": "/dev/null",
	} {
		t.Run(name, func(t *testing.T) {
			if db, err := store.Open(t.Context(), store.Config{Path: path}); err == nil {
				_ = db.Close()
				t.Fatal("opened")
			}
		})
	}
}
