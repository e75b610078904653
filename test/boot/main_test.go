// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

func TestMain(m *testing.M) {
	tier := os.Getenv("ACCOUNTLOCK_BOOT")
	switch {
	case tier == "":
		// Beside the other tests there is nothing to do: `make boot-test` boots.
		os.Exit(0)
	case tier != "fast" && tier != "full":
		fmt.Fprintln(os.Stderr, "ACCOUNTLOCK_BOOT is fast or full")
		os.Exit(2)
	case os.Getuid() != 0:
		fmt.Fprintln(os.Stderr, "booting needs root")
		os.Exit(2)
	}
	os.Exit(boot.Main(m))
}

// device is a device of either tier.
type device interface {
	boot.Device
	Must(script string) string
	Until(what string, limit time.Duration, done func() bool)
}

// says is how `accountlockctl check` puts it.
func says(d device) string {
	out, _ := d.Sh("accountlock-gate --decide | head -n 1")
	return strings.TrimSpace(out)
}

// settles waits until the device has decided and nothing more is about to start.
func settles(d device, target string) {
	d.Until(target+" to be reached", 60*time.Second, func() bool {
		out, _ := d.Sh("systemctl is-active " + target + " accountlock-gate.service; systemctl list-jobs --no-pager")
		return out == "active\nactive\nNo jobs running.\n"
	})
}

// link links the device to the demo account from within.
func link(t *testing.T, d device, s *boot.Service) {
	t.Helper()
	d.Must("accountlockctl link --identifier " + s.Demo.AccountID + " --password-file - <<'END'\n" + s.Demo.Password + "\nEND")
	if got := says(d); got != "open linked" {
		t.Fatalf("after linking the gate says %q\n%s", got, d.State())
	}
}

// linked is a device that has an owner and is off.
func linked(t *testing.T) *boot.Container {
	t.Helper()
	c := boot.NewContainer(t, "")
	c.Boot()
	settles(c, "graphical.target")
	link(t, c, c.Service)
	c.PowerOff()
	return c
}

// locked is a device that was linked and reset, and is off.
func locked(t *testing.T) *boot.Container {
	t.Helper()
	c := linked(t)
	c.Wipe()
	return c
}

// unlock opens the device at its screen, as a person at the console does.
func unlock(t *testing.T, c *boot.Console, who boot.Person) {
	t.Helper()
	unlockAfter(t, c, 0, who)
}

// unlockAfter does so at what the screen shows after the mark.
func unlockAfter(t *testing.T, c *boot.Console, from int, who boot.Person) {
	t.Helper()
	at := c.Await(t, from, "Type the password of the account", 30*time.Second)
	key := func(keys string) {
		c.Look()
		c.Type(t, keys+"\r")
	}
	if c.Numbered {
		at = c.Await(t, at, "Type a number", 30*time.Second)
		key("1")
	} else {
		key("")
	}
	at = c.Await(t, at, "e-mail or phone number", 30*time.Second)
	key(who.AccountID)
	c.Await(t, at, "assword", 30*time.Second)
	key(who.Password)
}

// shut asserts that the device has settled on being locked for that reason, and
// that nobody gets in.
func shut(t *testing.T, d device, reason string) {
	t.Helper()
	settles(d, "accountlock-locked.target")
	if got := says(d); got != "locked "+reason {
		t.Fatalf("the gate says %q and not that it is locked, %s\n%s", got, reason, d.State())
	}
	// What the gate itself has found, confined as its unit is.
	if found, _ := d.Sh("cat /run/accountlock/locked"); strings.TrimSpace(found) != reason {
		t.Fatalf("at boot the gate found %q and not %s\n%s", found, reason, d.State())
	}
	boot.NobodyGetsIn(t, d)
}

// opened asserts that the device goes on to its default target, and that its owner
// gets in.
func opened(t *testing.T, d device) {
	t.Helper()
	settles(d, "graphical.target")
	boot.OwnerGetsIn(t, d)
}
