// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/store"
)

// Owned is the devices of one account, as its owner sees and changes them. A
// device of another account is to it as one that is not there:
// fault.DeviceUnknown.
type Owned struct {
	r         *Registry
	accountID string
}

// Owned returns the devices of an account.
func (r *Registry) Owned(accountID string) Owned { return Owned{r: r, accountID: accountID} }

// List returns the devices that are linked, lost or signed out, by model and ID.
func (o Owned) List(ctx context.Context) ([]Details, error) {
	var out []Details
	err := o.r.db.Read(ctx, func(tx *sql.Tx) (err error) {
		out, err = store.Collect(ctx, tx, func(rows *sql.Rows) (d Details, err error) {
			var (
				enrolled, seen int64
				row            linkRow
			)
			err = rows.Scan(append([]any{&d.DeviceID, &d.Model, &enrolled, &seen}, row.into()...)...)
			d.EnrolledAt, d.SeenAt = time.UnixMilli(enrolled).UTC(), time.UnixMilli(seen).UTC()
			d.Link = row.link(d.DeviceID)
			return d, err
		}, `SELECT d.id, d.model, d.enrolled_at, d.seen_at, `+linkColumns+`
FROM links l JOIN devices d ON d.id = l.device_id AND d.link_id = l.id
WHERE l.account_id = $1 AND l.status IN ('linked', 'lost', 'signed-out') ORDER BY d.model, d.id`, o.accountID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read an account's devices: %w", err)
	}
	return out, nil
}

// Show is Registry.Show for the owner.
func (o Owned) Show(ctx context.Context, deviceID string) (Details, error) {
	d, err := o.r.Show(ctx, deviceID)
	if err != nil {
		return Details{}, err
	}
	return d, o.mine(d.Link)
}

// Events is Registry.Events for the owner: since the device was linked, for what was
// before may be another person's.
func (o Owned) Events(ctx context.Context, deviceID string, limit int) ([]Event, error) {
	if _, err := o.Show(ctx, deviceID); err != nil {
		return nil, err
	}
	return o.r.events(ctx, deviceID, Commit, limit)
}

// mine returns nil if a link is this account's and in force.
func (o Owned) mine(l Link) error {
	if l.AccountID != o.accountID || !l.Status.InForce() {
		// fails locked: nobody else's device is changed, or shown to exist.
		return fault.New(fault.DeviceUnknown, nil)
	}
	return nil
}

// Lose is Registry.Lose for the owner.
func (o Owned) Lose(ctx context.Context, deviceID, message, contact string) (Link, error) {
	return o.r.lose(ctx, deviceID, message, contact, o.mine)
}

// Find is Registry.Find for the owner.
func (o Owned) Find(ctx context.Context, deviceID string) (Link, error) {
	return o.r.apply(ctx, deviceID, Find, NoticeFound, o.mine, nil)
}

// SignOut takes the account off the device from afar; it opens at its next
// contact and stays listed.
func (o Owned) SignOut(ctx context.Context, deviceID string) (Link, error) {
	return o.r.apply(ctx, deviceID, SignOut, NoticeSignedOut, o.mine, nil)
}

// Release is Registry.Release for the owner.
func (o Owned) Release(ctx context.Context, deviceID string) (Link, error) {
	return o.r.apply(ctx, deviceID, Release, NoticeUnlinked, o.mine, nil)
}

// Bound tells whether a device of this ID asks for an account after a reset. One
// that nobody ever enrolled does not.
func (r *Registry) Bound(ctx context.Context, deviceID string) (bool, error) {
	var bound bool
	err := r.db.Read(ctx, func(tx *sql.Tx) error {
		l, err := NewestLink(ctx, tx, deviceID)
		if errors.Is(err, fault.New(fault.DeviceUnknown, nil)) {
			return nil
		}
		bound = l.Status.Binds()
		return err
	})
	return bound, err
}
