// SPDX-License-Identifier: Apache-2.0

package account

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
)

// ErrNotFound is the cause of the fault that no account has an ID or
// identifier. It is for the console: who signs in is never told so.
var ErrNotFound = errors.New("no such account")

// ErrTaken is the cause of the fault that an identifier belongs to another
// account.
var ErrTaken = errors.New("the identifier is taken")

// Account is what is known of one, without its password.
type Account struct {
	// ID is the account ID: 8 to 10 digits, never changed, never given again.
	ID string
	// Identifiers are its e-mail addresses and phone numbers as the owner gave them, in
	// that order; none after deletion.
	Identifiers []Identifier
	// SecondFactor tells whether a code is asked for after the password.
	SecondFactor bool
	// Blocked tells whether the account is blocked; BlockedUntil is when
	// that ends, zero if it does not end by itself.
	Blocked      bool
	BlockedUntil time.Time
	// Locale is the language of the owner's newest sign-in (BCP 47); empty is not
	// known.
	Locale string
	// Created is when it was made; Deleted when it was deleted, or zero.
	Created, Deleted time.Time
}

// Hint returns the account's name as a device shows it to whoever holds the
// device: its first e-mail address, else phone number, else its ID, masked.
func (a Account) Hint() string {
	for _, kind := range []Kind{KindEmail, KindPhone} {
		if id, ok := a.first(kind); ok {
			return id.Mask()
		}
	}
	return Identifier{Kind: KindAccountID, Value: a.ID}.Mask()
}

// first returns the first identifier of a kind.
func (a Account) first(k Kind) (Identifier, bool) {
	for _, id := range a.Identifiers {
		if id.Kind == k {
			return id, true
		}
	}
	return Identifier{}, false
}

// blockedAt reports whether a block is in force.
func (a Account) blockedAt(now time.Time) bool {
	return a.Blocked && (a.BlockedUntil.IsZero() || now.Before(a.BlockedUntil))
}

// Refusal returns why an account may not be used though its owner proved to be that:
// fault.AccountDeleted, fault.AccountBlocked or nil.
func (a Account) Refusal(now time.Time) error {
	if !a.Deleted.IsZero() {
		return fault.New(fault.AccountDeleted, nil)
	}
	if !a.blockedAt(now) {
		return nil
	}
	if a.BlockedUntil.IsZero() {
		return fault.New(fault.AccountBlocked, nil)
	}
	f := fault.Newf(fault.AccountBlocked, "The account service has blocked this account until %s.",
		a.BlockedUntil.Format("2006-01-02 15:04 MST"))
	f.RetryAfter, f.Until = a.BlockedUntil.Sub(now), a.BlockedUntil.Unix()
	return f
}

func notFound() error {
	f := fault.Newf(fault.InvalidArgument, "No account has this ID, e-mail address or phone number.")
	f.Err = ErrNotFound
	return f
}

// load reads an account by its ID. The error is ErrNotFound, in a fault.
func load(tx *sql.Tx, id string) (Account, error) {
	a := Account{ID: id}
	var blockedUntil, created, deleted int64
	err := tx.QueryRow(`SELECT second_factor, blocked, blocked_until, locale, created_at, deleted_at FROM accounts WHERE id = $1`, id).
		Scan(&a.SecondFactor, &a.Blocked, &blockedUntil, &a.Locale, &created, &deleted)
	if errors.Is(err, sql.ErrNoRows) {
		return Account{}, notFound()
	}
	if err != nil {
		return Account{}, fmt.Errorf("cannot read an account: %w", err)
	}
	a.BlockedUntil, a.Created, a.Deleted = fromMillis(blockedUntil), fromMillis(created), fromMillis(deleted)
	a.Identifiers, err = loadIdentifiers(tx, id)
	return a, err
}

func loadIdentifiers(tx *sql.Tx, id string) (out []Identifier, err error) {
	rows, err := tx.Query(`SELECT kind, match_key, address FROM identifiers
		WHERE account_id = $1 AND kind <> 'account-id' AND address <> '' ORDER BY position`, id)
	if err != nil {
		return nil, fmt.Errorf("cannot read identifiers: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var i Identifier
		var key string
		if err := rows.Scan(&i.Kind, &key, &i.Address); err != nil {
			return nil, fmt.Errorf("cannot read identifiers: %w", err)
		}
		i.Value = key[len(i.Kind)+1:]
		out = append(out, i)
	}
	return out, rows.Err()
}
