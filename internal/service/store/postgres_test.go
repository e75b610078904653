// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

// onPostgres returns n servers' handles on one database.
func onPostgres(t *testing.T, n int) []*store.DB {
	t.Helper()
	url := storetest.Postgres(t).Database(t)
	out := make([]*store.DB, n)
	for i := range out {
		out[i] = storetest.OpenAt(t, store.Config{URL: url, Connections: 4})
	}
	return out
}

func exec(t *testing.T, db *store.DB, query string, args ...any) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// raise reads a number and writes the next one: lost if two do it at once.
func raise(ctx context.Context, db *store.DB, id string) error {
	return db.Tx(ctx, func(tx *sql.Tx) error {
		var n int64
		if err := tx.QueryRowContext(ctx, `SELECT n FROM tally WHERE id = $1`, id).Scan(&n); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE tally SET n = $1 WHERE id = $2`, n+1, id)
		return err
	})
}

func tally(t *testing.T, db *store.DB, id string) int64 {
	t.Helper()
	var n int64
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT n FROM tally WHERE id = $1`, id).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTransactionsOfTwoServersOnOneRowLoseNothing(t *testing.T) {
	dbs := onPostgres(t, 2)
	exec(t, dbs[0], `CREATE TABLE tally (id TEXT PRIMARY KEY, n BIGINT NOT NULL)`)
	exec(t, dbs[0], `INSERT INTO tally VALUES ('a', 0)`)
	const workers, each = 6, 20
	var refused atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for range each {
				if err := raise(t.Context(), dbs[w%2], "a"); err != nil {
					if fault.CodeOf(err) != fault.ServiceUnavailable {
						t.Error(err)
					}
					refused.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := tally(t, dbs[0], "a"); n+refused.Load() != workers*each {
		t.Errorf("%d were counted and %d refused, of %d", n, refused.Load(), workers*each)
	}
	if refused.Load() > workers*each/10 {
		t.Errorf("%d of %d were refused", refused.Load(), workers*each)
	}
}

func TestWritesThatDependOnEachOthersReadsDoNotBothHappen(t *testing.T) {
	dbs := onPostgres(t, 2)
	exec(t, dbs[0], `CREATE TABLE tally (id TEXT PRIMARY KEY, n BIGINT NOT NULL)`)
	exec(t, dbs[0], `INSERT INTO tally VALUES ('a', 1), ('b', 1)`)
	// Each may take one away only if the sum stays at least 1: the write skew that
	// snapshots alone would let through.
	take := func(db *store.DB, id string, meet *sync.WaitGroup) error {
		var once sync.Once
		return db.Tx(t.Context(), func(tx *sql.Tx) error {
			var sum int64
			if err := tx.QueryRow(`SELECT SUM(n) FROM tally`).Scan(&sum); err != nil {
				return err
			}
			once.Do(func() { meet.Done(); meet.Wait() })
			if sum < 2 {
				return nil
			}
			_, err := tx.Exec(`UPDATE tally SET n = n - 1 WHERE id = $1`, id)
			return err
		})
	}
	var meet, all sync.WaitGroup
	meet.Add(2)
	for i, id := range []string{"a", "b"} {
		all.Go(func() {
			if err := take(dbs[i], id, &meet); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := tally(t, dbs[0], "a") + tally(t, dbs[0], "b"); n != 1 {
		t.Errorf("%d are left", n)
	}
}

func TestADatabaseThatCrashesLosesNothingThatWasAnswered(t *testing.T) {
	dbs := onPostgres(t, 1)
	exec(t, dbs[0], `CREATE TABLE tally (id TEXT PRIMARY KEY, n BIGINT NOT NULL)`)
	exec(t, dbs[0], `INSERT INTO tally VALUES ('a', 0)`)
	ctx, stop := context.WithCancel(t.Context())
	var answered, unknown, after atomic.Int64
	crashed := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for ctx.Err() == nil {
			switch err := raise(context.WithoutCancel(ctx), dbs[0], "a"); {
			case err == nil:
				answered.Add(1)
				select {
				case <-crashed:
					after.Add(1)
				default:
				}
			case fault.CodeOf(err) == fault.ServiceUnavailable:
				unknown.Add(1)
			default:
				t.Errorf("told otherwise than as 'unavailable': %v", err)
			}
			if after.Load() > 20 {
				return
			}
		}
	})
	for answered.Load() < 20 && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if err := storetest.Postgres(t).Restart(); err != nil {
		t.Error(err)
	}
	close(crashed)
	work.Wait()
	stop()
	n := tally(t, dbs[0], "a")
	if n < answered.Load() || n > answered.Load()+unknown.Load() {
		t.Errorf("%d are kept; %d were answered and %d unknown", n, answered.Load(), unknown.Load())
	}
	t.Logf("%d answered, %d unknown, %d kept", answered.Load(), unknown.Load(), n)
}

func TestTwoServersMigrateOneDatabase(t *testing.T) {
	url := storetest.Postgres(t).Database(t)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			db, err := store.Open(t.Context(), store.Config{URL: url})
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if err := db.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
			if pending, err := db.Pending(t.Context()); err != nil || pending {
				t.Errorf("pending %v, %v", pending, err)
			}
		})
	}
	all.Wait()
}

func TestWhatIsNoDatabaseIsSaidWithoutItsPassword(t *testing.T) {
	for _, url := range []string{"postgres://u:hunter2@127.0.0.1:1/x?connect_timeout=1", "postgres://u:hunter2@[::1", "host=/nonexistent password=hunter2"} {
		db, err := store.Open(t.Context(), store.Config{URL: url})
		if err == nil {
			db.Close()
			t.Errorf("%q was opened", url)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}
