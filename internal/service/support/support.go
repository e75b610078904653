// SPDX-License-Identifier: Apache-2.0

// Package support owns support's cases: who asked, what was answered, who of staff
// approved of what, and that nothing is done to somebody else's device but within
// a case that two members of staff approved of, after its owner was told and could
// stop it.
//
// It must not know HTTP or consoles, nor how a link is changed: it asks the packages
// that own those, in one transaction with the audit trail's entry.
package support

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/offline"
	"github.com/accountlock/accountlock/internal/service/staff"
)

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Read(ctx context.Context, fn func(*sql.Tx) error) error
}

// Accounts is what is asked about accounts, as *account.Service answers it.
type Accounts interface {
	Get(ctx context.Context, id string) (account.Account, error)
}

// Config is what a Service is made of. All but Wait and Now must be given.
type Config struct {
	DB       DB
	Accounts Accounts
	Devices  *device.Registry
	Offline  *offline.Service
	Notices  device.Notices
	Notifier account.Notifier
	Trail    *audit.Log
	// Secret is the service secret.
	Secret []byte
	// PublicURL is what people reach the service by, without a slash at its end.
	PublicURL string
	// Wait is how long the owner can object after the second approval: ObjectionTime,
	// and none for who tries things out.
	Wait time.Duration
	Log  *slog.Logger
	// Now is the time; time.Now by default.
	Now func() time.Time
}

// Service is the cases of one database. It is safe for concurrent use and keeps
// nothing between calls.
type Service struct {
	Config
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg}
}

// now is the time in the database's precision.
func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Millisecond) }

// Standing counts what is approved of in a case now.
func (s *Service) Standing(c Case) Standing { return c.Standing(s.now(), s.Wait) }

// note adds what was done in a case to the audit trail.
func (s *Service) note(ctx context.Context, tx *sql.Tx, c Case, actor, action, detail string) error {
	return s.Trail.Append(ctx, tx, audit.Entry{
		Actor: actor, Action: action, Case: c.Number, Account: c.AccountID, Device: c.DeviceID, Detail: detail,
	})
}

// change runs fn on a case that is open, in a transaction, and returns the case as
// it is then. A case that is not there is fault.InvalidArgument, one that is closed
// fault.WrongStep.
func (s *Service) change(ctx context.Context, number string, fn func(tx *sql.Tx, c Case) error) (Case, error) {
	var out Case
	err := s.DB.Tx(ctx, func(tx *sql.Tx) error {
		c, err := load(ctx, tx, number)
		if err != nil {
			return err
		}
		if c.Outcome != Open {
			return fault.Newf(fault.WrongStep, "The case is closed.")
		}
		if err := fn(tx, c); err != nil {
			return err
		}
		out, err = load(ctx, tx, number)
		return err
	})
	return out, wrap("change a case", err)
}

// finish closes a case within a transaction.
func (s *Service) finish(ctx context.Context, tx *sql.Tx, c Case, o Outcome) error {
	_, err := tx.ExecContext(ctx, `UPDATE cases SET outcome = $1, closed_at = $2 WHERE number = $3`, string(o), s.now().UnixMilli(), c.Number)
	return err
}

// Note writes down something in a case. Errors are faults: InvalidArgument (no text,
// more than 2000 characters, more than a hundred notes), WrongStep, NotAuthorized.
func (s *Service) Note(ctx context.Context, by staff.Member, number, text string) (Case, error) {
	if err := by.MayAct(); err != nil {
		return Case{}, err
	}
	text, err := plain(text, maxNote)
	if err != nil {
		return Case{}, err
	}
	return s.change(ctx, number, func(tx *sql.Tx, c Case) error {
		if len(c.Notes) >= maxNotes {
			return fault.Newf(fault.InvalidArgument, "The case has too many notes already.")
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO case_notes (case_number, position, staff, at, text) VALUES ($1, $2, $3, $4, $5)`,
			c.Number, len(c.Notes)+1, by.Name, s.now().UnixMilli(), text)
		if err != nil {
			return err
		}
		// The words stay in the case, which is emptied one day; the trail is not.
		return s.note(ctx, tx, c, by.Name, "case-note", "")
	})
}

// Close ends a case without a deed. Errors are faults: WrongStep, NotAuthorized.
func (s *Service) Close(ctx context.Context, by staff.Member, number string) (Case, error) {
	if err := by.MayAct(); err != nil {
		return Case{}, err
	}
	return s.change(ctx, number, func(tx *sql.Tx, c Case) error {
		if err := s.finish(ctx, tx, c, Closed); err != nil {
			return err
		}
		return s.note(ctx, tx, c, by.Name, "case-closed", "")
	})
}

// Stop ends a case because the owner objects. account is who is signed in; without
// one, code is that of the owner's mail. What fits no open case is fault.InvalidCode.
func (s *Service) Stop(ctx context.Context, number, accountID, code string) error {
	number, err := ParseNumber(number)
	if err != nil {
		return fault.New(fault.InvalidCode, err)
	}
	byCode := accountID == "" && subtle.ConstantTimeCompare([]byte(code), []byte(s.stopCode(number))) == 1
	if accountID == "" && !byCode {
		return fault.New(fault.InvalidCode, nil)
	}
	_, err = s.change(ctx, number, func(tx *sql.Tx, c Case) error {
		if !byCode && c.AccountID != accountID {
			// fails shut: nobody stops, or learns of, somebody else's case.
			return fault.New(fault.InvalidCode, nil)
		}
		if err := s.finish(ctx, tx, c, Stopped); err != nil {
			return err
		}
		return s.note(ctx, tx, c, audit.Owner, "case-stopped", "")
	})
	if c := fault.CodeOf(err); c == fault.WrongStep || c == fault.InvalidArgument {
		return fault.New(fault.InvalidCode, err)
	}
	return err
}

// stopCode is what the owner's mail holds to stop a case: 80 bits under a key that
// the database does not have.
func (s *Service) stopCode(number string) string {
	m := hmac.New(sha256.New, s.Secret)
	fmt.Fprintf(m, "accountlock-case-stop-v1\x00%s", number)
	return base32.StdEncoding.EncodeToString(m.Sum(nil)[:10])
}

// AccountDeleted closes, within the transaction that deletes an account, its cases,
// and empties them.
func (s *Service) AccountDeleted(ctx context.Context, tx *sql.Tx, accountID string) error {
	_, err := tx.ExecContext(ctx, `UPDATE cases SET outcome = 'account-deleted', closed_at = $1 WHERE account_id = $2 AND outcome = ''`,
		s.now().UnixMilli(), accountID)
	if err == nil {
		_, err = tx.ExecContext(ctx, `DELETE FROM case_notes WHERE case_number IN (SELECT number FROM cases WHERE account_id = $1)`, accountID)
	}
	return wrap("close the cases of an account", err)
}

// Sweep closes the cases that nobody asks for any more and empties those that were
// closed long ago; what was done stays in the audit trail.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.now()
	var due int64
	err := s.DB.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM cases WHERE outcome = '' AND asked_at <= $1)
+ (SELECT COUNT(*) FROM cases WHERE outcome <> '' AND closed_at <= $2)`, now.Add(-caseTime).UnixMilli(), now.Add(-keepTime).UnixMilli()).Scan(&due)
	})
	if err != nil || due == 0 {
		return wrap("look for old cases", err)
	}
	return wrap("tidy up cases", s.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE cases SET outcome = 'expired', closed_at = $1 WHERE outcome = '' AND asked_at <= $2`,
			now.UnixMilli(), now.Add(-caseTime).UnixMilli())
		if err != nil {
			return err
		}
		const old = `IN (SELECT number FROM cases WHERE outcome <> '' AND closed_at <= $1)`
		for _, q := range []string{
			`DELETE FROM case_notes WHERE case_number ` + old, `DELETE FROM case_answers WHERE case_number ` + old,
			`DELETE FROM case_approvals WHERE case_number ` + old, `DELETE FROM cases WHERE outcome <> '' AND closed_at <= $1`,
		} {
			if _, err := tx.ExecContext(ctx, q, now.Add(-keepTime).UnixMilli()); err != nil {
				return err
			}
		}
		return nil
	}))
}

// wrap gives an error of the database its place; a fault stays as it is.
func wrap(what string, err error) error {
	var f *fault.Error
	if err == nil || errors.As(err, &f) {
		return err
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}
