// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

// Words that nothing else on the screen looks like.
const (
	lostMessage = "Finder-7193-XQZ"
	lostContact = "ada-5528@example.org"
)

// lose marks the device lost at the account service, and lets it check in.
func lose(t *testing.T, c *boot.Container) {
	t.Helper()
	id := strings.Trim(c.Property("DeviceId"), `"`)
	c.Service.Admin(t, "device", "lost", id, "--message", lostMessage, "--contact", lostContact)
	_, _ = c.Sh("accountlockctl check-in")
}

// busy is a device with people at work: a session that came by ssh, a lingering one,
// a program that ignores to be asked to end, and a machine of the user's.
func busy(t *testing.T, c *boot.Container) (sshEnded <-chan struct{}) {
	t.Helper()
	opened(t, c)
	ended := boot.StaysSignedIn(t, c)
	c.Must("systemd-run --quiet --slice=machine.slice --unit=virtual-machine sleep infinity")
	c.Must(`systemd-run --quiet --slice=user-1000.slice --unit=stubborn sh -c 'trap "" TERM HUP INT; while :; do sleep 1; done'`)
	return ended
}

func signedOff(t *testing.T, c *boot.Container, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatalf("the session goes on on a lost device\n%s", c.State())
	}
}

func TestALostDeviceEndsItsSessionsRebootsAndShowsItsOwnersMessage(t *testing.T) {
	t.Parallel()
	c := boot.NewContainer(t, "")
	c.Boot()
	settles(c, "graphical.target")
	link(t, c, c.Service)
	ended := busy(t, c)

	lose(t, c)
	signedOff(t, c, ended)
	c.AwaitReboot()
	shut(t, c, "lost")
	c.Console.Await(t, 0, lostMessage, time.Minute)
	c.Console.Await(t, 0, lostContact, time.Minute)
	if got := c.Property("LostMessage"); !strings.Contains(got, lostMessage) || !strings.Contains(got, lostContact) {
		t.Errorf("the daemon tells screens %s", got)
	}
	// A reset changes nothing, and somebody else's account neither.
	c.PowerOff()
	c.Wipe()
	c.Boot()
	shut(t, c, "lost")
	unlock(t, c.Console, c.Service.Demo.Other)
	c.Console.Await(t, 0, "The password is right, bu", time.Minute)
	shut(t, c, "lost")

	// Found ends the message; the account check opens the device.
	id := strings.Trim(c.Property("DeviceId"), `"`)
	c.Service.Admin(t, "device", "found", id)
	_, _ = c.Sh("accountlockctl check-in")
	c.Until("the message to be gone", time.Minute, func() bool { return !strings.Contains(c.Property("LostMessage"), lostMessage) })
	shut(t, c, "lost")
	c.Reboot()
	settles(c, "accountlock-locked.target")
	unlock(t, c.Console, c.Service.Demo.Person)
	opened(t, c)
	if out := c.Service.Admin(t, "device", "show", id, "--json"); strings.Contains(out, `"lost"`) {
		t.Errorf("for the account service it is lost still: %s", out)
	}
	c.Reboot()
	opened(t, c)
}

func TestALostDeviceThatMustNotRebootEndsItsSessionsWhereItIs(t *testing.T) {
	t.Parallel()
	c := boot.NewContainer(t, "")
	boot.WriteFile(t, c.Root("usr/lib/systemd/system/accountlock-again.service.d/no-reboot.conf"),
		"[Service]\nExecStart=\nExecStart=/usr/sbin/accountlock-gate --again --no-reboot\n", 0o644)
	c.Boot()
	settles(c, "graphical.target")
	link(t, c, c.Service)
	ended := busy(t, c)
	before := c.Must("cut -d ' ' -f 22 /proc/1/stat")

	lose(t, c)
	signedOff(t, c, ended)
	shut(t, c, "lost")
	out, _ := c.Sh("systemctl is-active user.slice machine.slice virtual-machine.service stubborn.service")
	if strings.Contains("\n"+out, "\nactive") {
		t.Errorf("of people's slices there is active: %s", out)
	}
	c.Console.Await(t, 0, lostMessage, time.Minute)
	c.Console.Await(t, 0, lostContact, time.Minute)

	// The owner's unlock on the device itself marks it found.
	unlock(t, c.Console, c.Service.Demo.Person)
	settles(c, "graphical.target")
	// Without a reboot logind starts what lingers at its user's next login.
	boot.StaysSignedIn(t, c)
	opened(t, c)
	if after := c.Must("cut -d ' ' -f 22 /proc/1/stat"); after != before {
		t.Error("there was a reboot")
	}
	if got := says(c); got != "open linked" {
		t.Errorf("the gate says %q", got)
	}
}
