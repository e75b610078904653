// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/store"
)

// The bounds, in characters, of what a finder is shown.
const (
	MaxLostMessage = 500
	MaxLostContact = 200
)

// Details is what an operator or an owner may see of a device.
type Details struct {
	DeviceID   string
	Model      string
	Link       Link
	EnrolledAt time.Time
	SeenAt     time.Time
	// PendingKeys is how many keys wait for the owner's unlock.
	PendingKeys int
	// Proven: the newest link was made by a device that had proven what it is.
	Proven bool
}

// Show returns what is known of a device, or fault.DeviceUnknown.
func (r *Registry) Show(ctx context.Context, deviceID string) (Details, error) {
	var d Details
	err := r.db.Read(ctx, func(tx *sql.Tx) error {
		l, err := NewestLink(ctx, tx, deviceID)
		if err != nil {
			return err
		}
		d = Details{DeviceID: deviceID, Link: l}
		var enrolled, seen int64
		err = tx.QueryRowContext(ctx, `SELECT d.model, d.enrolled_at, d.seen_at,
(SELECT COUNT(*) FROM device_keys k WHERE k.device_id = d.id AND k.status = 'pending'),
COALESCE((SELECT l.proven FROM links l WHERE l.id = d.link_id), 0)
FROM devices d WHERE d.id = $1`, deviceID).Scan(&d.Model, &enrolled, &seen, &d.PendingKeys, &d.Proven)
		if err != nil {
			return fmt.Errorf("cannot read a device: %w", err)
		}
		d.EnrolledAt, d.SeenAt = time.UnixMilli(enrolled).UTC(), time.UnixMilli(seen).UTC()
		return nil
	})
	return d, err
}

// Lose marks a linked device lost, with what its finder shall read; on a lost one
// it changes the message. A message over MaxLostMessage or a contact over
// MaxLostContact is fault.InvalidArgument, a device that is not linked
// fault.NotLinked.
func (r *Registry) Lose(ctx context.Context, deviceID, message, contact string) (Link, error) {
	return r.lose(ctx, deviceID, message, contact, anyones)
}

func (r *Registry) lose(ctx context.Context, deviceID, message, contact string, may func(Link) error) (Link, error) {
	with, err := losing(message, contact)
	if err != nil {
		return Link{}, err
	}
	return r.apply(ctx, deviceID, Lose, NoticeLost, may, with)
}

// LoseLink is Lose within a transaction.
func (r *Registry) LoseLink(ctx context.Context, tx *sql.Tx, deviceID, message, contact string) (Link, error) {
	with, err := losing(message, contact)
	if err != nil {
		return Link{}, err
	}
	return r.applyIn(ctx, tx, deviceID, Lose, NoticeLost, anyones, with)
}

// losing is what Lose writes on a link.
func losing(message, contact string) (func(*Link), error) {
	switch {
	case !utf8.ValidString(message) || utf8.RuneCountInString(message) > MaxLostMessage:
		return nil, fault.Newf(fault.InvalidArgument, "The message is longer than %d characters.", MaxLostMessage)
	case !utf8.ValidString(contact) || utf8.RuneCountInString(contact) > MaxLostContact:
		return nil, fault.Newf(fault.InvalidArgument, "The contact is longer than %d characters.", MaxLostContact)
	}
	return func(l *Link) { l.LostMessage, l.LostContact = message, contact }, nil
}

// Find ends the message of a lost device, or is fault.NotLinked or, for one that
// is not lost, fault.InvalidArgument.
func (r *Registry) Find(ctx context.Context, deviceID string) (Link, error) {
	return r.apply(ctx, deviceID, Find, NoticeFound, anyones, nil)
}

// Release ends the device's link, or is fault.NotLinked.
func (r *Registry) Release(ctx context.Context, deviceID string) (Link, error) {
	return r.apply(ctx, deviceID, Release, NoticeUnlinked, anyones, nil)
}

// FindLink is Find within a transaction.
func (r *Registry) FindLink(ctx context.Context, tx *sql.Tx, deviceID string) (Link, error) {
	return r.applyIn(ctx, tx, deviceID, Find, NoticeFound, anyones, nil)
}

// ReleaseLink is Release within a transaction; n is what its owner is told.
func (r *Registry) ReleaseLink(ctx context.Context, tx *sql.Tx, deviceID string, n NoticeKind) (Link, error) {
	return r.applyIn(ctx, tx, deviceID, Release, n, anyones, nil)
}

// anyones is the check of who may change the device of any account.
func anyones(Link) error { return nil }

func (r *Registry) apply(ctx context.Context, deviceID string, c Change, n NoticeKind, may func(Link) error, with func(*Link)) (Link, error) {
	var out Link
	err := r.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		out, err = r.applyIn(ctx, tx, deviceID, c, n, may, with)
		return err
	})
	return out, err
}

func (r *Registry) applyIn(ctx context.Context, tx *sql.Tx, deviceID string, c Change, n NoticeKind, may func(Link) error, with func(*Link)) (Link, error) {
	l, err := NewestLink(ctx, tx, deviceID)
	if err != nil {
		return Link{}, err
	}
	if err := may(l); err != nil {
		return Link{}, err
	}
	if with != nil {
		with(&l)
	}
	return r.change(ctx, tx, l, c, n)
}

// AccountDeleted ends, within the transaction that deletes an account, every
// link of it and every reservation. It fits account.OnDelete.
func (r *Registry) AccountDeleted(ctx context.Context, tx *sql.Tx, accountID string) error {
	if err := exec(ctx, tx, `DELETE FROM links WHERE account_id = $1 AND status = 'pending'`, accountID); err != nil {
		return fmt.Errorf("cannot drop the account's reservations: %w", err)
	}
	links, err := linksOf(ctx, tx, accountID)
	if err != nil {
		return err
	}
	for _, l := range links {
		// The owner is told once, of the deletion.
		if _, err := r.change(ctx, tx, l, DeleteAccount, ""); err != nil {
			return err
		}
	}
	return nil
}

// BoundTo returns, within a transaction, the links that tie devices to an account, the lost ones
// among them.
func (r *Registry) BoundTo(ctx context.Context, tx *sql.Tx, accountID string) ([]Link, error) {
	all, err := linksOf(ctx, tx, accountID)
	return slices.DeleteFunc(all, func(l Link) bool { return !l.Status.Binds() }), err
}

func linksOf(ctx context.Context, tx *sql.Tx, accountID string) ([]Link, error) {
	out, err := store.Collect(ctx, tx, func(rows *sql.Rows) (Link, error) {
		var (
			deviceID string
			row      linkRow
		)
		err := rows.Scan(append([]any{&deviceID}, row.into()...)...)
		return row.link(deviceID), err
	}, `SELECT l.device_id, `+linkColumns+`
FROM links l WHERE l.account_id = $1 AND l.status IN ('linked', 'lost', 'signed-out')`, accountID)
	if err != nil {
		return nil, fmt.Errorf("cannot read the account's links: %w", err)
	}
	return out, nil
}

// SeenEvery is how exactly it is kept when a device was last seen.
const SeenEvery = 10 * time.Minute

// Seen notes when devices were last seen.
func (r *Registry) Seen(ctx context.Context, devices map[string]time.Time) error {
	return r.db.Tx(ctx, func(tx *sql.Tx) error {
		for id, at := range devices {
			err := exec(ctx, tx, `UPDATE devices SET seen_at = $1 WHERE id = $2 AND seen_at < $1`, at.UnixMilli(), id)
			if err != nil {
				return fmt.Errorf("cannot note that a device was seen: %w", err)
			}
		}
		return nil
	})
}

// DropExpired removes the reservations that have run out and returns how many.
func (r *Registry) DropExpired(ctx context.Context) (int64, error) {
	var n int64
	err := r.db.Tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM links WHERE status = 'pending' AND reserved_until <= $1`, r.now().UnixMilli())
		if err != nil {
			return fmt.Errorf("cannot drop reservations that have run out: %w", err)
		}
		if n, err = res.RowsAffected(); err != nil {
			return err
		}
		return exec(ctx, tx, `DELETE FROM link_places WHERE linked_at <= $1`, r.now().Add(-unprovenTime).UnixMilli())
	})
	return n, err
}
