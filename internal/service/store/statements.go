// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
)

// maxStatements bounds the statements that one connection keeps prepared.
const maxStatements = 256

// statementCache makes connections that keep their statements prepared. The
// packages above write SQL where they use it and prepare none; yet parsing it
// anew each time cost an eighth of what a short request does.
type statementCache struct{ driver.Connector }

// Connect implements driver.Connector.
func (c statementCache) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := inner.(fullConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("cannot use a connection of type %T", inner), inner.Close())
	}
	return &cachingConn{fullConn: full, idle: map[string]driver.Stmt{}}, nil
}

// fullConn is what every connection of modernc's driver is; database/sql asks
// for each, so all of it is passed on.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// cachingConn is used by one goroutine at a time, as every driver.Conn is.
type cachingConn struct {
	fullConn
	// idle are the statements not in use, by their text. One in use is not among
	// them: the same text asked again meanwhile gets a second one.
	idle map[string]driver.Stmt
}

var _ fullConn = (*cachingConn)(nil)

// Unwrap returns the connection of the driver, for what looks for it.
func (c *cachingConn) Unwrap() driver.Conn { return c.fullConn }

// ExecContext implements driver.ExecerContext.
func (c *cachingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !keeps(query) {
		return c.fullConn.ExecContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	r, err := s.(driver.StmtExecContext).ExecContext(ctx, args)
	return r, errors.Join(err, c.giveBack(query, s, err))
}

// QueryContext implements driver.QueryerContext.
func (c *cachingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !keeps(query) {
		return c.fullConn.QueryContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	r, err := s.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, c.giveBack(query, s, err))
	}
	return &cachedRows{Rows: r, done: func(err error) error { return c.giveBack(query, s, err) }}, nil
}

// Close implements driver.Conn.
func (c *cachingConn) Close() error {
	var errs []error
	for _, s := range c.idle {
		errs = append(errs, s.Close())
	}
	clear(c.idle)
	return errors.Join(append(errs, c.fullConn.Close())...)
}

// keeps reports whether a statement is one that comes again: not the schema's,
// and not PRAGMA.
func keeps(query string) bool {
	query = strings.TrimLeft(query, " \t\n")
	word, _, _ := strings.Cut(query, " ")
	switch word {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH":
		// A second statement behind it would be left out.
		return !strings.Contains(query, ";")
	}
	return false
}

// take returns a statement that nobody else has.
func (c *cachingConn) take(ctx context.Context, query string) (driver.Stmt, error) {
	if s, ok := c.idle[query]; ok {
		delete(c.idle, query)
		return s, nil
	}
	s, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	_, execs := s.(driver.StmtExecContext)
	_, queries := s.(driver.StmtQueryContext)
	if !execs || !queries {
		return nil, errors.Join(fmt.Errorf("cannot use a statement of type %T", s), s.Close())
	}
	return s, nil
}

// giveBack keeps a statement for the next time, unless it failed (failed is how), or
// there is one already. Where there are too many, any makes room: the
// service has some two hundred, and most connections ask few of them.
func (c *cachingConn) giveBack(query string, s driver.Stmt, failed error) error {
	if _, twice := c.idle[query]; twice || failed != nil {
		return s.Close()
	}
	var err error
	if len(c.idle) >= maxStatements {
		for q, old := range c.idle {
			delete(c.idle, q)
			err = old.Close()
			break
		}
	}
	c.idle[query] = s
	return err
}

// cachedRows gives the statement back when they are closed.
type cachedRows struct {
	driver.Rows
	done func(error) error
}

// Close implements driver.Rows. database/sql may call it twice.
func (r *cachedRows) Close() error {
	err := r.Rows.Close()
	if r.done == nil {
		return err
	}
	done := r.done
	r.done = nil
	return errors.Join(err, done(err))
}
