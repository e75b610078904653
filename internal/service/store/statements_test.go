// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
)

func TestOneQueryWithinItselfSeesItsOwnRows(t *testing.T) {
	db, _ := migrated(t)
	const q = `SELECT id FROM account_ids WHERE issued_at >= $1 ORDER BY id`
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		for _, id := range []string{"a", "b", "c"} {
			if err := issue(id)(tx); err != nil {
				return err
			}
		}
		var got string
		outer, err := tx.Query(q, 0)
		if err != nil {
			return err
		}
		defer func() {
			if err := outer.Close(); err != nil {
				t.Error(err)
			}
		}()
		for outer.Next() {
			var id string
			if err := outer.Scan(&id); err != nil {
				return err
			}
			got += id + ":"
			inner, err := tx.Query(q, 1)
			if err != nil {
				return err
			}
			for inner.Next() {
				if err := inner.Scan(&id); err != nil {
					return err
				}
				got += id
			}
			if err := errors.Join(inner.Err(), inner.Close()); err != nil {
				return err
			}
		}
		if got != "a:abcb:abcc:abc" {
			t.Errorf("got %s", got)
		}
		return outer.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStatementLeftHalfReadHoldsNothing(t *testing.T) {
	db, _ := migrated(t)
	for i := range 5 {
		if err := db.Tx(t.Context(), issue(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		var first string
		err := db.Tx(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRow(`SELECT id FROM account_ids ORDER BY id`).Scan(&first) // five rows, one read
		})
		if err != nil || first != "0" {
			t.Fatalf("%q, %v", first, err)
		}
	}
	if err := db.Tx(t.Context(), issue("more")); err != nil {
		t.Fatal(err)
	}
}

func TestStatementThatFailedIsRightTheNextTime(t *testing.T) {
	db, _ := migrated(t)
	if err := db.Tx(t.Context(), issue("a")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := db.Tx(t.Context(), issue("a")); err == nil {
			t.Fatal("an ID was stored twice")
		}
	}
	if err := db.Tx(t.Context(), issue("b")); err != nil {
		t.Fatal(err)
	}
	if n := issued(t, db); n != 2 {
		t.Fatalf("%d rows", n)
	}
}

func TestStatementOutlivesAChangeOfTheSchema(t *testing.T) {
	db, path := migrated(t)
	if n := issued(t, db); n != 0 {
		t.Fatalf("%d rows", n)
	}
	other := open(t, path)
	err := other.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`ALTER TABLE account_ids ADD COLUMN note TEXT`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Tx(t.Context(), issue("a")); err != nil {
		t.Fatal(err)
	}
	if n := issued(t, db); n != 1 {
		t.Fatalf("%d rows", n)
	}
}

func TestMoreStatementsThanAreKeptAllRun(t *testing.T) {
	db, _ := migrated(t)
	for round := range 2 {
		for i := range 300 {
			var got int
			err := db.Read(t.Context(), func(tx *sql.Tx) error {
				return tx.QueryRow(fmt.Sprintf(`SELECT %d + $1`, i), round).Scan(&got)
			})
			if err != nil || got != i+round {
				t.Fatalf("%d: %d, %v", i, got, err)
			}
		}
	}
}

func TestSecondStatementBehindASemicolonIsNotLeftOut(t *testing.T) {
	db, _ := migrated(t)
	err := db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO account_ids (id, issued_at) VALUES ('a', 1); INSERT INTO account_ids (id, issued_at) VALUES ('b', 1)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := issued(t, db); n != 2 {
		t.Fatalf("%d rows", n)
	}
}

func TestContextThatEndsStopsAQueryAndSparesTheConnection(t *testing.T) {
	db, _ := migrated(t)
	const endless = `SELECT COUNT(*) FROM (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n)`
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Tx(ctx, func(tx *sql.Tx) error {
			go cancel()
			var n int
			return tx.QueryRowContext(ctx, endless).Scan(&n)
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	if err := db.Tx(t.Context(), issue("a")); err != nil {
		t.Fatal(err)
	}
}
