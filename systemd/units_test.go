// SPDX-License-Identifier: Apache-2.0

// Package systemd_test checks the units of this folder with systemd's own tools.
package systemd_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func systemdAnalyze(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here; test/deps.sh test installs it")
	}
	return path
}

// installed is a root with systemd's units, ours, and an executable for each
// program that a unit of ours starts.
func installed(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	units := filepath.Join(root, "usr/lib/systemd/system")
	must(t, os.MkdirAll(units, 0o755))
	copyTree(t, "/usr/lib/systemd/system", units)
	copyTree(t, "system", units)
	for _, program := range []string{
		"usr/sbin/accountlockd", "usr/sbin/accountlock-gate", "usr/bin/accountlock-firstboot", "usr/bin/systemctl", "usr/bin/env",
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, program)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, program), nil, 0o755))
	}
	return root
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestSystemdFindsNothingWrongWithTheUnits(t *testing.T) {
	analyze, root := systemdAnalyze(t), installed(t)
	units, err := filepath.Glob("system/accountlock*.*")
	must(t, err)
	args := []string{"verify", "--man=no", "--recursive-errors=no", "--root=" + root}
	for _, unit := range units {
		if name := filepath.Base(unit); !strings.HasSuffix(name, ".d") {
			args = append(args, strings.Replace(name, "@.", "@tty1.", 1))
		}
	}
	if len(args) < 12 {
		t.Fatalf("only %v", args)
	}
	var out bytes.Buffer
	cmd := exec.Command(analyze, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	// It ends with 0 although it warns of an unknown key: any word is a failure.
	if err := cmd.Run(); err != nil || out.Len() > 0 {
		t.Errorf("%v: %s", err, &out)
	}
}

func TestTheServicesMayDoLittle(t *testing.T) {
	analyze := systemdAnalyze(t)
	for unit, threshold := range map[string]string{
		"accountlockd.service":           "15",
		"accountlock-gate.service":       "20",
		"accountlock-again.service":      "20",
		"accountlock-checkin.service":    "15",
		"accountlock-firstboot@.service": "15",
	} {
		out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold="+threshold, "system/"+unit).CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Log(lines[len(lines)-1])
		if err != nil {
			t.Errorf("%s is above %s: %s", unit, threshold, out)
		}
	}
}

// What lets a person in, each of which must wait for the gate.
var waysIn = strings.Fields(`
	systemd-user-sessions.service user@.service
	getty@.service autovt@.service serial-getty@.service console-getty.service container-getty@.service container-shell@.service
	display-manager.service gdm.service gdm3.service lightdm.service sddm.service lxdm.service greetd.service
	ssh.service ssh@.service ssh.socket sshd.service sshd@.service sshd.socket dropbear.service dropbear@.service dropbear.socket
	rescue.service rescue.target emergency.service emergency.target debug-shell.service kernel-command-line.service
	multi-user.target graphical.target
	cron.service crond.service cronie.service anacron.service atd.service
	adbd.service android-tools-adbd.service usb-gadget.target
	sshd-generated@.service systemd-storagetm.service
	breakpoint-pre-basic.service breakpoint-pre-mount.service breakpoint-pre-switch-root.service`)

func TestEverythingThatLetsAPersonInWaitsForTheGate(t *testing.T) {
	const want = `# SPDX-License-Identifier: Apache-2.0
[Unit]
Requires=accountlock-gate.service
After=accountlock-gate.service
AssertPathExists=/run/accountlock/open
`
	for _, unit := range waysIn {
		got, err := os.ReadFile("system/" + unit + ".d/50-accountlock.conf")
		if err != nil || string(got) != want {
			t.Errorf("%s: %v, %q", unit, err, got)
		}
	}
	// Whatever waits for the gate holds udev up, and udev the gate.
	got, err := os.ReadFile("system/breakpoint-pre-udev.service.d/50-accountlock.conf")
	if err != nil || !strings.HasSuffix(string(got), "\n[Unit]\nAssertPathExists=/run/accountlock/open\n") {
		t.Errorf("breakpoint-pre-udev.service: %v, %q", err, got)
	}
	dropIns, err := filepath.Glob("system/*.d")
	must(t, err)
	if len(dropIns) != len(waysIn)+2 { // that one, and sysinit.target's, which pulls the gate in
		t.Errorf("%d drop-ins for %d ways in", len(dropIns), len(waysIn))
	}
}
