// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// maxIdentifiers bounds the addresses and numbers of one account.
const maxIdentifiers = 16

// NewAccount is what Create makes an account of.
type NewAccount struct {
	// Emails and Phones are its identifiers, at most 16 in all, each known to be the
	// owner's: Create verifies none.
	Emails, Phones []string
	// Region is whose phone numbers those without a country code are; empty is
	// the service's own.
	Region string
	// Password stays the caller's to wipe.
	Password accountapi.Secret
	// SecondFactor asks for a code after the password; it needs an e-mail
	// address or a phone number.
	SecondFactor bool
	// Locale is the owner's language (BCP 47) until they sign in; empty is not known.
	Locale string
}

// Create makes an account under a new account ID. Errors are faults:
// InvalidArgument (an identifier that is none; one of another account, with
// cause ErrTaken), WeakPassword, ServiceUnavailable.
func (s *Service) Create(ctx context.Context, n NewAccount) (Account, error) {
	ids, err := s.parseAll(n)
	if err != nil {
		return Account{}, err
	}
	if n.SecondFactor && len(ids) == 0 {
		return Account{}, noSecondFactor()
	}
	phc, err := s.newHash(ctx, n.Password, ids)
	if err != nil {
		return Account{}, err
	}
	var a Account
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		now := s.clock()
		id, err := s.issueID(tx, now)
		if err != nil {
			return err
		}
		locale := n.Locale
		if len(locale) > maxLocale {
			locale = ""
		}
		_, err = tx.Exec(`INSERT INTO accounts (id, password_hash, second_factor, locale, created_at) VALUES ($1, $2, $3, $4, $5)`,
			id, phc, flag(n.SecondFactor), locale, millis(now))
		if err != nil {
			return fmt.Errorf("cannot store an account: %w", err)
		}
		for i, ident := range append([]Identifier{{Kind: KindAccountID, Value: id}}, ids...) {
			if err := insertIdentifier(tx, id, ident, i, now); err != nil {
				return err
			}
		}
		if a, err = load(tx, id); err != nil {
			return err
		}
		return s.note(ctx, tx, id, "account-added", "")
	})
	return a, err
}

func (s *Service) parseAll(n NewAccount) ([]Identifier, error) {
	if len(n.Emails)+len(n.Phones) > maxIdentifiers {
		return nil, fault.Newf(fault.InvalidArgument, "An account has at most %d identifiers.", maxIdentifiers)
	}
	region := n.Region
	if region == "" {
		region = s.region
	}
	var out []Identifier
	seen := map[string]bool{}
	add := func(id Identifier) {
		if !seen[id.key()] {
			seen[id.key()] = true
			out = append(out, id)
		}
	}
	for _, e := range n.Emails {
		id, err := ParseIdentifier(e, region)
		if err != nil || id.Kind != KindEmail {
			return nil, fault.Newf(fault.InvalidArgument, "One of the e-mail addresses is none.")
		}
		add(id)
	}
	for _, p := range n.Phones {
		id, err := ParseIdentifier(p, region)
		if id = id.other(); err != nil || id.Kind != KindPhone {
			return nil, fault.Newf(fault.InvalidArgument, "One of the phone numbers is none, or lacks its country code.")
		}
		add(id)
	}
	return out, nil
}

// newHash returns the hash of a password that an account may have. Errors are faults:
// WeakPassword, InvalidArgument, ServiceUnavailable (it cannot be looked up among the
// breached ones either).
func (s *Service) newHash(ctx context.Context, password accountapi.Secret, taken []Identifier) (string, error) {
	p, err := s.acceptable(password, taken)
	if err != nil {
		return "", err
	}
	defer p.Wipe()
	leave, err := s.hasher.enter()
	if err != nil {
		return "", err
	}
	defer leave()
	release, err := s.hasher.slot(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return s.hasher.hash(p)
}

// acceptable returns a password that an account may have as normalPassword does; its
// errors are newHash's.
func (s *Service) acceptable(password accountapi.Secret, taken []Identifier) (accountapi.Secret, error) {
	if err := checkPassword(password, s.own, taken); err != nil {
		return nil, err
	}
	p, err := normalPassword(password)
	if err != nil {
		return nil, err
	}
	if err := s.checkBreached(p); err != nil {
		p.Wipe()
		return nil, err
	}
	return p, nil
}

func noSecondFactor() error {
	return fault.Newf(fault.InvalidArgument, "A second factor needs an e-mail address or a phone number to send codes to.")
}

// maxIDTries bounds the search for an ID that was never given. With the
// longest IDs in use, a billion accounts leave a try nine chances in ten.
const maxIDTries = 100

// issueID takes an account ID that no account has or had.
func (s *Service) issueID(tx *sql.Tx, now time.Time) (string, error) {
	for range maxIDTries {
		id, err := s.randomID()
		if err != nil {
			return "", err
		}
		r, err := tx.Exec(`INSERT INTO account_ids (id, issued_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, id, millis(now))
		if err != nil {
			return "", fmt.Errorf("cannot store an account ID: %w", err)
		}
		if n, err := r.RowsAffected(); err != nil {
			return "", fmt.Errorf("cannot store an account ID: %w", err)
		} else if n == 1 {
			return id, nil
		}
	}
	return "", errors.New("cannot find an account ID that was never given")
}

// The numbers that are account IDs: 8 to 10 digits without a leading zero. Most have
// ten, which makes an ID that somebody guesses unlikely to be anybody's.
const lowestID, highestID = 10_000_000, 9_999_999_999

func (s *Service) randomID() (string, error) {
	n, err := rand.Int(s.random, big.NewInt(highestID-lowestID+1))
	if err != nil {
		return "", fmt.Errorf("cannot draw an account ID: %w", err)
	}
	return strconv.FormatInt(lowestID+n.Int64(), 10), nil
}

func insertIdentifier(tx *sql.Tx, account string, id Identifier, position int, now time.Time) error {
	r, err := tx.Exec(`INSERT INTO identifiers (match_key, account_id, kind, address, position, verified_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (match_key) DO NOTHING`,
		id.key(), account, string(id.Kind), id.Address, position, millis(now))
	if err != nil {
		return fmt.Errorf("cannot store an identifier: %w", err)
	}
	if n, err := r.RowsAffected(); err != nil {
		return fmt.Errorf("cannot store an identifier: %w", err)
	} else if n == 0 {
		f := fault.Newf(fault.InvalidArgument, "%s belongs to another account.", id.Mask())
		f.Err = ErrTaken
		return f
	}
	return nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
