// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/accountlock/accountlock/internal/fault"
)

// ReservationTime is how long a reserved link waits for its commit.
const ReservationTime = time.Hour

// NoticeKind is what an owner is told of.
type NoticeKind string

// The notices. A released device, and a signed-out one that another account
// has taken, are unlinked to their owner.
const (
	NoticeLinked    NoticeKind = "linked"
	NoticeUnlocked  NoticeKind = "unlocked"
	NoticeSignedOut NoticeKind = "signed-out"
	NoticeUnlinked  NoticeKind = "unlinked"
	NoticeLost      NoticeKind = "lost"
	NoticeFound     NoticeKind = "found"
	// NoticeOfflineCode: a response for the device was given out.
	NoticeOfflineCode NoticeKind = "offline-code"
	// NoticeTicket: a ticket for the device was given out.
	NoticeTicket NoticeKind = "ticket"
	// NoticeApprovalAsked: the device asks to be opened from another one, and
	// NoticeApproved: it was.
	NoticeApprovalAsked NoticeKind = "approval-asked"
	NoticeApproved      NoticeKind = "approved"
	// NoticeReset: a factory reset was allowed on the device.
	NoticeReset NoticeKind = "reset"
	// NoticeReleased: two members of staff have released the device.
	NoticeReleased NoticeKind = "released"
)

// Notice is one thing to tell an owner.
type Notice struct {
	AccountID string
	Kind      NoticeKind
	DeviceID  string
	// Model is what the device calls itself; it may be empty.
	Model string
	// Detail is what else the notice is about, such as a case's number; it may be
	// empty.
	Detail string
}

// Name is what the owner is told that the device is: its ID, after its model where
// there is one that no mail program could make a link of. A device says what it
// likes of itself, in a message that the owner trusts as ours.
func (n Notice) Name() string {
	if n.Model == "" || misleads(n.Model) {
		return n.DeviceID
	}
	return n.Model + " (" + n.DeviceID + ")"
}

// address finds what may be read as one: a scheme, a mailbox, a name with a domain.
var address = regexp.MustCompile(`(?i)://|@|www\.|[\p{L}\p{N}]\.\p{L}`)

func misleads(model string) bool {
	return address.MatchString(model) || strings.ContainsFunc(model, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Notices takes in, within the transaction of the change, what an owner is to be
// told; it is sent after the commit. Its errors are the database's.
type Notices interface {
	Put(ctx context.Context, tx *sql.Tx, n Notice) error
}

// Owner is the account that a link is made for.
type Owner struct {
	AccountID string
	// Hint is the account's masked identifier.
	Hint string
	// KeyID is the key that the device asks by, Place the network it asks from; empty
	// is none.
	KeyID, Place string
}

// Reserve makes a pending link of the device within a transaction. An earlier
// reservation of the device is dropped: its flow can no longer commit. A device
// that is linked or lost is fault.AlreadyLinked; one that proves nothing, from a place that
// many such devices were linked from of late, fault.RateLimited.
func (r *Registry) Reserve(ctx context.Context, tx *sql.Tx, deviceID string, owner Owner) (Link, error) {
	newest, err := NewestLink(ctx, tx, deviceID)
	if err != nil {
		return Link{}, err
	}
	if err := newest.MayLink(owner.AccountID); err != nil {
		return Link{}, err
	}
	if err := r.countPlace(ctx, tx, deviceID, owner); err != nil {
		return Link{}, err
	}
	id, err := newLinkID(r.random)
	if err != nil {
		return Link{}, err
	}
	if err := exec(ctx, tx, `DELETE FROM links WHERE device_id = $1 AND status = 'pending'`, deviceID); err != nil {
		return Link{}, fmt.Errorf("cannot reserve a link: %w", err)
	}
	now := r.now()
	l := Link{
		ID: id, DeviceID: deviceID, AccountID: owner.AccountID, Hint: owner.Hint,
		Status: Pending, Generation: 1, ReservedUntil: now.Add(ReservationTime),
	}
	err = exec(ctx, tx, `INSERT INTO links (id, device_id, account_id, hint, status, generation, reserved_until, created_at, changed_at, proven)
VALUES ($1, $2, $3, $4, 'pending', 1, $5, $6, $7, 0)`,
		l.ID, deviceID, l.AccountID, l.Hint, l.ReservedUntil.UnixMilli(), now.UnixMilli(), now.UnixMilli())
	if err != nil {
		return Link{}, fmt.Errorf("cannot reserve a link: %w", err)
	}
	return l, nil
}

// Drop ends a reservation within a transaction; a link that is not pending is
// left as it is.
func (r *Registry) Drop(ctx context.Context, tx *sql.Tx, linkID string) error {
	if err := exec(ctx, tx, `DELETE FROM links WHERE id = $1 AND status = 'pending'`, linkID); err != nil {
		return fmt.Errorf("cannot drop a reservation: %w", err)
	}
	return nil
}

// CommitLink makes a reserved link the device's, within a transaction, and ends
// the signed-out one that it replaces. A reservation that has run out or was
// replaced is fault.Timeout, a device that was linked meanwhile
// fault.AlreadyLinked. The key that the flow was begun with becomes the
// device's, if it was pending.
func (r *Registry) CommitLink(ctx context.Context, tx *sql.Tx, deviceID, linkID, keyID string) (Link, error) {
	reserved, err := linkByID(ctx, tx, deviceID, linkID)
	if err != nil {
		return Link{}, err
	}
	old, err := NewestLink(ctx, tx, deviceID)
	if err != nil {
		return Link{}, err
	}
	if err := old.MayLink(reserved.AccountID); err != nil {
		return Link{}, err
	}
	if reserved.Status == Pending && !r.now().Before(reserved.ReservedUntil) {
		return Link{}, fault.New(fault.Timeout, nil)
	}
	if err := r.supersede(ctx, tx, old, reserved.AccountID); err != nil {
		return Link{}, err
	}
	l, err := r.change(ctx, tx, reserved, Commit, NoticeLinked)
	if err != nil {
		return Link{}, err
	}
	if err := exec(ctx, tx, `UPDATE devices SET link_id = $1 WHERE id = $2`, l.ID, deviceID); err != nil {
		return Link{}, fmt.Errorf("cannot commit a link: %w", err)
	}
	if err := r.promote(ctx, tx, deviceID, l.ID, keyID); err != nil {
		return Link{}, fmt.Errorf("cannot give the device its new key: %w", err)
	}
	return l, nil
}

func (r *Registry) supersede(ctx context.Context, tx *sql.Tx, old Link, by string) error {
	if old.Status != SignedOut && !old.Status.Binds() {
		return nil
	}
	notice := NoticeUnlinked
	if old.AccountID == by {
		// Nobody is told that they took their own device back.
		notice = ""
	}
	_, err := r.change(ctx, tx, old, Supersede, notice)
	return err
}

// UnlockLink notes, within a transaction, that the owner's account was checked
// on the device itself: a lost device is found, and the key with which the flow
// was begun becomes the device's. The link must be the device's newest. The owner is
// told by n.
func (r *Registry) UnlockLink(ctx context.Context, tx *sql.Tx, deviceID, linkID, keyID string, n NoticeKind) (Link, error) {
	l, err := r.changeNewest(ctx, tx, deviceID, linkID, Unlock, n)
	if err != nil {
		return Link{}, err
	}
	if err := r.promote(ctx, tx, deviceID, l.ID, keyID); err != nil {
		return Link{}, fmt.Errorf("cannot give the device its new key: %w", err)
	}
	return l, nil
}

// SignOutLink and UnlinkLink end, within a transaction, what the names say of
// the device's link. A link that has come to that already stays as it is; one
// that is not the newest, or that may not, is its Refusal.
func (r *Registry) SignOutLink(ctx context.Context, tx *sql.Tx, deviceID, linkID string) (Link, error) {
	return r.changeNewest(ctx, tx, deviceID, linkID, SignOut, NoticeSignedOut)
}

// UnlinkLink is described at SignOutLink.
func (r *Registry) UnlinkLink(ctx context.Context, tx *sql.Tx, deviceID, linkID string) (Link, error) {
	return r.changeNewest(ctx, tx, deviceID, linkID, Unlink, NoticeUnlinked)
}

// AllowReset notes, within a transaction, that the owner has allowed a factory reset
// of the device, on the device itself. The link stands. It must be the device's
// newest; one that may not is its Refusal.
func (r *Registry) AllowReset(ctx context.Context, tx *sql.Tx, deviceID, linkID string) (Link, error) {
	return r.changeNewest(ctx, tx, deviceID, linkID, AllowReset, NoticeReset)
}

func (r *Registry) changeNewest(ctx context.Context, tx *sql.Tx, deviceID, linkID string, c Change, n NoticeKind) (Link, error) {
	l, err := NewestLink(ctx, tx, deviceID)
	if err != nil {
		return Link{}, err
	}
	if l.ID != linkID {
		return Link{}, fault.New(fault.NotLinked, nil)
	}
	if (c == SignOut && l.Status == SignedOut) || (c == Unlink && (l.Status == Unlinked || l.Status == AccountDeleted)) {
		// The owner did it in the portal while the device was about it.
		return l, nil
	}
	return r.change(ctx, tx, l, c, n)
}

// change is the one place that writes a link's status. The owner is told of it
// unless n is empty.
func (r *Registry) change(ctx context.Context, tx *sql.Tx, l Link, c Change, n NoticeKind) (Link, error) {
	before := l.Generation
	l, err := l.After(c)
	if err != nil {
		return Link{}, err
	}
	now := r.now()
	res, err := tx.ExecContext(ctx, `UPDATE links SET status = $1, generation = $2, hint = $3, lost_message = $4, lost_contact = $5,
offline_key = CASE WHEN $1 IN ('unlinked', 'account-deleted') THEN '' ELSE offline_key END,
reserved_until = 0, changed_at = $6, reset_allowed = $7 WHERE id = $8 AND generation = $9`,
		string(l.Status), l.Generation, l.Hint, l.LostMessage, l.LostContact, now.UnixMilli(),
		boolean(l.ResetAllowed), l.ID, before)
	if err != nil {
		return Link{}, fmt.Errorf("cannot change a link: %w", err)
	}
	if rows, err := res.RowsAffected(); err != nil || rows != 1 {
		return Link{}, errors.Join(errors.New("cannot change a link: it changed meanwhile"), err)
	}
	if err := r.note(ctx, tx, l.DeviceID, "", noted{kind: string(c), at: now.Unix()}); err != nil {
		return Link{}, err
	}
	if n == "" {
		return l, nil
	}
	return l, r.tell(ctx, tx, l, n)
}
