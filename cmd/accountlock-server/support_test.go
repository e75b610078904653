// SPDX-License-Identifier: Apache-2.0

package main

import (
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/service/store"
)

const staffPassword = "nine umbrellas in june"

// desk is a folder of `dev` that is used by console commands.
type desk struct {
	t   *testing.T
	dir string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t, t.TempDir()}
	p := start(t, "dev", "--data", d.dir, "--listen", "127.0.0.1:0")
	if code := p.stop(t); code != 0 {
		t.Fatal(p.out)
	}
	return d
}

// file writes a secret into a file and returns its path.
func (d *desk) file(text string) string {
	d.t.Helper()
	path := filepath.Join(d.t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// run runs a command that must end with code, and returns what it printed.
func (d *desk) run(code int, args ...string) string {
	d.t.Helper()
	stdout, stderr, got := runTo(d.t, append(args, "--data", d.dir)...)
	if got != code {
		d.t.Fatalf("%q: %d, want %d\n%s%s", args, got, code, stdout, stderr)
	}
	if strings.Contains(stdout+stderr, staffPassword) {
		d.t.Fatalf("%q prints the password", args)
	}
	return stdout + stderr
}

// exec changes the database behind the program's back.
func (d *desk) exec(query string) {
	d.t.Helper()
	db, err := store.Open(d.t.Context(), store.Config{Path: filepath.Join(d.dir, "accounts.db")})
	if err != nil {
		d.t.Fatal(err)
	}
	defer db.Close()
	if err := db.Tx(d.t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(d.t.Context(), query)
		return err
	}); err != nil {
		d.t.Fatal(err)
	}
}

func TestTheConsoleSaysWhoChangedTheAuditTrail(t *testing.T) {
	d := newDesk(t)
	added := d.run(0, "support", "staff", "add", "alice", "--password-file", d.file(staffPassword), "--json")
	var member struct {
		Name         string `json:"name"`
		SecondFactor string `json:"second_factor"`
	}
	if err := json.Unmarshal([]byte(added), &member); err != nil || member.Name != "alice" || !strings.HasPrefix(member.SecondFactor, "otpauth://totp/127.0.0.1:alice?") {
		t.Fatalf("%s %v", added, err)
	}
	d.run(0, "support", "staff", "disable", "alice")
	d.run(0, "support", "staff", "enable", "alice")
	d.run(0, "keys", "rotate")
	if all := d.run(0, "support", "staff", "list"); !strings.Contains(all, "alice") || strings.Contains(all, "otpauth") {
		t.Errorf("%s", all)
	}
	if all := d.run(0, "support", "audit"); !strings.Contains(all, "staff-disabled") || !strings.Contains(all, "keys-rotated") || strings.Contains(all, "otpauth") {
		t.Errorf("%s", all)
	}
	var report struct {
		Entries int
		Breaks  []string
		Head    string
	}
	if err := json.Unmarshal([]byte(d.run(0, "support", "audit", "--verify", "--json")), &report); err != nil || report.Entries != 4 || len(report.Breaks) != 0 {
		t.Fatalf("%+v %v", report, err)
	}
	kept := d.file(strings.TrimSpace(d.run(0, "support", "audit", "--head")))
	d.run(0, "support", "audit", "--verify", "--against", kept)
	d.exec(`UPDATE audit_entries SET actor = 'bob' WHERE number = 2`)
	if says := d.run(9, "support", "audit", "--verify"); !strings.Contains(says, "Entry 2 was changed") {
		t.Errorf("%s", says)
	}
	d.run(2, "support", "staff", "add", "bob")
	d.run(2, "support", "staff", "add", "Bob", "--password-file", d.file(staffPassword))
	d.run(3, "support", "staff", "add", "bob", "--password-file", d.file("short"))
	d.run(2, "support", "explode")
	d.run(2, "support", "audit", "--limit", "0")
}
