// SPDX-License-Identifier: Apache-2.0

package ticket_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/accountlock/accountlock/internal/firstboot/ticket"
)

const jws = "eyJhbGciOiJFZERTQSJ9.eyJwdXJwb3NlIjoidW5sb2NrIn0.c2lnbmF0dXJl"

func TestATicketIsFoundAmongWhateverAStickHolds(t *testing.T) {
	dir := t.TempDir()
	stick := filepath.Join(dir, "media", "stick")
	if err := os.MkdirAll(filepath.Join(stick, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(dir, "outside")
	for name, content := range map[string]string{
		filepath.Join(stick, "unlock.ticket"):         "\n" + jws + "\r\n",
		filepath.Join(stick, "notes.txt"):             "buy milk. and eggs. today",
		filepath.Join(stick, "large"):                 strings.Repeat("a", 5000) + "." + jws,
		filepath.Join(stick, "empty"):                 "",
		filepath.Join(stick, "folder", "deep.ticket"): jws,
		outside: jws,
	} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(stick, "link.ticket")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(stick, "pipe.ticket"), 0o644); err != nil {
		t.Fatal(err)
	}
	found := ticket.Find([]string{filepath.Join(dir, "media", "*"), filepath.Join(dir, "nothing", "*")})
	if len(found) != 1 || found[0].Name != "unlock.ticket" {
		t.Fatalf("found %v", found)
	}
	got, err := found[0].Read()
	if err != nil || string(got) != jws {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestATicketThatBecameAPipeDoesNotHoldTheScreenUp(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "t")
	if err := os.WriteFile(path, []byte(jws), 0o644); err != nil {
		t.Fatal(err)
	}
	found := ticket.Find([]string{dir})
	if len(found) != 1 {
		t.Fatal("not found")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := found[0].Read(); err == nil {
		t.Errorf("read %q from a pipe", s)
	}
}

func TestTheSearchIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		if err := os.WriteFile(filepath.Join(dir, strings.Repeat("x", i+1)), []byte(jws), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(ticket.Find([]string{dir})); n > 9 {
		t.Errorf("%d tickets are more than a menu holds", n)
	}
}
