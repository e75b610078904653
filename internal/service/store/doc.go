// SPDX-License-Identifier: Apache-2.0

// Package store owns the account service's database: how it is opened, the
// schema (migrations/, applied in order by goose) and how a transaction is
// run. The packages above it write their own SQL against a *sql.Tx.
//
// That SQL must be what SQLite and PostgreSQL both take: TEXT and BIGINT
// columns, placeholders $1, $2, … numbered in the order in which they first
// appear (SQLite numbers them so, whatever their name), times as BIGINT
// milliseconds since the epoch, truth values as BIGINT 0 or 1.
//
// It must not know what the tables mean.
package store
