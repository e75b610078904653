// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// remembered is how long the owner of a deleted account is told that it was
// deleted.
const remembered = 30 * 24 * time.Hour

// Sweep removes what no longer counts: throttles that have decayed, codes long
// expired, and what was kept of accounts deleted 30 days ago save their retired
// IDs. Run it every hour or so; running it twice or never changes no answer but
// that of AccountDeleted.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.clock()
	return s.db.Tx(ctx, func(tx *sql.Tx) error {
		for _, q := range []struct {
			what, sql string
			before    time.Time
		}{
			{"throttles", `DELETE FROM throttles WHERE stale_at < $1`, now},
			// A code's row also bounds how often it is sent again, hence the hour.
			{"codes", `DELETE FROM codes WHERE expires_at < $1`, now.Add(-time.Hour)},
			{"registrations", `DELETE FROM registrations WHERE expires_at < $1`, now},
			{"identifiers", `DELETE FROM identifiers WHERE account_id IN
				(SELECT id FROM accounts WHERE deleted_at > 0 AND deleted_at < $1)`, now.Add(-remembered)},
			{"password hashes", `UPDATE accounts SET password_hash = '' WHERE deleted_at > 0 AND deleted_at < $1 AND password_hash <> ''`, now.Add(-remembered)},
		} {
			if _, err := tx.Exec(q.sql, millis(q.before)); err != nil {
				return fmt.Errorf("cannot sweep %s: %w", q.what, err)
			}
		}
		return nil
	})
}
