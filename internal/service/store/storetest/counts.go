// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"database/sql/driver"
	"sync/atomic"
)

// Counts counts what is asked of a database. It is safe for concurrent use.
type Counts struct{ begins, commits, rollbacks, queries, execs atomic.Int64 }

// Figures are what Counts has counted.
type Figures struct{ Begins, Commits, Rollbacks, Queries, Execs int64 }

// Take returns the figures since the last Take.
func (c *Counts) Take() Figures {
	return Figures{c.begins.Swap(0), c.commits.Swap(0), c.rollbacks.Swap(0), c.queries.Swap(0), c.execs.Swap(0)}
}

// Wrap is for store.Config.
func (c *Counts) Wrap(inner driver.Connector) driver.Connector { return connector{inner, c} }

type connector struct {
	driver.Connector
	c *Counts
}

func (k connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := k.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{inner.(fullConn), k.c}, nil
}

// fullConn is what the connections of both drivers are; forwarding all of it keeps the
// service on the paths that it takes in earnest.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
}

type conn struct {
	fullConn
	c *Counts
}

// IsValid is what modernc's connections have and pgx's do not.
func (n *conn) IsValid() bool {
	v, ok := n.fullConn.(driver.Validator)
	return !ok || v.IsValid()
}

// CheckNamedValue is what pgx's connections have and modernc's do not.
func (n *conn) CheckNamedValue(v *driver.NamedValue) error {
	if c, ok := n.fullConn.(driver.NamedValueChecker); ok {
		return c.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (n *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	n.c.begins.Add(1)
	inner, err := n.fullConn.BeginTx(ctx, opts)
	return &tx{inner, n.c}, err
}

func (n *conn) QueryContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Rows, error) {
	n.c.queries.Add(1)
	return n.fullConn.QueryContext(ctx, q, args)
}

func (n *conn) ExecContext(ctx context.Context, q string, args []driver.NamedValue) (driver.Result, error) {
	n.c.execs.Add(1)
	return n.fullConn.ExecContext(ctx, q, args)
}

type tx struct {
	driver.Tx
	c *Counts
}

func (t *tx) Commit() error {
	t.c.commits.Add(1)
	return t.Tx.Commit()
}

func (t *tx) Rollback() error {
	t.c.rollbacks.Add(1)
	return t.Tx.Rollback()
}
