// SPDX-License-Identifier: Apache-2.0

package support

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/store"
)

const caseColumns = `c.number, c.device_id, d.model, c.account_id, c.link_id, c.challenge, c.proven, c.region, c.locale,
c.opened_by, c.opened_at, c.asked_at, c.answered, c.outcome, c.closed_at`

func scanCase(row interface{ Scan(...any) error }) (Case, error) {
	var c Case
	var proven, opened, asked, closed int64
	err := row.Scan(&c.Number, &c.DeviceID, &c.Model, &c.AccountID, &c.LinkID, &c.Challenge, &proven, &c.Region, &c.Locale,
		&c.OpenedBy, &opened, &asked, &c.Given, &c.Outcome, &closed)
	c.Proven, c.Opened, c.Asked, c.Closed = proven != 0, timeOf(opened), timeOf(asked), timeOf(closed)
	return c, err
}

// timeOf is a time as it is stored; 0 is none.
func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// load returns a case with all that belongs to it, or fault.InvalidArgument.
func load(ctx context.Context, tx *sql.Tx, number string) (Case, error) {
	number, err := ParseNumber(number)
	if err != nil {
		return Case{}, err
	}
	c, err := scanCase(tx.QueryRowContext(ctx, `SELECT `+caseColumns+` FROM cases c JOIN devices d ON d.id = c.device_id WHERE c.number = $1`, number))
	if errors.Is(err, sql.ErrNoRows) {
		return Case{}, fault.Newf(fault.InvalidArgument, "There is no case %s.", number)
	}
	if err != nil {
		return Case{}, err
	}
	if c.Link, err = device.NewestLink(ctx, tx, c.DeviceID); err != nil {
		return Case{}, err
	}
	var nerr, aerr, perr error
	c.Notes, nerr = store.Collect(ctx, tx, func(rows *sql.Rows) (n Note, err error) {
		var at int64
		err = rows.Scan(&n.Staff, &at, &n.Text)
		n.At = timeOf(at)
		return n, err
	}, `SELECT staff, at, text FROM case_notes WHERE case_number = $1 ORDER BY position`, number)
	c.Answers, aerr = store.Collect(ctx, tx, func(rows *sql.Rows) (a Answer, err error) {
		var at, right int64
		err = rows.Scan(&a.Question, &a.Staff, &at, &right)
		a.At, a.Right = timeOf(at), right != 0
		return a, err
	}, `SELECT question, staff, at, correct FROM case_answers WHERE case_number = $1 ORDER BY position`, number)
	c.Approvals, perr = store.Collect(ctx, tx, func(rows *sql.Rows) (a Approval, err error) {
		var at int64
		err = rows.Scan(&a.StaffID, &a.Staff, &a.Action, &a.Generation, &at)
		a.At = timeOf(at)
		return a, err
	}, `SELECT a.staff_id, s.name, a.action, a.generation, a.at FROM case_approvals a JOIN staff s ON s.id = a.staff_id
WHERE a.case_number = $1 AND s.disabled_at = 0 ORDER BY a.at, s.name`, number)
	return c, errors.Join(nerr, aerr, perr)
}

// Get returns a case. One that is not there is fault.InvalidArgument.
func (s *Service) Get(ctx context.Context, number string) (Case, error) {
	var c Case
	err := s.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		c, err = load(ctx, tx, number)
		return err
	})
	return c, wrap("read a case", err)
}

// Filter says which cases, by the first of these that is given; the zero value is
// all that are open.
type Filter struct {
	// Device and Account are whose cases, closed ones too.
	Device, Account string
	// All: every case, closed ones too.
	All bool
	// Limit bounds how many; it must be given.
	Limit int
}

const (
	listed    = caseColumns + ` FROM cases c JOIN devices d ON d.id = c.device_id `
	listOpen  = `SELECT ` + listed + `WHERE c.outcome = '' AND c.opened_at > 0 ORDER BY c.opened_at DESC LIMIT $1`
	listAll   = `SELECT ` + listed + `WHERE c.opened_at > 0 ORDER BY c.opened_at DESC LIMIT $1`
	byDevice  = `SELECT ` + listed + `WHERE c.device_id = $1 ORDER BY c.opened_at DESC LIMIT $2`
	byAccount = `SELECT ` + listed + `WHERE c.account_id = $1 ORDER BY c.opened_at DESC LIMIT $2`
)

func (f Filter) query() (string, []any) {
	switch {
	case f.Device != "":
		return byDevice, []any{f.Device, f.Limit}
	case f.Account != "":
		return byAccount, []any{f.Account, f.Limit}
	case f.All:
		return listAll, []any{f.Limit}
	}
	return listOpen, []any{f.Limit}
}

// List returns cases without what belongs to them, the newest first.
func (s *Service) List(ctx context.Context, f Filter) ([]Case, error) {
	query, args := f.query()
	var out []Case
	err := s.DB.Read(ctx, func(tx *sql.Tx) (err error) {
		out, err = store.Collect(ctx, tx, func(rows *sql.Rows) (Case, error) { return scanCase(rows) }, query, args...)
		return err
	})
	return out, wrap("read cases", err)
}

// Owned returns the open cases about an account, with all that belongs to them.
func (s *Service) Owned(ctx context.Context, accountID string) ([]Case, error) {
	var out []Case
	err := s.DB.Read(ctx, func(tx *sql.Tx) error {
		out = nil
		numbers, err := store.Collect(ctx, tx, store.One[string], `SELECT number FROM cases WHERE account_id = $1 AND outcome = '' ORDER BY opened_at, number`, accountID)
		if err != nil {
			return err
		}
		for _, n := range numbers {
			c, err := load(ctx, tx, n)
			if err != nil {
				return err
			}
			out = append(out, c)
		}
		return nil
	})
	return out, wrap("read the cases of an account", err)
}
