// SPDX-License-Identifier: Apache-2.0

// Package audit owns the trail of what staff and the console have done: entries
// that are only ever added, each chained to the one before by its hash, the
// newest signed by the service's key. Who changes, removes, reorders or cuts off
// entries in the database is found by Verify, unless they also hold that key.
//
// It must not know what the actions mean or who may do them.
package audit

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// TypeHead is the `typ` of the signed newest entry.
const TypeHead = "accountlock-audit+jwt"

// maxDetail bounds, in bytes, what an entry says in words.
const maxDetail = 1000

// The actors that are no members of staff.
const (
	Console = "console"
	Device  = "device"
	Owner   = "owner"
	// Nobody has not proven who they are.
	Nobody = "nobody"
)

// Entry is one thing that was done.
type Entry struct {
	// Number counts from 1 without a gap.
	Number int64     `json:"number"`
	At     time.Time `json:"time"`
	// Actor is a member of staff by name, or Console, Device, Owner or Nobody.
	Actor  string `json:"actor"`
	Action string `json:"action"`
	// Case, Account and Device are what it was about; empty where it was about none.
	Case    string `json:"case,omitempty"`
	Account string `json:"account_id,omitempty"`
	Device  string `json:"device_id,omitempty"`
	// Detail is at most 1000 bytes, for people; it holds no secret.
	Detail string `json:"detail,omitempty"`
	// Previous is the hash of the entry before, empty in the first.
	Previous string `json:"previous"`
	Hash     string `json:"hash"`
}

// Head is the newest entry as the service signs it.
type Head struct {
	Number int64  `json:"number"`
	Hash   string `json:"hash"`
	// Time is when it was signed, in seconds since the epoch.
	Time int64 `json:"iat"`
}

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Read(ctx context.Context, fn func(*sql.Tx) error) error
}

// Signer signs the newest entry, as *keys.Ring does.
type Signer interface {
	Sign(v any, typ string) (string, error)
}

// Log is the trail of one database. It is safe for concurrent use, by several
// processes too.
type Log struct {
	db     DB
	signer Signer
	now    func() time.Time
}

// New returns the trail in db.
func New(db DB, signer Signer, now func() time.Time) *Log {
	return &Log{db: db, signer: signer, now: now}
}

// Append adds an entry within the transaction of what it tells of, so that
// nothing is done that is not noted. Number, At, Previous and Hash are filled in.
func (l *Log) Append(ctx context.Context, tx *sql.Tx, e Entry) error {
	e.Detail = shortened(e.Detail)
	e.At = l.now().UTC().Truncate(time.Millisecond)
	// The change comes before the reading: another server that adds at the same
	// moment waits here, and on PostgreSQL begins once more (40001).
	err := tx.QueryRowContext(ctx, `UPDATE audit_head SET number = number + 1 WHERE id = 1 RETURNING number, hash`).Scan(&e.Number, &e.Previous)
	if errors.Is(err, sql.ErrNoRows) {
		// fails shut: what cannot be noted is not done.
		return errors.New("cannot note what was done: the head of the audit trail is missing")
	}
	if err != nil {
		return fmt.Errorf("cannot note what was done: %w", err)
	}
	e.Hash = e.sum()
	signed, err := l.signer.Sign(Head{Number: e.Number, Hash: e.Hash, Time: e.At.Unix()}, TypeHead)
	if err != nil {
		return fmt.Errorf("cannot sign the audit trail: %w", err)
	}
	for _, q := range []struct {
		query string
		args  []any
	}{
		{`INSERT INTO audit_entries (number, at, actor, action, case_number, account_id, device_id, detail, previous, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, []any{
			e.Number, e.At.UnixMilli(), e.Actor, e.Action, e.Case, e.Account, e.Device, e.Detail, e.Previous, e.Hash,
		}},
		{`UPDATE audit_head SET hash = $1, signed = $2 WHERE id = 1`, []any{e.Hash, signed}},
	} {
		if _, err := tx.ExecContext(ctx, q.query, q.args...); err != nil {
			return fmt.Errorf("cannot note what was done: %w", err)
		}
	}
	return nil
}

// Record is Append in a transaction of its own.
func (l *Log) Record(ctx context.Context, e Entry) error {
	return l.db.Tx(ctx, func(tx *sql.Tx) error { return l.Append(ctx, tx, e) })
}

// Touch writes as Record does, and notes nothing.
func (l *Log) Touch(ctx context.Context) error {
	return l.db.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE audit_head SET number = number WHERE id = 1`); err != nil {
			return fmt.Errorf("cannot note what was done: %w", err)
		}
		return nil
	})
}

// sum is the hash of an entry: SHA-256, in hexadecimal, over each field with its
// length before it, so that none is taken for a part of another.
func (e Entry) sum() string {
	h := sha256.New()
	for _, f := range []string{
		"accountlock-audit-v1", strconv.FormatInt(e.Number, 10), strconv.FormatInt(e.At.UnixMilli(), 10),
		e.Actor, e.Action, e.Case, e.Account, e.Device, e.Detail, e.Previous,
	} {
		fmt.Fprintf(h, "%d:", len(f))
		io.WriteString(h, f) //nolint:errcheck // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil))
}

// shortened is text within maxDetail, in whole characters.
func shortened(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxDetail {
		return s
	}
	s = s[:maxDetail]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// Filter says which entries; the zero value is all.
type Filter struct {
	// Case, Account and Device are compared where they are not empty.
	Case, Account, Device string
	// Before leaves out entries from this number on; 0 leaves out none.
	Before int64
	// Limit bounds how many; it must be given.
	Limit int
}

const columns = `number, at, actor, action, case_number, account_id, device_id, detail, previous, hash`

func scan(rows *sql.Rows) (Entry, error) {
	var e Entry
	var at int64
	err := rows.Scan(&e.Number, &at, &e.Actor, &e.Action, &e.Case, &e.Account, &e.Device, &e.Detail, &e.Previous, &e.Hash)
	e.At = time.UnixMilli(at).UTC()
	return e, err
}

// List returns entries, the newest first.
func (l *Log) List(ctx context.Context, f Filter) ([]Entry, error) {
	query, args := `SELECT `+columns+` FROM audit_entries`, []any{}
	word := " WHERE "
	where := func(column, compare string, value any) {
		args = append(args, value)
		query += word + column + compare + "$" + strconv.Itoa(len(args))
		word = " AND "
	}
	for _, c := range []struct{ column, value string }{{"case_number", f.Case}, {"account_id", f.Account}, {"device_id", f.Device}} {
		if c.value != "" {
			where(c.column, " = ", c.value)
		}
	}
	if f.Before > 0 {
		where("number", " < ", f.Before)
	}
	args = append(args, f.Limit)
	query += " ORDER BY number DESC LIMIT $" + strconv.Itoa(len(args))
	var out []Entry
	err := l.db.Read(ctx, func(tx *sql.Tx) (err error) {
		out, err = read(ctx, tx, query, args...)
		return err
	})
	return out, err
}

func read(ctx context.Context, tx *sql.Tx, query string, args ...any) ([]Entry, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("cannot read the audit trail: %w", err)
	}
	defer rows.Close()
	out := []Entry{}
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("cannot read the audit trail: %w", err)
		}
		out = append(out, e)
	}
	return out, rows.Err()
}
