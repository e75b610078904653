// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	accountlock "github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/test/bus"
)

const rules = `polkit.addRule(function(action, subject) {
	if (action.id == "org.accountlock.AccountLock1.link" && subject.user == "nobody") return polkit.Result.YES;
	if (action.id.indexOf("org.accountlock.AccountLock1.") == 0) return polkit.Result.NO;
});`

func TestPolkitDecidesWhoMayBeginWhat(t *testing.T) {
	bus.NeedRoot(t, "polkitd")
	r := newRig(t, withPolkit(rules))
	r.wantState("unlinked")
	r.run("Link") // root, whom polkit always authorises

	nobody := r.Bus.ConnectAs(t, bus.Nobody).Object(accountlock.Name, accountlock.ManagerPath)
	empty := map[string]dbus.Variant{}
	for _, c := range []struct {
		method string
		args   []any
		want   string
	}{
		{"SignOut", []any{empty}, "NotAuthorized"},
		{"Unlink", []any{empty}, "NotAuthorized"},
		{"GetAccount", nil, "NotAuthorized"},
		{"CheckIn", nil, "NotAuthorized"},
		// The state is looked at first, and is no secret.
		{"Link", []any{empty}, "AlreadyLinked"},
	} {
		r.wantError(nobody.Call(accountlock.ManagerFace+"."+c.method, 0, c.args...).Err, c.want)
	}
	for _, open := range []string{"Explain", "Diagnose"} {
		if err := nobody.Call(accountlock.ManagerFace+"."+open, 0).Err; err != nil {
			t.Errorf("%s: %v", open, err)
		}
	}
	r.run("Unlink")
	if err := nobody.Call(accountlock.ManagerFace+".Link", 0, empty).Err; err != nil {
		t.Fatalf("the rule allows it: %v", err)
	}

	// A locked device asks polkit nothing: it may not be there.
	r.run("Link")
	r.Bus.StopPolkit(t)
	r.wantError(r.Call("Unlink", empty).Err, "NotAuthorized")
	r.Reset()
	r.wantState("locked factory-reset")
	nobody = r.Bus.ConnectAs(t, bus.Nobody).Object(accountlock.Name, accountlock.ManagerPath)
	if err := nobody.Call(accountlock.ManagerFace+".CheckIn", 0).Err; err != nil {
		t.Fatalf("check-in while locked: %v", err)
	}
	if err := nobody.Call(accountlock.ManagerFace+".Unlock", 0, empty).Err; err != nil {
		t.Fatal(err)
	}
	r.run("Unlock")
	r.wantState("linked")
}

func TestUIDModeAllowsTheListedUsersAlone(t *testing.T) {
	bus.NeedRoot(t, "another user's connection")
	r := newRig(t)
	nobody := r.Bus.ConnectAs(t, bus.Nobody).Object(accountlock.Name, accountlock.ManagerPath)
	r.wantError(nobody.Call(accountlock.ManagerFace+".Link", 0, map[string]dbus.Variant{}).Err, "NotAuthorized")
	r.run("Link")
	r.wantError(nobody.Call(accountlock.ManagerFace+".GetAccount", 0).Err, "NotAuthorized")
	var account map[string]dbus.Variant
	if err := r.Call("GetAccount").Store(&account); err != nil {
		t.Fatal(err)
	}
	if account["account-id"].Value() != r.demo.AccountID || account["signed-in"].Value().(uint64) == 0 {
		t.Fatalf("%v", account)
	}
}

func TestTheDaemonLeavesWhenIdleAndComesBackByActivation(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "start")
	config := filepath.Join(dir, "accountlockd.toml")
	text := "#!/bin/sh\nexec " + filepath.Join(bus.Binaries(t), "accountlockd") + " --config " + config + "\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	err := os.WriteFile(config, []byte("[record]\nstore = \"file:"+dir+"/record\"\n[state]\ndirectory = \""+dir+"/state\"\n[daemon]\nidle_exit = \"1s\"\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	b := bus.Start(t, bus.WithActivation(accountlock.Name, script))
	conn := b.Connect(t)
	for range 2 {
		v, err := conn.Object(accountlock.Name, accountlock.ManagerPath).GetProperty(accountlock.ManagerFace + ".State")
		if err != nil || v.Value() != "unlinked" {
			t.Fatalf("%v %v", v, err)
		}
		b.AwaitNoName(t, accountlock.Name)
	}
}

func TestReadyComesAfterTheNameAndTheStateIsSettledBefore(t *testing.T) {
	r := newRig(t)
	r.run("Link")
	r.StopDaemon()
	notify := r.Bus.ListenNotify(t)
	cmd := exec.Command(filepath.Join(r.Bin, "accountlockd"), "--config", r.Path("accountlockd.toml"))
	cmd.Env = append(r.Bus.Env(), notify.Env(), "WATCHDOG_USEC=400000")
	r.Daemon = r.Bus.StartProcess(t, cmd)
	notify.Await(t, "READY=1")
	var owner string
	conn := r.Bus.Connect(t)
	if err := conn.BusObject().Call("org.freedesktop.DBus.GetNameOwner", 0, accountlock.Name).Store(&owner); err != nil {
		t.Fatalf("ready without the name: %v", err)
	}
	r.Conn = conn
	r.wantState("linked")
	notify.Await(t, "WATCHDOG=1")
	r.StopDaemon()
	notify.Await(t, "STOPPING=1")
}

func TestADeviceThatWasReleasedDoesNotShowTheLockedScreen(t *testing.T) {
	r := newRig(t)
	r.run("Link")
	r.admin("device", "release", r.Property("DeviceId").Value().(string))
	r.Reset()
	r.wantState("unlinked")
}

func TestAnErasedRecordStoreStaysLockedWithoutTheService(t *testing.T) {
	r := newRig(t)
	r.run("Link")
	r.stopServer()
	r.StopDaemon()
	if err := os.Remove(r.Path("kept/record")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.Path("wiped")); err != nil {
		t.Fatal(err)
	}
	r.StartDaemon()
	r.wantState("locked record-missing")
	r.restart()
	r.wantState("locked record-missing")
	r.startServer()
	if err := r.Call("CheckIn").Err; err != nil {
		t.Fatal(err)
	}
	// The service knows the hardware: still linked, and nothing told of whom.
	r.wantState("locked record-missing")
	if hint := r.Property("AccountHint").Value(); hint != "" {
		t.Fatalf("a device with a strange key was told %v", hint)
	}
	r.run("Unlock")
	r.wantState("linked")
	r.Reset()
	r.wantState("locked factory-reset")
}

func TestTheSecondFactorIsAskedForByCode(t *testing.T) {
	r := newRig(t)
	password := r.Path("password")
	if err := os.WriteFile(password, []byte("a fine long passphrase\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.admin("account", "add", "--email", "two@example.org", "--password-file", password, "--second-factor")
	c := r.begin("Link")
	for _, in := range []map[string]any{{"identifier": "two@example.org"}, {"password": []byte("a fine long passphrase")}} {
		if err := c.Submit(in); err != nil {
			t.Fatal(err)
		}
	}
	if c.step() != "code" || c.Prompt()["sent-to"].Value() != "t•••@example.org" {
		t.Fatalf("%s %v", c.step(), c.Prompt())
	}
	r.wantError(c.Submit(map[string]any{"code": []byte("000000")}), "InvalidCode")
	if err := c.Submit(map[string]any{"code": []byte(r.newestCode())}); err != nil {
		t.Fatal(err)
	}
	if c.step() != "confirm" {
		t.Fatalf("the link is at %s", c.step())
	}
}

// newestCode reads the six digits out of the last mail.
func (r *rig) newestCode() string {
	r.T.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		files, err := filepath.Glob(r.Path("service/outbox/*.txt"))
		if err != nil || len(files) == 0 {
			continue
		}
		raw, err := os.ReadFile(files[len(files)-1])
		if err != nil {
			r.T.Fatal(err)
		}
		_, text, _ := strings.Cut(string(raw), "\n\n")
		for _, word := range strings.FieldsFunc(text, func(c rune) bool { return c < '0' || c > '9' }) {
			if len(word) == 6 {
				return word
			}
		}
	}
	r.T.Fatal("no code was sent")
	return ""
}
