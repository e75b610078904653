// SPDX-License-Identifier: Apache-2.0

// Package recovery owns the way back to an account whose password or ID was
// forgotten: who may go on at once and who has to wait, the codes, and what the
// owner is told and can stop.
//
// A recovery belongs to the identifier that was typed. Whoever asks with the
// same one later, on whatever device, finds it as it stands: the wait never
// starts over. One for an identifier that nobody has is the same in every answer
// and in the statements that run; what is sent, is sent afterwards (send.go), so
// that nothing shows in the time an answer takes.
//
// It must not know HTTP, D-Bus or devices, nor when a captcha is asked for.
package recovery

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/calendar"
)

const (
	// WorkingDays is how many of them somebody waits who is not known.
	WorkingDays = 3
	// KnownAfter is how long somebody has to have been signed in somewhere to be
	// known there.
	KnownAfter = 72 * time.Hour
	// openFor is how long a recovery can be gone on with after its wait.
	openFor = 7 * 24 * time.Hour
	// askTime ends a conversation in which nobody types.
	askTime = 30 * time.Minute
	// maxBegun recoveries of one identifier begin within begunTime: an owner who stops
	// them is not flooded.
	maxBegun  = 3
	begunTime = 7 * 24 * time.Hour
)

// Codes are as those of a sign-in; besides, one recovery has so many at most,
// whoever asks: 15 guesses out of a million.
const (
	codeLife    = 10 * time.Minute
	codeTries   = 5
	codeSends   = 5
	codePace    = 30 * time.Second
	maxFailures = 15
	maxSends    = 20
	// holdTime is how long a recovery takes no code after so many wrong ones, and five
	// more are free then; nobody can make its owner begin again.
	holdTime  = 24 * time.Hour
	afterHold = maxFailures - 5
	// slowPace is between two codes once so many were sent.
	slowPace = time.Hour
)

// Accounts is what is asked about accounts, as *account.Service answers it.
type Accounts interface {
	Resolve(ctx context.Context, typed, region string) (account.Target, error)
	Get(ctx context.Context, id string) (account.Account, error)
	RecoverPassword(ctx context.Context, id string, password accountapi.Secret, with func(*sql.Tx) error) error
}

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Read(ctx context.Context, fn func(*sql.Tx) error) error
}

// Config is what a Service is made of. All but Wait, OnRecovered and Now must be given.
type Config struct {
	DB       DB
	Accounts Accounts
	Notifier account.Notifier
	// Secret is the service secret.
	Secret []byte
	// PublicURL is what people reach the service by, without a slash at its end.
	PublicURL string
	// Wait, if set, is waited in place of WorkingDays, for who tries things out.
	Wait time.Duration
	// OnRecovered is called in the transaction that gives an account its new
	// password, so that every session of it ends with it or not at all.
	OnRecovered func(ctx context.Context, tx *sql.Tx, accountID string) error
	Log         *slog.Logger
	// Now is the time; time.Now by default.
	Now func() time.Time
}

// Service is the recoveries of one database. It is safe for concurrent use and
// keeps nothing between calls.
type Service struct {
	Config
	kick chan struct{}
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnRecovered == nil {
		cfg.OnRecovered = func(context.Context, *sql.Tx, string) error { return nil }
	}
	return &Service{Config: cfg, kick: make(chan struct{}, 1)}
}

// Request is somebody who says that they have forgotten.
type Request struct {
	// Ask names the conversation: whoever knows it goes on with it.
	Ask string
	// Identifier is what was typed; AccountID is used instead, where the account
	// that a device is linked to is meant.
	Identifier, AccountID string
	Region, Locale        string
	// KnownTo is the account that somebody has been signed in to, in this browser or on
	// this open device, for KnownAfter at least; empty is none. A locked or lost
	// device and a network address make nobody known.
	KnownTo string
	// Place is where this is asked for; the owner is told.
	Place Place
}

// Standing is where a conversation stands.
type Standing struct {
	// Ready says that a code is or was sent; otherwise Until is when the wait is over.
	Ready bool
	Until time.Time
	// SentTo is where the code goes, masked: no more than who asked has typed, unless
	// they are known.
	SentTo string
	// Expires is when the code does.
	Expires time.Time
	// Proven says that the code was right: SetPassword may follow.
	Proven bool
}

// Ask begins a recovery, or finds the one that waits; once it is ready a code goes
// out. Errors are faults: RateLimited (three were begun within a week, or a code was
// sent just now).
func (s *Service) Ask(ctx context.Context, r Request) (Standing, error) {
	if r.AccountID != "" {
		r.Identifier = r.AccountID
	}
	target, err := s.Accounts.Resolve(ctx, r.Identifier, r.Region)
	if err != nil {
		return Standing{}, err
	}
	now := s.now()
	until, err := s.until(r.Region, now)
	if err != nil {
		return Standing{}, err
	}
	id := rand.Text()
	email := ""
	if target.Identifier.Kind == account.KindEmail {
		email = target.Identifier.Value
	}
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		found, err := s.find(ctx, tx, target, now)
		if err != nil {
			return err
		}
		if found == "" {
			if err := s.begin(ctx, tx, id, target, r, now, until); err != nil {
				return err
			}
			// Another server may have been quicker.
			if found, err = s.find(ctx, tx, target, now); err != nil {
				return err
			}
		}
		known := r.KnownTo != "" && r.KnownTo == target.AccountID
		_, err = tx.ExecContext(ctx, `INSERT INTO recovery_asks (id, recovery_id, known, email, locale, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE SET recovery_id = excluded.recovery_id, known = excluded.known, email = excluded.email, proven = 0,
code_hash = '', tries = 0, sending = 0, asked_at = 0, code_expires = 0, expires_at = excluded.expires_at`,
			r.Ask, found, number(known), email, r.Locale, millis(now.Add(askTime)))
		return err
	})
	if err != nil {
		return Standing{}, wrap("begin a recovery", err)
	}
	s.Kick()
	return s.Continue(ctx, r.Ask)
}

// until is when a wait that begins now is over.
func (s *Service) until(region string, now time.Time) (time.Time, error) {
	if s.Wait > 0 {
		return now.Add(s.Wait), nil
	}
	c, err := calendar.For(region)
	if err != nil {
		return time.Time{}, err
	}
	return c.After(now, WorkingDays), nil
}

// find returns the open recovery of a target; empty is none.
func (s *Service) find(ctx context.Context, tx *sql.Tx, t account.Target, now time.Time) (string, error) {
	// The account may have got or lost the identifier meanwhile: then it is another one.
	_, err := tx.ExecContext(ctx, `UPDATE recoveries SET status = 'void' WHERE target = $1 AND status = 'open'
AND (expires_at <= $2 OR account_id <> $3)`, t.Key, millis(now), t.AccountID)
	if err != nil {
		return "", err
	}
	var id string
	err = tx.QueryRowContext(ctx, `SELECT id FROM recoveries WHERE target = $1 AND status = 'open'`, t.Key).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

func (s *Service) begin(ctx context.Context, tx *sql.Tx, id string, t account.Target, r Request, now, until time.Time) error {
	var begun int64
	var first sql.NullInt64
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*), MIN(begun_at) FROM recoveries WHERE target = $1 AND begun_at > $2 AND status <> 'done'`,
		t.Key, millis(now.Add(-begunTime))).Scan(&begun, &first)
	if err != nil {
		return err
	}
	if begun >= maxBegun {
		return limited(time.UnixMilli(first.Int64).Add(begunTime).Sub(now))
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO recoveries
(id, target, account_id, status, stop_hash, region, locale, place, begun_at, ready_at, expires_at)
VALUES ($1, $2, $3, 'open', $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (target) WHERE status = 'open' DO NOTHING`,
		id, t.Key, t.AccountID, s.keyed("stop", s.stopCode(id)), r.Region, r.Locale, r.Place.stored(), millis(now), millis(until), millis(until.Add(openFor)))
	return err
}

// Continue says where a conversation stands; if its wait is over and no code was
// asked for yet, one goes out. Errors are faults: Timeout (no such conversation, or
// its recovery is over), Declined (the owner has stopped it).
func (s *Service) Continue(ctx context.Context, ask string) (Standing, error) {
	a, err := s.read(ctx, ask)
	if err != nil {
		return Standing{}, err
	}
	if !a.ready(s.now()) || a.askedAt > 0 {
		return s.standing(ctx, a)
	}
	return s.Resend(ctx, ask)
}

// Resend has a new code sent; the one before is void. Errors are faults: besides
// Continue's, RateLimited and, before the wait is over, RecoveryPending.
func (s *Service) Resend(ctx context.Context, ask string) (Standing, error) {
	now := s.now()
	var a row
	err := s.DB.Tx(ctx, func(tx *sql.Tx) error {
		var err error
		if a, err = load(ctx, tx, ask, now); err != nil {
			return err
		}
		if err := a.maySend(now); err != nil {
			return err
		}
		a.askedAt, a.codeExpires = millis(now), millis(now.Add(codeLife))
		_, err = tx.ExecContext(ctx, `UPDATE recovery_asks SET sending = 1, leased_to = 0, code_hash = '', tries = 0, sends = sends + 1,
asked_at = $1, code_expires = $2, expires_at = $3 WHERE id = $4`, a.askedAt, a.codeExpires, millis(now.Add(askTime)), ask)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE recoveries SET sends = sends + 1, sent_at = $1 WHERE id = $2`, a.askedAt, a.recovery)
		return err
	})
	if err != nil {
		return Standing{}, wrap("have a code sent", err)
	}
	s.Kick()
	return s.standing(ctx, a)
}

// standing makes a Standing of what was read.
func (s *Service) standing(ctx context.Context, a row) (Standing, error) {
	if !a.ready(s.now()) {
		return Standing{Until: time.UnixMilli(a.readyAt)}, nil
	}
	out := Standing{Ready: true, Proven: a.proven, Expires: time.UnixMilli(a.codeExpires), SentTo: "•••"}
	switch {
	case a.known:
		acct, err := s.Accounts.Get(ctx, a.account)
		if err != nil {
			return Standing{}, err
		}
		if to, ok := codeAddress(acct, a.email); ok {
			out.SentTo = to.Mask()
		}
	case a.email != "":
		out.SentTo = account.Identifier{Kind: account.KindEmail, Value: a.email}.Mask()
	}
	return out, nil
}

// Check compares a code with the one sent last; it is good once. Errors are faults:
// InvalidCode (counted, with the tries that are left; not counted if it is not six
// digits), CodeExpired, RateLimited (too many wrong ones in this recovery), and Continue's.
func (s *Service) Check(ctx context.Context, ask string, code accountapi.Secret) error {
	digits, ok := account.CodeDigits(code)
	if !ok {
		return fault.Newf(fault.InvalidCode, "A code has six digits.")
	}
	now := s.now()
	// Kept beside the transaction: returning it from within would undo the count.
	var refusal error
	err := s.DB.Tx(ctx, func(tx *sql.Tx) error {
		a, err := load(ctx, tx, ask, now)
		if err != nil {
			return err
		}
		refusal, err = s.check(ctx, tx, a, digits, now)
		return err
	})
	return errors.Join(wrap("look at a code", err), refusal)
}

func (s *Service) check(ctx context.Context, tx *sql.Tx, a row, digits string, now time.Time) (refusal, err error) {
	if wait := time.UnixMilli(a.heldUntil).Sub(now); wait > 0 {
		return limited(wait), nil
	}
	if a.askedAt == 0 || millis(now) >= a.codeExpires || a.tries >= codeTries {
		return fault.New(fault.CodeExpired, nil), nil
	}
	// Nobody's account has no right code, whatever was drawn for it.
	right := hmac.Equal([]byte(s.codeHash(a.ask, digits)), []byte(a.codeHash)) && a.account != ""
	if right {
		_, err := tx.ExecContext(ctx, `UPDATE recovery_asks SET proven = 1, code_hash = '', tries = $1, expires_at = $2 WHERE id = $3`,
			codeTries, millis(now.Add(askTime)), a.ask)
		return nil, err
	}
	a.tries++
	f := fault.New(fault.InvalidCode, nil)
	f.Counted, f.AttemptsLeft = true, int(codeTries-a.tries)
	a.failures++
	if a.failures >= maxFailures {
		a.failures, a.heldUntil = afterHold, millis(now.Add(holdTime))
	}
	if _, err := tx.ExecContext(ctx, `UPDATE recovery_asks SET tries = $1 WHERE id = $2`, a.tries, a.ask); err != nil {
		return nil, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE recoveries SET failures = $1, held_until = $2 WHERE id = $3`, a.failures, a.heldUntil, a.recovery)
	return f, err
}

// SetPassword gives the account its new password, ends every session of it and the
// account's other recoveries. It tells the owner. Errors are faults: WeakPassword
// (the code need not be given again), WrongStep (no code was right), and Continue's.
func (s *Service) SetPassword(ctx context.Context, ask string, password accountapi.Secret) error {
	a, err := s.read(ctx, ask)
	if err != nil {
		return err
	}
	if !a.proven || a.account == "" {
		return fault.New(fault.WrongStep, nil)
	}
	return s.Accounts.RecoverPassword(ctx, a.account, password, func(tx *sql.Tx) error {
		// Once more: the owner may have stopped it while the password was hashed.
		again, err := load(ctx, tx, ask, s.now())
		if err != nil {
			return err
		}
		if !again.proven {
			return fault.New(fault.WrongStep, nil)
		}
		if err := end(ctx, tx, a.account, "done"); err != nil {
			return err
		}
		return s.OnRecovered(ctx, tx, a.account)
	})
}

// end ends every open recovery of an account.
func end(ctx context.Context, tx *sql.Tx, accountID, status string) error {
	if _, err := tx.ExecContext(ctx, `UPDATE recoveries SET status = $1, telling = 0 WHERE account_id = $2 AND status = 'open'`, status, accountID); err != nil {
		return fmt.Errorf("cannot end the account's recoveries: %w", err)
	}
	return nil
}

// Stop ends the recoveries of the account that a code was sent to its owner for. Who has
// it has one of the owner's addresses. A code that is none, or of a recovery that is
// over, is fault.InvalidCode.
func (s *Service) Stop(ctx context.Context, code string) error {
	code = strings.ToUpper(strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -\t\r\n", r) {
			return -1
		}
		return r
	}, code))
	if len(code) > 2*stopLength {
		return fault.New(fault.InvalidCode, nil)
	}
	return wrap("stop a recovery", s.DB.Tx(ctx, func(tx *sql.Tx) error {
		var accountID string
		err := tx.QueryRowContext(ctx, `SELECT account_id FROM recoveries WHERE stop_hash = $1 AND status = 'open' AND account_id <> ''`,
			s.keyed("stop", code)).Scan(&accountID)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.InvalidCode, nil)
		}
		if err != nil {
			return err
		}
		return end(ctx, tx, accountID, "stopped")
	}))
}

// PasswordChanged stops, within the transaction that gives an account another
// password, the recoveries of it that are open: who changed it needs none, and
// nobody else may go on with one. It fits account.OnPassword.
func (s *Service) PasswordChanged(ctx context.Context, tx *sql.Tx, accountID string) error {
	return end(ctx, tx, accountID, "stopped")
}

// AccountDeleted removes, within the transaction that deletes an account, its
// recoveries. It fits account.OnDelete.
func (s *Service) AccountDeleted(ctx context.Context, tx *sql.Tx, accountID string) error {
	for _, q := range []string{
		`DELETE FROM recovery_asks WHERE recovery_id IN (SELECT id FROM recoveries WHERE account_id = $1)`,
		`DELETE FROM recoveries WHERE account_id = $1`,
		`DELETE FROM reminders WHERE account_id = $1`,
	} {
		if _, err := tx.ExecContext(ctx, q, accountID); err != nil {
			return fmt.Errorf("cannot remove the account's recoveries: %w", err)
		}
	}
	return nil
}

// Sweep removes what nobody can go on with any more.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.now()
	return wrap("sweep recoveries", s.DB.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM recovery_asks WHERE expires_at < $1`, millis(now)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM reminders WHERE asked_at < $1`, millis(now.Add(-remindTime))); err != nil {
			return err
		}
		// Those that are over still count towards how many may begin.
		_, err := tx.ExecContext(ctx, `DELETE FROM recoveries WHERE expires_at < $1 AND begun_at < $2
AND NOT EXISTS (SELECT 1 FROM recovery_asks a WHERE a.recovery_id = recoveries.id)`, millis(now), millis(now.Add(-begunTime)))
		return err
	}))
}

// stopLength is how many letters stop a recovery: 80 bits.
const stopLength = 16

// stopCode is derived, so that a notice that is sent twice holds the same one.
func (s *Service) stopCode(id string) string {
	sum := s.mac("stop code", id)
	return base32.StdEncoding.EncodeToString(sum[:10])
}

func (s *Service) codeHash(ask, digits string) string { return s.keyed("code", ask, digits) }

func (s *Service) keyed(parts ...string) string {
	return base64.RawURLEncoding.EncodeToString(s.mac(parts...))
}

func (s *Service) mac(parts ...string) []byte {
	m := hmac.New(sha256.New, s.Secret)
	io.WriteString(m, "recovery") //nolint:errcheck // a hash takes everything
	for _, p := range parts {
		fmt.Fprintf(m, " %d:%s", len(p), p)
	}
	return m.Sum(nil)
}

// now is the time in the database's precision.
func (s *Service) now() time.Time { return s.Now().Truncate(time.Millisecond) }

func millis(t time.Time) int64 { return t.UnixMilli() }

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// wrap leaves a fault as it is and says of everything else what could not be done.
func wrap(what string, err error) error {
	var f *fault.Error
	if err == nil || errors.As(err, &f) {
		return err
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}

func limited(wait time.Duration) error {
	f := fault.New(fault.RateLimited, nil)
	f.RetryAfter = wait
	return f
}
