// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/device"
)

// Accounts verifies who a person is, as *account.Service does; what each method
// returns is told there.
type Accounts interface {
	Authenticate(ctx context.Context, a account.Attempt) (account.Account, error)
	// Get's error for an account that is not there is account.ErrNotFound.
	Get(ctx context.Context, id string) (account.Account, error)
	SendCode(ctx context.Context, a account.Account, flowID, purpose, locale string) (sentTo string, expires time.Time, err error)
	CheckCode(ctx context.Context, accountID, flowID, purpose string, code accountapi.Secret) error
}

var _ Accounts = (*account.Service)(nil)

// Signer signs grants and statements, as *keys.Ring does.
type Signer interface {
	Sign(v any, typ string) (string, error)
}

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Read(ctx context.Context, fn func(*sql.Tx) error) error
	// SelectRow asks for one row outside a transaction; none is sql.ErrNoRows.
	SelectRow(ctx context.Context, query string, args []any, into ...any) error
}

// Service answers the steps of flows. It is safe for concurrent use and keeps
// nothing between calls.
type Service struct {
	db       DB
	devices  *device.Registry
	accounts Accounts
	offline  Offline
	signer   Signer
	captcha  Captcha
	// recoveries and approvals are nil where there are none.
	recoveries Recoveries
	approvals  Approvals
	factors    Factors
	now        func() time.Time
	random     io.Reader
}

// Offline agrees with a device on the key of a new link's offline codes, as
// *offline.Service does; what it returns is told there.
type Offline interface {
	Agree(ctx context.Context, tx *sql.Tx, l device.Link, public string) (string, error)
}

// New returns a Service over db. now tells the time.
func New(db DB, devices *device.Registry, accounts Accounts, offline Offline, signer Signer, now func() time.Time) *Service {
	return &Service{db: db, devices: devices, accounts: accounts, offline: offline, signer: signer, now: now, random: rand.Reader}
}

// Statement signs the link of a device as it stands, over the device's nonce, for
// a caller that has the link asked on record.
func (s *Service) Statement(c device.Caller, asked, nonce string) (string, error) {
	return s.sign(device.State(c.DeviceID, c.Link, asked, c.Trusted()), nonce, GrantTime)
}

// Begin begins a flow for a device that has signed the request; its faults are
// those of MayBegin.
func (s *Service) Begin(ctx context.Context, c device.Caller, req accountapi.BeginRequest) (accountapi.FlowStep, error) {
	id, err := s.newID()
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	var f Flow
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		now := s.now()
		link, err := device.NewestLink(ctx, tx, c.DeviceID)
		if err != nil {
			return err
		}
		if req.Kind == accountapi.FlowKindRecover && (s.recoveries == nil || s.captcha == nil) {
			return fault.New(fault.ServiceUnavailable, errors.New("recovery is not served here"))
		}
		if err := MayBegin(req.Kind, link, c.Trusted()); err != nil {
			return err
		}
		if on := value(req.LinkId); on != "" && on != link.ID && ends(req.Kind) {
			// The device is about to end a link that is not the one it has.
			return fault.New(fault.NotLinked, nil)
		}
		f = Flow{
			ID: id, DeviceID: c.DeviceID, KeyID: c.KeyID, Kind: req.Kind, Nonce: req.Nonce,
			Step:   First(req.Kind, link.Status.InForce()),
			Region: value(req.Region), Locale: value(req.Locale),
			ExpiresAt: now.Add(IdleTime),
		}
		if link.Status.InForce() && req.Kind != accountapi.FlowKindLink {
			f.LinkID = link.ID
		}
		f.UseHint = f.Step == accountapi.Password
		if err := s.makeRoom(ctx, tx, c.DeviceID, now); err != nil {
			return err
		}
		if err := insert(ctx, tx, f, now); err != nil {
			return err
		}
		return s.noteKnown(ctx, tx, f, c, link, req.Open != nil && *req.Open, now)
	})
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	out := f.wire()
	if f.Kind == accountapi.FlowKindUnlock {
		out.Methods = s.methods()
	}
	return out, nil
}

// makeRoom ends the oldest open flows of a device so that one more may begin.
func (s *Service) makeRoom(ctx context.Context, tx *sql.Tx, deviceID string, now time.Time) error {
	rows, err := tx.QueryContext(ctx, `SELECT id, kind, link_id, step FROM flows
WHERE device_id = $1 AND step <> 'done' AND expires_at > $2 ORDER BY begun_at DESC, id`, deviceID, now.UnixMilli())
	if err != nil {
		return fmt.Errorf("cannot read a device's flows: %w", err)
	}
	defer rows.Close()
	var old []Flow
	for n := 1; rows.Next(); n++ {
		var f Flow
		if err := rows.Scan(&f.ID, &f.Kind, &f.LinkID, &f.Step); err != nil {
			return fmt.Errorf("cannot read a device's flows: %w", err)
		}
		if n >= MaxOpen {
			old = append(old, f)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("cannot read a device's flows: %w", err)
	}
	for _, f := range old {
		if err := s.remove(ctx, tx, f); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a flow, and what it has reserved.
func (s *Service) remove(ctx context.Context, tx *sql.Tx, f Flow) error {
	if f.Kind == accountapi.FlowKindLink && f.Step == accountapi.Commit {
		if err := s.devices.Drop(ctx, tx, f.LinkID); err != nil {
			return err
		}
	}
	if err := s.leaveApproval(ctx, tx, f.Step, Flow{ID: f.ID}); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM flows WHERE id = $1`, f.ID); err != nil {
		return fmt.Errorf("cannot end a flow: %w", err)
	}
	return nil
}

// End ends a flow and drops what it has reserved. One that was committed, or is
// not there, is left as it is: ending twice is the same as once.
func (s *Service) End(ctx context.Context, flowID string) error {
	return s.db.Tx(ctx, func(tx *sql.Tx) error {
		f, err := load(ctx, tx, flowID, s.now())
		switch {
		case fault.CodeOf(err) == fault.Timeout:
			return nil
		case err != nil:
			return err
		case f.Step == accountapi.Done:
			return nil
		}
		return s.remove(ctx, tx, f)
	})
}

// Caller returns the device whose flow it is with its key of the given ID. A flow
// that is not there or has ended, and one that another key began, is
// fault.Timeout.
func (s *Service) Caller(ctx context.Context, flowID, keyID string) (device.Caller, error) {
	var deviceID string
	err := s.db.SelectRow(ctx, `SELECT device_id FROM flows WHERE id = $1 AND key_id = $2 AND expires_at > $3`,
		[]any{flowID, keyID, s.now().UnixMilli()}, &deviceID)
	if errors.Is(err, sql.ErrNoRows) {
		return device.Caller{}, fault.New(fault.Timeout, nil)
	}
	if err != nil {
		return device.Caller{}, fmt.Errorf("cannot look up a flow: %w", err)
	}
	return s.devices.Caller(ctx, deviceID, keyID)
}

// DropExpired removes the flows that have ended and returns how many.
func (s *Service) DropExpired(ctx context.Context) (int64, error) {
	var n int64
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM flows WHERE expires_at <= $1`, s.now().UnixMilli())
		if err != nil {
			return fmt.Errorf("cannot drop flows that have ended: %w", err)
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}

// AccountDeleted ends, within the transaction that deletes an account, the flows
// that have proven it and are not committed. It fits account.OnDelete.
func (s *Service) AccountDeleted(ctx context.Context, tx *sql.Tx, accountID string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM flows WHERE account_id = $1 AND step <> 'done'`, accountID); err != nil {
		return fmt.Errorf("cannot end the account's flows: %w", err)
	}
	return nil
}

// sign completes claims and signs them; without a nonce they are a receipt's,
// which is a statement: it permits nothing.
func (s *Service) sign(c accountapi.Claims, nonce string, life time.Duration) (string, error) {
	id, err := s.newID()
	if err != nil {
		return "", err
	}
	now := s.now()
	c.Iat, c.Exp, c.Jti = now.Unix(), now.Add(life).Unix(), id
	if nonce != "" {
		c.Nonce = &nonce
	}
	typ := accountapi.TypeGrant
	if c.Purpose == accountapi.ClaimsPurposeStatement || c.Purpose == accountapi.ClaimsPurposeReceipt {
		typ = accountapi.TypeStatement
	}
	return s.signer.Sign(c, typ)
}

// newID returns 128 random bits in base64url.
func (s *Service) newID() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(s.random, b[:]); err != nil {
		return "", fmt.Errorf("cannot make an ID: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// wire returns the flow's current step without anything signed.
func (f Flow) wire() accountapi.FlowStep {
	out := accountapi.FlowStep{FlowId: f.ID, Step: f.Step}
	if f.Step != accountapi.Done {
		expires := f.ExpiresAt.Unix()
		out.Expires = &expires
	}
	if f.Step == accountapi.Code && f.SentTo != "" {
		out.SentTo = &f.SentTo
	}
	return out
}

// remember keeps the answer in the flow, for a request that is repeated.
func (f *Flow) remember(key string, step accountapi.FlowStep) error {
	b, err := json.Marshal(step)
	if err != nil {
		return fmt.Errorf("cannot keep an answer: %w", err)
	}
	f.answerKey, f.answer = key, string(b)
	return nil
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
