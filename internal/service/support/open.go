// SPDX-License-Identifier: Apache-2.0

package support

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/offline"
	"github.com/accountlock/accountlock/internal/service/staff"
)

// What the owner is told of a case.
const (
	NoticeOpened   device.NoticeKind = "case-opened"
	NoticeApproved device.NoticeKind = "case-approved"
	NoticeComplete device.NoticeKind = "case-complete"
)

// Asked is what a case is opened with.
type Asked struct {
	// Challenge is what the device shows, ten digits in any grouping; empty is not
	// known.
	Challenge      string
	Region, Locale string
}

// ForDevice opens a case for a device that asks for one, or finds the one that is
// open and keeps the newest challenge in it: its owner is told once. Errors are
// faults: NotLinked (nobody owns the device), InvalidArgument (no challenge),
// Declined (its owner stopped a case within a day), RateLimited.
func (s *Service) ForDevice(ctx context.Context, caller device.Caller, a Asked) (Case, error) {
	return s.open(ctx, audit.Device, caller.DeviceID, caller.Trusted(), a)
}

// Open is ForDevice by a member of staff, for somebody on the telephone. Further
// faults: DeviceUnknown, NotAuthorized.
func (s *Service) Open(ctx context.Context, by staff.Member, deviceID string, a Asked) (Case, error) {
	if err := by.MayAct(); err != nil {
		return Case{}, err
	}
	return s.open(ctx, by.Name, deviceID, false, a)
}

func (s *Service) open(ctx context.Context, actor, deviceID string, proven bool, a Asked) (Case, error) {
	if a.Challenge != "" {
		var err error
		if a.Challenge, err = offline.Challenge(a.Challenge); err != nil {
			return Case{}, err
		}
	}
	var out Case
	err := s.DB.Tx(ctx, func(tx *sql.Tx) error {
		link, err := device.NewestLink(ctx, tx, deviceID)
		if err != nil {
			return err
		}
		if !link.Status.InForce() {
			return fault.New(fault.NotLinked, nil)
		}
		number, err := s.openCase(ctx, tx, deviceID, link)
		if err != nil {
			return err
		}
		now := s.now()
		if number != "" {
			_, err := tx.ExecContext(ctx, `UPDATE cases SET challenge = CASE WHEN $1 = '' THEN challenge ELSE $1 END,
proven = CASE WHEN $2 = 1 THEN 1 ELSE proven END, asked_at = $3 WHERE number = $4`, a.Challenge, boolean(proven), now.UnixMilli(), number)
			if err != nil {
				return err
			}
			out, err = load(ctx, tx, number)
			return err
		}
		if err := s.mayOpen(ctx, tx, deviceID, link.AccountID, now); err != nil {
			return err
		}
		if number, err = s.insert(ctx, tx, actor, link, proven, a, now); err != nil {
			return err
		}
		out, err = load(ctx, tx, number)
		return err
	})
	return out, wrap("open a case", err)
}

// openCase returns the number of the device's open case; empty is none. One that is
// about an earlier owner is closed.
func (s *Service) openCase(ctx context.Context, tx *sql.Tx, deviceID string, link device.Link) (string, error) {
	var c Case
	err := tx.QueryRowContext(ctx, `SELECT number, link_id FROM cases WHERE device_id = $1 AND outcome = ''`, deviceID).Scan(&c.Number, &c.LinkID)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", nil
	case err != nil:
		return "", err
	case c.LinkID == link.ID:
		return c.Number, nil
	}
	return "", s.finish(ctx, tx, c, Expired)
}

// mayOpen holds the bounds on how many cases begin.
func (s *Service) mayOpen(ctx context.Context, tx *sql.Tx, deviceID, accountID string, now time.Time) error {
	var begun, stopped, open int64
	err := tx.QueryRowContext(ctx, `SELECT
(SELECT COUNT(*) FROM cases WHERE device_id = $1 AND opened_at > $2),
(SELECT COALESCE(MAX(closed_at), 0) FROM cases WHERE device_id = $1 AND outcome = 'stopped'),
(SELECT COUNT(*) FROM cases WHERE account_id = $3 AND outcome = '')`,
		deviceID, now.Add(-openedIn).UnixMilli(), accountID).Scan(&begun, &stopped, &open)
	if err != nil {
		return err
	}
	if again := time.UnixMilli(stopped).Add(stopTime); stopped > 0 && now.Before(again) {
		// fails locked: the owner has just said no.
		f := fault.Newf(fault.Declined, "The owner of this device has stopped support's case about it.")
		f.Remedy = "The owner signs in on the device. A new case can be opened a day later."
		f.RetryAfter = again.Sub(now)
		return f
	}
	if begun >= maxOpened || open >= maxPerAccount {
		f := fault.Newf(fault.RateLimited, "Too many support cases were opened about this device or its account.")
		f.Remedy = "Go on with the case that is open, or come back tomorrow."
		f.RetryAfter = openedIn
		return f
	}
	return nil
}

// insert makes a case under a number of its own, notes it and has the owner told.
func (s *Service) insert(ctx context.Context, tx *sql.Tx, actor string, link device.Link, proven bool, a Asked, now time.Time) (string, error) {
	number := ""
	for number == "" {
		drawn, err := newNumber()
		if err != nil {
			return "", err
		}
		var taken int64
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM cases WHERE number = $1`, drawn).Scan(&taken); err != nil {
			return "", err
		}
		if taken == 0 {
			number = drawn
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO cases (number, device_id, account_id, link_id, challenge, proven, region, locale, opened_by, opened_at, asked_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)`,
		number, link.DeviceID, link.AccountID, link.ID, a.Challenge, boolean(proven), a.Region, a.Locale, actor, now.UnixMilli())
	if err != nil {
		return "", err
	}
	c := Case{Number: number, DeviceID: link.DeviceID, AccountID: link.AccountID, Locale: a.Locale}
	if err := s.note(ctx, tx, c, actor, "case-opened", ""); err != nil {
		return "", err
	}
	return number, s.tellOwner(ctx, tx, c, NoticeOpened)
}

// tellOwner puts a notice about a case into the queue.
func (s *Service) tellOwner(ctx context.Context, tx *sql.Tx, c Case, kind device.NoticeKind) error {
	n := device.Notice{AccountID: c.AccountID, Kind: kind, DeviceID: c.DeviceID, Detail: c.Number}
	if err := tx.QueryRowContext(ctx, `SELECT model FROM devices WHERE id = $1`, c.DeviceID).Scan(&n.Model); err != nil {
		return err
	}
	return s.Notices.Put(ctx, tx, n)
}

func boolean(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// plain returns what somebody typed, trimmed, or fault.InvalidArgument where it is
// empty, no text or longer than limit characters.
func plain(s string, limit int) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" || !utf8.ValidString(s) || utf8.RuneCountInString(s) > limit {
		return "", fault.Newf(fault.InvalidArgument, "The text is empty, no text, or too long.")
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s), nil
}
