// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"net/url"
	"time"

	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/staff"
)

// wireSupport wires what support works with.
func (s *service) wireSupport() error {
	s.trail = audit.New(s.db, s.keys, time.Now)
	issuer := s.cfg.PublicURL
	if u, err := url.Parse(issuer); err == nil {
		issuer = u.Hostname()
	}
	var err error
	s.staff, err = staff.New(s.db, s.accounts, s.trail, s.secret, issuer, time.Now)
	return err
}
