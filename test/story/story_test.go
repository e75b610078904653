// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/test/bus"
)

func TestFromLinkToUnlink(t *testing.T) {
	r := newRig(t)
	r.wantState("unlinked")

	r.run("Link")
	r.wantState("linked")
	hint := r.Property("AccountHint").Value().(string)
	if hint == "" || strings.Contains(hint, r.demo.Email) {
		t.Fatalf("the hint is %q", hint)
	}

	r.Reset()
	r.wantState("locked factory-reset")
	if got := r.Property("AccountHint").Value().(string); got != hint {
		t.Fatalf("after the reset the hint is %q", got)
	}

	c := r.begin("Unlock")
	if got := c.Prompt()["account-hint"].Value(); got != hint {
		t.Fatalf("the prompt's hint is %v", got)
	}
	wrong := r.demo.person
	wrong.Password = "not the password"
	r.wantError(c.answer(wrong), "InvalidCredentials")
	e := c.Property("Error").Value().([]any)
	if e[0] != "org.accountlock.AccountLock1.Error.InvalidCredentials" || e[3] != true {
		t.Fatalf("the flow's Error is %v", e)
	}
	other := r.begin("Unlock")
	r.wantError(other.answer(r.demo.Other), "WrongAccount")

	r.stopServer()
	r.wantError(c.Submit(map[string]any{"password": []byte(r.demo.Password)}), "ServiceUnavailable")
	r.wantState("locked factory-reset")
	if got := r.Property("Connectivity").Value(); got != "service-unreachable" {
		t.Fatalf("Connectivity is %v", got)
	}
	r.startServer()
	if err := c.answer(r.demo.person); err != nil {
		t.Fatal(err)
	}
	if c.step() != "done" {
		t.Fatalf("the unlock is at %s", c.step())
	}
	r.wantState("linked")

	r.run("SignOut")
	r.wantState("signed-out")
	r.Reset()
	r.wantState("signed-out")

	r.run("Link")
	r.wantState("linked")
	id := r.Property("DeviceId").Value().(string)
	r.admin("device", "lost", id, "--message", "Please call", "--contact", "+49 30 1")
	if err := r.Call("CheckIn").Err; err != nil {
		t.Fatal(err)
	}
	r.wantState("locked lost")
	if d := r.explain("statement"); d["status"] != "lost" || d["signed"] == "" || d["about-this-record"] != "true" {
		t.Fatalf("Explain says of the statement %v", d)
	}
	if m := r.Property("LostMessage").Value().(map[string]string); m["message"] != "Please call" || m["contact"] != "+49 30 1" {
		t.Fatalf("LostMessage is %v", m)
	}
	r.restart()
	r.wantState("locked lost")
	if p := r.adminExit("device", "release", id); p.ExitCode() != 3 {
		t.Fatalf("releasing a lost device: exit %d, %s", p.ExitCode(), p.Output())
	}
	r.admin("device", "found", id)
	if err := r.Call("CheckIn").Err; err != nil {
		t.Fatal(err)
	}
	r.wantState("locked lost")
	r.run("Unlock")
	r.wantState("linked")

	r.run("Unlink")
	r.wantState("unlinked")
	r.Reset()
	r.wantState("unlinked")
	if got := r.Property("AccountHint").Value().(string); got != "" {
		t.Fatalf("an unlinked device keeps the hint %q", got)
	}
	if got := r.Property("DeviceId").Value().(string); got != id {
		t.Fatalf("the device ID changed from %s to %s", id, got)
	}

	// Nothing that anything printed, and nothing in a file, holds a password.
	secrets := []string{r.demo.Password, r.demo.Other.Password, wrong.Password}
	r.Bus.MustNotPrint(t, secrets...)
	for _, dir := range []string{"kept", "wiped", "run"} {
		mustNotHold(t, r.Path(dir), secrets)
	}
}

func mustNotHold(t *testing.T, dir string, secrets []string) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		raw, err := root.ReadFile(path)
		for _, s := range secrets {
			if strings.Contains(string(raw), s) {
				t.Errorf("%s holds a password", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPasswordMayComeAsAStringToo(t *testing.T) {
	r := newRig(t)
	c := r.begin("Link")
	if err := c.Submit(map[string]any{"identifier": r.demo.AccountID}); err != nil {
		t.Fatal(err)
	}
	if err := c.Submit(map[string]any{"password": r.demo.Password}); err != nil {
		t.Fatal(err)
	}
	if c.step() != "confirm" {
		t.Fatalf("the link is at %s", c.step())
	}
	// Saying no ends it, and nothing is armed.
	if err := c.Submit(map[string]any{"confirm": false}); err != nil {
		t.Fatal(err)
	}
	if c.step() != "failed" {
		t.Fatalf("the link is at %s", c.step())
	}
	r.Reset()
	r.wantState("unlinked")
}

func TestASignalTellsOfEachChange(t *testing.T) {
	r := newRig(t)
	signals := make(chan *dbus.Signal, 256)
	r.Conn.Signal(signals)
	if err := r.Conn.AddMatchSignal(dbus.WithMatchObjectPath("/org/accountlock/AccountLock1")); err != nil {
		t.Fatal(err)
	}
	r.run("Link")
	r.run("Unlink")
	if err := r.Manager().Call("org.freedesktop.DBus.Peer.Ping", 0).Err; err != nil {
		t.Fatal(err)
	}
	r.Conn.RemoveSignal(signals)
	close(signals)
	var states []string
	finished, added := 0, 0
	for s := range signals {
		switch s.Name {
		case "org.freedesktop.DBus.Properties.PropertiesChanged":
			if v, ok := s.Body[1].(map[string]dbus.Variant)["State"]; ok {
				states = append(states, v.Value().(string))
			}
		case "org.accountlock.AccountLock1.Flow.Finished":
			finished++
		case "org.freedesktop.DBus.ObjectManager.InterfacesAdded":
			added++
		}
	}
	if strings.Join(states, " ") != "linked unlinked" || finished != 2 || added != 2 {
		t.Fatalf("states %v, %d finished, %d added", states, finished, added)
	}
}

func TestAnOverdueCheckInIsMadeByItself(t *testing.T) {
	// A linked device that is started again learns that it was lost, and an
	// erased record under allow-offline is noticed, though nobody asks.
	r := newRig(t, func(r *rig) []bus.Option {
		r.extra += "[policy]\nmissing_record = \"allow-offline\"\n[daemon]\ncheck_in_interval = \"1s\"\n"
		return nil
	})
	r.run("Link")
	r.admin("device", "lost", r.Property("DeviceId").Value().(string))
	r.awaitState("locked lost")
	r.run("Unlock")
	r.StopDaemon()
	if err := os.Remove(r.Path("kept/record")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.Path("wiped")); err != nil {
		t.Fatal(err)
	}
	r.StartDaemon()
	r.awaitState("locked record-missing")
	r.restart()
	r.wantState("locked record-missing")
}

func (r *rig) awaitState(want string) {
	r.T.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if strings.TrimSpace(r.Property("State").Value().(string)+" "+r.Property("LockReason").Value().(string)) == want {
			return
		}
	}
	r.wantState(want)
}
