// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/keys"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

// world is a trail in a database of its own.
type world struct {
	t    *testing.T
	db   *store.DB
	cfg  store.Config
	ring *keys.Ring
	log  *audit.Log
	// notes counts the entries that grow has added, so that no two are alike.
	notes int
}

func now() time.Time { return time.Date(2031, 4, 5, 6, 7, 8, 9, time.UTC) }

func newRing(t *testing.T) *keys.Ring {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, cfg: storetest.Config(t), ring: newRing(t)}
	w.db = storetest.OpenAt(t, w.cfg)
	w.log = audit.New(w.db, w.ring, now)
	return w
}

// grow adds n entries.
func (w *world) grow(n int) *world {
	w.t.Helper()
	for range n {
		w.notes++
		e := audit.Entry{Actor: "alice", Action: "case-note", Case: "482-177-359", Device: "7K2M-0QXA-9TBD", Account: "1234567890", Detail: fmt.Sprintf("note %d", w.notes)}
		if err := w.log.Record(w.t.Context(), e); err != nil {
			w.t.Fatal(err)
		}
	}
	return w
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	err := w.db.Tx(w.t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(w.t.Context(), query, args...)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestATrailOfAnEarlierVersionGoesOnWhole begins with entries as this program wrote them
// before it noted sign-ins: their hashes are of then.
func TestATrailOfAnEarlierVersionGoesOnWhole(t *testing.T) {
	w := newWorld(t)
	const first, second = "b70036a975dab71e309de90aa9b76a517cdc22c191d83da7f3916fea356c3de0", "99eccf8abef7798d41f65456b029a3ebc7d436f9dcf4851d9e2f79337f997482"
	w.exec(`INSERT INTO audit_entries (number, at, actor, action, case_number, account_id, device_id, detail, previous, hash)
VALUES (1, 1932962828000, 'console', 'staff-added', '', '', '', 'alice, agent', '', $1),
(2, 1932962829000, 'alice', 'case-opened', '482-177-359', '1234567890', '7K2M-0QXA-9TBD', '', $1, $2)`, first, second)
	signed, err := w.ring.Sign(audit.Head{Number: 2, Hash: second, Time: 1932962829}, audit.TypeHead)
	if err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE audit_head SET number = 2, hash = $1, signed = $2`, second, signed)
	kept := w.verify("")
	if !kept.Whole() || kept.Entries != 2 {
		t.Fatalf("%+v", kept)
	}
	for _, e := range []audit.Entry{
		{Actor: audit.Nobody, Action: "staff-refused", Detail: "a name that nobody has, at the console"}, {Actor: "alice", Action: "staff-signed-in"},
	} {
		if err := w.log.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.log.Touch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := w.verify(kept.Head); !r.Whole() || r.Entries != 4 {
		t.Errorf("%+v", r)
	}
	w.exec(`UPDATE audit_entries SET actor = 'alice' WHERE number = 3`)
	if r := w.verify(""); r.Whole() {
		t.Error("an attempt that was put on somebody is not noticed")
	}
}

func (w *world) verify(kept string) audit.Report {
	w.t.Helper()
	trusted, err := w.ring.Trusted()
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := w.log.Verify(w.t.Context(), trusted, kept)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// forge writes every entry's hash and place in the chain anew, as who has the
// database but not the key can.
func (w *world) forge() {
	w.t.Helper()
	all, err := w.log.List(w.t.Context(), audit.Filter{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	previous := ""
	for i := len(all) - 1; i >= 0; i-- {
		e := all[i]
		e.Previous = previous
		e.Hash = audit.Sum(e)
		previous = e.Hash
		w.exec(`UPDATE audit_entries SET previous = $1, hash = $2 WHERE number = $3`, e.Previous, e.Hash, e.Number)
	}
	w.exec(`UPDATE audit_head SET hash = $1 WHERE id = 1`, previous)
}

func TestATrailThatNobodyTouchedIsWhole(t *testing.T) {
	w := newWorld(t)
	if r := w.verify(""); !r.Whole() || r.Entries != 0 || r.Head != "" {
		t.Fatalf("empty: %+v", r)
	}
	r := w.grow(5).verify("")
	if !r.Whole() || r.Entries != 5 || r.Head == "" {
		t.Fatalf("%+v", r)
	}
	if again := w.grow(2).verify(r.Head); !again.Whole() || again.Entries != 7 {
		t.Fatalf("with the head of an earlier look: %+v", again)
	}
	for range 2 {
		// What was signed before a rotation is still trusted, and each rotation is noted.
		if _, err := w.ring.Rotate(); err != nil {
			t.Fatal(err)
		}
		w.grow(1)
	}
	if r := w.verify(""); !r.Whole() {
		t.Fatalf("after rotations: %+v", r)
	}
}

func TestEveryChangeOfTheTrailIsFoundAndSaysWhere(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world)
		says string
	}{
		"a word of an entry is changed": {
			func(w *world) { w.exec(`UPDATE audit_entries SET detail = 'nothing' WHERE number = 3`) }, "Entry 3 was changed",
		},
		"the actor is changed": {
			func(w *world) { w.exec(`UPDATE audit_entries SET actor = 'bob' WHERE number = 6`) }, "Entry 6 was changed",
		},
		"the time is changed": {
			func(w *world) { w.exec(`UPDATE audit_entries SET at = at + 1 WHERE number = 1`) }, "Entry 1 was changed",
		},
		"a word moves from one field to the next": {
			func(w *world) {
				w.exec(`UPDATE audit_entries SET account_id = account_id || device_id, device_id = '' WHERE number = 2`)
			}, "Entry 2 was changed",
		},
		"an entry is changed and its hash is made anew": {
			func(w *world) {
				all, _ := w.log.List(w.t.Context(), audit.Filter{Limit: 10})
				e := all[len(all)-3]
				e.Detail = "nothing"
				w.exec(`UPDATE audit_entries SET detail = 'nothing', hash = $1 WHERE number = 3`, audit.Sum(e))
			}, "Entry 4 does not follow entry 3",
		},
		"an entry is removed": {
			func(w *world) { w.exec(`DELETE FROM audit_entries WHERE number = 3`) }, "Entry 3 is missing",
		},
		"several are removed": {
			func(w *world) { w.exec(`DELETE FROM audit_entries WHERE number IN (2, 3, 4)`) }, "Entries 2 to 4 are missing",
		},
		"the first is removed": {
			func(w *world) { w.exec(`DELETE FROM audit_entries WHERE number = 1`) }, "Entry 1 is missing",
		},
		"an entry is removed and the others move up": {
			func(w *world) {
				w.exec(`DELETE FROM audit_entries WHERE number = 3`)
				for n := 4; n <= 6; n++ {
					w.exec(`UPDATE audit_entries SET number = $1 WHERE number = $2`, n-1, n)
				}
			}, "Entry 3 does not follow entry 2",
		},
		"two change their places": {
			func(w *world) {
				for _, m := range [][2]int{{2, 100}, {3, 2}, {100, 3}} {
					w.exec(`UPDATE audit_entries SET number = $1 WHERE number = $2`, m[1], m[0])
				}
			}, "Entry 2 does not follow entry 1",
		},
		"the end is cut off": {
			func(w *world) { w.exec(`DELETE FROM audit_entries WHERE number > 4`) }, "its end was cut off",
		},
		"the end is cut off and the head's numbers with it": {
			func(w *world) {
				w.exec(`DELETE FROM audit_entries WHERE number > 4`)
				w.exec(`UPDATE audit_head SET number = 4, hash = (SELECT hash FROM audit_entries WHERE number = 4)`)
			}, "The head was changed",
		},
		"all of it is removed": {
			func(w *world) { w.exec(`DELETE FROM audit_entries`) }, "its end was cut off",
		},
		"the head is removed": {
			func(w *world) { w.exec(`DELETE FROM audit_head`) }, "The signed head is missing",
		},
		"the head's signature is removed": {
			func(w *world) { w.exec(`UPDATE audit_head SET signed = ''`) }, "The signed head is missing, and there are entries",
		},
		"the whole is written anew": {
			func(w *world) {
				w.exec(`UPDATE audit_entries SET actor = 'bob'`)
				w.forge()
			}, "The head was changed",
		},
		"the whole is written anew under a key of somebody else's": {
			func(w *world) {
				w.exec(`UPDATE audit_entries SET actor = 'bob'`)
				w.forge()
				all, _ := w.log.List(w.t.Context(), audit.Filter{Limit: 1})
				token, _ := newRing(w.t).Sign(audit.Head{Number: all[0].Number, Hash: all[0].Hash}, audit.TypeHead)
				w.exec(`UPDATE audit_head SET signed = $1`, token)
			}, "not signed by a key of this service",
		},
		"an entry is added past the head": {
			func(w *world) {
				all, _ := w.log.List(w.t.Context(), audit.Filter{Limit: 1})
				e := all[0]
				e.Number, e.Previous = 7, e.Hash
				w.exec(`INSERT INTO audit_entries (number, at, actor, action, case_number, account_id, device_id, detail, previous, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, e.Number, e.At.UnixMilli(), e.Actor, e.Action, e.Case, e.Account, e.Device, e.Detail, e.Previous, audit.Sum(e))
			}, "entries were added past it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).grow(6)
			c.do(w)
			r := w.verify("")
			if r.Whole() || !strings.Contains(strings.Join(r.Breaks, "\n"), c.says) {
				t.Fatalf("found %q, want %q", r.Breaks, c.says)
			}
			if r.Head != "" {
				t.Error("a broken trail has a head to keep")
			}
		})
	}
}

func TestATrailPutBackToAnEarlierStateIsFoundByAHeadThatWasKept(t *testing.T) {
	w := newWorld(t).grow(3)
	early := w.verify("").Head
	var hash string
	if err := w.db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRowContext(t.Context(), `SELECT hash FROM audit_head`).Scan(&hash)
	}); err != nil {
		t.Fatal(err)
	}
	kept := w.grow(2).verify("").Head
	// Everything goes back, the signed head of that time too.
	w.exec(`DELETE FROM audit_entries WHERE number > 3`)
	w.exec(`UPDATE audit_head SET number = 3, hash = $1, signed = $2`, hash, early)
	if r := w.verify(""); !r.Whole() {
		t.Fatalf("alone it looks whole: %q", r.Breaks)
	}
	if r := w.verify(kept); r.Whole() || !strings.Contains(r.Breaks[0], "its end was cut off") {
		t.Fatalf("%q", r.Breaks)
	}
	// And grows again, to another end.
	w.grow(4)
	if r := w.verify(kept); r.Whole() || !strings.Contains(r.Breaks[0], "Entry 5 is not the one that the kept head names") {
		t.Fatalf("%q", r.Breaks)
	}
	if r := w.verify("not.a.head"); r.Whole() {
		t.Fatal("a head that is none passes")
	}
}

func TestServersOnOneDatabaseAddOneAfterTheOther(t *testing.T) {
	w := newWorld(t)
	other := audit.New(storetest.OpenAt(t, w.cfg), w.ring, now)
	const each = 15
	var wg sync.WaitGroup
	errs := make(chan error, 4*each)
	for i := range 4 {
		l := w.log
		if i%2 == 1 {
			l = other
		}
		wg.Go(func() {
			for n := range each {
				errs <- l.Record(t.Context(), audit.Entry{Actor: fmt.Sprint("staff-", i), Action: "case-note", Detail: fmt.Sprint(n)})
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if r := w.verify(""); !r.Whole() || r.Entries != 4*each {
		t.Fatalf("%+v", r)
	}
}

func TestWhatIsRolledBackLeavesNoEntryAndNoGap(t *testing.T) {
	w := newWorld(t).grow(1)
	stop := errors.New("it was not to be")
	err := w.db.Tx(t.Context(), func(tx *sql.Tx) error {
		if err := w.log.Append(t.Context(), tx, audit.Entry{Actor: "alice", Action: "release"}); err != nil {
			return err
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if r := w.grow(1).verify(""); !r.Whole() || r.Entries != 2 {
		t.Fatalf("%+v", r)
	}
}

func TestWithoutAHeadNothingIsNotedNorDone(t *testing.T) {
	w := newWorld(t).grow(1)
	w.exec(`DELETE FROM audit_head`)
	if err := w.log.Record(t.Context(), audit.Entry{Actor: "alice", Action: "release"}); err == nil {
		t.Fatal("an entry was added without a head")
	}
}

func TestEntriesAreFoundByWhatTheyAreAboutAndBounded(t *testing.T) {
	w := newWorld(t)
	for _, e := range []audit.Entry{
		{Actor: "alice", Action: "case-opened", Case: "1", Device: "d1", Account: "a1", Detail: strings.Repeat("ü", 3000)},
		{Actor: audit.Console, Action: "account-blocked", Account: "a1", Detail: "bad \xff byte"},
		{Actor: "bob", Action: "case-opened", Case: "2", Device: "d2", Account: "a2"},
	} {
		if err := w.log.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for want, f := range map[string]audit.Filter{
		"3 2 1": {Limit: 10}, "1": {Case: "1", Limit: 10}, "2 1": {Account: "a1", Limit: 10}, "3": {Device: "d2", Limit: 10},
		"3 2": {Limit: 2}, "2 ": {Before: 3, Limit: 1}, "": {Case: "3", Limit: 10},
	} {
		all, err := w.log.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range all {
			got = append(got, fmt.Sprint(e.Number))
			if len(e.Detail) > 1000 || !utf8.ValidString(e.Detail) {
				t.Errorf("a detail of %d bytes: %q", len(e.Detail), e.Detail[:20])
			}
		}
		if strings.Join(got, " ") != strings.TrimSpace(want) {
			t.Errorf("%+v: %v, want %s", f, got, want)
		}
	}
	if r := w.verify(""); !r.Whole() {
		t.Errorf("%q", r.Breaks)
	}
}
