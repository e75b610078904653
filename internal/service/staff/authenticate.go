// SPDX-License-Identifier: Apache-2.0

package staff

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/totp"
)

// Proof is what a member proves themselves by.
type Proof struct {
	Name string
	// Password and Code stay the caller's to wipe.
	Password, Code accountapi.Secret
	// Address is where it comes from; the zero Addr is the console.
	Address netip.Addr
}

// Authenticate returns the member who has the name, the password and a code of the second factor
// that was not used before. Whether it was right or wrong is in the audit trail. Errors are
// faults: InvalidCredentials (counted, whatever was wrong), RateLimited (nothing was
// looked at), InvalidArgument (no text), ServiceUnavailable.
func (s *Service) Authenticate(ctx context.Context, p Proof) (Member, error) {
	name := account.Storable(strings.ToLower(strings.TrimSpace(p.Name)), 64)
	guess, err := s.passwords.Guess(ctx, guessUse, name, p.Address)
	if err != nil {
		return Member{}, err
	}
	m, hash, sealed, err := s.lookUp(ctx, byName, name)
	if err != nil {
		return Member{}, err
	}
	right, err := s.passwords.ComparePassword(ctx, hash, p.Password)
	if err != nil {
		return Member{}, err
	}
	if !right {
		return Member{}, s.refused(ctx, guess, m, "wrong password", p.Address)
	}
	if ok, err := s.spend(ctx, m, sealed, p); err != nil {
		return Member{}, err
	} else if !ok {
		return Member{}, s.refused(ctx, guess, m, "right password, wrong code", p.Address)
	}
	return m, guess.TakeBack(ctx)
}

// guessUse is what guesses at members are counted as.
const guessUse = "staff"

const (
	byName = `SELECT ` + columns + `, password_hash, totp_secret FROM staff WHERE name = $1`
	byID   = `SELECT ` + columns + `, password_hash, totp_secret FROM staff WHERE id = $1`
)

// lookUp returns a member with their password's hash and their second factor, the zero
// Member where there is none. Of a disabled one there is no hash: no password is right.
func (s *Service) lookUp(ctx context.Context, query, value string) (m Member, hash, sealed string, err error) {
	err = s.db.Read(ctx, func(tx *sql.Tx) (err error) {
		m, hash, sealed = Member{}, "", ""
		m, err = scan(tx.QueryRowContext(ctx, query, value), &hash, &sealed)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if m.Disabled {
		hash = ""
	}
	return m, hash, sealed, wrap("look up a member of staff", err)
}

// spend reports whether a code is right, and takes it away, in the transaction that
// notes who is in.
func (s *Service) spend(ctx context.Context, m Member, sealed string, p Proof) (bool, error) {
	raw, err := base64.RawStdEncoding.DecodeString(sealed)
	if err != nil {
		return false, fmt.Errorf("cannot read a second factor: %w", err)
	}
	factor, err := s.seal.Open(nil, nil, raw, []byte(m.ID))
	if err != nil {
		return false, fmt.Errorf("cannot open a second factor: it was stored under another service secret: %w", err)
	}
	defer clear(factor)
	// People and apps put a space between the digits.
	typed := strings.ReplaceAll(string(p.Code), " ", "")
	spent := false
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		var used, disabled int64
		if err := tx.QueryRowContext(ctx, `SELECT totp_step, disabled_at FROM staff WHERE id = $1`, m.ID).Scan(&used, &disabled); err != nil {
			return err
		}
		step, right := totp.Match(factor, typed, s.now(), used)
		if spent = right && disabled == 0; !spent {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `UPDATE staff SET totp_step = $1 WHERE id = $2`, step, m.ID); err != nil {
			return err
		}
		return s.audit.Append(ctx, tx, audit.Entry{Actor: m.Name, Action: "staff-signed-in", Detail: whence(p.Address)})
	})
	return spent, wrap("use a code", err)
}

// Confirm asks a member who is signed in for the password once more, before what
// cannot be taken back. Errors are as with Authenticate; what follows a right one is
// noted by who does it.
func (s *Service) Confirm(ctx context.Context, m Member, password accountapi.Secret, from netip.Addr) error {
	guess, err := s.passwords.Guess(ctx, guessUse, m.Name, from)
	if err != nil {
		return err
	}
	m, hash, _, err := s.lookUp(ctx, byID, m.ID)
	if err != nil {
		return err
	}
	right, err := s.passwords.ComparePassword(ctx, hash, password)
	if err != nil {
		return err
	}
	if !right {
		return s.refused(ctx, guess, m, "signed in, wrong password", from)
	}
	return guess.TakeBack(ctx)
}

// refused notes an attempt that was wrong, and returns its fault. What was typed for a
// name that nobody has may be a password: it is not noted. Of such attempts no more are
// than an account's guesses are free, so that strangers do not fill the trail.
func (s *Service) refused(ctx context.Context, guess *account.Guess, m Member, how string, from netip.Addr) error {
	ctx = context.WithoutCancel(ctx) // who hangs up is noted too
	e := audit.Entry{Actor: audit.Nobody, Action: "staff-refused", Detail: m.Name + ": " + how + ", " + whence(from)}
	switch {
	case m.Disabled:
		e.Detail = m.Name + ": disabled, " + whence(from)
	case m.ID == "":
		e.Detail = "a name that nobody has, " + whence(from)
		_, err := s.passwords.Guess(ctx, "staff-noted", "", netip.Addr{})
		if fault.CodeOf(err) == fault.RateLimited {
			// Something is written all the same, so that names show less in the time that it takes.
			if err := s.audit.Touch(ctx); err != nil {
				return err
			}
			return guess.Wrong()
		}
		if err != nil {
			return err
		}
	}
	if err := s.audit.Record(ctx, e); err != nil {
		return err
	}
	return guess.Wrong()
}

// whence says for the audit trail where somebody is.
func whence(from netip.Addr) string {
	if !from.IsValid() {
		return "at the console"
	}
	return "from " + account.Network(from)
}
