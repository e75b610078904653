// SPDX-License-Identifier: Apache-2.0

// Package approval owns the unlock of a device by its owner's word given on another
// one (RFC 8628): the codes that locked devices show, what the owner is told of who
// asks, and the owner's answer, until the device has fetched it.
//
// It must not know who is signed in, nor change a link or sign a grant: the portal
// and internal/service/flow do.
package approval

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/store"
)

// Path is where the portal takes an owner's answer.
const Path = "/approve"

const (
	// CodeTime is how long a code is good for.
	CodeTime = 10 * time.Minute
	// Pause is what a device leaves between two polls (RFC 8628, 3.5), and slower
	// what each poll that comes too early adds to it, up to longest.
	Pause   = 5 * time.Second
	slower  = 5 * time.Second
	longest = time.Minute
	// early is how much of a pause the network may eat.
	early = time.Second
	// perHour and perDay bound the codes of one device, and with them what its owner
	// may be bothered with (push bombing).
	perHour = 6
	perDay  = 20
	// keepTime is how long a request that is over is remembered, for those bounds.
	keepTime = 24 * time.Hour
)

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
}

// Service keeps the requests. It is safe for concurrent use and keeps nothing
// between calls.
type Service struct {
	db      DB
	devices *device.Registry
	uri     string
	now     func() time.Time
	random  io.Reader
}

// New returns a Service over db. publicURL is what owners reach the portal by; now
// tells the time.
func New(db DB, devices *device.Registry, publicURL string, now func() time.Time) *Service {
	return &Service{db: db, devices: devices, uri: strings.TrimSuffix(publicURL, "/") + Path, now: now, random: rand.Reader}
}

// Request is a device that asks to be opened.
type Request struct {
	FlowID string
	Link   device.Link
	// NewKey: it asks by a key that its owner has not seen yet.
	NewKey bool
	// Address is where the request comes from; Region what the device names as its own.
	Address netip.Addr
	Region  string
}

// Code is what the device shows.
type Code struct {
	// UserCode is for people: two groups of four letters.
	UserCode string
	// URI is the page to open, and Complete the same with the code in it.
	URI, Complete string
	Pause         time.Duration
	Expires       time.Time
}

// Ask makes, within a transaction, the code of a flow; one that the flow had before
// is void. Faults: those of Link.OpensFromAfar, and RateLimited for a device that has
// asked too often.
func (s *Service) Ask(ctx context.Context, tx *sql.Tx, r Request) (Code, error) {
	if err := r.Link.OpensFromAfar(); err != nil {
		return Code{}, err
	}
	now := s.now()
	before, err := s.mayAsk(ctx, tx, r.Link.DeviceID, now)
	if err != nil {
		return Code{}, err
	}
	if err := s.End(ctx, tx, r.FlowID); err != nil {
		return Code{}, err
	}
	code, err := s.newCode(ctx, tx)
	if err != nil {
		return Code{}, err
	}
	expires := now.Add(CodeTime)
	_, err = tx.ExecContext(ctx, `INSERT INTO approvals (user_code, flow_id, device_id, link_id, generation, account_id, new_key, address, region,
status, asked_at, expires_at, pause, polled_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'asked', $10, $11, $12, $10)`,
		code, r.FlowID, r.Link.DeviceID, r.Link.ID, r.Link.Generation, r.Link.AccountID, number(r.NewKey), address(r.Address), r.Region,
		now.UnixMilli(), expires.UnixMilli(), int64(Pause/time.Second))
	if err != nil {
		return Code{}, fmt.Errorf("cannot write a request for approval: %w", err)
	}
	// One notice a day: the owner is to know that somebody has the device, and not
	// to be worn down.
	notice := device.NoticeApprovalAsked
	if before > 0 {
		notice = ""
	}
	if err := s.devices.Tell(ctx, tx, r.Link, "approval-asked", notice); err != nil {
		return Code{}, err
	}
	written := Written(code)
	return Code{
		UserCode: written, URI: s.uri, Complete: s.uri + "?code=" + url.QueryEscape(written), Pause: Pause, Expires: expires,
	}, nil
}

// mayAsk refuses one code too many and returns how many the device had within
// keepTime.
func (s *Service) mayAsk(ctx context.Context, tx *sql.Tx, deviceID string, now time.Time) (int, error) {
	asked, err := store.Collect(ctx, tx, func(rows *sql.Rows) (time.Time, error) {
		at, err := store.One[int64](rows)
		return time.UnixMilli(at), err
	}, `SELECT asked_at FROM approvals WHERE device_id = $1 AND asked_at > $2 ORDER BY asked_at DESC`, deviceID, now.Add(-keepTime).UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("cannot count requests for approval: %w", err)
	}
	wait := max(left(asked, perHour, time.Hour, now), left(asked, perDay, keepTime, now))
	if wait > 0 {
		f := fault.Newf(fault.RateLimited, "This device has asked for approval too often.")
		f.RetryAfter = wait
		return 0, f
	}
	return len(asked), nil
}

// left is how long it takes until fewer than n of the times, the newest first, are
// within the period.
func left(times []time.Time, n int, period time.Duration, now time.Time) time.Duration {
	if len(times) < n {
		return 0
	}
	return max(0, times[n-1].Add(period).Sub(now))
}

// newCode draws a code that no request has or had of late.
func (s *Service) newCode(ctx context.Context, tx *sql.Tx) (string, error) {
	for range 8 {
		code, err := draw(s.random)
		if err != nil {
			return "", err
		}
		var n int64
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM approvals WHERE user_code = $1`, code).Scan(&n); err != nil {
			return "", fmt.Errorf("cannot look for a code: %w", err)
		}
		if n == 0 {
			return code, nil
		}
	}
	return "", errors.New("cannot find a code that is free")
}

// The letters of RFC 8628, 6.1: consonants, so that they form no words, and none
// that is taken for another.
const (
	letters    = "BCDFGHJKLMNPQRSTVWXZ"
	codeLength = 8
)

// draw draws a code, each of the 20^8 alike.
func draw(random io.Reader) (string, error) {
	out := make([]byte, codeLength)
	for i := range out {
		n, err := rand.Int(random, big.NewInt(int64(len(letters))))
		if err != nil {
			return "", fmt.Errorf("cannot make a code: %w", err)
		}
		out[i] = letters[n.Int64()]
	}
	return string(out), nil
}

// Written is a code as people read it.
func Written(code string) string {
	if len(code) != codeLength {
		return code
	}
	return code[:codeLength/2] + "-" + code[codeLength/2:]
}

// Typed returns a code as a person typed it without what stands between its letters,
// or fault.InvalidArgument for what can be none.
func Typed(s string) (string, error) {
	code := strings.ToUpper(strings.NewReplacer(" ", "", "-", "", "\u2010", "", "\u2013", "").Replace(s))
	if len(code) != codeLength || strings.Trim(code, letters) != "" {
		return "", fault.Newf(fault.InvalidArgument, "A code has eight letters, such as BCDF-GHJK; this is none.")
	}
	return code, nil
}

// Standing is what a poll finds.
type Standing struct {
	// Approved: the owner has said so. The link is still the one that was asked for,
	// and the request is used up.
	Approved bool
	// Early: the device did not keep its pause, which is longer now.
	Early bool
	Pause time.Duration
}

// Poll tells, within a transaction, how a flow's request stands, for a device whose
// newest link is l. Faults: CodeExpired, Declined for what the owner has refused,
// those of Link.OpensFromAfar, and NotLinked where the link has changed since.
func (s *Service) Poll(ctx context.Context, tx *sql.Tx, flowID string, l device.Link) (Standing, error) {
	var (
		code, linkID, status               string
		generation, expires, pause, polled int64
	)
	now := s.now()
	err := tx.QueryRowContext(ctx, `SELECT user_code, link_id, generation, status, expires_at, pause, polled_at FROM approvals
WHERE flow_id = $1 AND status NOT IN ('ended', 'granted')`, flowID).Scan(&code, &linkID, &generation, &status, &expires, &pause, &polled)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Standing{}, fault.New(fault.CodeExpired, nil)
	case err != nil:
		return Standing{}, fmt.Errorf("cannot read a request for approval: %w", err)
	}
	// fails locked: whatever has happened to the link in between ends the request.
	if err := l.OpensFromAfar(); err != nil {
		return Standing{}, err
	}
	at := Standing{Pause: time.Duration(pause) * time.Second}
	switch {
	case l.ID != linkID || l.Generation != generation:
		return Standing{}, fault.New(fault.CodeExpired, nil)
	case status == "refused":
		return Standing{}, fault.New(fault.Declined, nil)
	case status == "approved":
		at.Approved, status = true, "granted"
	case now.UnixMilli() >= expires:
		return Standing{}, fault.New(fault.CodeExpired, nil)
	case now.Sub(time.UnixMilli(polled)) < at.Pause-early:
		at.Early, at.Pause = true, min(at.Pause+slower, longest)
	}
	_, err = tx.ExecContext(ctx, `UPDATE approvals SET status = $1, pause = $2, polled_at = $3 WHERE user_code = $4`,
		status, int64(at.Pause/time.Second), now.UnixMilli(), code)
	if err != nil {
		return Standing{}, fmt.Errorf("cannot write a request for approval: %w", err)
	}
	return at, nil
}

// End voids, within a transaction, the code of a flow, if it has one.
func (s *Service) End(ctx context.Context, tx *sql.Tx, flowID string) error {
	_, err := tx.ExecContext(ctx, `UPDATE approvals SET status = 'ended' WHERE flow_id = $1 AND status IN ('asked', 'approved', 'refused')`, flowID)
	if err != nil {
		return fmt.Errorf("cannot end a request for approval: %w", err)
	}
	return nil
}

// AccountDeleted removes, within the transaction that deletes an account, what its
// devices have asked. It fits account.OnDelete.
func (s *Service) AccountDeleted(ctx context.Context, tx *sql.Tx, accountID string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM approvals WHERE account_id = $1`, accountID); err != nil {
		return fmt.Errorf("cannot remove an account's requests for approval: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM approval_guesses WHERE guesser = $1`, byAccount(accountID)); err != nil {
		return fmt.Errorf("cannot remove an account's guesses: %w", err)
	}
	return nil
}

// Sweep removes what no limit counts any more.
func (s *Service) Sweep(ctx context.Context) error {
	return s.db.Tx(ctx, func(tx *sql.Tx) error {
		now := s.now()
		if _, err := tx.ExecContext(ctx, `DELETE FROM approvals WHERE asked_at <= $1`, now.Add(-keepTime).UnixMilli()); err != nil {
			return fmt.Errorf("cannot remove old requests for approval: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM approval_guesses WHERE since <= $1`, now.Add(-guessPeriod).UnixMilli()); err != nil {
			return fmt.Errorf("cannot remove old guesses: %w", err)
		}
		return nil
	})
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().WithZone("").String()
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
