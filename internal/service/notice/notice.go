// SPDX-License-Identifier: Apache-2.0

// Package notice owns that an owner is told of each change of a device: the
// notice is written in the transaction of the change and sent afterwards, so
// that neither a crash nor a mail server that is down loses one. One may be sent
// twice; none is sent for a change that did not happen.
//
// It must not know how a notice is worded or carried.
package notice

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/store"
)

const (
	// lease is how long a server has a notice for itself while it sends it, and
	// how long one that could not be sent waits.
	lease = time.Minute
	// keep is how long sending is tried.
	keep = 72 * time.Hour
	// batch bounds how many are sent in one go.
	batch = 100
)

// DB runs transactions, as *store.DB does.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Read(ctx context.Context, fn func(*sql.Tx) error) error
}

// Send tells an owner. Its errors mean: try again later.
type Send func(ctx context.Context, n device.Notice) error

// Queue holds what owners are to be told. It is safe for concurrent use, by
// several processes too.
type Queue struct {
	db   DB
	send Send
	now  func() time.Time
	// kick wakes Run; it holds one waking.
	kick chan struct{}
}

var _ device.Notices = (*Queue)(nil)

// New returns the queue in db.
func New(db DB, send Send, now func() time.Time) *Queue {
	return &Queue{db: db, send: send, now: now, kick: make(chan struct{}, 1)}
}

// Put implements device.Notices. Run sends it soon after the commit.
func (q *Queue) Put(ctx context.Context, tx *sql.Tx, n device.Notice) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO notices (id, account_id, kind, device_id, model, detail, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		rand.Text(), n.AccountID, string(n.Kind), n.DeviceID, n.Model, n.Detail, q.now().UnixMilli())
	if err != nil {
		return fmt.Errorf("cannot note what to tell an owner: %w", err)
	}
	return nil
}

// Kick tells Run that there may be something to send.
func (q *Queue) Kick() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

// Run sends what is in the queue, when it is kicked and every minute, until ctx
// ends. failed is told of what could not be done.
func (q *Queue) Run(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(lease)
	defer tick.Stop()
	for {
		if err := q.Deliver(ctx); err != nil && ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-q.kick:
		case <-tick.C:
		}
	}
}

type row struct {
	id      string
	created int64
	device.Notice
}

// Deliver sends what is in the queue and is not with another server. Its error
// is of what stays in the queue.
func (q *Queue) Deliver(ctx context.Context) error {
	for {
		rows, err := q.take(ctx)
		if err != nil {
			return err
		}
		var errs []error
		for _, n := range rows {
			errs = append(errs, q.deliver(ctx, n))
		}
		if err := errors.Join(errs...); err != nil || len(rows) < batch {
			return err
		}
	}
}

func (q *Queue) deliver(ctx context.Context, n row) error {
	err := q.send(ctx, n.Notice)
	if err != nil && q.now().Sub(time.UnixMilli(n.created)) < keep {
		return fmt.Errorf("cannot tell an owner (%s): %w", n.Kind, err)
	}
	done := q.db.Tx(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM notices WHERE id = $1`, n.id)
		return err
	})
	return errors.Join(err, done)
}

// take leases notices to this server.
func (q *Queue) take(ctx context.Context) ([]row, error) {
	if due, err := q.due(ctx); err != nil || !due {
		return nil, err
	}
	var out []row
	err := q.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		now := q.now()
		out, err = store.Collect(ctx, tx, func(rows *sql.Rows) (n row, err error) {
			return n, rows.Scan(&n.id, &n.AccountID, &n.Kind, &n.DeviceID, &n.Model, &n.Detail, &n.created)
		}, `UPDATE notices SET leased_to = $1 WHERE id IN
(SELECT id FROM notices WHERE leased_to <= $2 ORDER BY leased_to, created_at LIMIT $3)
RETURNING id, account_id, kind, device_id, model, detail, created_at`, now.Add(lease).UnixMilli(), now.UnixMilli(), batch)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read what to tell owners: %w", err)
	}
	slices.SortFunc(out, func(a, b row) int { return cmp.Compare(a.created, b.created) })
	return out, nil
}

// due reports whether there is anything to take, without the writer's lock.
func (q *Queue) due(ctx context.Context) (bool, error) {
	var n int64
	err := q.db.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM notices WHERE leased_to <= $1 LIMIT 1) AS due`,
			q.now().UnixMilli()).Scan(&n)
	})
	if err != nil {
		return false, fmt.Errorf("cannot read what to tell owners: %w", err)
	}
	return n > 0, nil
}
