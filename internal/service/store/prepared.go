// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"fmt"
)

// PrepareRead parses a query that is asked by itself so often that beginning and
// ending a transaction for it would show. The statement sees one state of the database without a transaction
// around it, is safe for concurrent use and ends with the database.
func (db *DB) PrepareRead(ctx context.Context, query string) (*sql.Stmt, error) {
	s, err := db.read.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("cannot prepare a query: %w", err)
	}
	return s, nil
}
