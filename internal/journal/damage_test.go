// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"bytes"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/journal"
)

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }

const page = 4096

// whole returns the bytes of a journal of some size, cleanly closed.
func whole(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	j := open(t, dir)
	for i := range 12 {
		must(t, j.Begin(t.Context(), op(i)))
	}
	for range 60 {
		must(t, j.Note(t.Context(), "state", strings.Repeat("x", 400)))
	}
	must(t, j.SetLastCheckIn(t.Context(), 5))
	must(t, j.Close())
	raw, err := os.ReadFile(filepath.Join(dir, "journal.db"))
	must(t, err)
	return raw
}

// useful shows that a journal takes everything that the daemon brings, and gives
// it back.
func useful(t *testing.T, dir string, log *slog.Logger) {
	t.Helper()
	takes(t, dir, log)
	again := open(t, dir)
	if v, err := again.LastCheckIn(t.Context()); err != nil || v != 7 {
		t.Fatalf("last check-in %d, %v", v, err)
	}
	must(t, again.Close())
	if ok := query[string](t, dir, "PRAGMA integrity_check"); ok[0] != "ok" {
		t.Fatalf("left with %q", ok)
	}
}

// takes shows that a journal takes everything that the daemon brings.
func takes(t *testing.T, dir string, log *slog.Logger) {
	t.Helper()
	j := journal.New(dir, at, log)
	defer j.Close()
	pending(t, j)
	_, err := j.LastCheckIn(t.Context())
	must(t, err)
	must(t, j.Note(t.Context(), "state", "after"))
	must(t, j.SetLastCheckIn(t.Context(), 7))
	must(t, j.WipeAccount(t.Context()))
	must(t, j.Begin(t.Context(), op(500)))
	got := pending(t, j)
	if len(got) == 0 || got[len(got)-1] != op(500) {
		t.Fatalf("pending: %v", got)
	}
	must(t, j.Close())
}

func TestADamagedJournalIsKeptAsideAndBegunAnew(t *testing.T) {
	raw := whole(t)
	random := make([]byte, 3*page)
	_, _ = rand.Read(random)
	cases := map[string][]byte{
		"garbage": random, "text": []byte(strings.Repeat("not a database\n", 1000)), "zeros": make([]byte, 3*page), "one byte": {7},
		"a header and garbage": append(append([]byte{}, raw[:100]...), random...),
	}
	for n := page; n < len(raw); n += page {
		cases[fmt.Sprintf("cut at page %d of %d", n/page, len(raw)/page)] = raw[:n]
		cases[fmt.Sprintf("cut within page %d", n/page)] = raw[:n+page/2]
	}
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, "journal.db"), content, 0o600))
			var log bytes.Buffer
			useful(t, dir, slog.New(slog.NewTextHandler(&log, nil)))
			_, err := os.Stat(filepath.Join(dir, "journal.db.damaged"))
			if kept := err == nil; kept != strings.Contains(log.String(), "the journal is damaged; it is kept aside and begun anew") {
				t.Fatalf("kept: %v, but the log says: %s", kept, &log)
			}
		})
	}
	if len(raw) < 8*page {
		t.Fatalf("the journal had %d pages only", len(raw)/page)
	}
}

// Damage in the middle shows when it is come upon, and then no call fails for it.
func TestAnOverwrittenPageFailsNoCall(t *testing.T) {
	raw := whole(t)
	random := make([]byte, page)
	_, _ = rand.Read(random)
	for n := 0; n < len(raw); n += page {
		for what, fill := range map[string][]byte{"random bytes": random, "zeros": make([]byte, page), "another page": raw[len(raw)-page:]} {
			t.Run(fmt.Sprintf("page %d with %s", n/page, what), func(t *testing.T) {
				dir := t.TempDir()
				wild := bytes.Clone(raw)
				copy(wild[n:], fill)
				must(t, os.WriteFile(filepath.Join(dir, "journal.db"), wild, 0o600))
				takes(t, dir, slog.New(slog.DiscardHandler))
				takes(t, dir, slog.New(slog.DiscardHandler))
			})
		}
	}
}

func TestAnEmptyFileIsANewJournal(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "journal.db"), nil, 0o600))
	useful(t, dir, slog.Default())
	if names := files(t, dir); len(names) != 1 {
		t.Fatalf("got %v", names)
	}
}

func TestTheSecondDamagedJournalTakesThePlaceOfTheFirst(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		must(t, os.WriteFile(filepath.Join(dir, "journal.db"), bytes.Repeat([]byte{byte('a' + i)}, page), 0o600))
		useful(t, dir, slog.New(slog.DiscardHandler))
	}
	kept, err := os.ReadFile(filepath.Join(dir, "journal.db.damaged"))
	if err != nil || kept[0] != 'c' || len(files(t, dir)) != 2 {
		t.Fatalf("kept %q, files %v, %v", kept[:1], files(t, dir), err)
	}
}

func TestDamageWithALogBesideItIsKeptWithItsLog(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"journal.db": strings.Repeat("garbage ", page), "journal.db-wal": "old log", "journal.db-shm": "old index"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	useful(t, dir, slog.New(slog.DiscardHandler))
	if raw, err := os.ReadFile(filepath.Join(dir, "journal.db.damaged")); err != nil || !strings.HasPrefix(string(raw), "garbage") {
		t.Fatalf("%q, %v", raw, err)
	}
}

func TestANewerJournalIsRefusedAndLeftAsItIs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	j := open(t, dir)
	must(t, j.Begin(t.Context(), op(1)))
	must(t, j.Close())
	db, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	_, err = db.Exec("PRAGMA user_version = 99")
	must(t, err)
	must(t, db.Close())
	before, err := os.ReadFile(path)
	must(t, err)
	j = open(t, dir)
	_, perr := j.Pending(t.Context())
	_, cerr := j.LastCheckIn(t.Context())
	for _, err := range []error{
		perr, cerr, j.Begin(t.Context(), op(2)), j.End(t.Context(), op(1).FlowID, "done"),
		j.Note(t.Context(), "x", ""), j.SetLastCheckIn(t.Context(), 5), j.WipeAccount(t.Context()),
	} {
		if fault.CodeOf(err) != fault.StorageFailed || !strings.Contains(err.Error(), "schema 99, newer than") {
			t.Fatalf("got %v", err)
		}
	}
	must(t, j.Close())
	after, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(before, after) || len(files(t, dir)) != 1 {
		t.Fatalf("it was changed: %v", files(t, dir))
	}
}

func TestAMigrationThatWasCutShortIsTakenUp(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	must(t, j.Begin(t.Context(), op(1)))
	must(t, j.Close())
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "journal.db"))
	must(t, err)
	_, err = db.Exec("PRAGMA user_version = 0")
	must(t, err)
	must(t, db.Close())
	if got := pending(t, open(t, dir)); len(got) != 1 || got[0] != op(1) {
		t.Fatalf("got %v", got)
	}
}
