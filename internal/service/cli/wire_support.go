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

// noting is the accounts for the console's hands: what is done to them is noted.
func (s *service) noting() *account.Service {
	return s.accounts.Noted(func(ctx context.Context, tx *sql.Tx, accountID, action, detail string) error {
		return s.trail.Append(ctx, tx, audit.Entry{Actor: audit.Console, Action: action, Account: accountID, Detail: detail})
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
