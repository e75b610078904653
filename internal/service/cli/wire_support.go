// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"database/sql"
	"net/url"
	"time"

	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/staff"
	"github.com/accountlock/accountlock/internal/service/support"
)

// wireSupport wires what support works with.
func (s *service) wireSupport(mail account.Notifier) error {
	s.trail = audit.New(s.db, s.keys, time.Now)
	issuer := s.cfg.PublicURL
	if u, err := url.Parse(issuer); err == nil {
		issuer = u.Hostname()
	}
	var err error
	if s.staff, err = staff.New(s.db, s.accounts, s.trail, s.secret, issuer, time.Now); err != nil {
		return err
	}
	s.cases = support.New(support.Config{
		DB: s.db, Accounts: s.accounts, Devices: s.devices, Offline: s.offline, Notices: s.notices, Notifier: mail, Trail: s.trail,
		Secret: s.secret.Reveal(), PublicURL: s.cfg.PublicURL, Wait: s.cfg.SupportWait, Log: s.log,
	})
	return nil
}

// atConsole is the accounts for the console's hands: what is done to them is noted, and none
// is deleted from under its devices, but on a service of `dev`.
func (s *service) atConsole(dev bool) *account.Service {
	return s.accounts.By(account.Hands{
		Note: func(ctx context.Context, tx *sql.Tx, accountID, action, detail string) error {
			return s.trail.Append(ctx, tx, audit.Entry{Actor: audit.Console, Action: action, Account: accountID, Detail: detail})
		},
		MayDelete: func(ctx context.Context, tx *sql.Tx, accountID string) (string, error, error) {
			devices, refusal, err := s.cases.MayDelete(ctx, tx, accountID)
			if refusal != nil && dev {
				return "releases " + devices + " without a case, on a service of dev", nil, err
			}
			return devices, refusal, err
		},
	})
}

// verifyTrail says whether anybody changed the audit trail.
func (s *service) verifyTrail(ctx context.Context) (audit.Report, error) {
	trusted, err := s.keys.Trusted()
	if err != nil {
		return audit.Report{}, storage(err)
	}
	return s.trail.Verify(ctx, trusted, "")
}
