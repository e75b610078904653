// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"database/sql"
	"errors"
	"hash/fnv"

	"github.com/accountlock/accountlock/internal/flow"
)

const (
	// eventsKept bounds what waits to be told; the oldest give way.
	eventsKept = 500
	// batchMost is how many events the account API takes at once.
	batchMost = 100
)

var _ flow.EventLog = (*Journal)(nil)

// AddEvent implements flow.EventLog.
func (j *Journal) AddEvent(ctx context.Context, e flow.Event) error {
	return j.with(ctx, "keep an event", func(ctx context.Context, db *sql.DB) error { return atOnce(ctx, db, addEvent(e)...) })
}

// atOnce runs statements in one transaction.
func atOnce(ctx context.Context, db *sql.DB, statements ...statement) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, s := range statements {
		if _, err := tx.ExecContext(ctx, s.query, s.args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func addEvent(e flow.Event) []statement {
	return []statement{
		do(`INSERT INTO events (kind, at, detail) VALUES (?, ?, ?)`, e.Kind, e.Time, cut(e.Detail, flow.MaxEventDetail)),
		do(`DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?`, eventsKept),
	}
}

// AddStart implements flow.EventLog. The boot is remembered by a number of its ID.
func (j *Journal) AddStart(ctx context.Context, bootID string, e flow.Event) error {
	h := fnv.New64a()
	_, _ = h.Write([]byte(bootID)) // never fails
	boot := int64(h.Sum64())       //nolint:gosec // a number to be compared, whatever its sign
	return j.with(ctx, "keep an event", func(ctx context.Context, db *sql.DB) error {
		var last int64
		err := db.QueryRowContext(ctx, `SELECT value FROM facts WHERE name = 'boot'`).Scan(&last)
		if err == nil && last == boot {
			return nil
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		return atOnce(ctx, db, append(addEvent(e), do(
			`INSERT INTO facts (name, value) VALUES ('boot', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, boot))...)
	})
}

// NextEvents implements flow.EventLog.
func (j *Journal) NextEvents(ctx context.Context, fresh string) (batch string, out []flow.Event, err error) {
	if !j.exists() {
		return "", nil, nil
	}
	err = j.with(ctx, "read the events", func(ctx context.Context, db *sql.DB) error {
		batch, out = "", nil
		err := db.QueryRowContext(ctx, `SELECT batch FROM events WHERE batch <> '' ORDER BY id LIMIT 1`).Scan(&batch)
		if errors.Is(err, sql.ErrNoRows) {
			batch = fresh
			_, err = db.ExecContext(ctx, `UPDATE events SET batch = ? WHERE id IN (SELECT id FROM events ORDER BY id LIMIT ?)`, batch, batchMost)
		}
		if err != nil {
			return err
		}
		out, err = events(ctx, db, batch)
		return err
	})
	return batch, out, err
}

func events(ctx context.Context, db *sql.DB, batch string) ([]flow.Event, error) {
	rows, err := db.QueryContext(ctx, `SELECT kind, at, detail FROM events WHERE batch = ? ORDER BY id LIMIT ?`, batch, batchMost)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []flow.Event
	for rows.Next() {
		var e flow.Event
		if err := rows.Scan(&e.Kind, &e.Time, &e.Detail); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// DropEvents implements flow.EventLog.
func (j *Journal) DropEvents(ctx context.Context, batch string) error {
	return j.exec(ctx, "close the events", do(`DELETE FROM events WHERE batch = ?`, batch))
}
