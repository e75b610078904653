// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// maxEvents bounds the events kept of one device; the oldest give way.
const maxEvents = 1000

// Event is one line of the owner's list.
type Event struct {
	// Kind is one of the account API's, or a Change that the service noted.
	Kind string `json:"kind"`
	// At is when it happened by the clock of who reported it.
	At time.Time `json:"time"`
	// Detail is at most 200 characters, as the device gave it.
	Detail string `json:"detail,omitempty"`
	// Reported: the device said so; otherwise the service saw it itself.
	Reported bool `json:"reported"`
}

type noted struct {
	kind, detail string
	at           int64
}

// Report takes in what happened on a device. batch names the report: one that
// was taken in before is not taken twice.
func (r *Registry) Report(ctx context.Context, deviceID, batch string, events []Event) error {
	rows := make([]noted, len(events))
	for i, e := range events {
		rows[i] = noted{kind: e.Kind, detail: e.Detail, at: e.At.Unix()}
	}
	return r.db.Tx(ctx, func(tx *sql.Tx) error {
		var known int64
		err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM device_events WHERE device_id = $1 AND batch = $2`,
			deviceID, batch).Scan(&known)
		if err != nil {
			return fmt.Errorf("cannot read a device's events: %w", err)
		}
		if known > 0 {
			return nil
		}
		return r.note(ctx, tx, deviceID, batch, rows...)
	})
}

// note appends events to a device's list within a transaction.
func (r *Registry) note(ctx context.Context, tx *sql.Tx, deviceID, batch string, events ...noted) error {
	var last int64
	for _, e := range events {
		err := tx.QueryRowContext(ctx, `INSERT INTO device_events (device_id, number, kind, detail, happened_at, noted_at, batch)
VALUES ($1, (SELECT COALESCE(MAX(number), 0) + 1 FROM device_events WHERE device_id = $1), $2, $3, $4, $5, $6) RETURNING number`,
			deviceID, e.kind, e.detail, e.at, r.now().UnixMilli(), batch).Scan(&last)
		if err != nil {
			return fmt.Errorf("cannot note an event: %w", err)
		}
	}
	if last <= maxEvents {
		return nil
	}
	if err := exec(ctx, tx, `DELETE FROM device_events WHERE device_id = $1 AND number <= $2`, deviceID, last-maxEvents); err != nil {
		return fmt.Errorf("cannot drop old events: %w", err)
	}
	return nil
}

// Events returns the newest events of a device, the newest first, at most limit.
func (r *Registry) Events(ctx context.Context, deviceID string, limit int) ([]Event, error) {
	return r.events(ctx, deviceID, "", limit)
}

// events are those of a device since it was last changed by since, or all.
func (r *Registry) events(ctx context.Context, deviceID string, since Change, limit int) ([]Event, error) {
	var out []Event
	err := r.db.Read(ctx, func(tx *sql.Tx) error {
		out = []Event{}
		rows, err := tx.QueryContext(ctx, `SELECT kind, detail, happened_at, batch FROM device_events
WHERE device_id = $1 AND number >= COALESCE((SELECT MAX(number) FROM device_events WHERE device_id = $1 AND batch = '' AND kind = $2), 0)
ORDER BY number DESC LIMIT $3`, deviceID, since, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				e     Event
				at    int64
				batch string
			)
			if err := rows.Scan(&e.Kind, &e.Detail, &at, &batch); err != nil {
				return err
			}
			e.At, e.Reported = time.Unix(at, 0).UTC(), batch != ""
			out = append(out, e)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read a device's events: %w", err)
	}
	return out, nil
}
