// SPDX-License-Identifier: Apache-2.0

package ctl_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/ctl"
)

const guide = "../../docs/integrators.md"

func TestTheGuidesProgramUnlocksTheDevice(t *testing.T) {
	const python = "/usr/bin/python3" // the one that Debian's python3-gi is for
	if exec.Command(python, "-c", "from gi.repository import Gio").Run() != nil {
		t.Skip("needs python3-gi")
	}
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatal("the guide holds no program")
	}
	program := filepath.Join(t.TempDir(), "client.py")
	if err := os.WriteFile(program, found[1], 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSession(t)
	scenarios["locked"](s.fake)
	s.fake.own()
	cmd := exec.Command(python, program, "Unlock")
	cmd.Env = []string{"DBUS_SYSTEM_BUS_ADDRESS=" + s.vars["DBUS_SYSTEM_BUS_ADDRESS"], "LC_ALL=C.UTF-8"}
	cmd.Stdin = strings.NewReader("\n" + wrongPassword + "\n" + password + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"InvalidCredentials", "It counted.", "Done."} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

func TestTheGuideListsEveryExitCodeAndCommand(t *testing.T) {
	b, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, c := range ctl.Command().Commands() {
		if c.IsAvailableCommand() && c.GroupID != "" && !strings.Contains(text, "`"+c.Name()+"`") {
			t.Errorf("the guide lacks %s", c.Name())
		}
	}
	for n := range ctl.ExitLocked {
		if !regexp.MustCompile(`(?m)^\| ` + string(rune('0'+n)) + ` \|`).MatchString(text) {
			t.Errorf("the guide lacks exit code %d", n)
		}
	}
}
