// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"database/sql"
	"net/netip"
	"strings"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// What stands here lends the service's hashing and its limits on guessing to
// passwords that are no account's: those of staff.

// Storable is what was typed, cut to limit bytes, as every database takes it:
// PostgreSQL refuses NUL and what is not UTF-8. Neither becomes nothing, by which it
// could name what somebody else is called.
func Storable(typed string, limit int) string {
	return strings.ReplaceAll(strings.ToValidUTF8(typed[:min(len(typed), limit)], "\ufffd"), "\x00", "\ufffd")
}

// Guess is one attempt that was counted.
type Guess struct {
	s        *Service
	counters *counters
}

// Guess counts an attempt at name, among those of one use, from an address, before
// anything is compared. Its error is fault.RateLimited, with nothing counted.
func (s *Service) Guess(ctx context.Context, use, name string, from netip.Addr) (*Guess, error) {
	g := &Guess{s: s}
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		g.counters = s.countersFor(Attempt{Address: from}, use+":"+name)
		return g.counters.count(tx, s.clock())
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// Wrong is the fault of a guess that was wrong; it stays counted.
func (g *Guess) Wrong() error {
	f := fault.New(fault.InvalidCredentials, nil)
	f.Counted = true
	f.AttemptsLeft, f.RetryAfter = g.counters.left(g.s.clock())
	return f
}

// TakeBack uncounts a guess that was right.
func (g *Guess) TakeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return g.s.db.Tx(ctx, func(tx *sql.Tx) error { return g.counters.takeBack(tx, g.s.clock(), false) })
}

// HashPassword returns the hash, in PHC form, of a password that the policy permits
// for somebody of this name. Errors are faults: WeakPassword, InvalidArgument,
// ServiceUnavailable.
func (s *Service) HashPassword(ctx context.Context, password accountapi.Secret, name string) (string, error) {
	return s.newHash(ctx, password, []Identifier{{Kind: "name", Value: name}})
}

// ComparePassword reports whether a password has the hash phc; without one it takes
// the same time and is false. Errors are faults: InvalidArgument, ServiceUnavailable.
func (s *Service) ComparePassword(ctx context.Context, phc string, password accountapi.Secret) (bool, error) {
	p, err := normalPassword(password)
	if err != nil {
		return false, err
	}
	defer p.Wipe()
	leave, err := s.hasher.enter()
	if err != nil {
		return false, err
	}
	defer leave()
	release, err := s.hasher.slot(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	known := phc != ""
	if !known {
		phc = s.hasher.dummy
	}
	right, _, err := s.hasher.verify(phc, p)
	return right && known, err
}
