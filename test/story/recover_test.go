// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/proofofwork"
	"github.com/accountlock/accountlock/test/bus"
	"github.com/accountlock/accountlock/test/smtp"
)

const newPassword = "a wholly new passphrase"

var codeForm = regexp.MustCompile(`Your code is (\d{6})`)

// forgetful is a rig whose recoveries wait for so long in place of three working days.
func forgetful(wait time.Duration) option {
	return func(r *rig) []bus.Option {
		r.serverArgs = []string{"--recovery-wait", wait.String()}
		return nil
	}
}

// name names the account in a recovery and solves the captcha.
func (c *conversation) name(identifier string) {
	c.T.Helper()
	in := map[string]any{}
	if identifier != "" {
		in["identifier"] = identifier
	}
	if err := c.Submit(in); err != nil {
		c.T.Fatalf("identify: %v", err)
	}
	if c.step() != "captcha" {
		c.T.Fatalf("after identify: %s", c.step())
	}
	answer, err := proofofwork.Solve(c.T.Context(), c.Prompt()["captcha"].Value().(string))
	if err != nil {
		c.T.Fatal(err)
	}
	if err := c.Submit(map[string]any{"captcha": answer}); err != nil {
		c.T.Fatalf("captcha: %v", err)
	}
}

// awaitStep waits until the flow has left a step.
func (c *conversation) awaitStep(want string) {
	c.T.Helper()
	for deadline := time.Now().Add(time.Minute); c.step() != want; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.T.Fatalf("the flow is at %s, want %s: %v", c.step(), want, c.Property("Error"))
		}
	}
}

// mailed waits for the newest message in the outbox that fits.
func (r *rig) mailed(form *regexp.Regexp, since int) string {
	r.T.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		names, err := filepath.Glob(r.Path("service/outbox/*.txt"))
		if err != nil {
			r.T.Fatal(err)
		}
		for i := len(names) - 1; i >= since; i-- {
			b, err := os.ReadFile(names[i])
			if err != nil {
				r.T.Fatal(err)
			}
			if m := form.FindStringSubmatch(string(b)); m != nil {
				return m[1]
			}
		}
		if time.Now().After(deadline) {
			r.T.Fatalf("no message fits %s among %d", form, len(names))
		}
	}
}

func TestAForgottenPasswordIsRecoveredFromALockedDevice(t *testing.T) {
	r := newRig(t, forgetful(6*time.Second))
	r.run("Link")
	r.Reset()
	r.wantState("locked factory-reset")

	c := r.begin("Recover")
	c.name("") // the account that the device names
	c.awaitStep("wait")
	until, ok := c.Prompt()["until"].Value().(uint64)
	if !ok || until == 0 {
		t.Fatalf("the prompt of the wait is %v", c.Prompt())
	}
	r.wantError(c.Submit(map[string]any{"code": []byte("123456")}), "WrongStep")
	stop := r.mailed(regexp.MustCompile(`code=([A-Z2-7]{16})`), 0)
	if stop == "" {
		t.Fatal("the owner is not told how to stop it")
	}

	// Daemon and service are killed; asking again finds the same wait.
	r.KillDaemon()
	r.server.Signal(t, syscall.SIGKILL)
	r.server.Wait(t)
	r.startServer()
	r.StartDaemon()
	c = r.begin("Recover")
	c.name("")
	// It may be over by now.
	if again, waits := c.Prompt()["until"].Value().(uint64); waits && again != until {
		t.Fatalf("asked again it waits until %d, first it was %d", again, until)
	}
	// When it is over the flow goes on by itself.
	c.awaitStep("code")
	r.wantError(c.Submit(map[string]any{"code": []byte("000000")}), "InvalidCode")
	if err := c.Submit(map[string]any{"code": []byte(r.mailed(codeForm, 0))}); err != nil {
		t.Fatal(err)
	}
	if c.step() != "new-password" {
		t.Fatalf("after the code: %s", c.step())
	}
	r.wantError(c.Submit(map[string]any{"password": []byte(newPassword), "repeat": []byte("another")}), "InvalidArgument")
	r.wantError(c.Submit(map[string]any{"password": []byte("password1"), "repeat": []byte("password1")}), "WeakPassword")
	if err := c.Submit(map[string]any{"password": []byte(newPassword), "repeat": []byte(newPassword)}); err != nil {
		t.Fatal(err)
	}
	if c.step() != "done" {
		t.Fatalf("the recovery ended at %s: %v", c.step(), c.Property("Error"))
	}
	r.wantState("locked factory-reset")
	r.wantError(r.begin("Unlock").answer(r.demo.person), "InvalidCredentials")
	r.demo.Password = newPassword
	r.run("Unlock")
	r.wantState("linked")
	r.Bus.MustNotPrint(t, newPassword, "password1")
}

func TestRecoveryIsAWayThroughAnUnlock(t *testing.T) {
	r := newRig(t, forgetful(time.Second))
	r.run("Link")
	r.Reset()
	c := r.begin("Unlock")
	if methods := c.Property("Methods").Value().([]string); !strings.Contains(strings.Join(methods, " "), "recover") {
		t.Fatalf("the ways are %v", methods)
	}
	if err := c.choose("recover"); err != nil {
		t.Fatal(err)
	}
	c.name(r.demo.Email)
	c.awaitStep("code")
	if err := c.Submit(map[string]any{"code": []byte(r.mailed(codeForm, 0))}); err != nil {
		t.Fatal(err)
	}
	if err := c.Submit(map[string]any{"password": newPassword, "repeat": newPassword}); err != nil {
		t.Fatal(err)
	}
	if c.step() != "identify" || c.Property("Kind").Value() != "unlock" {
		t.Fatalf("back at %s of %v", c.step(), c.Property("Kind"))
	}
	r.demo.Password = newPassword
	if err := c.answer(r.demo.person); err != nil {
		t.Fatal(err)
	}
	r.wantState("linked")
}

func TestAScriptIsToldHowLongARecoveryWaits(t *testing.T) {
	r := newRig(t)
	code, printed := r.ctl("recover", "--identifier", r.demo.Email, "--region", "DE", "--json")
	var out struct {
		Error struct{ Name, Message string } `json:"error"`
	}
	if err := json.Unmarshal([]byte(printed), &out); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	if code != 7 || !strings.HasSuffix(out.Error.Name, ".RecoveryPending") || !strings.Contains(out.Error.Message, "20") {
		t.Fatalf("exit %d: %+v", code, out)
	}
	// Nobody's account looks the same, but for the minute in which it was asked for.
	minute := regexp.MustCompile(`\d\d:\d\d`)
	other, said := r.ctl("recover", "--identifier", "nobody@example.org", "--region", "DE", "--json")
	if other != 7 || minute.ReplaceAllString(said, "") != minute.ReplaceAllString(printed, "") {
		t.Errorf("exit %d: %s, %s", other, said, printed)
	}
}

func TestMailOfTheServiceGoesThroughAnSMTPServer(t *testing.T) {
	b := bus.Start(t)
	bin, dir, server := bus.Binaries(t), t.TempDir(), smtp.Start(t, "starttls", true)
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("smtp.password", smtp.Password+"\n")
	put("owner.password", "correct horse battery\n")
	put("service.toml", fmt.Sprintf(`public_url = "https://127.0.0.1:1"
secret_file = "secret"
[tls]
certificate = "cert.pem"
key = "key.pem"
[database]
path = "accounts.db"
[keys]
directory = "keys"
[mail.smtp]
host = "127.0.0.1"
port = %d
username = %q
password_file = "smtp.password"
from = "Accounts <accounts@example.org>"
ca_file = %q
`, server.Port, smtp.User, server.CA))
	run := func(args ...string) *bus.Process {
		t.Helper()
		p := b.Run(t, exec.Command(filepath.Join(bin, "accountlock-server"), append(args, "--config", filepath.Join(dir, "service.toml"))...))
		if p.ExitCode() != 0 {
			t.Fatalf("%v: %d\n%s", args, p.ExitCode(), p.Output())
		}
		return p
	}
	run("serve", "--check-config")
	run("migrate")
	added := run("account", "add", "--email", "jane@example.org", "--password-file", filepath.Join(dir, "owner.password"), "--json")
	var a struct {
		AccountID string `json:"account_id"`
	}
	if err := json.Unmarshal([]byte(added.Output()), &a); err != nil {
		t.Fatalf("%v: %s", err, added.Output())
	}
	run("account", "delete", a.AccountID, "--yes")
	m := server.Await(t, 1)[0]
	if !m.TLS || !m.User || m.To[0] != "jane@example.org" || !strings.Contains(m.Data, "deleted") {
		t.Errorf("got %+v", m)
	}
	b.MustNotPrint(t, smtp.Password)
}
