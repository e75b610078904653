// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/store"
)

// StopPath is the portal's page that the owner's notice leads to; its `code` is Stop's.
const StopPath = "/recover/stop"

const (
	// lease is how long a server has something to send for itself.
	lease = time.Minute
	// tick is how often a server looks for what another one left.
	tick = 5 * time.Second
	// batch bounds what is taken at once.
	batch = 50
)

// Kick tells Run that there may be something to send.
func (s *Service) Kick() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Run sends notices and codes until ctx ends.
func (s *Service) Run(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		if err := s.Deliver(ctx); err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "cannot send what belongs to a recovery", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-t.C:
		}
	}
}

// Deliver sends the notices and codes that are due and not with another server. Its
// error is of what waits for another try.
func (s *Service) Deliver(ctx context.Context) error {
	return errors.Join(
		s.each(ctx, "recoveries", "telling", s.tell),
		s.each(ctx, "recovery_asks", "sending", s.sendCode),
		s.each(ctx, "reminders", "sending", s.remind),
	)
}

// each leases the rows of a table in which flag is set and has them worked on.
func (s *Service) each(ctx context.Context, table, flag string, do func(context.Context, string) error) error {
	var errs []error
	for {
		ids, err := s.take(ctx, table, flag)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, id := range ids {
			errs = append(errs, do(ctx, id))
		}
		if len(ids) < batch {
			return errors.Join(errs...)
		}
	}
}

func (s *Service) take(ctx context.Context, table, flag string) ([]string, error) {
	now := s.now()
	var due int64
	err := s.DB.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM `+table+` WHERE `+flag+` = 1 AND leased_to <= $1 LIMIT 1) AS due`,
			millis(now)).Scan(&due)
	})
	if err != nil || due == 0 {
		return nil, wrap("read what is to be sent", err)
	}
	var out []string
	err = s.DB.Tx(ctx, func(tx *sql.Tx) (err error) {
		out, err = store.Collect(ctx, tx, store.One[string], `UPDATE `+table+` SET leased_to = $1 WHERE id IN
(SELECT id FROM `+table+` WHERE `+flag+` = 1 AND leased_to <= $2 ORDER BY leased_to LIMIT $3) RETURNING id`,
			millis(now.Add(lease)), millis(now), batch)
		return err
	})
	return out, wrap("take what is to be sent", err)
}

// tell tells an owner, at every address, that a recovery has begun and how to stop it.
func (s *Service) tell(ctx context.Context, id string) error {
	var n notice
	var ready int64
	var accountID, status, place string
	err := s.DB.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT account_id, status, region, locale, place, ready_at FROM recoveries WHERE id = $1`, id).
			Scan(&accountID, &status, &n.region, &n.locale, &place, &ready)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return wrap("read a recovery", err)
	}
	if accountID != "" && status == "open" {
		a, err := s.Accounts.Get(ctx, accountID)
		if err != nil {
			return err
		}
		n.accountID, n.place, n.until, n.code = a.ID, placeOf(place), time.UnixMilli(ready), s.stopCode(id)
		n.url = s.PublicURL + StopPath + "?code=" + n.code
		var errs []error
		for _, to := range a.Identifiers {
			errs = append(errs, s.Notifier.Send(ctx, n.message(to, a)))
		}
		// One address that cannot be reached does not have the others told again and again.
		if err := errors.Join(errs...); err != nil && allFailed(errs) {
			return fmt.Errorf("cannot tell an owner of a recovery: %w", err)
		} else if err != nil {
			s.Log.WarnContext(ctx, "an owner could not be told of a recovery at every address", "recovery", id, "error", err)
		}
	}
	return s.exec(ctx, `UPDATE recoveries SET telling = 0 WHERE id = $1`, id)
}

func allFailed(errs []error) bool {
	for _, err := range errs {
		if err == nil {
			return false
		}
	}
	return true
}

// sendCode draws a code, keeps its hash and sends it. For nobody's account, the
// same is drawn and kept, and nothing is sent.
func (s *Service) sendCode(ctx context.Context, ask string) error {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return fmt.Errorf("cannot draw a code: %w", err)
	}
	code := fmt.Sprintf("%06d", n)
	a, err := s.read(ctx, ask)
	switch fault.CodeOf(err) {
	case "":
	case fault.Timeout, fault.Declined:
		// A conversation that is over needs no code.
		return s.exec(ctx, `UPDATE recovery_asks SET sending = 0 WHERE id = $1`, ask)
	default:
		return err
	}
	// asked_at tells this request from one that came meanwhile, which gets a code of its own.
	if err := s.exec(ctx, `UPDATE recovery_asks SET code_hash = $1 WHERE id = $2 AND asked_at = $3`, s.codeHash(ask, code), ask, a.askedAt); err != nil {
		return err
	}
	if a.account != "" {
		if err := s.sendTo(ctx, a, code); err != nil {
			return err
		}
	}
	return s.exec(ctx, `UPDATE recovery_asks SET sending = 0 WHERE id = $1 AND asked_at = $2`, ask, a.askedAt)
}

func (s *Service) sendTo(ctx context.Context, a row, code string) error {
	acct, err := s.Accounts.Get(ctx, a.account)
	if err != nil {
		return err
	}
	to, ok := codeAddress(acct, a.email)
	if !ok {
		return nil // an account ID alone: support has to help
	}
	m := codeMessage(to, acct, code, a.locale)
	m.Until = time.UnixMilli(a.codeExpires)
	if err := s.Notifier.Send(ctx, m); err != nil {
		return fmt.Errorf("cannot send a recovery's code: %w", err)
	}
	return nil
}

func (s *Service) exec(ctx context.Context, query string, args ...any) error {
	err := s.DB.Tx(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	return wrap("note what was sent", err)
}

var _ Accounts = (*account.Service)(nil)
