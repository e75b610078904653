// SPDX-License-Identifier: Apache-2.0

// Package demo_test runs the demo itself: that it passes, that it fails where a
// step does not do what it says, and that it leaves nothing behind.
package demo_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/test/bus"
)

// run runs the demo with the programs in bin and returns what it printed.
func run(t *testing.T, bin, stdin string, args ...string) (string, error) {
	t.Helper()
	// A folder of its own with a short path: it will hold a socket.
	tmp, err := os.MkdirTemp("", "demo")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command("./demo.sh", args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + tmp, "TMPDIR=" + tmp, "ACCOUNTLOCK_BIN=" + bin}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if left, _ := filepath.Glob(filepath.Join(tmp, "accountlock-demo-*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	if ps, _ := exec.Command("pgrep", "-f", tmp).Output(); len(ps) > 0 {
		t.Errorf("it left processes: %s", ps)
	}
	return string(out), err
}

func TestTheStoryHolds(t *testing.T) {
	out, err := run(t, bus.Binaries(t), "")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !regexp.MustCompile(`\n\d{2,} checks passed: the story holds\.\n$`).MatchString(out) {
		t.Errorf("the last line is another:\n%s", out)
	}
}

func TestAStepThatDoesNotDoWhatItSaysEndsTheDemo(t *testing.T) {
	real, bin := bus.Binaries(t), t.TempDir()
	for _, name := range []string{"accountlockd", "accountlock-server"} {
		if err := os.Symlink(filepath.Join(real, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	// A program that claims to have unlocked whatever it is asked for.
	liar := "#!/bin/sh\n[ \"$1\" != unlock ] || exit 0\nexec '" + filepath.Join(real, "accountlockctl") + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "accountlockctl"), []byte(liar), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, bin, "")
	if err == nil || !strings.Contains(out, "FAILED: exit code 0, not 3") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestPlayLeavesTheSetUpRunningWithAShell(t *testing.T) {
	out, err := run(t, bus.Binaries(t), `
accountlockctl check
accountlockctl link --identifier "$(cat account-id)" --password-file password --yes
reset_device
accountlockctl check
`, "--play")
	if err != nil || !strings.Contains(out, "open unlinked") || !strings.Contains(out, "State: linked") ||
		!strings.Contains(out, "locked factory-reset") {
		t.Errorf("%v\n%s", err, out)
	}
}
