// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// OfferIdentifier sends a code to an e-mail address or phone number that an
// account is to be named by as well; AddIdentifier takes the code. One that
// belongs to another account gets a word to its owner instead of a code, and the
// answer is the same: nobody learns here who has an account. flowID names the
// conversation, locale (BCP 47) the language of the text.
//
// Errors are faults: InvalidArgument (no identifier, the account's own already,
// or one too many), RateLimited, AccountDeleted, ServiceUnavailable.
func (s *Service) OfferIdentifier(ctx context.Context, id, typed, flowID, locale string) (Identifier, time.Time, error) {
	offered, err := parseAddress(typed, s.region)
	if err != nil {
		return Identifier{}, time.Time{}, err
	}
	code, err := s.drawCode()
	if err != nil {
		return Identifier{}, time.Time{}, err
	}
	now := s.clock()
	purpose := s.offerPurpose(offered)
	var taken bool
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		a, err := loadLive(tx, id)
		if err != nil {
			return err
		}
		if len(a.Identifiers) >= maxIdentifiers {
			return fault.Newf(fault.InvalidArgument, "An account has at most %d identifiers.", maxIdentifiers)
		}
		var owner string
		err = tx.QueryRow(`SELECT account_id FROM identifiers WHERE match_key = $1`, offered.key()).Scan(&owner)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("cannot look up an identifier: %w", err)
		}
		if owner == id {
			return fault.Newf(fault.InvalidArgument, "The account has this identifier already.")
		}
		taken = owner != ""
		sends, err := s.maySend(tx, id, flowID, purpose, now)
		if err != nil {
			return err
		}
		hash := s.codeHash(id, flowID, purpose, code)
		if taken {
			hash = rand.Text() // no code fits, and none is told apart from a wrong one
		}
		return storeCode(tx, flowID, purpose, sentCode{account: id, hash: hash, sends: sends, sentAt: now, expiresAt: now.Add(codeLife)})
	})
	if err != nil {
		return Identifier{}, time.Time{}, err
	}
	m := codeMessage(offered, code, locale)
	if taken {
		m = message(offered, "Your address was given again", "Somebody wanted to add this address or number to their account. It belongs to your account already, so nothing was changed.\n")
	}
	if err := s.sendOf(ctx, m, now.Add(codeLife)); err != nil {
		return Identifier{}, time.Time{}, err
	}
	return offered, now.Add(codeLife), nil
}

// AddIdentifier names an account by the address or number that a code was sent
// to as well, and tells the owner. Errors are those of CheckCode, and faults:
// InvalidArgument (no identifier; another account has taken it since),
// AccountDeleted.
func (s *Service) AddIdentifier(ctx context.Context, id, typed, flowID string, code accountapi.Secret) (Account, error) {
	offered, err := parseAddress(typed, s.region)
	if err != nil {
		return Account{}, err
	}
	if err := s.CheckCode(ctx, id, flowID, s.offerPurpose(offered), code); err != nil {
		return Account{}, err
	}
	var a Account
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		if a, err = loadLive(tx, id); err != nil {
			return err
		}
		var last int
		if err := tx.QueryRow(`SELECT MAX(position) FROM identifiers WHERE account_id = $1`, id).Scan(&last); err != nil {
			return fmt.Errorf("cannot read identifiers: %w", err)
		}
		if err := insertIdentifier(tx, id, offered, last+1, s.clock()); err != nil {
			return err
		}
		a, err = load(tx, id)
		return err
	})
	if err != nil {
		return Account{}, err
	}
	s.tell(ctx, a, NoticeIdentifiers)
	return a, nil
}

// RemoveIdentifier takes an e-mail address or phone number, as it is listed, off
// an account, and tells the owner there and at what is left. The last one stays:
// without it the account could not be recovered. Errors are faults:
// InvalidArgument, AccountDeleted.
func (s *Service) RemoveIdentifier(ctx context.Context, id, address string) (Account, error) {
	var before, a Account
	err := s.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		if before, err = loadLive(tx, id); err != nil {
			return err
		}
		if len(before.Identifiers) < 2 {
			return fault.Newf(fault.InvalidArgument, "The last address or number of an account cannot be removed.")
		}
		r, err := tx.Exec(`DELETE FROM identifiers WHERE account_id = $1 AND kind <> 'account-id' AND address = $2`, id, address)
		if err != nil {
			return fmt.Errorf("cannot remove an identifier: %w", err)
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(fault.Newf(fault.InvalidArgument, "The account has no such identifier."), err)
		}
		a, err = load(tx, id)
		return err
	})
	if err != nil {
		return Account{}, err
	}
	s.tell(ctx, before, NoticeIdentifiers)
	return a, nil
}

// parseAddress reads an identifier that mail or SMS can go to.
func parseAddress(typed, region string) (Identifier, error) {
	i, err := ParseIdentifier(typed, region)
	if err == nil && i.Kind == KindAccountID {
		i = i.other()
	}
	if err != nil || i.Address == "" {
		return Identifier{}, fault.Newf(fault.InvalidArgument, "This is no e-mail address or phone number; a number needs its country code.")
	}
	return i, nil
}

// offerPurpose binds a code to the very address it was sent to.
func (s *Service) offerPurpose(i Identifier) string { return "identifier-" + s.keyed("offer", i.key()) }
