// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// Flow is one conversation as the database holds it.
type Flow struct {
	ID       string
	DeviceID string
	// KeyID is the device's key that the flow was begun with.
	KeyID string
	Kind  accountapi.FlowKind
	// Step is what the flow waits for.
	Step accountapi.StepName
	// Nonce is the device's newest, which grants answer.
	Nonce          string
	Region, Locale string
	// Identifier is what a person typed; UseHint says that they meant the
	// account of the link instead.
	Identifier string
	UseHint    bool
	// AccountID and Hint are of the account whose password was right.
	AccountID, Hint string
	// SentTo is where a code went, masked.
	SentTo string
	// LinkID is the link that the flow is about, or has reserved.
	LinkID    string
	Committed bool
	ExpiresAt time.Time

	// was is the step that the database holds.
	was               accountapi.StepName
	version           int64
	answerKey, answer string
}

const flowColumns = `id, device_id, key_id, kind, step, nonce, region, locale, identifier, use_hint,
account_id, hint, sent_to, link_id, committed, expires_at, version, answer_key, answer`

const flowQuery = `SELECT ` + flowColumns + ` FROM flows WHERE id = $1`

func (f *Flow) into(expires *int64) []any {
	return []any{
		&f.ID, &f.DeviceID, &f.KeyID, &f.Kind, &f.Step, &f.Nonce, &f.Region, &f.Locale, &f.Identifier, &f.UseHint,
		&f.AccountID, &f.Hint, &f.SentTo, &f.LinkID, &f.Committed, expires, &f.version, &f.answerKey, &f.answer,
	}
}

// load returns a flow within a transaction, or fault.Timeout for one that is not
// there or has ended.
func load(ctx context.Context, tx *sql.Tx, id string, now time.Time) (Flow, error) {
	var (
		f       Flow
		expires int64
	)
	err := tx.QueryRowContext(ctx, flowQuery, id).Scan(f.into(&expires)...)
	return f.loaded(expires, err, now)
}

// read is load outside a transaction.
func (s *Service) read(ctx context.Context, id string) (Flow, error) {
	var (
		f       Flow
		expires int64
	)
	err := s.db.SelectRow(ctx, flowQuery, []any{id}, f.into(&expires)...)
	return f.loaded(expires, err, s.now())
}

func (f Flow) loaded(expires int64, err error, now time.Time) (Flow, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return Flow{}, fault.New(fault.Timeout, nil)
	}
	if err != nil {
		return Flow{}, fmt.Errorf("cannot read a flow: %w", err)
	}
	f.ExpiresAt, f.was = time.UnixMilli(expires), f.Step
	if !now.Before(f.ExpiresAt) {
		return Flow{}, fault.New(fault.Timeout, nil)
	}
	return f, nil
}

func insert(ctx context.Context, tx *sql.Tx, f Flow, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO flows
(id, device_id, key_id, kind, step, nonce, region, locale, use_hint, link_id, begun_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		f.ID, f.DeviceID, f.KeyID, string(f.Kind), string(f.Step), f.Nonce, f.Region, f.Locale, number(f.UseHint), f.LinkID,
		now.UnixMilli(), f.ExpiresAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("cannot write a flow: %w", err)
	}
	return nil
}

// errOvertaken is the error of an answer to a flow that another one has changed
// meanwhile.
var errOvertaken = errors.New("the flow was changed meanwhile")

// unchanged returns errOvertaken unless the flow is as it was read.
func unchanged(ctx context.Context, tx *sql.Tx, f Flow) error {
	var version int64
	err := tx.QueryRowContext(ctx, `SELECT version FROM flows WHERE id = $1`, f.ID).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) || (err == nil && version != f.version) {
		return errOvertaken
	}
	if err != nil {
		return fmt.Errorf("cannot read a flow: %w", err)
	}
	return nil
}

// save writes a flow, or returns errOvertaken if it is not as it was read.
func save(ctx context.Context, tx *sql.Tx, f Flow) error {
	res, err := tx.ExecContext(ctx, `UPDATE flows SET step = $1, nonce = $2, identifier = $3, use_hint = $4, account_id = $5,
hint = $6, sent_to = $7, link_id = $8, committed = $9, expires_at = $10, answer_key = $11, answer = $12, version = version + 1
WHERE id = $13 AND version = $14`,
		string(f.Step), f.Nonce, f.Identifier, number(f.UseHint), f.AccountID, f.Hint, f.SentTo, f.LinkID,
		number(f.Committed), f.ExpiresAt.UnixMilli(), f.answerKey, f.answer, f.ID, f.version)
	if err != nil {
		return fmt.Errorf("cannot write a flow: %w", err)
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return errOvertaken
	}
	return err
}

// number is a truth value as the database keeps it.
func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
