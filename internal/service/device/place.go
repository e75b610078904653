// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
)

// How many devices that prove nothing may be linked from one place in a time. Each
// may be one that somebody made up, in whose way the real one then is.
const (
	maxUnproven  = 32
	unprovenTime = 24 * time.Hour
)

// countPlace counts a device that proves nothing towards its place, or refuses it
// with fault.RateLimited. The same device counts once.
func (r *Registry) countPlace(ctx context.Context, tx *sql.Tx, deviceID string, by Owner) error {
	var proof string
	err := tx.QueryRowContext(ctx, `SELECT proof FROM device_keys WHERE device_id = $1 AND key_id = $2`, deviceID, by.KeyID).Scan(&proof)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("cannot reserve a link: %w", err)
	}
	if Proof(proof) != Unproven || by.Place == "" {
		return nil
	}
	now := r.now()
	var (
		others int64
		oldest sql.NullInt64
	)
	err = tx.QueryRowContext(ctx, `SELECT COUNT(*), MIN(linked_at) FROM link_places WHERE place = $1 AND device_id <> $2 AND linked_at > $3`,
		by.Place, deviceID, now.Add(-unprovenTime).UnixMilli()).Scan(&others, &oldest)
	if err != nil {
		return fmt.Errorf("cannot reserve a link: %w", err)
	}
	if others >= maxUnproven {
		f := fault.New(fault.RateLimited, errors.New("too many devices without a proof were linked from there"))
		f.RetryAfter = time.UnixMilli(oldest.Int64).Add(unprovenTime).Sub(now)
		return f
	}
	err = exec(ctx, tx, `INSERT INTO link_places (place, device_id, linked_at) VALUES ($1, $2, $3)
ON CONFLICT (place, device_id) DO UPDATE SET linked_at = excluded.linked_at`, by.Place, deviceID, now.UnixMilli())
	if err != nil {
		return fmt.Errorf("cannot reserve a link: %w", err)
	}
	return nil
}
