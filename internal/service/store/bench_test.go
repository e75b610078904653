// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/accountlock/accountlock/internal/service/store"
)

// BenchmarkTx is one row written and flushed: how many a second bounds what
// one SQLite database takes, whatever the number of cores.
func BenchmarkTx(b *testing.B) {
	db, err := store.Open(b.Context(), store.Config{Path: filepath.Join(b.TempDir(), "db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	if err := db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n++
		err := db.Tx(b.Context(), func(tx *sql.Tx) error {
			_, err := tx.Exec(`INSERT INTO account_ids (id, issued_at) VALUES ($1, $2)`, n, 1)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFlushFloor is a page appended to a file and flushed: what the
// medium itself takes for it.
func BenchmarkFlushFloor(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	})
	page := make([]byte, 4096)
	for b.Loop() {
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}
