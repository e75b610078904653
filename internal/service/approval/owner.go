// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/device"
)

// How many codes that name no request of theirs an account and a network may type
// within guessPeriod. A code is one of 20^8 and opens nothing by itself; the bound
// keeps the page from being of use to anybody who tries.
const (
	guessPeriod   = time.Hour
	accountMisses = 10
	networkMisses = 50
)

// Owner is who types a code: the account that is signed in, from where.
type Owner struct {
	AccountID string
	Address   netip.Addr
}

// Seen is a request as its device's owner may see it.
type Seen struct {
	// Code as people read it.
	Code     string
	DeviceID string
	Model    string
	NewKey   bool
	// Address is where the device asks from, empty where unknown; Near: it is the
	// owner's own network.
	Address string
	Near    bool
	// Region is what the device says; empty where it says none.
	Region  string
	Asked   time.Time
	Expires time.Time
	// Answered: the owner has approved it already.
	Answered bool
}

// Look returns the request that has the code, to the owner of its device alone. A
// request of another account is to them as one that is not there: InvalidCode, which
// counts. Other faults: InvalidArgument for what is no code, RateLimited,
// CodeExpired, and those of Link.OpensFromAfar.
func (s *Service) Look(ctx context.Context, who Owner, typed string) (Seen, error) {
	return s.with(ctx, who, typed, nil)
}

// Decide is Look with the owner's answer, which is final. Answering twice alike is
// once.
func (s *Service) Decide(ctx context.Context, who Owner, typed string, approve bool) (Seen, error) {
	return s.with(ctx, who, typed, func(tx *sql.Tx, r row) error {
		status, event := "refused", "approval-refused"
		if approve {
			status, event = "approved", "approval-given"
		}
		if r.status == status {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `UPDATE approvals SET status = $1 WHERE user_code = $2`, status, r.code); err != nil {
			return fmt.Errorf("cannot write an owner's answer: %w", err)
		}
		return s.devices.Tell(ctx, tx, r.link, event, "")
	})
}

// row is a request as the database holds it.
type row struct {
	Seen

	code, status string
	account      string
	linkID       string
	generation   int64
	link         device.Link
}

func (s *Service) with(ctx context.Context, who Owner, typed string, do func(*sql.Tx, row) error) (Seen, error) {
	code, err := Typed(typed)
	if err != nil {
		return Seen{}, err
	}
	var (
		out     Seen
		refused error
	)
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		out, refused = Seen{}, nil
		if refused = s.mayGuess(ctx, tx, who); refused != nil {
			return foreign(refused)
		}
		r, err := s.find(ctx, tx, code)
		if err == nil && r.account != who.AccountID {
			// fails locked: nobody finds out about somebody else's device.
			err = errNone
		}
		if errors.Is(err, errNone) {
			refused = fault.Newf(fault.InvalidCode, "No device of yours asks with this code.")
			return s.missed(ctx, tx, who)
		}
		if err != nil {
			return err
		}
		if refused = s.open(r); refused != nil {
			return nil
		}
		r.Near = near(who.Address, r.Address)
		out = r.Seen
		if do == nil {
			return nil
		}
		return do(tx, r)
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return Seen{}, err
	}
	return out, nil
}

// foreign lets a refusal end the transaction well, and an error of the database not.
func foreign(err error) error {
	if fault.CodeOf(err) == fault.RateLimited {
		return nil
	}
	return err
}

var errNone = errors.New("no such request")

func (s *Service) find(ctx context.Context, tx *sql.Tx, code string) (row, error) {
	r := row{code: code}
	var newKey, asked, expires int64
	err := tx.QueryRowContext(ctx, `SELECT a.device_id, d.model, a.new_key, a.address, a.region, a.asked_at, a.expires_at, a.status, a.account_id,
a.link_id, a.generation FROM approvals a JOIN devices d ON d.id = a.device_id WHERE a.user_code = $1`, code).Scan(
		&r.DeviceID, &r.Model, &newKey, &r.Address, &r.Region, &asked, &expires, &r.status, &r.account, &r.linkID, &r.generation)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, errNone
	}
	if err != nil {
		return row{}, fmt.Errorf("cannot read a request for approval: %w", err)
	}
	r.Code, r.NewKey, r.Answered = Written(code), newKey == 1, r.status == "approved"
	r.Asked, r.Expires = time.UnixMilli(asked).UTC(), time.UnixMilli(expires).UTC()
	r.link, err = device.NewestLink(ctx, tx, r.DeviceID)
	return r, err
}

// open returns why a request can no longer be answered, or nil.
func (s *Service) open(r row) error {
	live := r.status == "asked" || r.status == "approved"
	if live && r.link.Status == device.Lost {
		return r.link.OpensFromAfar()
	}
	if !live || !s.now().Before(r.Expires) || r.link.ID != r.linkID || r.link.Generation != r.generation {
		f := fault.New(fault.CodeExpired, nil)
		f.Remedy = "Have the device show a new code, and type that one."
		return f
	}
	return r.link.OpensFromAfar()
}

// near reports whether two addresses are of one network, as far as its owner can
// tell: the same IPv4 address, or the same /64.
func near(a netip.Addr, other string) bool {
	b, err := netip.ParseAddr(other)
	return err == nil && a.IsValid() && network(a) == network(b)
}

func network(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return ""
	}
	return p.String()
}

func byAccount(id string) string { return "account " + id }

// guessers are what a miss counts towards, with how many each may have.
func guessers(who Owner) map[string]int64 {
	out := map[string]int64{byAccount(who.AccountID): accountMisses}
	if n := network(who.Address); n != "" {
		out["network "+n] = networkMisses
	}
	return out
}

func (s *Service) mayGuess(ctx context.Context, tx *sql.Tx, who Owner) error {
	now := s.now()
	for guesser, most := range guessers(who) {
		var n, since int64
		err := tx.QueryRowContext(ctx, `SELECT guesses, since FROM approval_guesses WHERE guesser = $1`, guesser).Scan(&n, &since)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot read guesses: %w", err)
		}
		if left := time.UnixMilli(since).Add(guessPeriod).Sub(now); n >= most && left > 0 {
			f := fault.New(fault.RateLimited, nil)
			f.RetryAfter = min(left, guessPeriod)
			return f
		}
	}
	return nil
}

// missed counts a code that named no request of theirs.
func (s *Service) missed(ctx context.Context, tx *sql.Tx, who Owner) error {
	now := s.now()
	for guesser := range guessers(who) {
		_, err := tx.ExecContext(ctx, `INSERT INTO approval_guesses (guesser, guesses, since) VALUES ($1, 1, $2)
ON CONFLICT (guesser) DO UPDATE SET
guesses = CASE WHEN approval_guesses.since <= $3 THEN 1 ELSE approval_guesses.guesses + 1 END,
since = CASE WHEN approval_guesses.since <= $3 THEN excluded.since ELSE approval_guesses.since END`,
			guesser, now.UnixMilli(), now.Add(-guessPeriod).UnixMilli())
		if err != nil {
			return fmt.Errorf("cannot count a guess: %w", err)
		}
	}
	return nil
}
