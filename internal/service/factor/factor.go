// SPDX-License-Identifier: Apache-2.0

// Package factor owns the second factors that people set up for themselves:
// authenticator apps (package totp), passkeys (WebAuthn, Level 3) and the backup codes
// for the day on which neither is at hand.
//
// Whose they are is an owner's name, which it takes as it comes: an account ID here,
// whatever a caller likes there. It must not decide when a second factor is asked for,
// nor know passwords, pages or flows.
package factor

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/accountlock/accountlock/internal/fault"
)

const (
	// maxFactors bounds those of one owner.
	maxFactors = 10
	// maxName bounds, in characters, what an owner calls one.
	maxName = 64
	// offerTime is how long something offered, to be set up or signed, can be answered.
	offerTime = 10 * time.Minute
)

// Kind is what a factor is.
type Kind string

// The kinds.
const (
	App     Kind = "app"
	Passkey Kind = "passkey"
)

// Factor is one that an owner has set up.
type Factor struct {
	ID   string
	Kind Kind
	Name string
	// Used is when it was used last; zero is never.
	Created, Used time.Time
}

// Ways are the kinds that an owner can answer by.
type Ways struct{ App, Passkey bool }

// Any reports whether there is one.
func (w Ways) Any() bool { return w.App || w.Passkey }

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Read(ctx context.Context, fn func(*sql.Tx) error) error
	// SelectRow asks for one row outside a transaction; none is sql.ErrNoRows.
	SelectRow(ctx context.Context, query string, args []any, into ...any) error
}

// Limits bounds wrong codes, as *account.Service does it together with the wrong ones
// of those that it sends. Both run within the transaction that looks at a code.
type Limits interface {
	// CodeWait is how long no code of the owner is looked at; 0 is now.
	CodeWait(tx *sql.Tx, owner string) (time.Duration, error)
	// CodeWrong counts a wrong one.
	CodeWrong(tx *sql.Tx, owner string) error
}

// Config is what a Service is made of. All but Tell and Now must be given.
type Config struct {
	DB     DB
	Limits Limits
	// Secret is the service secret, from which the keys are derived under which apps'
	// keys and passkeys are kept, and backup codes hashed.
	Secret []byte
	// PublicURL is what people reach the portal by. Passkeys belong to its host; there
	// are none where that is an IP address.
	PublicURL string
	// Tell is told of whose factors have changed, after the change.
	Tell func(ctx context.Context, owner string)
	Now  func() time.Time
}

// Service is the factors of one database. It is safe for concurrent use and keeps
// nothing between calls.
type Service struct {
	Config

	seal cipher.AEAD
	// web is nil where passkeys cannot be.
	web *webauthn.WebAuthn
}

// New returns a Service. Its error is of a public URL that is none.
func New(cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Tell == nil {
		cfg.Tell = func(context.Context, string) {}
	}
	s := &Service{Config: cfg}
	block, err := aes.NewCipher(s.mac("seal"))
	if err != nil {
		return nil, fmt.Errorf("cannot seal factors: %w", err)
	}
	if s.seal, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, fmt.Errorf("cannot seal factors: %w", err)
	}
	s.web, err = relyingParty(cfg.PublicURL)
	return s, err
}

// List returns an owner's factors in the order in which they were set up, and how many
// backup codes are left.
func (s *Service) List(ctx context.Context, owner string) (out []Factor, spare int, err error) {
	err = s.DB.Read(ctx, func(tx *sql.Tx) error {
		out = nil
		rows, err := tx.QueryContext(ctx, `SELECT id, kind, name, created_at, used_at FROM factors WHERE owner = $1 ORDER BY created_at, id`, owner)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var f Factor
			var created, used int64
			if err := rows.Scan(&f.ID, &f.Kind, &f.Name, &created, &used); err != nil {
				return err
			}
			f.Created = time.UnixMilli(created).UTC()
			if used > 0 {
				f.Used = time.UnixMilli(used).UTC()
			}
			out = append(out, f)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM backup_codes WHERE owner = $1`, owner).Scan(&spare)
	})
	return out, spare, wrap("list factors", err)
}

// Ways returns what an owner can answer by.
func (s *Service) Ways(ctx context.Context, owner string) (Ways, error) {
	var apps, passkeys int64
	err := s.DB.SelectRow(ctx, `SELECT COUNT(CASE WHEN kind = 'app' THEN 1 END), COUNT(CASE WHEN kind = 'passkey' THEN 1 END)
FROM factors WHERE owner = $1`, []any{owner}, &apps, &passkeys)
	return Ways{App: apps > 0, Passkey: passkeys > 0}, wrap("read an owner's factors", err)
}

// Remove takes a factor off; with the last one the backup codes go. One that is not the
// owner's is fault.InvalidArgument.
func (s *Service) Remove(ctx context.Context, owner, id string) error {
	err := s.DB.Tx(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM factors WHERE owner = $1 AND id = $2`, owner, id)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(fault.Newf(fault.InvalidArgument, "There is no such second factor any more."), err)
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM backup_codes WHERE owner = $1 AND NOT EXISTS (SELECT 1 FROM factors WHERE owner = $1)`, owner)
		return err
	})
	if err == nil {
		s.Tell(ctx, owner)
	}
	return wrap("remove a factor", err)
}

// Forget removes, within a transaction, everything of an owner who is no more. It fits
// account.OnDelete.
func (s *Service) Forget(ctx context.Context, tx *sql.Tx, owner string) error {
	for _, q := range []string{`DELETE FROM factors WHERE owner = $1`, `DELETE FROM backup_codes WHERE owner = $1`} {
		if _, err := tx.ExecContext(ctx, q, owner); err != nil {
			return fmt.Errorf("cannot remove an owner's factors: %w", err)
		}
	}
	return nil
}

// Sweep forgets what was signed so long ago that its challenge is void anyway.
func (s *Service) Sweep(ctx context.Context) error {
	return wrap("forget challenges", s.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM factor_challenges WHERE expires_at < $1`, s.Now().UnixMilli())
		return err
	}))
}

// insert adds a factor within a transaction; the first of an owner brings backup codes,
// which are returned.
func (s *Service) insert(ctx context.Context, tx *sql.Tx, owner string, f Factor, sealed, credential string, last int64) ([]string, error) {
	var n int64
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM factors WHERE owner = $1`, owner).Scan(&n); err != nil {
		return nil, err
	}
	if n >= maxFactors {
		return nil, fault.Newf(fault.InvalidArgument, "There are %d second factors already; remove one first.", maxFactors)
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO factors (id, owner, kind, name, sealed, credential, last_step, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		f.ID, owner, string(f.Kind), f.Name, sealed, credential, last, s.Now().UnixMilli())
	if err != nil || n > 0 {
		return nil, err
	}
	return s.drawCodes(ctx, tx, owner)
}

// named makes what an owner calls a factor fit for a list, or takes what stands in.
func named(name, otherwise string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return -1
	}, strings.TrimSpace(name))
	if name == "" || !utf8.ValidString(name) {
		return otherwise
	}
	if r := []rune(name); len(r) > maxName {
		return string(r[:maxName])
	}
	return name
}

// closed seals v (as JSON) so that it opens under the same name alone.
func (s *Service) closed(name string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("cannot seal a factor: %w", err)
	}
	defer clear(plain)
	//nolint:gosec // NewGCMWithRandomNonce draws the nonce itself
	return base64.RawURLEncoding.EncodeToString(s.seal.Seal(nil, nil, plain, []byte(name))), nil
}

var errSealed = errors.New("it was sealed under another service secret, or is damaged")

func (s *Service) open(name, sealed string, v any) error {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return errSealed
	}
	plain, err := s.seal.Open(nil, nil, raw, []byte(name))
	if err != nil {
		return errSealed
	}
	defer clear(plain)
	return json.Unmarshal(plain, v)
}

// offer is what a person is to answer, kept by the person's own browser: sealed, so that
// it is neither read nor changed there.
type offer struct {
	Owner   string                `json:"owner"`
	Expires int64                 `json:"expires"`
	Key     []byte                `json:"key,omitempty"`
	Session *webauthn.SessionData `json:"session,omitempty"`
}

func (s *Service) offered(use string, o offer) (string, error) {
	if o.Expires == 0 {
		o.Expires = s.Now().Add(offerTime).UnixMilli()
	}
	return s.closed("offer "+use, o)
}

// take opens an offer. One that is damaged, another's or too old is fault.Timeout.
func (s *Service) take(use, owner, sealed string) (offer, error) {
	var o offer
	if len(sealed) > maxAnswer || s.open("offer "+use, sealed, &o) != nil || o.Owner != owner || s.Now().UnixMilli() >= o.Expires {
		return offer{}, over()
	}
	return o, nil
}

func over() error { return fault.Newf(fault.Timeout, "That took too long.") }

// maxAnswer bounds, in bytes, what a browser sends back.
const maxAnswer = 32 << 10

func newID() string { return strings.ToLower(rand.Text()) }

func (s *Service) mac(parts ...string) []byte {
	m := hmac.New(sha256.New, s.Secret)
	io.WriteString(m, "factors") //nolint:errcheck // a hash takes everything
	for _, p := range parts {
		fmt.Fprintf(m, " %d:%s", len(p), p)
	}
	return m.Sum(nil)
}

// wrap leaves a fault as it is and says of everything else what could not be done.
func wrap(what string, err error) error {
	var f *fault.Error
	if err == nil || errors.As(err, &f) {
		return err
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}
