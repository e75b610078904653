// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
)

// row is a conversation with its recovery.
type row struct {
	ask, recovery, account string
	email, locale          string
	codeHash               string
	known, proven          bool
	tries, sends           int64
	askedAt, codeExpires   int64
	readyAt                int64
	// These are of everybody who asked.
	failures, allSends, sentAt, heldUntil int64
}

const rowQuery = `SELECT a.recovery_id, r.account_id, a.email, a.locale, a.code_hash, a.known, a.proven, a.tries, a.sends, a.asked_at, a.code_expires,
r.ready_at, r.failures, r.sends, r.sent_at, r.held_until, r.status, r.expires_at, a.expires_at FROM recovery_asks a JOIN recoveries r ON r.id = a.recovery_id WHERE a.id = $1`

// load reads a conversation that can be gone on with; otherwise it is fault.Timeout or
// fault.Declined.
func load(ctx context.Context, tx *sql.Tx, ask string, now time.Time) (row, error) {
	a := row{ask: ask}
	var status string
	var open, idle int64
	err := tx.QueryRowContext(ctx, rowQuery, ask).Scan(&a.recovery, &a.account, &a.email, &a.locale, &a.codeHash, &a.known, &a.proven,
		&a.tries, &a.sends, &a.askedAt, &a.codeExpires, &a.readyAt, &a.failures, &a.allSends, &a.sentAt, &a.heldUntil, &status, &open, &idle)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return row{}, fault.New(fault.Timeout, nil)
	case err != nil:
		return row{}, err
	case status == "stopped":
		f := fault.Newf(fault.Declined, "The account's owner has stopped this recovery.")
		f.Remedy = "If you are the owner, begin again, or ask support."
		return row{}, f
	case status != "open" || millis(now) >= open || millis(now) >= idle:
		return row{}, fault.New(fault.Timeout, nil)
	}
	return a, nil
}

func (s *Service) read(ctx context.Context, ask string) (a row, err error) {
	err = s.DB.Read(ctx, func(tx *sql.Tx) error {
		a, err = load(ctx, tx, ask, s.now())
		return err
	})
	return a, wrap("read a recovery", err)
}

// ready reports whether a code may be sent.
func (a row) ready(now time.Time) bool { return a.known || millis(now) >= a.readyAt }

// maySend returns fault.RecoveryPending or fault.RateLimited.
func (a row) maySend(now time.Time) error {
	if !a.ready(now) {
		f := fault.New(fault.RecoveryPending, nil)
		f.RetryAfter = time.UnixMilli(a.readyAt).Sub(now)
		return f
	}
	if next := time.UnixMilli(a.askedAt).Add(codePace); a.askedAt > 0 && now.Before(next) {
		return limited(next.Sub(now))
	}
	if a.sends >= codeSends {
		return limited(askTime)
	}
	if next := time.UnixMilli(a.sentAt).Add(slowPace); a.allSends >= maxSends && now.Before(next) {
		return limited(next.Sub(now))
	}
	return nil
}

// codeAddress is where a recovery's code goes: to the address that was typed, if it
// is the account's; otherwise by e-mail where there is an address. An SMS does only where
// there is nothing else: whoever holds a device may hold its SIM.
func codeAddress(a account.Account, email string) (account.Identifier, bool) {
	var first, phone account.Identifier
	for _, id := range a.Identifiers {
		switch {
		case id.Kind == account.KindEmail && id.Value == email:
			return id, true
		case id.Kind == account.KindEmail && first.Kind == "":
			first = id
		case id.Kind == account.KindPhone && phone.Kind == "":
			phone = id
		}
	}
	if first.Kind == "" {
		first = phone
	}
	return first, first.Kind != ""
}
