// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"fmt"
)

// PrepareRead parses a query that is asked often, once for each connection that
// reads. The statement sees one state of the database without a transaction
// around it, is safe for concurrent use and ends with the database.
func (db *DB) PrepareRead(ctx context.Context, query string) (*sql.Stmt, error) {
	return prepare(ctx, db.read, query)
}

// PrepareWrite parses a statement that is run often, for use within Tx by
// (*sql.Tx).StmtContext.
func (db *DB) PrepareWrite(ctx context.Context, query string) (*sql.Stmt, error) {
	return prepare(ctx, db.write, query)
}

func prepare(ctx context.Context, pool *sql.DB, query string) (*sql.Stmt, error) {
	s, err := pool.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("cannot prepare a statement: %w", err)
	}
	return s, nil
}
