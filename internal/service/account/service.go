// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/store"
)

// minSecret is the least length, in bytes, of the service secret.
const minSecret = 32

// Config says how a Service works. DB and Secret must be given; the zero value
// of each other field is its default.
type Config struct {
	// DB holds the accounts, migrated.
	DB *store.DB
	// Secret keys the hashes of codes, of throttled guessers and of the
	// identifiers of deleted accounts: at least 32 random bytes, kept outside
	// the database, the same for every process on it. Changing it voids codes
	// and forgets throttles.
	Secret secret.Bytes
	// Notifier carries codes and notices; without one SendCode fails.
	Notifier Notifier
	// Region is whose phone numbers are meant where neither the number nor the
	// caller says (ISO 3166-1 alpha-2); none by default.
	Region string
	// Hash are the parameters of password hashes; DefaultHashParams by default.
	// On record may be others: such a hash is made anew when its owner signs
	// in.
	Hash HashParams
	// HashSlots is how many hashes are computed at once, each with its own
	// memory; GOMAXPROCS by default. HashQueue is how many may wait; 64 a slot by default.
	HashSlots, HashQueue int
	// Own are words of whoever runs the service, which are guessed first at it: names of
	// products, say. They refuse passwords as common words do.
	Own []string
	// Breached are passwords that became known in thefts of data; nil for none.
	Breached Breached
	// Now is the time; time.Now by default.
	Now func() time.Time
	// Random is where IDs, salts and codes come from; crypto/rand by default.
	Random io.Reader
	// OnDelete is called in the transaction that deletes an account, so that
	// what belongs to it is released with it or not at all. Its error ends the
	// deletion. It may be called again for one deletion, after a rollback.
	OnDelete func(ctx context.Context, tx *sql.Tx, accountID string) error
	// OnPassword is called likewise in the transaction that gives an account
	// another password.
	OnPassword func(ctx context.Context, tx *sql.Tx, accountID string) error
	// Log is told of what fails beside the point, such as a notice that
	// could not be sent; nobody by default. No secret is written to it.
	Log *slog.Logger
}

// Breached is a list of passwords, as *breached.List has it. Its error is of a list that
// cannot be read.
type Breached interface {
	Has(password []byte) (bool, error)
}

// Service is the accounts of one database. It is safe for concurrent use, and
// holds nothing that a second process on the database would miss.
type Service struct {
	db         *store.DB
	secret     secret.Bytes
	notifier   Notifier
	region     string
	hasher     *hasher
	breached   Breached
	own        map[string]bool
	now        func() time.Time
	random     io.Reader
	onDelete   func(ctx context.Context, tx *sql.Tx, accountID string) error
	onPassword func(ctx context.Context, tx *sql.Tx, accountID string) error
	// hands are those of staff; zero for what owners do themselves.
	hands Hands
	log   *slog.Logger
}

// Hands binds what staff do to accounts. Both are called in the transaction of the deed.
type Hands struct {
	// Note is told of each account made, block, unblock and deletion, with its name and
	// what there is to say of it.
	Note func(ctx context.Context, tx *sql.Tx, accountID, action, detail string) error
	// MayDelete returns why an account is not deleted so, or what there is to note of it.
	MayDelete func(ctx context.Context, tx *sql.Tx, accountID string) (detail string, refusal, err error)
}

// By returns the service for the hands of staff.
func (s *Service) By(h Hands) *Service {
	out := *s
	out.hands = h
	return &out
}

// note is nothing where nobody is to be told.
func (s *Service) note(ctx context.Context, tx *sql.Tx, accountID, action, detail string) error {
	if s.hands.Note == nil {
		return nil
	}
	return s.hands.Note(ctx, tx, accountID, action, detail)
}

func (s *Service) mayDelete(ctx context.Context, tx *sql.Tx, accountID string) (detail string, refusal, err error) {
	if s.hands.MayDelete == nil {
		return "", nil, nil
	}
	return s.hands.MayDelete(ctx, tx, accountID)
}

// New returns a Service. Its errors are those of a configuration that cannot
// work.
func New(cfg Config) (*Service, error) {
	if cfg.DB == nil {
		return nil, errors.New("cannot keep accounts without a database")
	}
	if len(cfg.Secret) < minSecret {
		return nil, fmt.Errorf("cannot use a service secret of %d bytes: %d are the least", len(cfg.Secret), minSecret)
	}
	if cfg.Hash == (HashParams{}) {
		cfg.Hash = DefaultHashParams()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h, err := newHasher(cfg.Hash, cfg.HashSlots, cfg.HashQueue, cfg.Random)
	if err != nil {
		return nil, err
	}
	return &Service{
		db: cfg.DB, secret: cfg.Secret, notifier: cfg.Notifier, region: cfg.Region, hasher: h, breached: cfg.Breached, own: ownWords(cfg.Own),
		now: cfg.Now, random: cfg.Random, onDelete: cfg.OnDelete, onPassword: cfg.OnPassword, log: cfg.Log,
	}, nil
}

func ownWords(all []string) map[string]bool {
	out := map[string]bool{}
	for _, w := range all {
		for _, form := range forms(norm.NFC.String(strings.ToLower(w))) {
			out[form] = len(form) >= minWord
		}
	}
	return out
}

// Stats is what hashing has cost so far.
type Stats struct {
	// Hashes is how many were computed, Work how many KiB they passed over.
	Hashes, Work uint64
	// Waiting is how many attempts are being verified or wait for it now.
	Waiting int
}

// Stats returns the figures for the service's metrics.
func (s *Service) Stats() Stats {
	return Stats{Hashes: s.hasher.hashes.Load(), Work: s.hasher.passed.Load(), Waiting: len(s.hasher.queue)}
}

// keyed returns a keyed hash of parts, so that what is stored tells nothing to
// who has the database alone. Each use begins with a word of its own; no
// part is taken for another (a length goes before each).
func (s *Service) keyed(parts ...string) string {
	m := hmac.New(sha256.New, s.secret.Reveal())
	for _, p := range parts {
		fmt.Fprintf(m, "%d:", len(p))
		io.WriteString(m, p) //nolint:errcheck // a hash takes everything
	}
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// millis is how a time is stored; the zero Time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromMillis is the reverse of millis, in UTC.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// clock is now in the database's precision, so that a time read back is the
// time that was written.
func (s *Service) clock() time.Time { return s.now().Truncate(time.Millisecond).UTC() }
