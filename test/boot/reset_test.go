// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

// inFull leaves out of boot-test-fast what takes long, or what another test shows
// nearly as well.
func inFull(t *testing.T) {
	t.Helper()
	if os.Getenv("ACCOUNTLOCK_BOOT") != "full" {
		t.Skip("in the full tier: make boot-test")
	}
}

// resetCommand asks for a factory reset as the owner does.
func resetCommand(s *boot.Service, password string) string {
	return "accountlockctl factory-reset --password-file - <<'END'\n" + password + "\nEND"
}

// wipesVar is what a maker's program does, in short: it notes that /var is to be
// wiped, which the initrd then does (here: the test), and restarts.
const wipesVar = "#!/bin/sh\ntouch /persist/wipe-var && exec systemctl reboot\n"

func TestAResetThatTheOwnerAllowedLeadsToADeviceOfNobody(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(c *boot.Container){
		"the vendor's program": func(c *boot.Container) {
			boot.WriteFile(t, c.Root("usr/lib/accountlock/factory-reset"), wipesVar, 0o755)
		},
		"systemd's target": func(c *boot.Container) {
			boot.WriteFile(t, c.Root("usr/lib/systemd/system/wipe.service"), "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/sh -c 'touch /persist/wipe-var && exec systemctl reboot'\n", 0o644)
			boot.WriteFile(t, c.Root("usr/lib/systemd/system/factory-reset.target"), "[Unit]\nDefaultDependencies=no\n", 0o644)
			boot.WriteFile(t, c.Root("etc/systemd/system/factory-reset.target.wants/wipe.service"), "", 0o644)
			c.Link("/usr/lib/systemd/system/wipe.service", "etc/systemd/system/factory-reset.target.wants/wipe.service")
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "the vendor's program" {
				inFull(t)
			}
			c := linked(t)
			prepare(c)
			c.Boot()
			settles(c, "graphical.target")
			// Somebody who does not know the password resets nothing.
			if out, code := c.Sh(resetCommand(c.Service, "not-the-password-1")); code != 3 || c.Exists(c.Persist("wipe-var")) {
				t.Fatalf("with a wrong password: %d %s", code, out)
			}
			if got := says(c); got != "open linked" {
				t.Fatalf("after a wrong password the gate says %q", got)
			}
			if out, code := c.Sh(resetCommand(c.Service, c.Service.Demo.Password)); code != 0 && !c.Exists(c.Persist("wipe-var")) {
				t.Fatalf("the reset was not begun: %d %s\n%s", code, out, c.State())
			}
			c.AwaitRebootWith(func() {
				if !c.Exists(c.Persist("wipe-var")) {
					t.Error("it restarts without a reset")
				}
				c.Wipe()
			})
			opened(t, c)
			if got := says(c); got != "open unlinked" {
				t.Errorf("after the reset the gate says %q", got)
			}
			if out, _ := c.Sh("accountlockctl status --json"); !strings.Contains(out, `"unlinked"`) {
				t.Errorf("after the reset: %s", out)
			}
			// It stays like that, and the permission is gone: a reset now finds nothing to lock.
			c.Reboot()
			opened(t, c)
			if got := says(c); got != "open unlinked" {
				t.Errorf("at the boot after that the gate says %q", got)
			}

			// Linked again it is as before: a reset by a thief asks for its owner.
			link(t, c, c.Service)
			c.PowerOff()
			c.Wipe()
			c.Boot()
			shut(t, c, "factory-reset")
			unlock(t, c.Console, c.Service.Demo.Person)
			opened(t, c)
		})
	}
}

// The permission is for the boot that follows, whatever happens to it.
func TestAnAllowedResetThatDoesNotHappenIsNotAllowedLater(t *testing.T) {
	t.Parallel()
	c := linked(t)
	// A program that says that the machine is on its way, and does nothing.
	boot.WriteFile(t, c.Root("usr/lib/accountlock/factory-reset"), "#!/bin/sh\nexit 0\n", 0o755)
	c.Boot()
	settles(c, "graphical.target")
	c.Must(resetCommand(c.Service, c.Service.Demo.Password))
	if !c.MayReset() {
		t.Fatal("the record does not allow the reset")
	}
	c.Reboot()
	opened(t, c)
	if got := says(c); got != "open linked" {
		t.Errorf("after a reset that did not happen the gate says %q", got)
	}
	c.Until("the daemon to take the permission back", 10*time.Second, func() bool { return !c.MayReset() })
	c.PowerOff()
	c.Wipe()
	c.Boot()
	shut(t, c, "factory-reset")
	unlock(t, c.Console, c.Service.Demo.Person)
	opened(t, c)
}

func TestWithoutAWayToResetNoneIsAllowed(t *testing.T) {
	inFull(t)
	t.Parallel()
	c := linked(t)
	c.Boot()
	settles(c, "graphical.target")
	if out, code := c.Sh(resetCommand(c.Service, c.Service.Demo.Password)); code == 0 {
		t.Errorf("a reset was begun: %s", out)
	}
	// One that fails takes the permission back.
	c.Must("printf '#!/bin/sh\\nexit 1\\n' >/usr/lib/accountlock/factory-reset && chmod 755 /usr/lib/accountlock/factory-reset")
	if out, code := c.Sh(resetCommand(c.Service, c.Service.Demo.Password)); code == 0 || c.MayReset() {
		t.Errorf("a reset that failed was said to be begun: %s", out)
	}
	c.PowerOff()
	c.Wipe()
	c.Boot()
	shut(t, c, "factory-reset")
}
