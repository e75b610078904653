// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/letter"
)

const (
	// maxReminders of one address are taken within remindTime.
	maxReminders = 3
	remindTime   = 24 * time.Hour
)

// Remind has the account ID sent to the e-mail address or phone number that was typed, if
// an account has it. Nothing tells whether one has: the message goes afterwards, with the
// recoveries'. Errors are faults: InvalidArgument (no address), RateLimited (asked for
// three times within a day).
func (s *Service) Remind(ctx context.Context, typed, region, locale string) error {
	target, err := s.Accounts.Resolve(ctx, typed, region)
	if err != nil {
		return err
	}
	if k := target.Identifier.Kind; k != account.KindEmail && k != account.KindPhone {
		return fault.Newf(fault.InvalidArgument, "This is no e-mail address or phone number; a number needs its country code.")
	}
	value := ""
	if target.AccountID != "" {
		value = target.Identifier.Value
	}
	now := s.now()
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		var asked int64
		var first sql.NullInt64
		err := tx.QueryRowContext(ctx, `SELECT COUNT(*), MIN(asked_at) FROM reminders WHERE target = $1 AND asked_at > $2`,
			target.Key, millis(now.Add(-remindTime))).Scan(&asked, &first)
		if err != nil {
			return err
		}
		if asked >= maxReminders {
			return limited(time.UnixMilli(first.Int64).Add(remindTime).Sub(now))
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO reminders (id, target, account_id, value, locale, asked_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			rand.Text(), target.Key, target.AccountID, value, locale, millis(now))
		return err
	})
	if err != nil {
		return wrap("ask for an account ID", err)
	}
	s.Kick()
	return nil
}

// remind sends the account ID of a reminder, if the address is still the account's.
func (s *Service) remind(ctx context.Context, id string) error {
	var accountID, value, locale string
	err := s.DB.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT account_id, value, locale FROM reminders WHERE id = $1`, id).Scan(&accountID, &value, &locale)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return wrap("read a reminder", err)
	}
	if accountID != "" {
		a, err := s.Accounts.Get(ctx, accountID)
		if err != nil {
			return err
		}
		for _, to := range a.Identifiers {
			if to.Value != value {
				continue
			}
			if err := s.Notifier.Send(ctx, reminder(to, a.ID, locale)); err != nil {
				return fmt.Errorf("cannot send an account ID: %w", err)
			}
		}
	}
	return s.exec(ctx, `UPDATE reminders SET sending = 0 WHERE id = $1`, id)
}

func reminder(to account.Identifier, accountID, locale string) account.Message {
	t := letter.For(locale)
	m := account.Message{To: to.Address, Channel: account.ChannelEmail, Subject: t.T(remindTitle), Text: t.T(remindText, accountID)}
	if to.Kind == account.KindPhone {
		m.Channel, m.Subject = account.ChannelSMS, ""
	}
	return m
}
