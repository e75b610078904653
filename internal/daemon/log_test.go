// SPDX-License-Identifier: Apache-2.0

package daemon_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/accountlock/accountlock/internal/daemon"
	"github.com/accountlock/accountlock/internal/secret"
)

type entry struct {
	text     string
	priority journal.Priority
	fields   map[string]string
}

// journalLog returns a log to the journal, and where its entries arrive.
func journalLog(level slog.Level) (*slog.Logger, *[]entry) {
	var got []entry
	return daemon.NewJournalLog(level, func(text string, p journal.Priority, fields map[string]string) error {
		got = append(got, entry{text, p, fields})
		return nil
	}), &got
}

func TestAnEntryHasItsFieldsAndItsMessageID(t *testing.T) {
	log, got := journalLog(slog.LevelInfo)
	log.With("flow-id", 7).Error("the record store is not as it should be", "error", errors.New("no such\ndevice"), "Größe", "x")
	if len(*got) != 1 {
		t.Fatalf("%d entries", len(*got))
	}
	e := (*got)[0]
	want := map[string]string{
		"MESSAGE_ID":          daemon.MessageIDs["the record store is not as it should be"],
		"ACCOUNTLOCK_FLOW_ID": "7", "ACCOUNTLOCK_ERROR": "no such\ndevice", "ACCOUNTLOCK_GR__E": "x",
	}
	if len(e.fields) != len(want) {
		t.Errorf("fields %v", e.fields)
	}
	for name, v := range want {
		if e.fields[name] != v || v == "" {
			t.Errorf("%s is %q, not %q", name, e.fields[name], v)
		}
	}
	if e.text != `the record store is not as it should be flow-id="7" error="no such\ndevice" Größe="x"` {
		t.Errorf("text %q", e.text)
	}
}

func TestAnEntryWithoutAMessageIDHasNone(t *testing.T) {
	log, got := journalLog(slog.LevelInfo)
	log.Info("something else")
	if _, has := (*got)[0].fields["MESSAGE_ID"]; has {
		t.Fatalf("%v", (*got)[0].fields)
	}
}

func TestThePriorityFollowsTheLevel(t *testing.T) {
	log, got := journalLog(slog.LevelDebug)
	log.Debug("a")
	log.Info("b")
	log.Warn("c")
	log.Error("d")
	want := []journal.Priority{journal.PriDebug, journal.PriInfo, journal.PriWarning, journal.PriErr}
	for i, e := range *got {
		if e.priority != want[i] {
			t.Errorf("%s has priority %d, not %d", e.text, e.priority, want[i])
		}
	}
	if len(*got) != len(want) {
		t.Fatalf("%d entries", len(*got))
	}
	quiet, none := journalLog(slog.LevelInfo)
	quiet.Debug("a")
	if len(*none) != 0 {
		t.Fatal("a debug entry at level info")
	}
}

func TestASecretInAnEntryIsRedacted(t *testing.T) {
	type holder struct{ Password secret.Bytes }
	log, got := journalLog(slog.LevelDebug)
	s := secret.Bytes("hunter2")
	log.With("w", s).Info("x", "s", s, "h", holder{s}, "p", &holder{s}, "g", slog.GroupValue(slog.Any("s", s)))
	e := (*got)[0]
	all := e.text
	for _, v := range e.fields {
		all += v
	}
	if strings.Contains(all, "hunter2") || strings.Contains(all, "104 117") || !strings.Contains(all, "[redacted]") {
		t.Fatal(all)
	}
}

func TestWithDoesNotChangeTheLogItCameFrom(t *testing.T) {
	log, got := journalLog(slog.LevelInfo)
	base := log.With("a", 1)
	base.With("b", 2).Info("x")
	base.With("c", 3).Info("y")
	base.Info("z")
	for i, want := range []string{`x a="1" b="2"`, `y a="1" c="3"`, `z a="1"`} {
		if (*got)[i].text != want {
			t.Errorf("got %q, want %q", (*got)[i].text, want)
		}
	}
}

// catalogEntry is one entry of a message catalog.
type catalogEntry struct {
	headers map[string]string
	body    string
}

func catalog(t *testing.T) map[string]catalogEntry {
	t.Helper()
	raw, err := os.ReadFile("../../packaging/accountlock.catalog")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]catalogEntry{}
	for _, part := range strings.Split("\n"+string(raw), "\n-- ")[1:] {
		id, rest, _ := strings.Cut(part, "\n")
		head, body, _ := strings.Cut(rest, "\n\n")
		e := catalogEntry{headers: map[string]string{}, body: strings.TrimSpace(body)}
		for _, line := range strings.Split(head, "\n") {
			name, v, _ := strings.Cut(line, ": ")
			e.headers[name] = v
		}
		if _, twice := out[id]; twice {
			t.Errorf("%s is there twice", id)
		}
		out[id] = e
	}
	return out
}

func TestEachMessageIDIsInTheCatalogAndItsTextInTheSource(t *testing.T) {
	source := sources(t)
	entries := catalog(t)
	seen := map[string]bool{}
	field := regexp.MustCompile(`@([A-Z_]+)@`)
	for text, id := range daemon.MessageIDs {
		if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) || seen[id] {
			t.Errorf("%q has the ID %q: not 32 hexadecimal digits, or another's", text, id)
		}
		seen[id] = true
		call := regexp.MustCompile(`\.(Debug|Info|Warn|Error)\("` + regexp.QuoteMeta(text) + `"([^\n]*)`).FindStringSubmatch(source)
		if call == nil {
			t.Errorf("nothing logs %q", text)
			continue
		}
		e, ok := entries[id]
		if !ok || e.headers["Subject"] == "" || e.headers["Documentation"] == "" || e.headers["Defined-By"] != "accountlock" || e.body == "" {
			t.Errorf("the catalog's entry for %q is %+v", text, e)
		}
		for _, m := range field.FindAllStringSubmatch(e.body, -1) {
			key := strings.ToLower(strings.TrimPrefix(m[1], "ACCOUNTLOCK_"))
			if !strings.Contains(call[2], `"`+key+`"`) {
				t.Errorf("the catalog's entry for %q shows %s, which the entry does not have: %s", text, m[0], call[0])
			}
		}
	}
	for id := range entries {
		if !seen[id] {
			t.Errorf("nothing has the catalog's ID %s", id)
		}
	}
}

// sources returns what the programs on the device are made of.
func sources(t *testing.T) string {
	t.Helper()
	var files []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "../service/") {
			return err
		}
		files = append(files, path)
		return nil
	})
	var b strings.Builder
	for _, path := range files {
		raw, rerr := os.ReadFile(path)
		err = errors.Join(err, rerr)
		b.Write(raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
