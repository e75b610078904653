// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"database/sql"
	"time"
)

// CodeWait is how long, within a transaction, no code of an account is looked at; 0 is
// now. Those of its own apps count together with those that were sent.
func (s *Service) CodeWait(tx *sql.Tx, accountID string) (time.Duration, error) {
	return s.waitOne(tx, codeLimit, s.clock(), "code", accountID)
}

// CodeWrong counts, within the same transaction, a wrong one.
func (s *Service) CodeWrong(tx *sql.Tx, accountID string) error {
	return s.countOne(tx, codeLimit, s.clock(), "code", accountID)
}

// FactorsChanged tells the owner that a second factor of their own, or its backup codes,
// were set up or removed.
func (s *Service) FactorsChanged(ctx context.Context, accountID string) {
	if err := s.Notify(context.WithoutCancel(ctx), accountID, NoticeFactors, ""); err != nil {
		s.log.WarnContext(ctx, "cannot send a notice", "account", accountID, "notice", string(NoticeFactors), "error", err)
	}
}
