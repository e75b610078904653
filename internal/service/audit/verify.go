// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"crypto"
	"database/sql"
	"errors"
	"fmt"

	"github.com/accountlock/accountlock/internal/accountapi"
)

// batch is how many entries are read at once.
const batch = 1000

// maxBreaks bounds what Verify tells of: one change may break all that follows.
const maxBreaks = 20

// Report is what Verify has found.
type Report struct {
	// Entries is how many there are.
	Entries int64 `json:"entries"`
	// Breaks says in words what does not hold, in the order of the entries, at
	// most twenty; none is a trail that is whole.
	Breaks []string `json:"breaks"`
	// Head is the newest entry, signed, to be kept elsewhere and given to a later
	// Verify; empty where it does not verify or there is no entry.
	Head string `json:"head"`
}

// Whole reports whether nothing is broken.
func (r Report) Whole() bool { return len(r.Breaks) == 0 }

func (r *Report) broken(format string, args ...any) {
	if len(r.Breaks) < maxBreaks {
		r.Breaks = append(r.Breaks, fmt.Sprintf(format, args...))
	}
}

// Verify reads the whole trail and says where its chain breaks. trusted are the
// keys, by thumbprint, of which one must have signed the newest entry. kept is a
// Head of an earlier Report, or empty: with it a trail that was put back to an
// earlier state, together with the head of that time, is found out too. The error
// is that of a database that cannot be read; a kept head that is none of this
// service is a break.
func (l *Log) Verify(ctx context.Context, trusted map[string]crypto.PublicKey, kept string) (Report, error) {
	var r Report
	err := l.db.Read(ctx, func(tx *sql.Tx) error {
		r = Report{Breaks: []string{}}
		return (&verifier{Report: &r, tx: tx, trusted: trusted}).run(ctx, kept)
	})
	return r, err
}

// verifier is one run over one state of the database.
type verifier struct {
	*Report
	tx      *sql.Tx
	trusted map[string]crypto.PublicKey
	// last is the entry read last.
	last Entry
	// kept is what an earlier head says; Number 0 is none.
	kept Head
}

func (v *verifier) run(ctx context.Context, kept string) error {
	if kept != "" {
		if err := accountapi.Open(kept, TypeHead, v.trusted, &v.kept); err != nil {
			v.broken("The head that was kept is not signed by this service: %s.", err)
			v.kept = Head{}
		}
	}
	for {
		rows, err := read(ctx, v.tx, `SELECT `+columns+` FROM audit_entries WHERE number > $1 ORDER BY number LIMIT $2`, v.last.Number, batch)
		if err != nil {
			return err
		}
		for _, e := range rows {
			v.entry(e)
		}
		if len(rows) < batch {
			break
		}
	}
	return v.head(ctx)
}

// entry looks at the next entry.
func (v *verifier) entry(e Entry) {
	v.Entries++
	before := v.last
	v.last = e
	switch {
	case e.Number != before.Number+1 && e.Number == before.Number+2:
		v.broken("Entry %d is missing.", before.Number+1)
	case e.Number != before.Number+1:
		v.broken("Entries %d to %d are missing.", before.Number+1, e.Number-1)
	case e.Previous != before.Hash && before.Number == 0:
		v.broken("Entry 1 follows another entry: what came before it was removed.")
	case e.Previous != before.Hash:
		v.broken("Entry %d does not follow entry %d: one of them was replaced.", e.Number, before.Number)
	}
	if e.Hash != e.sum() {
		v.broken("Entry %d was changed: its hash is not that of what it says.", e.Number)
	}
	if e.Number == v.kept.Number && e.Hash != v.kept.Hash {
		v.broken("Entry %d is not the one that the kept head names: the trail was written anew.", e.Number)
	}
}

// head compares the signed newest entry with the last one read.
func (v *verifier) head(ctx context.Context) error {
	var number int64
	var hash, token string
	err := v.tx.QueryRowContext(ctx, `SELECT number, hash, signed FROM audit_head WHERE id = 1`).Scan(&number, &hash, &token)
	if errors.Is(err, sql.ErrNoRows) {
		v.broken("The signed head is missing.")
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the head of the audit trail: %w", err)
	}
	if v.kept.Number > v.last.Number {
		v.broken("The kept head names entry %d, and the trail ends with entry %d: its end was cut off.", v.kept.Number, v.last.Number)
	}
	if token == "" {
		if v.Entries > 0 || number > 0 {
			v.broken("The signed head is missing, and there are entries.")
		}
		return nil
	}
	var signed Head
	if err := accountapi.Open(token, TypeHead, v.trusted, &signed); err != nil {
		v.broken("The head is not signed by a key of this service: %s.", err)
		return nil
	}
	switch {
	case signed.Number != number || signed.Hash != hash:
		v.broken("The head was changed: it says entry %d, and what was signed says entry %d.", number, signed.Number)
	case signed.Number > v.last.Number:
		v.broken("The trail ends with entry %d, and the signed head names entry %d: its end was cut off.", v.last.Number, signed.Number)
	case signed.Number < v.last.Number:
		v.broken("The signed head names entry %d, and the trail goes on to entry %d: entries were added past it.", signed.Number, v.last.Number)
	case signed.Hash != v.last.Hash:
		v.broken("The last entry is not the one that was signed: the trail was written anew.")
	case v.Whole():
		v.Head = token
	}
	return nil
}
