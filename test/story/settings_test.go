// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const settingsExample = "../../docs/settings-example/accountlock-settings.py"

// settings presses, types and reads on the example's page; see settings_drive.py.
func (r *rig) settings(words ...string) {
	r.T.Helper()
	// Debian's own Python has the bindings, whatever other one comes first.
	args := append([]string{"settings_drive.py", settingsExample, r.Path("settings.png")}, words...)
	cmd := exec.Command("/usr/bin/python3", args...)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+r.Bus.Address(), "DISPLAY="+display(r.T), "LC_ALL=C.UTF-8",
		"GDK_BACKEND=x11", "GSK_RENDERER=cairo", "GTK_A11Y=none", "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		r.T.Fatalf("%v\n%s", err, out)
	}
}

// display starts an X server without a screen and returns its name.
func display(t testing.TB) string {
	t.Helper()
	for _, need := range []string{"/usr/share/doc/gir1.2-gtk-4.0", "/usr/lib/python3/dist-packages/gi"} {
		if _, err := os.Stat(need); err != nil {
			t.Skipf("%s is missing: test/deps.sh test", need)
		}
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "480x640x24", "-nolisten", "tcp")
	cmd.ExtraFiles = []*os.File{write}
	if err := cmd.Start(); err != nil {
		t.Skipf("no X server: %v: test/deps.sh test", err)
	}
	_ = write.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = read.Close()
	})
	_ = read.SetReadDeadline(time.Now().Add(time.Minute))
	name := make([]byte, 16)
	n, err := io.ReadAtLeast(read, name, 2)
	if err != nil {
		t.Fatalf("the X server does not say its name: %v", err)
	}
	return ":" + strings.TrimSpace(string(name[:n]))
}

func TestTheSettingsExampleSignsOutAndUnlinks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run("Link")
	r.settings(
		"see:This device is signed in", "see:Account ID: "+r.demo.AccountID, "see:Signed in since: ", "see:"+r.Property("DeviceId").Value().(string),
		"press:Sign out…", "see:Sign out of this device",
		"type:certainly wrong", "press:Go on", "see:user name or password is wrong", "see:This counted as an attempt.",
		"type:"+r.demo.Password, "press:Go on", "see:Done.", "press:Close",
		"see:The account is signed out of this device.",
	)
	r.wantState("signed-out")
	r.run("Link")
	r.settings(
		"press:Unlink to give it away…", "see:Unlinking ends your ownership of this device.", "see:Your recovery code for it stops working.",
		"tick", "press:Go on", "type:"+r.demo.Password, "press:Go on", "see:Done.", "press:Close",
		"see:This device belongs to no account.",
	)
	r.wantState("unlinked")
}

func TestTheSettingsExampleChangesNothingWhenItIsCancelled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run("Link")
	r.settings("press:Unlink to give it away…", "see:Unlinking ends", "press:Cancel", "see:This device is signed in",
		"press:Sign out…", "see:Type the password", "press:Cancel", "see:This device is signed in")
	r.wantState("linked")
}
