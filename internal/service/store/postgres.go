// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	defaultConnections = 16
	// connectTime bounds one attempt at a connection.
	connectTime = 5 * time.Second
	// connectionLife spreads connections over the servers behind one name.
	connectionLife = 30 * time.Minute
)

// openPostgres is Open for PostgreSQL.
func openPostgres(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Path != "" {
		return nil, errors.New("cannot open two databases: a path and a URL are given")
	}
	conn, err := pgx.ParseConfig(cfg.URL)
	if err != nil {
		// The text of the error has the password taken out, and the rest is the operator's.
		return nil, fmt.Errorf("cannot use the URL of the database: %w", err)
	}
	if conn.Password == "" {
		conn.Password = cfg.Password
	}
	if conn.ConnectTimeout == 0 || conn.ConnectTimeout > connectTime {
		conn.ConnectTimeout = connectTime
	}
	conn.RuntimeParams["application_name"] = "accountlock-server"
	// A commit that was answered outlives a power cut, whatever the server's default is.
	conn.RuntimeParams["synchronous_commit"] = "on"
	// A client that is gone must hold no locks.
	conn.RuntimeParams["idle_in_transaction_session_timeout"] = "30s"
	connector := stdlib.GetConnector(*conn)
	if cfg.Wrap != nil {
		connector = cfg.Wrap(connector)
	}
	if cfg.Connections <= 0 {
		cfg.Connections = defaultConnections
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(cfg.Connections)
	pool.SetMaxIdleConns(cfg.Connections)
	pool.SetConnMaxLifetime(connectionLife)
	if err := pool.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the database on %s: %w", conn.Host, err), pool.Close())
	}
	return &DB{engine: postgresEngine{}, write: pool, read: pool}, nil
}

// postgresEngine is PostgreSQL's way: transactions run beside each other as if one
// came after the other, and one that cannot is ended with 40001 and begun again
// (PostgreSQL's manual, 13.2.3 and 13.5).
type postgresEngine struct{}

func (postgresEngine) options(writes bool) *sql.TxOptions {
	if writes {
		return &sql.TxOptions{Isolation: sql.LevelSerializable}
	}
	// One state of the database, and nothing that could fail for order's sake.
	return &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
}

// tries: under load on one row each but the first to commit begins again.
func (postgresEngine) tries() int { return 25 }

// SQLSTATEs (PostgreSQL's manual, appendix A).
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	adminShutdown        = "57P01"
	crashShutdown        = "57P02"
	cannotConnectNow     = "57P03"
	tooManyConnections   = "53300"
)

func (postgresEngine) again(err error, committing bool) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch e.Code {
		case serializationFailure, deadlockDetected, adminShutdown, crashShutdown, cannotConnectNow, tooManyConnections:
			// The server says that the transaction was ended; nothing of it is kept.
			return true
		}
		return false
	}
	if committing {
		// The answer to the commit is lost: it may have been kept.
		return false
	}
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) || errors.Is(err, driver.ErrBadConn) || pgconn.SafeToRetry(err) || lost(err)
}

// lost reports whether the connection broke under a statement: without a commit
// nothing of the transaction is kept.
func lost(err error) bool {
	var broken net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &broken) && !errors.Is(err, context.DeadlineExceeded)
}
