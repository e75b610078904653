// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/recovery"
)

// Recoveries is the way back to an account, as *recovery.Service has it; the errors
// of each method are told there.
type Recoveries interface {
	Ask(ctx context.Context, r recovery.Request) (recovery.Standing, error)
	Continue(ctx context.Context, ask string) (recovery.Standing, error)
	Resend(ctx context.Context, ask string) (recovery.Standing, error)
	Check(ctx context.Context, ask string, code accountapi.Secret) error
	SetPassword(ctx context.Context, ask string, password accountapi.Secret) error
}

var _ Recoveries = (*recovery.Service)(nil)

// UseRecoveries has the service answer flows of the kind 'recover', which need a
// captcha too; before anything is answered.
func (s *Service) UseRecoveries(r Recoveries) { s.recoveries = r }

// noteKnown notes, within the transaction that begins a flow, which account has been
// signed in on the device long enough to be known there.
//
// fails closed: a key that is not the device's, a link that is not in order or too
// young, and a device that does not say that it is open make nobody known. A link
// changes with each unlock, so a device that was locked since counts from then.
func (s *Service) noteKnown(ctx context.Context, tx *sql.Tx, f Flow, c device.Caller, link device.Link, open bool, now time.Time) error {
	if f.Kind != accountapi.FlowKindRecover || !open || !c.Trusted() || link.Status != device.Linked {
		return nil
	}
	_, err := tx.ExecContext(ctx, `UPDATE flows SET known_account = $1 WHERE id = $2
AND EXISTS (SELECT 1 FROM links WHERE id = $3 AND changed_at <= $4)`,
		link.AccountID, f.ID, link.ID, now.Add(-recovery.KnownAfter).UnixMilli())
	if err != nil {
		return fmt.Errorf("cannot note who is known: %w", err)
	}
	return nil
}

// askRecovery goes on with a recover whose captcha was solved.
func (s *Service) askRecovery(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	r := recovery.Request{
		Ask: f.ID, Identifier: f.Identifier, Region: f.Region, Locale: f.Locale,
		Place: recovery.Place{Device: f.DeviceID, Address: req.Address},
	}
	if f.UseHint {
		r.AccountID = req.Caller.Link.AccountID
	}
	err := s.db.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT known_account FROM flows WHERE id = $1`, f.ID).Scan(&r.KnownTo)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return accountapi.FlowStep{}, fault.New(fault.Timeout, nil)
	}
	if err != nil {
		return accountapi.FlowStep{}, fmt.Errorf("cannot read who is known: %w", err)
	}
	at, err := s.recoveries.Ask(ctx, r)
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	return s.stand(ctx, f, req.Key, at)
}

// wait answers whether the wait is over.
func (s *Service) wait(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	at, err := s.recoveries.Continue(ctx, f.ID)
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	if !at.Ready {
		p := fault.New(fault.RecoveryPending, nil)
		p.RetryAfter = at.Until.Sub(s.now())
		return accountapi.FlowStep{}, p
	}
	return s.stand(ctx, f, req.Key, at)
}

// stand leaves the flow where its recovery stands.
func (s *Service) stand(ctx context.Context, f Flow, key string, at recovery.Standing) (accountapi.FlowStep, error) {
	f.Step, f.ExpiresAt = accountapi.Wait, s.now().Add(IdleTime)
	if at.Ready {
		f.Step, f.SentTo = accountapi.Code, at.SentTo
	}
	out := f.wire()
	if at.Ready {
		if until := at.Expires.Unix(); until < *out.Expires {
			out.Expires = &until
		}
	} else {
		until := at.Until.Unix()
		out.Until = &until
	}
	return s.store(ctx, f, key, out)
}

func (s *Service) recoveryCode(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	if err := s.recoveries.Check(ctx, f.ID, *req.Answer.Code); err != nil {
		return accountapi.FlowStep{}, err
	}
	f.Step, f.ExpiresAt = accountapi.NewPassword, s.now().Add(IdleTime)
	return s.store(ctx, f, req.Key, f.wire())
}

func (s *Service) newPassword(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	if req.Answer.Password == nil || len(*req.Answer.Password) == 0 {
		return accountapi.FlowStep{}, fault.Newf(fault.InvalidArgument, "The answer holds no password.")
	}
	if err := s.recoveries.SetPassword(ctx, f.ID, *req.Answer.Password); err != nil {
		return accountapi.FlowStep{}, err
	}
	f.Step, f.ExpiresAt = accountapi.Done, s.now().Add(KeepTime)
	return s.store(ctx, f, req.Key, f.wire())
}
