// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/letter"
)

// registerTime is how long a registration waits for its next answer.
const registerTime = 30 * time.Minute

// Registration is where a conversation with somebody who registers stands.
type Registration struct {
	// Address is where the code went.
	Address Identifier
	// Proven says that the code was right: FinishRegistration may follow.
	Proven bool
}

// registration is a row of the table registrations.
type registration struct {
	Registration

	hash               string
	tries, sends       int
	sentAt, codeExpiry time.Time
}

// BeginRegistration sends a code to an e-mail address or phone number that a new account
// is to be named by. id names the conversation: whoever knows it goes on with it. To an
// address that belongs to an account goes a word to its owner instead, and the answer is
// the same: nobody learns here who has an account. region is whose phone numbers are
// meant, locale (BCP 47) the language of the text.
//
// from is where the request comes from; the zero Addr is not throttled.
//
// Errors are faults: InvalidArgument (no identifier), RateLimited (too many were sent
// there, or asked for from there), ServiceUnavailable.
func (s *Service) BeginRegistration(ctx context.Context, id, typed, region, locale string, from netip.Addr) error {
	if region == "" {
		region = s.region
	}
	to, err := parseAddress(typed, region)
	if err != nil {
		return err
	}
	return s.sendRegistration(ctx, id, to, locale, from, func(tx *sql.Tx, hash string, now time.Time) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO registrations (id, kind, address, code_hash, sent_at, code_expires, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			id, string(to.Kind), to.Address, hash, millis(now), millis(now.Add(codeLife)), millis(now.Add(registerTime)))
		return err
	})
}

// ResendRegistration sends another code; the one before is void. Errors are
// BeginRegistration's, and fault.Timeout.
func (s *Service) ResendRegistration(ctx context.Context, id, locale string, from netip.Addr) error {
	r, err := s.registration(ctx, id)
	if err != nil {
		return err
	}
	return s.sendRegistration(ctx, id, r.Address, locale, from, func(tx *sql.Tx, hash string, now time.Time) error {
		r, err := loadRegistration(ctx, tx, id, now)
		if err != nil {
			return err
		}
		if next := r.sentAt.Add(codeSendPace); now.Before(next) {
			return rateLimited(next.Sub(now))
		}
		if r.sends >= codeSends {
			return rateLimited(registerTime)
		}
		_, err = tx.ExecContext(ctx, `UPDATE registrations SET code_hash = $1, tries = 0, sends = sends + 1, sent_at = $2, code_expires = $3, expires_at = $4
			WHERE id = $5`, hash, millis(now), millis(now.Add(codeLife)), millis(now.Add(registerTime)), id)
		return err
	})
}

// sendRegistration draws a code, has keep store its hash and sends it.
func (s *Service) sendRegistration(ctx context.Context, id string, to Identifier, locale string, from netip.Addr, keep func(*sql.Tx, string, time.Time) error) error {
	code, err := s.drawCode()
	if err != nil {
		return err
	}
	now := s.clock()
	var taken bool
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		var n int64
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM identifiers WHERE match_key = $1`, to.key()).Scan(&n); err != nil {
			return err
		}
		taken = n > 0
		if err := s.countOne(tx, sendLimit, now, "register", to.key()); err != nil {
			return err
		}
		// One that pays nothing would otherwise send SMS to a whole range of numbers.
		if from := Network(from); from != "" {
			if err := s.countOne(tx, sendersLimit, now, "register-from", from); err != nil {
				return err
			}
		}
		hash := s.registerHash(id, code)
		if taken {
			hash = rand.Text() // no code fits, and none is told apart from a wrong one
		}
		return keep(tx, hash, now)
	})
	if err != nil {
		return registering(err)
	}
	m := codeMessage(to, code, locale)
	if taken {
		t := letter.For(locale)
		m = message(to, t.T(takenSubject), t.T(takenText))
	}
	m.Until = now.Add(codeLife)
	if err := s.send(ctx, m); err != nil {
		f := fault.New(fault.ServiceUnavailable, err)
		f.RetryAfter = codeSendPace
		return f
	}
	return nil
}

// Registration says where a conversation stands; one that is not there or has ended is
// fault.Timeout.
func (s *Service) Registration(ctx context.Context, id string) (Registration, error) {
	r, err := s.registration(ctx, id)
	return r.Registration, err
}

func (s *Service) registration(ctx context.Context, id string) (r registration, err error) {
	err = s.db.Read(ctx, func(tx *sql.Tx) error {
		r, err = loadRegistration(ctx, tx, id, s.clock())
		return err
	})
	return r, registering(err)
}

func loadRegistration(ctx context.Context, tx *sql.Tx, id string, now time.Time) (registration, error) {
	var r registration
	var sent, expiry, ends int64
	err := tx.QueryRowContext(ctx, `SELECT kind, address, code_hash, tries, sends, sent_at, code_expires, proven, expires_at FROM registrations WHERE id = $1`, id).
		Scan(&r.Address.Kind, &r.Address.Address, &r.hash, &r.tries, &r.sends, &sent, &expiry, &r.Proven, &ends)
	if errors.Is(err, sql.ErrNoRows) || err == nil && millis(now) >= ends {
		return registration{}, fault.New(fault.Timeout, nil)
	}
	if err != nil {
		return registration{}, err
	}
	r.sentAt, r.codeExpiry = fromMillis(sent), fromMillis(expiry)
	// The address was parsed when it was stored.
	r.Address, err = parseAddress(r.Address.Address, "")
	return r, err
}

// CheckRegistration takes the code. Errors are faults: InvalidCode (counted, with the
// tries that are left), CodeExpired, RateLimited (too many wrong ones for this address),
// Timeout.
func (s *Service) CheckRegistration(ctx context.Context, id string, code accountapi.Secret) error {
	digits, ok := CodeDigits(code)
	if !ok {
		return fault.Newf(fault.InvalidCode, "A code has %d digits.", codeDigits)
	}
	now := s.clock()
	// Kept beside the transaction: returning it from within would undo the count.
	var refusal error
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		refusal = nil
		r, err := loadRegistration(ctx, tx, id, now)
		if err != nil {
			return err
		}
		refusal, err = s.checkRegistration(ctx, tx, id, r, digits, now)
		return err
	})
	return errors.Join(registering(err), refusal)
}

func (s *Service) checkRegistration(ctx context.Context, tx *sql.Tx, id string, r registration, digits string, now time.Time) (refusal, err error) {
	if wait, err := s.waitOne(tx, codeLimit, now, "register-code", r.Address.key()); err != nil || wait > 0 {
		return rateLimited(wait), err
	}
	if r.hash == "" || r.tries >= codeTries || !now.Before(r.codeExpiry) {
		return fault.New(fault.CodeExpired, nil), nil
	}
	if subtle.ConstantTimeCompare([]byte(s.registerHash(id, digits)), []byte(r.hash)) == 1 {
		_, err := tx.ExecContext(ctx, `UPDATE registrations SET proven = 1, code_hash = '', expires_at = $1 WHERE id = $2`, millis(now.Add(registerTime)), id)
		return nil, err
	}
	f := fault.New(fault.InvalidCode, nil)
	f.Counted, f.AttemptsLeft = true, max(0, codeTries-r.tries-1)
	if err := s.countOne(tx, codeLimit, now, "register-code", r.Address.key()); err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE registrations SET tries = tries + 1 WHERE id = $1`, id)
	return f, err
}

// FinishRegistration makes the account, sends its ID to the address, and ends the
// conversation. Errors are faults: WeakPassword (the code need not be given again),
// WrongStep (no code was right), Timeout, and Create's.
func (s *Service) FinishRegistration(ctx context.Context, id string, password accountapi.Secret, locale string) (Account, error) {
	r, err := s.registration(ctx, id)
	if err != nil {
		return Account{}, err
	}
	if !r.Proven {
		return Account{}, fault.New(fault.WrongStep, nil)
	}
	n := NewAccount{Password: password, Locale: locale}
	if r.Address.Kind == KindEmail {
		n.Emails = []string{r.Address.Address}
	} else {
		n.Phones = []string{r.Address.Address}
	}
	a, err := s.Create(ctx, n)
	if err != nil {
		return Account{}, err
	}
	err = s.db.Tx(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM registrations WHERE id = $1`, id)
		return err
	})
	// The account stands, whether or not anything is left of how it came about.
	if err == nil {
		err = s.send(context.WithoutCancel(ctx), welcome(a.Identifiers[0], a.ID, locale))
	}
	if err != nil {
		s.log.WarnContext(ctx, "cannot end a registration", "account", a.ID, "error", err)
	}
	return a, nil
}

func (s *Service) registerHash(id, code string) string { return s.keyed("register", id, code) }

// registering says of what is no fault what could not be done.
func registering(err error) error {
	var f *fault.Error
	if err == nil || errors.As(err, &f) {
		return err
	}
	return fmt.Errorf("cannot register an account: %w", err)
}

// What carries a new account's ID; {1} is the ID. And what the owner of an address reads
// that somebody registers anew.
var (
	welcomeSubject = letter.Mark("Your account ID")
	welcomeText    = letter.Mark("Your account is made. Its ID is {1}.\n\nKeep this message: a device that was reset asks for the ID, or for this address or number.\n")
	takenSubject   = letter.Mark("You have an account already")
	takenText      = letter.Mark("Somebody wanted to register with this address or number. It belongs to your account already, so nothing was changed. If it was you, sign in, or recover your password.\n")
)

func welcome(to Identifier, accountID, locale string) Message {
	t := letter.For(locale)
	return message(to, t.T(welcomeSubject), t.T(welcomeText, accountID))
}
