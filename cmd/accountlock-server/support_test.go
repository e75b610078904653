// SPDX-License-Identifier: Apache-2.0

package main

import (
	"database/sql"
	"encoding/base32"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/internal/service/totp"
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
	t.Parallel()
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

// member is one of staff at the console.
type member struct {
	d        *desk
	name     string
	key      secret.Bytes
	password string
}

func (d *desk) member(name string) *member {
	d.t.Helper()
	m := &member{d: d, name: name, password: d.file(staffPassword)}
	var added struct {
		SecondFactor string `json:"second_factor"`
	}
	if err := json.Unmarshal([]byte(d.run(0, "support", "staff", "add", name, "--password-file", m.password, "--json")), &added); err != nil {
		d.t.Fatal(err)
	}
	u, err := url.Parse(added.SecondFactor)
	if err != nil {
		d.t.Fatal(err)
	}
	if m.key, err = base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret")); err != nil {
		d.t.Fatal(err)
	}
	return m
}

// run runs a command as the member. Their clock would have to go on between two
// codes; the database forgets the last one instead.
func (m *member) run(code int, args ...string) string {
	m.d.t.Helper()
	m.d.exec(`UPDATE staff SET totp_step = 0`)
	typed := m.d.file(totp.Code(m.key, totp.Step(time.Now())+1)) // good for a minute at least
	return m.d.run(code, append(args, "--staff", m.name, "--password-file", m.password, "--code-file", typed)...)
}

func TestTheConsoleReleasesADeviceInACaseAlone(t *testing.T) {
	t.Parallel()
	d := &desk{t, t.TempDir()}
	p := start(t, "dev", "--data", d.dir, "--listen", "127.0.0.1:0")
	owner := demo(t, d.dir)
	dev := p.device(t, d.dir)
	linkWith(t, dev, owner.Email, owner.Password)
	alice, bob := d.member("alice"), d.member("bob")
	var opened struct{ Number string }
	if err := json.Unmarshal([]byte(alice.run(0, "support", "case", "open", dev.ID, "--challenge", "01234 56789", "--json")), &opened); err != nil {
		t.Fatal(err)
	}
	number := opened.Number
	d.run(2, "support", "case", "note", number, "--text-file", d.file("no name"))
	alice.run(0, "support", "case", "note", number, "--text-file", d.file("calls back at noon"))
	if q := alice.run(0, "support", "case", "ask", number); !strings.Contains(q, "account-id") || strings.Contains(q, owner.AccountID) {
		t.Errorf("%s", q)
	}
	if a := alice.run(0, "support", "case", "ask", number, "--question", "devices", "--answer-file", d.file("9")); !strings.Contains(a, "wrong") {
		t.Errorf("%s", a)
	}
	alice.run(3, "support", "approve", number)
	for q, a := range map[string]string{"account-id": owner.AccountID, "email": owner.Email} {
		if said := alice.run(0, "support", "case", "ask", number, "--question", q, "--answer-file", d.file(a)); !strings.Contains(said, "The answer is right") {
			t.Errorf("%s: %s", q, said)
		}
	}
	alice.run(0, "support", "approve", number)
	alice.run(4, "support", "approve", number)
	alice.run(4, "device", "release", dev.ID, "--case", number)
	if shown := bob.run(0, "support", "approve", number, "--json"); !strings.Contains(shown, `"approved_for": "release"`) {
		t.Errorf("%s", shown)
	}
	d.run(2, "device", "release", dev.ID, "--case", number)
	d.run(2, "device", "release", dev.ID, "--case", "111-111-111")
	if shown := bob.run(0, "device", "release", dev.ID, "--case", number); !strings.Contains(shown, "unlinked") {
		t.Errorf("%s", shown)
	}
	if shown := d.run(0, "support", "case", "show", number); !strings.Contains(shown, "released") || !strings.Contains(shown, "calls back at noon") {
		t.Errorf("%s", shown)
	}
	if all := d.run(0, "support", "case", "list"); strings.Contains(all, number) {
		t.Errorf("a closed case is listed: %s", all)
	}
	d.run(0, "support", "audit", "--verify")
	if all := d.run(0, "support", "audit", "--case", number); !strings.Contains(all, "device-released") || strings.Contains(all, owner.Email) {
		t.Errorf("%s", all)
	}

	// On a service of dev without a case too, and that is noted; on one that people rely on never.
	linkWith(t, dev, owner.Email, owner.Password)
	d.run(0, "device", "lost", dev.ID)
	d.run(0, "device", "found", dev.ID)
	config := filepath.Join(d.dir, "server.toml")
	text := "public_url = \"https://localhost\"\nsecret_file = \"service.secret\"\n[tls]\ncertificate = \"ca.pem\"\nkey = \"ca.key\"\n" +
		"[database]\npath = \"accounts.db\"\n[keys]\ndirectory = \"keys\"\n[mail]\noutbox = \"outbox\"\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"release", dev.ID}, {"found", dev.ID}, {"offline-code", dev.ID, "0123456789"}, {"ticket", dev.ID, "0123456789"}} {
		_, stderr, code := runTo(t, append(append([]string{"device"}, args...), "--config", config)...)
		if code != 4 || !strings.Contains(stderr, "two members of staff") {
			t.Errorf("%q in production: %d %s", args, code, stderr)
		}
	}
	d.run(0, "device", "lost", dev.ID)
	_, stderr, code := runTo(t, "account", "delete", owner.AccountID, "--yes", "--config", config)
	if code != 4 || !strings.Contains(stderr, dev.ID+" (lost)") {
		t.Errorf("a deletion in production: %d %s", code, stderr)
	}
	// In a folder of files alike that `dev` did not make, --data frees nothing either.
	demo := filepath.Join(d.dir, "demo.json")
	if err := os.Rename(demo, demo+".kept"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"account", "delete", owner.AccountID}, {"device", "found", dev.ID}} {
		if _, stderr, code := runTo(t, append(args, "--data", d.dir)...); code == 0 || !strings.Contains(stderr, "is not a folder of accountlock-server dev") {
			t.Errorf("%q in a folder of production: %d %s", args, code, stderr)
		}
	}
	if err := os.Rename(demo+".kept", demo); err != nil {
		t.Fatal(err)
	}
	if shown := d.run(0, "account", "show", owner.AccountID); strings.Contains(shown, "Deleted") {
		t.Errorf("%s", shown)
	}
	d.run(0, "device", "found", dev.ID)
	d.run(0, "account", "block", owner.Email)
	d.run(0, "account", "unblock", owner.Email)
	d.run(0, "account", "add", "--password-file", d.file("a violin in the rain"))
	d.run(0, "device", "release", dev.ID)
	trail := d.run(0, "support", "audit", "--limit", "10")
	for _, action := range []string{"account-added", "device-lost", "found", "account-blocked", "account-unblocked", "without a case, on a service of dev"} {
		if !strings.Contains(trail, action) {
			t.Errorf("the trail does not say %q:\n%s", action, trail)
		}
	}
	linkWith(t, dev, owner.Email, owner.Password)
	d.run(0, "account", "delete", owner.AccountID)
	if trail := d.run(0, "support", "audit", "--account", owner.AccountID); !strings.Contains(trail, "account-deletion-refused") ||
		!strings.Contains(trail, "releases "+dev.ID+" (linked) without a case, on a service of dev") {
		t.Errorf("the trail of a deletion:\n%s", trail)
	}
	d.run(0, "support", "audit", "--verify")
}
