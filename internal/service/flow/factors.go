// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/factor"
)

// Factors are the second factors that owners have set up, as *factor.Service has them;
// the errors of each method are told there.
type Factors interface {
	Ways(ctx context.Context, owner string) (factor.Ways, error)
	Check(ctx context.Context, owner string, code accountapi.Secret) error
}

var _ Factors = (*factor.Service)(nil)

// UseFactors has the service ask for what owners have set up; before anything is answered.
func (s *Service) UseFactors(f Factors) { s.factors = f }

func (s *Service) ways(ctx context.Context, accountID string) (factor.Ways, error) {
	if s.factors == nil {
		return factor.Ways{}, nil
	}
	return s.factors.Ways(ctx, accountID)
}

// second leaves a flow whose password was right at its second factor, or goes on without
// one. A device cannot use a passkey: who has that alone is sent a code.
func (s *Service) second(ctx context.Context, f Flow, owner account.Account, req Request) (accountapi.FlowStep, error) {
	w, err := s.ways(ctx, owner.ID)
	switch {
	case err != nil:
		return accountapi.FlowStep{}, err
	case w.App:
		f.Step, f.SentTo, f.ExpiresAt = accountapi.Code, "", s.now().Add(IdleTime)
		return s.store(ctx, f, req.Key, f.wire())
	case owner.SecondFactor || w.Passkey:
		return s.sendCode(ctx, f, owner, req.Key)
	default:
		return s.proven(ctx, f, req)
	}
}

// checkSecond takes a code: the one that was sent, or else one of the owner's own. A
// backup code does in either case.
func (s *Service) checkSecond(ctx context.Context, f Flow, code accountapi.Secret) error {
	if f.SentTo == "" {
		return s.factors.Check(ctx, f.AccountID, code)
	}
	if _, ok := account.CodeDigits(code); !ok {
		w, err := s.ways(ctx, f.AccountID)
		if err != nil {
			return err
		}
		if w.Any() {
			return s.factors.Check(ctx, f.AccountID, code)
		}
	}
	return s.accounts.CheckCode(ctx, f.AccountID, f.ID, string(f.Kind), code)
}

// maySend refuses to send a code in place of an app's, unless its owner has said that one
// does: whoever reads the owner's mail would be as good otherwise.
func (s *Service) maySend(ctx context.Context, owner account.Account) error {
	w, err := s.ways(ctx, owner.ID)
	if err != nil || owner.SecondFactor || !w.App {
		return err
	}
	f := fault.Newf(fault.WrongStep, "No code is sent: the account's owner has set up an authenticator app alone.")
	f.Remedy = "Enter the code that the app shows, or a backup code."
	return f
}
