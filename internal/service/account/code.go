// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// What a code is: six digits, good for ten minutes and five tries. It is sent
// again at most five times, half a minute apart.
const (
	codeDigits   = 6
	codeLife     = 10 * time.Minute
	codeTries    = 5
	codeSends    = 1 + 5
	codeSendPace = 30 * time.Second
)

// sentCode is a row of the table codes.
type sentCode struct {
	account, hash     string
	tries, sends      int
	sentAt, expiresAt time.Time
}

// SendCode sends the owner of acct a new code for one purpose within one flow,
// by mail if there is an address, else by SMS; the code sent before is void. It
// returns where it went, masked, and when it expires. locale (BCP 47) is the
// language of the text.
//
// Errors are faults: RateLimited (sent half a minute ago, or too often),
// InvalidArgument (nowhere to send it to), ServiceUnavailable (it could not be
// sent).
func (s *Service) SendCode(ctx context.Context, acct Account, flowID, purpose, locale string) (maskedTo string, expires time.Time, err error) {
	to, ok := codeAddress(acct)
	if !ok {
		return "", time.Time{}, noSecondFactor()
	}
	code, err := s.drawCode()
	if err != nil {
		return "", time.Time{}, err
	}
	now := s.clock()
	expires = now.Add(codeLife)
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		sends, err := s.maySend(tx, acct.ID, flowID, purpose, now)
		if err != nil {
			return err
		}
		return storeCode(tx, flowID, purpose, sentCode{
			account: acct.ID, hash: s.codeHash(acct.ID, flowID, purpose, code), sends: sends, sentAt: now, expiresAt: expires,
		})
	})
	if err != nil {
		return "", time.Time{}, err
	}
	if err := s.sendOf(ctx, codeMessage(to, code, locale), expires); err != nil {
		return "", time.Time{}, err
	}
	return to.Mask(), expires, nil
}

// sendOf sends the message that a code belongs to, which is of no use after until.
func (s *Service) sendOf(ctx context.Context, m Message, until time.Time) error {
	m.Until = until
	if err := s.send(ctx, m); err != nil {
		f := fault.New(fault.ServiceUnavailable, err)
		f.RetryAfter = codeSendPace
		return f
	}
	return nil
}

// maySend returns the number of this sending, or fault.RateLimited.
func (s *Service) maySend(tx *sql.Tx, accountID, flowID, purpose string, now time.Time) (int, error) {
	c, err := loadCode(tx, flowID, purpose)
	if err != nil {
		return 0, err
	}
	// A flow that has gone over to another account begins anew: the code of
	// the one before must not be what this one is asked for.
	if c.account == accountID && now.Before(c.expiresAt) {
		if next := c.sentAt.Add(codeSendPace); now.Before(next) {
			return 0, rateLimited(next.Sub(now))
		}
		if c.sends >= codeSends {
			return 0, rateLimited(c.expiresAt.Sub(now))
		}
	} else {
		c.sends = 0
	}
	if err := s.countOne(tx, sendLimit, now, "send", accountID); err != nil {
		return 0, err
	}
	return c.sends + 1, nil
}

// CheckCode compares a code with the one sent last for a purpose within a flow; it is
// good once.
//
// Errors are faults: InvalidCode (counted, with the tries that are left; not
// counted if it is not six digits), CodeExpired (too old, used, voided by five wrong
// tries, sent to another account's owner, or never sent), RateLimited (too many wrong codes for this account).
func (s *Service) CheckCode(ctx context.Context, accountID, flowID, purpose string, code accountapi.Secret) error {
	digits, ok := CodeDigits(code)
	if !ok {
		return fault.Newf(fault.InvalidCode, "A code has %d digits.", codeDigits)
	}
	now := s.clock()
	// The refusal is kept beside the transaction: returning it from within
	// would undo the count.
	var refusal error
	err := s.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		refusal, err = s.checkCode(tx, accountID, flowID, purpose, digits, now)
		return err
	})
	if err != nil {
		return err
	}
	return refusal
}

func (s *Service) checkCode(tx *sql.Tx, accountID, flowID, purpose, digits string, now time.Time) (refusal, err error) {
	c, err := loadCode(tx, flowID, purpose)
	if err != nil {
		return nil, err
	}
	if c.hash == "" || c.account != accountID || !now.Before(c.expiresAt) {
		return fault.New(fault.CodeExpired, nil), nil
	}
	want := s.codeHash(accountID, flowID, purpose, digits)
	right := subtle.ConstantTimeCompare([]byte(want), []byte(c.hash)) == 1
	if wait, err := s.waitOne(tx, codeLimit, now, "code", c.account); err != nil {
		return nil, err
	} else if wait > 0 {
		return rateLimited(wait), nil
	}
	hash := c.hash
	if !right {
		c.tries++
		if err := s.countOne(tx, codeLimit, now, "code", c.account); err != nil {
			return nil, err
		}
		f := fault.New(fault.InvalidCode, nil)
		f.Counted, f.AttemptsLeft = true, max(0, codeTries-c.tries)
		refusal = f
	}
	if right || c.tries >= codeTries {
		hash = ""
	}
	_, err = tx.Exec(`UPDATE codes SET tries = $1, code_hash = $2 WHERE flow_id = $3 AND purpose = $4`, c.tries, hash, flowID, purpose)
	if err != nil {
		return nil, fmt.Errorf("cannot store a try at a code: %w", err)
	}
	return refusal, nil
}

// drawCode returns a new random code.
func (s *Service) drawCode() (string, error) {
	n, err := rand.Int(s.random, big.NewInt(1_000_000))
	if err != nil {
		return "", fmt.Errorf("cannot draw a code: %w", err)
	}
	return fmt.Sprintf("%0*d", codeDigits, n), nil
}

// storeCode replaces the row of a flow and purpose.
func storeCode(tx *sql.Tx, flowID, purpose string, c sentCode) error {
	_, err := tx.Exec(`INSERT INTO codes (flow_id, purpose, account_id, code_hash, tries, sends, sent_at, expires_at)
		VALUES ($1, $2, $3, $4, 0, $5, $6, $7) ON CONFLICT (flow_id, purpose) DO UPDATE SET account_id = excluded.account_id,
		code_hash = excluded.code_hash, tries = 0, sends = excluded.sends, sent_at = excluded.sent_at, expires_at = excluded.expires_at`,
		flowID, purpose, c.account, c.hash, c.sends, millis(c.sentAt), millis(c.expiresAt))
	if err != nil {
		return fmt.Errorf("cannot store a code: %w", err)
	}
	return nil
}

// loadCode returns the row of a flow and purpose, zero if there is none.
func loadCode(tx *sql.Tx, flowID, purpose string) (c sentCode, err error) {
	var sentAt, expiresAt int64
	err = tx.QueryRow(`SELECT account_id, code_hash, tries, sends, sent_at, expires_at FROM codes WHERE flow_id = $1 AND purpose = $2`, flowID, purpose).
		Scan(&c.account, &c.hash, &c.tries, &c.sends, &sentAt, &expiresAt)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return c, fmt.Errorf("cannot read a code: %w", err)
	}
	c.sentAt, c.expiresAt = fromMillis(sentAt), fromMillis(expiresAt)
	return c, nil
}

// codeHash binds a code to its account, flow and purpose. Six digits are
// guessed at once by who has a plain hash, so it is keyed.
func (s *Service) codeHash(accountID, flowID, purpose, code string) string {
	return s.keyed("code", accountID, flowID, purpose, code)
}

// CodeDigits reads what a person typed for a code: spaces and dashes do not
// matter, nor the script of the digits.
func CodeDigits(code accountapi.Secret) (string, bool) {
	if len(code) > 64 {
		return "", false
	}
	digits := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '-' {
			return -1
		}
		return r
	}, asciiDigits(string(code)))
	return digits, len(digits) == codeDigits && strings.Trim(digits, "0123456789") == ""
}

func codeAddress(a Account) (Identifier, bool) {
	for _, kind := range []Kind{KindEmail, KindPhone} {
		if id, ok := a.first(kind); ok {
			return id, true
		}
	}
	return Identifier{}, false
}

// countOne counts towards one tally, or refuses as counters.count does.
func (s *Service) countOne(tx *sql.Tx, l limit, now time.Time, parts ...string) error {
	return s.one(l, parts).count(tx, now)
}

// waitOne is how long until countOne would not refuse.
func (s *Service) waitOne(tx *sql.Tx, l limit, now time.Time, parts ...string) (time.Duration, error) {
	c := s.one(l, parts)
	err := c.read(tx)
	return l.wait(c.all[0].prior, now), err
}

func (s *Service) one(l limit, parts []string) *counters {
	key := s.keyed(append([]string{"throttle"}, parts...)...)
	return &counters{all: []*counter{{key: key, limit: l}}}
}
