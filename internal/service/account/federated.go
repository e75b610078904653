// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// Federated is a person as an identity provider names them.
type Federated struct {
	// Issuer and Subject name the person for good (OpenID Connect Core, 5.7).
	Issuer, Subject string
	// Emails and Phones are what the provider says that it has verified.
	Emails, Phones []string
}

// SignInFederated returns the account of a person whom an identity provider has
// signed in, and makes one, without a password, for whom it has not seen before. Its
// addresses are those that the provider names, save what is another account's: nobody comes by an
// account through an address. Errors are faults: AccountBlocked.
func (s *Service) SignInFederated(ctx context.Context, f Federated) (Account, error) {
	var ids []Identifier
	for _, e := range f.Emails {
		if id, err := ParseIdentifier(e, s.region); err == nil && id.Kind == KindEmail {
			ids = append(ids, id)
		}
	}
	for _, p := range f.Phones {
		id, err := ParseIdentifier(p, s.region)
		if id.Kind != KindPhone {
			id = id.other()
		}
		if err == nil && id.Kind == KindPhone {
			ids = append(ids, id)
		}
	}
	var a Account
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		now := s.clock()
		id, err := s.federated(tx, f, now)
		if err != nil {
			return err
		}
		if err := followIdentifiers(tx, id, ids, now); err != nil {
			return err
		}
		a, err = load(tx, id)
		return err
	})
	if err != nil {
		return Account{}, err
	}
	return a, a.Refusal(s.clock())
}

// federated returns the ID of the person's account.
func (s *Service) federated(tx *sql.Tx, f Federated, now time.Time) (id string, err error) {
	err = tx.QueryRow(`SELECT account_id FROM oidc_subjects WHERE issuer = $1 AND subject = $2`, f.Issuer, f.Subject).Scan(&id)
	if err == nil || !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	if id, err = s.issueID(tx, now); err != nil {
		return "", err
	}
	if _, err := tx.Exec(`INSERT INTO accounts (id, password_hash, second_factor, created_at) VALUES ($1, '', 0, $2)`, id, millis(now)); err != nil {
		return "", fmt.Errorf("cannot store an account: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO oidc_subjects (issuer, subject, account_id, created_at) VALUES ($1, $2, $3, $4)`, f.Issuer, f.Subject, id, millis(now))
	if err != nil {
		return "", fmt.Errorf("cannot store whose account it is: %w", err)
	}
	return id, insertIdentifier(tx, id, Identifier{Kind: KindAccountID, Value: id}, 0, now)
}

// followIdentifiers makes an account's addresses those given.
func followIdentifiers(tx *sql.Tx, account string, ids []Identifier, now time.Time) error {
	had, err := loadIdentifiers(tx, account)
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, id := range ids {
		keep[id.key()] = true
	}
	for _, id := range had {
		if keep[id.key()] {
			keep[id.key()] = false // it is there
			continue
		}
		if _, err := tx.Exec(`DELETE FROM identifiers WHERE match_key = $1 AND account_id = $2`, id.key(), account); err != nil {
			return fmt.Errorf("cannot drop an identifier: %w", err)
		}
	}
	for i, id := range ids {
		if !keep[id.key()] {
			continue
		}
		keep[id.key()] = false
		if err := insertIdentifier(tx, account, id, i+1, now); err != nil && !errors.Is(err, ErrTaken) {
			return err
		}
	}
	return nil
}

// PassTime is how long a one-time password is good for.
const PassTime = 10 * time.Minute

// passLetters are easy to tell apart and to type.
const passLetters = "abcdefghjkmnpqrstuvwxyz23456789"

// OneTimePassword gives an account that has no password of its own one that a device
// takes once within PassTime; it voids the one before. The caller wipes it. Its error for an account that has a
// password is fault.InvalidArgument.
func (s *Service) OneTimePassword(ctx context.Context, id string) (accountapi.Secret, time.Time, error) {
	password, err := s.drawPass()
	if err != nil {
		return nil, time.Time{}, err
	}
	phc, err := s.newHash(ctx, password, nil)
	if err != nil {
		return nil, time.Time{}, err
	}
	until := s.clock().Add(PassTime)
	var n int64
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := loadLive(tx, id); err != nil {
			return err
		}
		r, err := tx.Exec(`UPDATE accounts SET password_hash = $1, password_until = $2 WHERE id = $3
AND EXISTS (SELECT 1 FROM oidc_subjects WHERE account_id = $3)`, phc, millis(until), id)
		if err != nil {
			return fmt.Errorf("cannot store a password hash: %w", err)
		}
		n, err = r.RowsAffected()
		return err
	})
	if err == nil && n == 0 {
		err = fault.Newf(fault.InvalidArgument, "This account has a password of its own.")
	}
	if err != nil {
		password.Wipe()
		return nil, time.Time{}, err
	}
	return password, until, nil
}

// drawPass draws four groups of four letters: 79 bits.
func (s *Service) drawPass() (accountapi.Secret, error) {
	var b strings.Builder
	for i := range 16 {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		n, err := rand.Int(s.random, big.NewInt(int64(len(passLetters))))
		if err != nil {
			return nil, fmt.Errorf("cannot draw a password: %w", err)
		}
		b.WriteByte(passLetters[n.Int64()])
	}
	return accountapi.Secret(b.String()), nil
}

// spendPass uses up a password that is good once, within the transaction that takes
// it. It reports whether it was there: of two who come with it one does.
func (t *attempt) spendPass(tx *sql.Tx) (bool, error) {
	if t.until == 0 {
		return true, nil
	}
	r, err := tx.Exec(`UPDATE accounts SET password_hash = '', password_until = 0 WHERE id = $1 AND password_hash = $2`, t.id, t.phc)
	if err != nil {
		return false, fmt.Errorf("cannot use up a password: %w", err)
	}
	n, err := r.RowsAffected()
	return n == 1, err
}
