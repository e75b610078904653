// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/journal"
	"github.com/accountlock/accountlock/internal/lock"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("JOURNAL_TEST_ROLE"); role != "" {
		os.Exit(child(role, os.Getenv("JOURNAL_TEST_DIR")))
	}
	// The driver's pool opens a goroutine for each database and ends it on Close.
	goleak.VerifyTestMain(m)
}

// at is the wall clock of these tests.
func at() time.Time { return time.Unix(1700000000, 0) }

func open(t testing.TB, dir string) *journal.Journal {
	t.Helper()
	j := journal.New(dir, at, slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func op(i int) flow.Operation {
	return flow.Operation{FlowID: fmt.Sprintf("flow-%04d", i), Kind: lock.KindSignOut, LinkID: fmt.Sprintf("link-%04d", i)}
}

func pending(t testing.TB, j *journal.Journal) []flow.Operation {
	t.Helper()
	ops, err := j.Pending(context.Background())
	must(t, err)
	return ops
}

func query[T any](t testing.TB, dir, q string) []T {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "journal.db"))
	must(t, err)
	defer db.Close()
	rows, err := db.Query(q)
	must(t, err)
	defer rows.Close()
	var out []T
	for rows.Next() {
		var v T
		must(t, rows.Scan(&v))
		out = append(out, v)
	}
	must(t, rows.Err())
	return out
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestReadingMakesNoFile(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	if ops := pending(t, j); len(ops) != 0 {
		t.Fatalf("got %v", ops)
	}
	when, err := j.LastCheckIn(t.Context())
	must(t, err)
	must(t, j.WipeAccount(t.Context()))
	must(t, j.Close())
	if names := files(t, dir); when != 0 || len(names) != 0 {
		t.Fatalf("last check-in %d, files %v", when, names)
	}
}

func TestAnOperationIsPendingFromItsBeginToItsEnd(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	for i := range 3 {
		must(t, j.Begin(t.Context(), op(i)))
	}
	must(t, j.Begin(t.Context(), op(1)))
	must(t, j.End(t.Context(), op(0).FlowID, "done"))
	must(t, j.End(t.Context(), "no such flow", "done"))
	for _, j := range []*journal.Journal{j, open(t, dir)} {
		if got := pending(t, j); len(got) != 2 || got[0] != op(1) || got[1] != op(2) {
			t.Fatalf("got %v", got)
		}
		must(t, j.Close())
	}
	// Ended, and then taken up again.
	j = open(t, dir)
	must(t, j.End(t.Context(), op(2).FlowID, "dropped"))
	must(t, j.Begin(t.Context(), op(2)))
	if got := pending(t, j); len(got) != 2 {
		t.Fatalf("got %v", got)
	}
}

func TestTheLastCheckInIsKept(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []int64{5, 7, 6} {
		j := open(t, dir)
		must(t, j.SetLastCheckIn(t.Context(), v))
		must(t, j.Close())
		if got, err := open(t, dir).LastCheckIn(t.Context()); err != nil || got != v {
			t.Fatalf("got %d, %v", got, err)
		}
	}
}

func TestOnlyTheDaemonsUserMayReadIt(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	must(t, j.Begin(t.Context(), op(1)))
	for _, name := range files(t, dir) {
		st, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, st.Mode())
		}
	}
}

func TestTheAuditTrailKeepsItsNewestLines(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	must(t, j.Note(t.Context(), "first", ""))
	must(t, j.Close())
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "journal.db"))
	must(t, err)
	_, err = db.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000) INSERT INTO audit (at, event, detail) SELECT i, 'old', '' FROM n`)
	must(t, err)
	must(t, db.Close())
	j = open(t, dir)
	must(t, j.Note(t.Context(), strings.Repeat("e", 1000), strings.Repeat("é", 1000)))
	must(t, j.Note(t.Context(), "last", "half of a character: \xc3"))
	must(t, j.Close())
	if n := query[int](t, dir, `SELECT count(*) FROM audit`); n[0] != 5000 {
		t.Fatalf("%d lines", n[0])
	}
	if e := query[string](t, dir, `SELECT event FROM audit ORDER BY id DESC LIMIT 1`); e[0] != "last" {
		t.Fatalf("the newest is %q", e[0])
	}
	for _, d := range query[string](t, dir, `SELECT detail FROM audit ORDER BY id DESC LIMIT 2`) {
		if len(d) > 500 || !utf8.ValidString(d) {
			t.Fatalf("%d bytes: %q", len(d), d)
		}
	}
}

func TestOperationsThatAreOverDoNotPileUp(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	must(t, j.Begin(t.Context(), op(9999)))
	for i := range 130 {
		must(t, j.Begin(t.Context(), op(i)))
		must(t, j.End(t.Context(), op(i).FlowID, "done"))
	}
	if got := pending(t, j); len(got) != 1 || got[0] != op(9999) {
		t.Fatalf("got %v", got)
	}
	must(t, j.Close())
	if n := query[int](t, dir, `SELECT count(*) FROM operations WHERE outcome <> ''`); n[0] != 100 {
		t.Fatalf("%d are kept", n[0])
	}
}

func TestWhatIsWipedIsInNoFile(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	secretive := flow.Operation{FlowID: "flow-of-the-account", Kind: lock.KindUnlink, LinkID: "link-of-the-account"}
	must(t, j.Begin(t.Context(), secretive))
	must(t, j.Begin(t.Context(), op(1)))
	must(t, j.End(t.Context(), secretive.FlowID, "done"))
	must(t, j.WipeAccount(t.Context()))
	for _, name := range files(t, dir) {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		if bytes.Contains(raw, []byte("of-the-account")) {
			t.Errorf("%s still names it", name)
		}
	}
	if got := pending(t, j); len(got) != 1 || got[0] != op(1) {
		t.Fatalf("what is not over is %v", got)
	}
}

func TestAnErrorSaysWhatFailedAndNotItsText(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "absent"))
	err := j.Begin(t.Context(), op(1))
	f := fault.As(err)
	if f.Code != fault.StorageFailed || f.Err == nil || strings.Contains(f.Message, "absent") || !strings.Contains(f.Message, "note the operation") {
		t.Fatalf("got %+v", f)
	}
	if _, err := j.Pending(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatIsNoneIsRefused(t *testing.T) {
	for name, make := range map[string]func(string) error{
		"a folder":            func(p string) error { return os.Mkdir(p, 0o700) },
		"a link":              func(p string) error { return os.Symlink("/dev/null", p) },
		"a link that dangles": func(p string) error { return os.Symlink("/nonexistent/x", p) },
		"a pipe":              mkfifo,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, make(filepath.Join(dir, "journal.db")))
			if err := open(t, dir).Begin(t.Context(), op(1)); fault.CodeOf(err) != fault.StorageFailed {
				t.Fatal(err)
			}
		})
	}
}

func TestACallerWhoLeavesLeavesTheJournalGood(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	must(t, j.Begin(t.Context(), op(1)))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Begin(gone, op(2)); fault.CodeOf(err) != fault.StorageFailed {
		t.Fatal(err)
	}
	must(t, j.Begin(t.Context(), op(3)))
	if got := pending(t, j); len(got) != 2 {
		t.Fatalf("got %v", got)
	}
}

func BenchmarkOpenAnExistingJournal(b *testing.B) {
	dir := b.TempDir()
	j := open(b, dir)
	for i := range 50 {
		must(b, j.Begin(b.Context(), op(i)))
		must(b, j.End(b.Context(), op(i).FlowID, "done"))
		must(b, j.Note(b.Context(), "state", "linked -> signed-out: a rule"))
	}
	must(b, j.SetLastCheckIn(b.Context(), 5))
	must(b, j.Close())
	for b.Loop() {
		j := open(b, dir)
		if _, err := j.LastCheckIn(b.Context()); err != nil {
			b.Fatal(err)
		}
		must(b, j.Close())
	}
}

// BenchmarkOpenAnAbsentJournal is the floor: what an unlinked device pays.
func BenchmarkOpenAnAbsentJournal(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		j := journal.New(dir, at, slog.Default())
		if _, err := j.LastCheckIn(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNoteAnOperation(b *testing.B) {
	j := open(b, b.TempDir())
	for i := 0; b.Loop(); i++ {
		must(b, j.Begin(b.Context(), op(1)))
	}
}
