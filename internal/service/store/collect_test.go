// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"database/sql"
	"errors"
	"slices"
	"testing"

	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

func TestCollectReturnsEveryRowOrTheErrorOfOne(t *testing.T) {
	db := storetest.Open(t, nil)
	collect := func(query string, scan func(*sql.Rows) (int64, error)) (out []int64, err error) {
		txErr := db.Read(t.Context(), func(tx *sql.Tx) error {
			out, err = store.Collect(t.Context(), tx, scan, query, int64(7))
			return nil
		})
		if txErr != nil {
			t.Fatal(txErr)
		}
		return out, err
	}
	if out, err := collect("SELECT CAST($1 AS BIGINT) UNION ALL SELECT 8 ORDER BY 1", store.One[int64]); err != nil || !slices.Equal(out, []int64{7, 8}) {
		t.Errorf("%v, %v", out, err)
	}
	if out, err := collect("SELECT CAST($1 AS BIGINT) WHERE 1 = 2", store.One[int64]); err != nil || out == nil || len(out) != 0 {
		t.Errorf("no row: %#v, %v", out, err)
	}
	bad := errors.New("bad row")
	if out, err := collect("SELECT CAST($1 AS BIGINT)", func(*sql.Rows) (int64, error) { return 0, bad }); !errors.Is(err, bad) || out != nil {
		t.Errorf("a row that cannot be scanned: %v, %v", out, err)
	}
}
