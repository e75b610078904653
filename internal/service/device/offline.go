// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/accountlock/accountlock/internal/fault"
)

// OpensFromAfar returns nil for the link of a device that may be opened by a word
// of its owner given elsewhere: an offline code, a ticket, an approval. A lost
// device is fault.Declined, whoever asks: it may be in a thief's hands, and the
// thief on the telephone. Any other is fault.NotLinked.
func (l Link) OpensFromAfar() error {
	switch l.Status {
	case Linked:
		return nil
	case Lost:
		f := fault.Newf(fault.Declined, "The device is marked lost: only its owner's account opens it, on the device itself.")
		f.Remedy = "Sign in on the device with the account and its password, or mark the device found first."
		return f
	default:
		return fault.New(fault.NotLinked, nil)
	}
}

// Tell notes, within a transaction, what happened to a device without changing its
// link, and tells the owner unless n is empty.
func (r *Registry) Tell(ctx context.Context, tx *sql.Tx, l Link, event string, n NoticeKind) error {
	if err := r.note(ctx, tx, l.DeviceID, "", noted{kind: event, at: r.now().Unix()}); err != nil {
		return err
	}
	if n == "" {
		return nil
	}
	return r.tell(ctx, tx, l, n)
}

// tell puts a notice to the link's owner into the queue.
func (r *Registry) tell(ctx context.Context, tx *sql.Tx, l Link, n NoticeKind) error {
	notice := Notice{AccountID: l.AccountID, Kind: n, DeviceID: l.DeviceID}
	if err := tx.QueryRowContext(ctx, `SELECT model FROM devices WHERE id = $1`, l.DeviceID).Scan(&notice.Model); err != nil {
		return fmt.Errorf("cannot read a device: %w", err)
	}
	return r.notices.Put(ctx, tx, notice)
}

// SetOfflineKey stores, within a transaction, the sealed key of a link's offline
// codes. It goes when the link ends.
func SetOfflineKey(ctx context.Context, tx *sql.Tx, linkID, sealed string) error {
	if err := exec(ctx, tx, `UPDATE links SET offline_key = $1 WHERE id = $2`, sealed, linkID); err != nil {
		return fmt.Errorf("cannot keep a link's offline key: %w", err)
	}
	return nil
}

// OfflineKey returns, within a transaction, the sealed key of a link's offline
// codes; empty is none.
func OfflineKey(ctx context.Context, tx *sql.Tx, linkID string) (string, error) {
	var sealed string
	if err := tx.QueryRowContext(ctx, `SELECT offline_key FROM links WHERE id = $1`, linkID).Scan(&sealed); err != nil {
		return "", fmt.Errorf("cannot read a link's offline key: %w", err)
	}
	return sealed, nil
}
