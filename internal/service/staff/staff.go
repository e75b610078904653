// SPDX-License-Identifier: Apache-2.0

// Package staff owns who works at support: their names, roles, passwords and
// second factors, and who of them is signed in. They are no accounts: nothing of
// theirs opens a device or an owner's page, and no account opens theirs.
//
// It must not know what staff do.
package staff

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/seal"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/internal/service/totp"
)

// Role is what a member may do.
type Role string

// The roles.
const (
	// Agent works on cases and approves.
	Agent Role = "agent"
	// Auditor reads cases and the audit trail, and changes nothing.
	Auditor Role = "auditor"
)

// Valid reports whether there is such a role.
func (r Role) Valid() bool { return r == Agent || r == Auditor }

// Member is one of staff.
type Member struct {
	ID   string `json:"-"`
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Disabled: they can do nothing any more.
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
}

// MayAct returns nil if the member may change something, and fault.NotAuthorized
// otherwise.
func (m Member) MayAct() error {
	if m.Role != Agent || m.Disabled || m.ID == "" {
		// fails shut: who is no agent changes nothing.
		return fault.Newf(fault.NotAuthorized, "An auditor reads cases and changes none.")
	}
	return nil
}

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Read(ctx context.Context, fn func(*sql.Tx) error) error
}

// Passwords hashes and compares them and counts guesses, as *account.Service does;
// the errors of each method are told there.
type Passwords interface {
	HashPassword(ctx context.Context, password accountapi.Secret, name string) (string, error)
	ComparePassword(ctx context.Context, phc string, password accountapi.Secret) (bool, error)
	Guess(ctx context.Context, use, name string, from netip.Addr) (*account.Guess, error)
}

var _ Passwords = (*account.Service)(nil)

// Service is the staff of one database. It is safe for concurrent use and keeps
// nothing between calls.
type Service struct {
	db        DB
	passwords Passwords
	audit     *audit.Log
	seal      cipher.AEAD
	// issuer is what authenticator apps call the service.
	issuer string
	now    func() time.Time
}

// New returns the staff in db. The secrets of second factors are kept under a key
// made from the service secret; changing that ends them all. issuer names the service
// to authenticator apps.
func New(db DB, passwords Passwords, trail *audit.Log, serviceSecret secret.Bytes, issuer string, now func() time.Time) (*Service, error) {
	box, err := seal.New(serviceSecret, "accountlock-staff-totp-v1")
	if err != nil {
		return nil, err
	}
	return &Service{db: db, passwords: passwords, audit: trail, seal: box, issuer: issuer, now: now}, nil
}

// names are what the audit trail and scripts can hold; those of who is no member
// are taken.
var names = regexp.MustCompile(`^[a-z][a-z0-9._-]{1,31}$`)

func checkName(name string) error {
	if !names.MatchString(name) {
		return fault.Newf(fault.InvalidArgument, "%q is no name for a member of staff: 2 to 32 of a-z, 0-9, '.', '_' and '-', a letter first.", cut(name))
	}
	if name == audit.Console || name == audit.Device || name == audit.Owner || name == audit.Nobody {
		return fault.Newf(fault.InvalidArgument, "The name %q means something else in the audit trail.", name)
	}
	return nil
}

func cut(s string) string { return s[:min(len(s), 40)] }

// Add makes a member, notes it as done by an actor, and returns with it the URI
// from which an authenticator app takes the second factor: it is told this once.
// Errors are faults: InvalidArgument (the name, the role; a name that is taken),
// WeakPassword, ServiceUnavailable.
func (s *Service) Add(ctx context.Context, actor, name string, role Role, password accountapi.Secret) (Member, string, error) {
	if err := checkName(name); err != nil {
		return Member{}, "", err
	}
	if !role.Valid() {
		return Member{}, "", fault.Newf(fault.InvalidArgument, "The role %q is neither agent nor auditor.", cut(string(role)))
	}
	hash, err := s.passwords.HashPassword(ctx, password, name)
	if err != nil {
		return Member{}, "", err
	}
	factor, err := totp.NewKey()
	if err != nil {
		return Member{}, "", err
	}
	defer factor.Wipe()
	m := Member{ID: rand.Text(), Name: name, Role: role, Created: s.now().UTC().Truncate(time.Millisecond)}
	box := s.seal.Seal(nil, nil, factor.Reveal(), []byte(m.ID)) //nolint:gosec // NewGCMWithRandomNonce draws the nonce itself
	sealed := base64.RawStdEncoding.EncodeToString(box)
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		var taken int64
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM staff WHERE name = $1`, name).Scan(&taken); err != nil {
			return err
		}
		if taken > 0 {
			return fault.Newf(fault.InvalidArgument, "There is, or was, a member of staff called %q; the audit trail names them, so nobody else can.", name)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO staff (id, name, role, password_hash, totp_secret, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			m.ID, name, string(role), hash, sealed, m.Created.UnixMilli())
		if err != nil {
			return err
		}
		return s.audit.Append(ctx, tx, audit.Entry{Actor: actor, Action: "staff-added", Detail: name + ", " + string(role)})
	})
	if err != nil {
		return Member{}, "", wrap("add a member of staff", err)
	}
	return m, totp.URI(s.issuer, name, factor), nil
}

// SetDisabled ends what a member can do, their sessions with it, or lets them in
// again. What they have done stays. The error is fault.InvalidArgument for a name
// that nobody has.
func (s *Service) SetDisabled(ctx context.Context, actor, name string, disabled bool) (Member, error) {
	var m Member
	err := s.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		if m, err = find(ctx, tx, name); err != nil {
			return err
		}
		at, action := int64(0), "staff-enabled"
		if disabled {
			at, action = s.now().UnixMilli(), "staff-disabled"
		}
		if m.Disabled == disabled {
			return nil
		}
		m.Disabled = disabled
		if _, err := tx.ExecContext(ctx, `UPDATE staff SET disabled_at = $1 WHERE id = $2`, at, m.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM staff_sessions WHERE staff_id = $1`, m.ID); err != nil {
			return err
		}
		return s.audit.Append(ctx, tx, audit.Entry{Actor: actor, Action: action, Detail: name})
	})
	return m, wrap("change a member of staff", err)
}

const columns = `id, name, role, disabled_at, created_at`

func scan(row interface{ Scan(...any) error }, more ...any) (Member, error) {
	var m Member
	var disabled, created int64
	err := row.Scan(append([]any{&m.ID, &m.Name, &m.Role, &disabled, &created}, more...)...)
	m.Disabled, m.Created = disabled != 0, time.UnixMilli(created).UTC()
	return m, err
}

// find returns the member of a name, or fault.InvalidArgument.
func find(ctx context.Context, tx *sql.Tx, name string) (Member, error) {
	m, err := scan(tx.QueryRowContext(ctx, `SELECT `+columns+` FROM staff WHERE name = $1`, name))
	if errors.Is(err, sql.ErrNoRows) {
		return Member{}, fault.Newf(fault.InvalidArgument, "No member of staff has this name.")
	}
	return m, err
}

// List returns all members by their names.
func (s *Service) List(ctx context.Context) ([]Member, error) {
	var out []Member
	err := s.db.Read(ctx, func(tx *sql.Tx) (err error) {
		out, err = store.Collect(ctx, tx, func(rows *sql.Rows) (Member, error) { return scan(rows) }, `SELECT `+columns+` FROM staff ORDER BY name`)
		return err
	})
	return out, wrap("read the staff", err)
}

// wrap gives an error of the database its place; a fault stays as it is.
func wrap(what string, err error) error {
	var f *fault.Error
	if err == nil || errors.As(err, &f) {
		return err
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}
