// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Select asks one query and has row read each of its rows. It sees one state of the database as
// Read does, without a transaction around it, which on PostgreSQL takes two answers more to
// wait for. It is tried again as Read is: each time begin is called first, if it is given.
func (db *DB) Select(ctx context.Context, query string, args []any, begin func(), row func(*sql.Rows) error) error {
	return db.retry(ctx, func() (bool, error) {
		if begin != nil {
			begin()
		}
		rows, err := db.read.QueryContext(ctx, query, args...)
		if err != nil {
			return false, fmt.Errorf("cannot ask: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			if err := row(rows); err != nil {
				return false, err
			}
		}
		return false, errors.Join(rows.Err(), rows.Close())
	})
}

// SelectRow asks a query of one row and scans it. Where there is none it is sql.ErrNoRows.
func (db *DB) SelectRow(ctx context.Context, query string, args []any, into ...any) error {
	found := false
	err := db.Select(ctx, query, args, func() { found = false }, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(into...)
	})
	if err == nil && !found {
		return sql.ErrNoRows
	}
	return err
}
