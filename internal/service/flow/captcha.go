// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
)

// Captcha makes challenges and verifies answers, as *captcha.Captcha does.
type Captcha interface {
	Challenge(use string) (string, error)
	// Verify's error for a wrong answer is fault.CaptchaRequired.
	Verify(ctx context.Context, use, answer string) error
}

// UseCaptcha has the service ask for captchas; before anything is answered.
func (s *Service) UseCaptcha(c Captcha) { s.captcha = c }

// authenticate tries a password, with the captcha that was solved in the flow if
// one is asked for. Each serves one attempt: it is spent before the password is
// looked at, so that guesses in parallel share none.
func (s *Service) authenticate(ctx context.Context, f Flow, a account.Attempt) (account.Account, error) {
	a.AsksCaptcha = s.captcha != nil
	owner, err := s.accounts.Authenticate(ctx, a)
	if fault.CodeOf(err) != fault.CaptchaRequired {
		return owner, err
	}
	spent, failed := s.spendCaptcha(ctx, f.ID)
	if failed != nil || !spent {
		return account.Account{}, errors.Join(failed, err)
	}
	a.Human = true
	return s.accounts.Authenticate(ctx, a)
}

// spendCaptcha takes back what the flow's solved captcha permits, and reports
// whether there was one.
func (s *Service) spendCaptcha(ctx context.Context, flowID string) (bool, error) {
	var n int64
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE flows SET human = 0 WHERE id = $1 AND human = 1`, flowID)
		if err != nil {
			return fmt.Errorf("cannot spend a captcha: %w", err)
		}
		n, err = res.RowsAffected()
		return err
	})
	return n == 1, err
}

// askCaptcha leaves the flow at the step 'captcha'.
func (s *Service) askCaptcha(ctx context.Context, f Flow, key string) (accountapi.FlowStep, error) {
	f.Step, f.ExpiresAt = accountapi.Captcha, s.now().Add(IdleTime)
	out, err := s.captchaStep(f)
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	return s.store(ctx, f, key, out)
}

// captchaStep returns the step with a new challenge.
func (s *Service) captchaStep(f Flow) (accountapi.FlowStep, error) {
	challenge, err := s.captcha.Challenge(f.ID)
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	out := f.wire()
	out.Captcha = &challenge
	return out, nil
}

func (s *Service) captchaAnswer(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	if value(req.Answer.Captcha) == "" {
		return accountapi.FlowStep{}, fault.Newf(fault.InvalidArgument, "The answer holds no captcha.")
	}
	if s.captcha == nil {
		return accountapi.FlowStep{}, fault.New(fault.WrongStep, nil)
	}
	if err := s.captcha.Verify(ctx, f.ID, *req.Answer.Captcha); err != nil {
		return accountapi.FlowStep{}, err
	}
	if f.Kind == accountapi.FlowKindRecover {
		return s.askRecovery(ctx, f, req)
	}
	f.Step, f.ExpiresAt = accountapi.Password, s.now().Add(IdleTime)
	return s.change(ctx, f, req.Key, func(tx *sql.Tx, f *Flow) (accountapi.FlowStep, error) {
		if _, err := tx.ExecContext(ctx, `UPDATE flows SET human = 1 WHERE id = $1`, f.ID); err != nil {
			return accountapi.FlowStep{}, fmt.Errorf("cannot note a solved captcha: %w", err)
		}
		return f.wire(), nil
	})
}
