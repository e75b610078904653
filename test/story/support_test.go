// SPDX-License-Identifier: Apache-2.0

package story_test

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

// member is one of staff at the console of the account service.
type member struct {
	r        *rig
	name     string
	key      secret.Bytes
	password string
}

// secretFile keeps a secret for a command.
func (r *rig) secretFile(text string) string {
	r.T.Helper()
	path := filepath.Join(r.T.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		r.T.Fatal(err)
	}
	return path
}

func (r *rig) member(name string) *member {
	r.T.Helper()
	m := &member{r: r, name: name, password: r.secretFile("nine umbrellas in june")}
	code, out := r.ask("support", "staff", "add", name, "--password-file", m.password, "--json")
	var added struct {
		SecondFactor string `json:"second_factor"`
	}
	if err := json.Unmarshal([]byte(out), &added); err != nil || code != 0 {
		r.T.Fatalf("%d %s", code, out)
	}
	u, err := url.Parse(added.SecondFactor)
	if err != nil {
		r.T.Fatal(err)
	}
	if m.key, err = base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret")); err != nil {
		r.T.Fatal(err)
	}
	return m
}

// does runs a command as the member, and fails the test unless it goes well. Between
// two codes their clock would have to go on; the database forgets the last one instead.
func (m *member) does(args ...string) string {
	m.r.T.Helper()
	db, err := store.Open(m.r.T.Context(), store.Config{Path: filepath.Join(m.r.Path("service"), "accounts.db")})
	if err != nil {
		m.r.T.Fatal(err)
	}
	err = db.Tx(m.r.T.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(m.r.T.Context(), `UPDATE staff SET totp_step = 0`)
		return err
	})
	db.Close()
	if err != nil {
		m.r.T.Fatal(err)
	}
	// The next step's code is good for a minute at least.
	typed := m.r.secretFile(totp.Code(m.key, totp.Step(time.Now())+1))
	code, out := m.r.ask(append(args, "--staff", m.name, "--password-file", m.password, "--code-file", typed)...)
	if code != 0 {
		m.r.T.Fatalf("%q: %d %s", args, code, out)
	}
	return out
}

// askSupport has the locked device open a case, and returns the conversation and the
// case's number.
func (r *rig) askSupport() (*conversation, string) {
	r.T.Helper()
	c := r.begin("Unlock")
	if err := c.choose("support"); err != nil {
		r.T.Fatal(err)
	}
	if c.step() != "confirm" {
		r.T.Fatalf("the flow is at %s", c.step())
	}
	if err := c.Submit(map[string]any{"confirm": true}); err != nil {
		r.T.Fatal(err)
	}
	number, _ := c.Prompt()["case-number"].Value().(string)
	if c.step() != "offline-code" || len(number) != 11 {
		r.T.Fatalf("the flow is at %s, the case is %q", c.step(), number)
	}
	return c, number
}

// helped has two members ask and approve.
func (r *rig) helped(alice, bob *member, number, action string) {
	r.T.Helper()
	for question, answer := range map[string]string{"account-id": r.demo.AccountID, "email": r.demo.Email} {
		out := alice.does("support", "case", "ask", number, "--question", question, "--answer-file", r.secretFile(answer))
		if !strings.Contains(out, "The answer is right") {
			r.T.Fatal(out)
		}
	}
	alice.does("support", "approve", number, "--for", action)
	bob.does("support", "approve", number, "--for", action)
}

func TestSupportLetsAnOwnerInByACodeOrReleasesTheDevice(t *testing.T) {
	r := newRig(t)
	r.run("Link")
	r.Reset()
	r.wantState("locked factory-reset")
	alice, bob := r.member("alice"), r.member("bob")
	id := r.Property("DeviceId").Value().(string)

	c, number := r.askSupport()
	r.helped(alice, bob, number, "offline-code")
	challenge := c.Prompt()["challenge"].Value().(string)
	typed := strings.TrimSpace(bob.does("device", "offline-code", id, challenge, "--case", number))
	if err := c.Submit(map[string]any{"code": []byte(typed)}); err != nil {
		t.Fatal(err)
	}
	r.wantState("linked")
	alice.does("support", "case", "close", number)

	r.Reset()
	r.wantState("locked factory-reset")
	_, number = r.askSupport()
	r.helped(alice, bob, number, "release")
	bob.does("device", "release", id, "--case", number)
	if code, out := r.ctl("check-in"); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	r.wantState("unlinked")
	if code, out := r.ask("support", "audit", "--verify"); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
}
