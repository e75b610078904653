// SPDX-License-Identifier: Apache-2.0

package account

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// Attempt is one try at a password.
type Attempt struct {
	// Identifier is what the person typed; one that cannot be any is
	// answered as an unknown one is.
	Identifier string
	// AccountID is used instead, where the account that a device is linked to
	// is meant.
	AccountID string
	// Password is what was typed; it stays the caller's to wipe.
	Password accountapi.Secret
	// DeviceID is the device that the person is at; empty in a browser.
	DeviceID string
	// Locked tells that this device is locked. Its guesses count against the
	// device and the address alone, and waits of the account do not hold it.
	Locked bool
	// Address is where the request comes from; the zero Addr is not throttled.
	Address netip.Addr
	// Region is whose phone numbers are meant; empty is the service's own.
	Region string
	// Locale is the person's language (BCP 47), in which the owner is told things from
	// now on if this is them; empty is not known.
	Locale string
	// AsksCaptcha says that the caller can have a captcha solved: one is asked for
	// before guesses block anybody. Human says that one was solved for this attempt.
	AsksCaptcha, Human bool
}

// maxLocale bounds, in bytes, the name of a language, as the account API does.
const maxLocale = 35

// settleTimeout bounds what follows a verified password, which a caller who has
// gone away must not cut short.
const settleTimeout = 10 * time.Second

// Authenticate returns the account that a correct identifier and password name.
//
// Errors are faults: InvalidCredentials (counted; AttemptsLeft guesses are
// still free of delay, RetryAfter is the delay this one has brought),
// RateLimited (not counted; the wait grows no longer by asking), CaptchaRequired
// (not counted; the password was not looked at), AccountBlocked
// and AccountDeleted (told only after the right password; not counted),
// InvalidArgument (no text, empty or over 1024 bytes; not counted),
// ServiceUnavailable (not counted). Whether the identifier or the password was
// wrong shows neither in the error nor in the time taken: the same statements
// run, and the same work of hashing is done.
func (s *Service) Authenticate(ctx context.Context, a Attempt) (Account, error) {
	password, err := normalPassword(a.Password)
	if err != nil {
		return Account{}, err
	}
	defer password.Wipe()
	leave, err := s.hasher.enter()
	if err != nil {
		return Account{}, err
	}
	defer leave()

	try := &attempt{Service: s, Attempt: a}
	if err := try.begin(ctx); err != nil {
		return Account{}, err
	}
	right, rehash, err := try.verify(ctx, password)
	if err != nil {
		return Account{}, err
	}
	if !right {
		return Account{}, try.wrong()
	}
	return try.settle(ctx, rehash)
}

// attempt is one run of Authenticate.
type attempt struct {
	*Service
	Attempt

	// id is the account; empty if there is none.
	id, phc string
	// until is when a password ends that is good once; 0 for one that its owner has chosen.
	until    int64
	counters *counters
}

// begin finds the account and counts the attempt, in one transaction.
func (t *attempt) begin(ctx context.Context) error {
	first, second, typed := t.matchKeys()
	return t.db.Tx(ctx, func(tx *sql.Tx) error {
		t.id, t.phc, t.until = "", "", 0
		// The account that has the identifier goes before a deleted one that
		// had it, and an account ID before the phone number of the same digits.
		err := tx.QueryRow(`SELECT a.id, a.password_hash, a.password_until FROM identifiers i JOIN accounts a ON a.id = i.account_id
			WHERE i.match_key IN ($1, $2, $3, $4) AND a.password_hash <> '' AND (a.password_until = 0 OR a.password_until > $5)
			ORDER BY CASE i.match_key WHEN $1 THEN 1 WHEN $2 THEN 2 WHEN $3 THEN 3 ELSE 4 END LIMIT 1`,
			first, second, t.goneKey(first), t.goneKey(second), millis(t.clock())).Scan(&t.id, &t.phc, &t.until)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("cannot look up an identifier: %w", err)
		}
		target := "id:" + t.id
		if t.id == "" {
			target = "typed:" + typed
		}
		t.counters = t.countersFor(t.Attempt, target)
		return t.counters.count(tx, t.clock())
	})
}

// matchKeys returns what the database knows the identifier by, and what an
// unknown one is throttled by.
func (t *attempt) matchKeys() (first, second, typed string) {
	var id Identifier
	if t.AccountID != "" {
		id = Identifier{Kind: KindAccountID, Value: t.AccountID}
	} else {
		region := t.Region
		if region == "" {
			region = t.region
		}
		var err error
		if id, err = ParseIdentifier(t.Identifier, region); err != nil {
			id = Identifier{Kind: "none", Value: Storable(t.Identifier, maxIdentifier)}
		}
	}
	return id.key(), id.other().key(), id.key()
}

// goneKey is what replaces the match key of an account that was deleted: enough
// to tell its owner so, and nothing to read.
func (s *Service) goneKey(key string) string { return "gone:" + s.keyed("gone", key) }

// verify compares the password in a slot of the hasher. rehash is the new hash of a
// password whose old one was made with other parameters.
func (t *attempt) verify(ctx context.Context, password []byte) (right bool, rehash string, err error) {
	release, err := t.hasher.slot(ctx)
	if err != nil {
		return false, "", t.giveUp(ctx, err)
	}
	defer release()
	phc := t.phc
	if t.id == "" {
		phc = t.hasher.dummy
	}
	right, stale, err := t.hasher.verify(phc, password)
	if err != nil || !right || t.id == "" {
		return false, "", err
	}
	if stale && t.until == 0 {
		if rehash, err = t.hasher.hash(password); err != nil {
			return false, "", err
		}
	}
	return true, rehash, nil
}

func (t *attempt) wrong() error {
	f := fault.New(fault.InvalidCredentials, nil)
	f.Counted = true
	f.AttemptsLeft, f.RetryAfter = t.counters.left(t.clock())
	return f
}

// settle is what follows the right password: the attempt is taken back and the
// account read as it is now, which may be other than before the hashing.
func (t *attempt) settle(ctx context.Context, rehash string) (Account, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	var a Account
	now := t.clock()
	err := t.db.Tx(ctx, func(tx *sql.Tx) error {
		if there, err := t.spendPass(tx); err != nil || !there {
			return cmp.Or(err, t.wrong()) // it was good once, and counts as a guess
		}
		if err := t.counters.takeBack(tx, now, true); err != nil {
			return err
		}
		if rehash != "" {
			_, err := tx.Exec(`UPDATE accounts SET password_hash = $1 WHERE id = $2 AND password_hash = $3`, rehash, t.id, t.phc)
			if err != nil {
				return fmt.Errorf("cannot renew a password hash: %w", err)
			}
		}
		var err error
		if a, err = load(tx, t.id); err != nil || t.Locale == "" || len(t.Locale) > maxLocale || t.Locale == a.Locale {
			return err
		}
		a.Locale = t.Locale
		if _, err = tx.Exec(`UPDATE accounts SET locale = $1 WHERE id = $2`, t.Locale, t.id); err != nil {
			return fmt.Errorf("cannot keep the owner's language: %w", err)
		}
		return nil
	})
	if err != nil {
		return Account{}, err
	}
	if err := a.Refusal(now); err != nil {
		return Account{}, err
	}
	return a, nil
}

// giveUp ends, with err, an attempt whose turn to be hashed did not come in
// time. Nothing was compared, so nothing counts.
func (t *attempt) giveUp(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if e := t.db.Tx(ctx, func(tx *sql.Tx) error { return t.counters.takeBack(tx, t.clock(), false) }); e != nil {
		return e
	}
	return err
}
