// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/accountlock/accountlock/internal/accountapi"
)

// Target is what an identifier names, for who must not be told whether it names
// an account.
type Target struct {
	// Key finds the same identifier again: a keyed hash.
	Key string
	// AccountID is empty where nobody has the identifier.
	AccountID string
	// Identifier is what was typed; its Kind is empty if it can be none.
	Identifier Identifier
}

// Resolve returns what an identifier names. region is whose phone numbers are
// meant; empty is the service's own. The same statement runs whether or not there
// is an account; a deleted one is none.
func (s *Service) Resolve(ctx context.Context, typed, region string) (Target, error) {
	if region == "" {
		region = s.region
	}
	id, err := ParseIdentifier(typed, region)
	key := id.key()
	if err != nil {
		id, key = Identifier{}, "none:"+Storable(typed, maxIdentifier)
	}
	t := Target{Key: s.keyed("recover", key), Identifier: id}
	err = s.db.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT account_id FROM identifiers WHERE match_key IN ($1, $2)
			ORDER BY CASE match_key WHEN $1 THEN 1 ELSE 2 END LIMIT 1`, key, id.other().key()).Scan(&t.AccountID)
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Target{}, fmt.Errorf("cannot look up an identifier: %w", err)
	}
	return t, nil
}

// RecoverPassword is SetPassword for an owner who proved to be that otherwise. A
// block that has an end, as guesses bring it, ends with it; one without an end is
// for staff to lift. with runs in the same transaction.
func (s *Service) RecoverPassword(ctx context.Context, id string, password accountapi.Secret, with func(*sql.Tx) error) error {
	return s.setPassword(ctx, id, password, func(tx *sql.Tx) error {
		if _, err := tx.Exec(`UPDATE accounts SET blocked = 0, blocked_until = 0 WHERE id = $1 AND blocked = 1 AND blocked_until > 0`, id); err != nil {
			return fmt.Errorf("cannot end a block: %w", err)
		}
		return with(tx)
	})
}
