// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"crypto"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
)

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Read(ctx context.Context, fn func(*sql.Tx) error) error
	// Select asks one query outside a transaction: row is called for each row, after begin.
	Select(ctx context.Context, query string, args []any, begin func(), row func(*sql.Rows) error) error
}

// Registry is the account service's devices. It is safe for concurrent use and
// keeps nothing between calls.
type Registry struct {
	db      DB
	notices Notices
	now     func() time.Time
	random  io.Reader
	callers callers
}

// New returns the devices in db. Owners are told of changes through notices; now
// tells the time.
func New(db DB, notices Notices, now func() time.Time) *Registry {
	return &Registry{db: db, notices: notices, now: now, random: rand.Reader, callers: callers{db: db}}
}

// Caller is a device that has signed a request, with its newest link.
type Caller struct {
	DeviceID string
	KeyID    string
	// Public is the key that the request must be signed with.
	Public crypto.PublicKey
	// KeyStatus says what the key may do.
	KeyStatus KeyStatus
	Link      Link
	// SeenAt is when the device was last noted as seen.
	SeenAt time.Time
}

// Trusted reports whether the key speaks for the device.
func (c Caller) Trusted() bool { return c.KeyStatus == Active }

const linkColumns = `l.id, l.account_id, l.hint, l.status, l.generation, l.lost_message, l.lost_contact, l.reserved_until, l.reset_allowed`

// linkRow scans linkColumns of a link that may not be there.
type linkRow struct {
	id, account, hint, status, message, contact sql.NullString
	generation, reserved, reset                 sql.NullInt64
}

func (r *linkRow) into() []any {
	return []any{&r.id, &r.account, &r.hint, &r.status, &r.generation, &r.message, &r.contact, &r.reserved, &r.reset}
}

func (r *linkRow) link(deviceID string) Link {
	l := Link{
		ID: r.id.String, DeviceID: deviceID, AccountID: r.account.String, Hint: r.hint.String,
		Status: Status(r.status.String), Generation: r.generation.Int64,
		LostMessage: r.message.String, LostContact: r.contact.String, ResetAllowed: r.reset.Int64 != 0,
	}
	if r.reserved.Int64 != 0 {
		l.ReservedUntil = time.UnixMilli(r.reserved.Int64)
	}
	return l
}

// Caller returns the device with its key of the given ID. A device that is not
// known, or not by this key, is fault.DeviceUnknown: it has to enrol.
func (r *Registry) Caller(ctx context.Context, deviceID, keyID string) (Caller, error) {
	return r.callers.find(ctx, deviceID, keyID)
}

// NewestLink returns, within a transaction, the device's newest link; the zero
// Link is none. A device that is not known is fault.DeviceUnknown.
func NewestLink(ctx context.Context, tx *sql.Tx, deviceID string) (Link, error) {
	var row linkRow
	err := tx.QueryRowContext(ctx, `SELECT `+linkColumns+`
FROM devices d LEFT JOIN links l ON l.id = d.link_id WHERE d.id = $1`, deviceID).Scan(row.into()...)
	if errors.Is(err, sql.ErrNoRows) {
		return Link{}, fault.New(fault.DeviceUnknown, nil)
	}
	if err != nil {
		return Link{}, fmt.Errorf("cannot read a link: %w", err)
	}
	return row.link(deviceID), nil
}

// linkByID returns a link of the device by its ID, or fault.Timeout: what is not
// there any more was a reservation.
func linkByID(ctx context.Context, tx *sql.Tx, deviceID, linkID string) (Link, error) {
	var row linkRow
	err := tx.QueryRowContext(ctx, `SELECT `+linkColumns+`
FROM links l WHERE l.id = $1 AND l.device_id = $2`, linkID, deviceID).Scan(row.into()...)
	if errors.Is(err, sql.ErrNoRows) {
		return Link{}, fault.New(fault.Timeout, nil)
	}
	if err != nil {
		return Link{}, fmt.Errorf("cannot read a link: %w", err)
	}
	return row.link(deviceID), nil
}

// boolean is a truth value as the database keeps it.
func boolean(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// exec is an execution whose result nobody needs.
func exec(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	_, err := tx.ExecContext(ctx, query, args...)
	return err
}

// Generation returns, within a transaction, how often a link was changed.
func Generation(ctx context.Context, tx *sql.Tx, linkID string) (int64, error) {
	var n int64
	if err := tx.QueryRowContext(ctx, `SELECT generation FROM links WHERE id = $1`, linkID).Scan(&n); err != nil {
		return 0, fmt.Errorf("cannot read a link: %w", err)
	}
	return n, nil
}
