// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// linkWithCode links the device and returns the recovery code.
func (r *rig) linkWithCode() string {
	r.T.Helper()
	c := r.begin("Link")
	for _, in := range []map[string]any{{"identifier": r.demo.Email}, {"password": []byte(r.demo.Password)}} {
		if err := c.Submit(in); err != nil {
			r.T.Fatal(err)
		}
	}
	p := c.Prompt()
	code := p["recovery-code"].Value().(string)
	// Typed back in part, as a person would.
	groups := strings.Split(code, "-")
	var typed []string
	for _, g := range p["recovery-groups"].Value().([]uint32) {
		typed = append(typed, strings.ToUpper(groups[g-1]))
	}
	if err := c.Submit(map[string]any{"confirm": true, "recovery-code": strings.Join(typed, "-")}); err != nil {
		r.T.Fatal(err)
	}
	if c.step() != "done" {
		r.T.Fatalf("the link is at %s", c.step())
	}
	return code
}

func TestTheRecoveryCodeOpensADeviceWithoutANetworkOnce(t *testing.T) {
	r := newRig(t)
	code := r.linkWithCode()
	r.stopServer()
	r.Reset()
	r.wantState("locked factory-reset")
	c := r.begin("Unlock")
	if got := strings.Join(c.Property("Methods").Value().([]string), " "); got != "password approve offline-code recovery-code recover" {
		t.Fatalf("the ways open are %q", got)
	}
	if err := c.Obj.Call("org.accountlock.AccountLock1.Flow.Choose", 0, "recovery-code").Err; err != nil {
		t.Fatal(err)
	}
	if c.step() != "recovery-code" {
		t.Fatalf("the flow is at %s", c.step())
	}
	r.wantError(c.Submit(map[string]any{"code": []byte(strings.Repeat("cbdefghi-", 8))}), "InvalidCode")
	if e := c.Property("Error").Value().([]any); e[3] != true {
		t.Fatalf("a wrong code did not count: %v", e)
	}
	// The command line, as an owner without a network would use it.
	file := r.Path("code")
	if err := os.WriteFile(file, []byte(code+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := r.Bus.Run(t, exec.Command(filepath.Join(r.Bin, "accountlockctl"), "unlock", "--method", "recovery-code", "--code-file", file))
	if p.ExitCode() != 0 {
		t.Fatalf("%d\n%s", p.ExitCode(), p.Output())
	}
	r.wantState("linked")
	r.Bus.MustNotPrint(t, code, strings.ReplaceAll(code, "-", ""))
	for _, dir := range []string{"kept", "wiped"} {
		mustNotHold(t, r.Path(dir), []string{code, strings.ReplaceAll(code, "-", "")})
	}
	r.Reset()
	r.wantState("locked factory-reset")
	again := r.begin("Unlock")
	r.wantError(again.Obj.Call("org.accountlock.AccountLock1.Flow.Choose", 0, "recovery-code").Err, "InvalidArgument")
	r.wantError(again.Obj.Call("org.freedesktop.DBus.Properties.Set", 0, "org.accountlock.AccountLock1.Flow", "Step", dbus.MakeVariant("done")).Err, "org.freedesktop.DBus.Error.PropertyReadOnly")
}
