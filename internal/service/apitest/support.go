// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"context"
	"encoding/base32"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/staff"
	"github.com/accountlock/accountlock/internal/service/support"
	"github.com/accountlock/accountlock/internal/service/totp"
)

// Support is the service's staff, their cases and the trail of what they do.
type Support struct {
	Trail *audit.Log
	Staff *staff.Service
	Cases *support.Service
}

// StaffPassword is every member's.
const StaffPassword = "nine umbrellas in june"

// Member is one of staff with what their authenticator app holds.
type Member struct {
	staff.Member

	clock *Clock
	key   secret.Bytes
}

// support wires what support works with.
func (s *Service) support(t testing.TB, mail account.Notifier, log *slog.Logger) {
	t.Helper()
	s.Trail = audit.New(s.DB, s.Keys, s.Clock.Now)
	var err error
	if s.Staff, err = staff.New(s.DB, s.Accounts, s.Trail, s.Secret, "accounts.example.org", s.Clock.Now); err != nil {
		t.Fatal(err)
	}
	s.Cases = support.New(support.Config{
		DB: s.DB, Accounts: s.Accounts, Devices: s.Devices, Offline: s.Offline, Notices: s.Notices, Notifier: mail, Trail: s.Trail,
		Secret: s.Secret, PublicURL: "https://accounts.example.org", Wait: support.ObjectionTime, Log: log, Now: s.Clock.Now,
	})
}

func (s *Service) verifyTrail(ctx context.Context) (audit.Report, error) {
	trusted, err := s.Keys.Trusted()
	if err != nil {
		return audit.Report{}, err
	}
	return s.Trail.Verify(ctx, trusted, "")
}

// Member adds a member of staff.
func (s *Service) Member(t testing.TB, name string, role staff.Role) Member {
	t.Helper()
	m, link, err := s.Staff.Add(t.Context(), audit.Console, name, role, accountapi.Secret(StaffPassword))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return Member{m, s.Clock, key}
}

// Code is one that was not used before: the clock goes on to it.
func (m Member) Code() string {
	m.clock.Advance(totp.Period + time.Second)
	return totp.Code(m.key, totp.Step(m.clock.Now()))
}
