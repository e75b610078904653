// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// Get returns the account with an ID, deleted ones included. The error is
// fault.InvalidArgument with cause ErrNotFound.
func (s *Service) Get(ctx context.Context, id string) (a Account, err error) {
	err = s.db.Read(ctx, func(tx *sql.Tx) error {
		a, err = load(tx, id)
		return err
	})
	return a, err
}

// Find returns the account that an identifier names. It is for the console: unlike
// Authenticate it tells whether there is one. Errors are faults:
// InvalidArgument, for no identifier or, with cause ErrNotFound, of no account.
func (s *Service) Find(ctx context.Context, identifier string) (a Account, err error) {
	i, err := ParseIdentifier(identifier, s.region)
	if err != nil {
		return Account{}, err
	}
	first, second := i.key(), i.other().key()
	err = s.db.Read(ctx, func(tx *sql.Tx) error {
		var id string
		err := tx.QueryRow(`SELECT account_id FROM identifiers WHERE match_key IN ($1, $2, $3, $4)
			ORDER BY CASE match_key WHEN $1 THEN 1 WHEN $2 THEN 2 WHEN $3 THEN 3 ELSE 4 END LIMIT 1`,
			first, second, s.goneKey(first), s.goneKey(second)).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) && i.Kind == KindAccountID {
			id, err = i.Value, nil // of an account deleted so long ago that its identifiers are gone
		}
		if errors.Is(err, sql.ErrNoRows) {
			return notFound()
		}
		if err != nil {
			return fmt.Errorf("cannot look up an identifier: %w", err)
		}
		a, err = load(tx, id)
		return err
	})
	return a, err
}

// Block keeps an account from being used until a time, or without end if until is
// zero. Errors are faults: InvalidArgument (a time that has passed; no such account),
// AccountDeleted.
func (s *Service) Block(ctx context.Context, id string, until time.Time) (Account, error) {
	if !until.IsZero() && !until.After(s.clock()) {
		return Account{}, fault.Newf(fault.InvalidArgument, "The time until which to block has passed.")
	}
	detail := "without end"
	if !until.IsZero() {
		detail = "until " + until.UTC().Format(time.RFC3339)
	}
	return s.change(ctx, id, "account-blocked", detail, `UPDATE accounts SET blocked = 1, blocked_until = $1 WHERE id = $2`, millis(until))
}

// Unblock ends a block; without one it changes nothing. Errors are as with Block.
func (s *Service) Unblock(ctx context.Context, id string) (Account, error) {
	return s.change(ctx, id, "account-unblocked", "", `UPDATE accounts SET blocked = 0, blocked_until = $1 WHERE id = $2`, 0)
}

// SetSecondFactor says whether a code is asked for after the password, and tells the
// owner. Errors are faults: InvalidArgument (no such account, or nowhere to send a code
// to), AccountDeleted.
func (s *Service) SetSecondFactor(ctx context.Context, id string, on bool) (Account, error) {
	a, err := s.changeIf(ctx, id, func(a Account) error {
		if on && len(a.Identifiers) == 0 {
			return noSecondFactor()
		}
		return nil
	}, `UPDATE accounts SET second_factor = $1 WHERE id = $2`, flag(on))
	if err == nil {
		s.tell(ctx, a, NoticeSentCode)
	}
	return a, err
}

// MayHave returns nil if SetPassword would take a password for an account, and its error
// otherwise: for who asks for a code before the change, and would spend it on a weak one.
func (s *Service) MayHave(ctx context.Context, id string, password accountapi.Secret) error {
	a, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	p, err := s.acceptable(password, a.names())
	p.Wipe()
	return err
}

// names are what the account's password must not be.
func (a Account) names() []Identifier {
	return append(slices.Clone(a.Identifiers), Identifier{Kind: KindAccountID, Value: a.ID})
}

// SetPassword gives an account another password, forgets the wrong guesses at
// it, has OnPassword called, and tells the owner. Errors are faults: WeakPassword, InvalidArgument (no
// such account), AccountDeleted, ServiceUnavailable.
func (s *Service) SetPassword(ctx context.Context, id string, password accountapi.Secret) error {
	return s.setPassword(ctx, id, password, func(*sql.Tx) error { return nil })
}

func (s *Service) setPassword(ctx context.Context, id string, password accountapi.Secret, with func(*sql.Tx) error) error {
	a, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	phc, err := s.newHash(ctx, password, a.names())
	if err != nil {
		return err
	}
	guesses := s.keyed("throttle", "account", "id:"+id)
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		if a, err = loadLive(tx, id); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE accounts SET password_hash = $1, password_until = 0 WHERE id = $2`, phc, id); err != nil {
			return fmt.Errorf("cannot store a password hash: %w", err)
		}
		if _, err := tx.Exec(`DELETE FROM throttles WHERE throttle_key = $1`, guesses); err != nil {
			return fmt.Errorf("cannot forget wrong guesses: %w", err)
		}
		if err := with(tx); err != nil || s.onPassword == nil {
			return err
		}
		return s.onPassword(ctx, tx, id)
	})
	if err != nil {
		return err
	}
	s.tell(ctx, a, NoticePassword)
	return nil
}

// Delete ends an account for good: its ID is retired, its identifiers are free
// for others, and what OnDelete releases is released with it. Its password hash
// and keyed hashes of its identifiers stay for 30 days, so that its owner is
// told AccountDeleted instead of a wrong password. Errors are faults:
// InvalidArgument (no such account), AccountDeleted (already); and what
// Hands.MayDelete and OnDelete return.
func (s *Service) Delete(ctx context.Context, id string) error {
	var a Account
	// Kept beside the transaction, which notes it.
	var refusal error
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		var err error
		if a, err = loadLive(tx, id); err != nil {
			return err
		}
		var detail string
		if detail, refusal, err = s.mayDelete(ctx, tx, id); err != nil {
			return err
		}
		if refusal != nil {
			return s.note(ctx, tx, id, "account-deletion-refused", detail)
		}
		now := millis(s.clock())
		for _, q := range []string{
			`UPDATE accounts SET deleted_at = $1 WHERE id = $2`,
			`UPDATE account_ids SET retired_at = $1 WHERE id = $2`,
		} {
			if _, err := tx.Exec(q, now, id); err != nil {
				return fmt.Errorf("cannot delete an account: %w", err)
			}
		}
		for _, q := range []string{
			`DELETE FROM codes WHERE account_id = $1`,
			// Whoever comes from there next is somebody new.
			`DELETE FROM oidc_subjects WHERE account_id = $1`,
			`UPDATE accounts SET password_hash = '' WHERE id = $1 AND password_until > 0`,
		} {
			if _, err := tx.Exec(q, id); err != nil {
				return fmt.Errorf("cannot delete an account: %w", err)
			}
		}
		for _, i := range append(a.Identifiers, Identifier{Kind: KindAccountID, Value: id}) {
			if err := s.hideIdentifier(tx, i.key()); err != nil {
				return err
			}
		}
		if err := s.note(ctx, tx, id, "account-deleted", detail); err != nil || s.onDelete == nil {
			return err
		}
		return s.onDelete(ctx, tx, id)
	})
	if err != nil {
		return err
	}
	if refusal != nil {
		return refusal
	}
	s.tell(ctx, a, NoticeDeleted)
	return nil
}

// hideIdentifier leaves of an identifier only what finds it again.
func (s *Service) hideIdentifier(tx *sql.Tx, key string) error {
	gone := s.goneKey(key)
	// An earlier account that had it, deleted as well, is not told any more.
	if _, err := tx.Exec(`DELETE FROM identifiers WHERE match_key = $1`, gone); err != nil {
		return fmt.Errorf("cannot release an identifier: %w", err)
	}
	if _, err := tx.Exec(`UPDATE identifiers SET match_key = $1, address = '' WHERE match_key = $2`, gone, key); err != nil {
		return fmt.Errorf("cannot release an identifier: %w", err)
	}
	return nil
}

// loadLive is load for an account that is to be changed: a deleted one is
// fault.AccountDeleted.
func loadLive(tx *sql.Tx, id string) (Account, error) {
	a, err := load(tx, id)
	if err == nil && !a.Deleted.IsZero() {
		return Account{}, fault.New(fault.AccountDeleted, nil)
	}
	return a, err
}

// change runs an UPDATE of value and account ID on an account that is not
// deleted, notes it, and returns the account as it is then.
func (s *Service) change(ctx context.Context, id, action, detail, update string, value any) (a Account, err error) {
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		if a, err = changeIn(tx, id, func(Account) error { return nil }, update, value); err != nil {
			return err
		}
		return s.note(ctx, tx, id, action, detail)
	})
	return a, err
}

func (s *Service) changeIf(ctx context.Context, id string, check func(Account) error, update string, value any) (a Account, err error) {
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		a, err = changeIn(tx, id, check, update, value)
		return err
	})
	return a, err
}

func changeIn(tx *sql.Tx, id string, check func(Account) error, update string, value any) (Account, error) {
	a, err := loadLive(tx, id)
	if err != nil {
		return Account{}, err
	}
	if err := check(a); err != nil {
		return Account{}, err
	}
	if _, err := tx.Exec(update, value, id); err != nil {
		return Account{}, fmt.Errorf("cannot change an account: %w", err)
	}
	return load(tx, id)
}
