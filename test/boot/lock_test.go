// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

func TestADeviceOfItsOwnerOpensAndAfterAResetOpensForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	c := boot.NewContainer(t, "")

	// Nobody has linked it: the service says so, without a person.
	c.Boot()
	opened(t, c)
	link(t, c, c.Service)

	c.Reboot()
	opened(t, c)
	if out, code := c.Sh("systemctl --failed --no-legend"); code != 0 || out != "" {
		t.Errorf("on an open device there failed: %s", out)
	}
	c.PowerOff()

	c.Wipe()
	c.Boot()
	shut(t, c, "factory-reset")
	c.Reboot()
	shut(t, c, "factory-reset")

	unlock(t, c.Console, c.Service.Demo.Other)
	c.Console.Await(t, 0, "The password is right, bu", time.Minute)
	shut(t, c, "factory-reset")

	c.Reboot()
	settles(c, "accountlock-locked.target")
	boot1 := c.Must("cut -d ' ' -f 22 /proc/1/stat")
	unlock(t, c.Console, c.Service.Demo.Person)
	opened(t, c)
	if boot2 := c.Must("cut -d ' ' -f 22 /proc/1/stat"); boot2 != boot1 {
		t.Error("opening the device took a reboot")
	}
	c.Console.Await(t, 0, "login:", time.Minute)
	if strings.Contains(c.Console.Text(), c.Service.Demo.Password) {
		t.Error("the console shows the password")
	}
	if out, code := c.Sh("systemctl --failed --no-legend"); code != 0 || out != "" {
		t.Errorf("after the account check there failed: %s", out)
	}
	c.Reboot()
	opened(t, c)
}

func TestWhereNothingIsProvisionedTheBootIsAsWithoutThePackage(t *testing.T) {
	t.Parallel()
	units := map[bool]string{}
	for _, installed := range []bool{false, true} {
		c := boot.NewPlainContainer(t, installed)
		c.Boot()
		c.Until("the boot to end", time.Minute, func() bool {
			out, _ := c.Sh("systemctl is-active graphical.target user@1000.service; systemctl list-jobs --no-pager")
			return out == "active\nactive\nNo jobs running.\n"
		})
		boot.OwnerGetsIn(t, c)
		units[installed] = c.Must("systemctl get-default; systemctl show -p Id --value default.target; " +
			"systemctl list-units --all --no-legend --plain --state=active,activating,failed | awk '{print $1, $3, $4}' | grep -v -e run-user -e run-credentials -e '^session-' -e ^accountlock-gate.service -e ^accountlock-checkin.timer | sort")
		if installed {
			if out, _ := c.Sh("find /run/systemd/generator* -name '*accountlock*' -o -name default.target"); out != "" {
				t.Errorf("the generator made: %s", out)
			}
			if out := says(c); out != "open unlinked" {
				t.Errorf("the gate says %q", out)
			}
		}
		c.PowerOff()
	}
	if units[true] != units[false] {
		t.Errorf("without the package there ran:\n%s\nwith it:\n%s", units[false], units[true])
	}
}

func TestADaemonThatIsKilledMaskedOrGoneOpensNothing(t *testing.T) {
	t.Parallel()
	c := locked(t)
	c.Boot()
	shut(t, c, "factory-reset")
	for range 8 {
		c.Must("systemctl kill --signal=KILL accountlockd.service || true")
		time.Sleep(150 * time.Millisecond)
	}
	shut(t, c, "factory-reset")

	c.Must("systemctl mask --now --runtime accountlockd.service || true; systemctl mask accountlockd.service")
	shut(t, c, "factory-reset")
	c.Reboot()
	shut(t, c, "factory-reset")
	c.Must("systemctl unmask accountlockd.service")
	c.PowerOff()

	for _, program := range []string{"usr/sbin/accountlockd", "usr/bin/accountlock-firstboot"} {
		remove(t, c, program)
		c.Boot()
		shut(t, c, "factory-reset")
		c.Cut()
	}
	remove(t, c, "usr/sbin/accountlock-gate")
	c.Boot()
	c.Until("the boot to end", time.Minute, func() bool {
		out, _ := c.Sh("systemctl list-jobs --no-pager")
		return out == "No jobs running.\n"
	})
	// Nobody logs in; but with the generator gone too, cron belongs to no target that
	// is held back.
	boot.NobodyGetsIn(t, c, "cron.service")
}

// Whatever it is that ends the gate, a service that nobody knows to let people in, and
// nothing holds back, does not start either.
func TestAGateThatDiesLeavesTheDeviceToTheAccountCheck(t *testing.T) {
	t.Parallel()
	c := linked(t)
	boot.WriteFile(t, c.Root("usr/lib/systemd/system/unknown.service"), "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n", 0o644)
	c.Enable("unknown.service")
	dies := "usr/lib/systemd/system/accountlock-gate.service.d/test.conf"
	const undecided, silent = "/bin/sh -c 'echo undecided >/run/accountlock/locked; kill -KILL $$$$'", "/bin/false"
	for _, try := range []struct{ gate, word string }{
		{undecided, ""}, {silent, ""}, {undecided, "systemd.unit=multi-user.target"}, {undecided, "systemd.setenv=SYSTEMCTL_FORCE_BUS=1"},
	} {
		boot.WriteFile(t, c.Root(dies), "[Service]\nExecStart=\nExecStart="+try.gate+"\n", 0o644)
		c.With(strings.Fields(try.word)...)
		c.Boot()
		c.Until("the account check", time.Minute, func() bool {
			out, _ := c.Sh("systemctl is-active accountlock-locked.target accountlock-firstboot@console.service; systemctl is-failed accountlock-gate.service; systemctl list-jobs --no-pager")
			return out == "active\nactive\nfailed\nNo jobs running.\n"
		})
		boot.NobodyGetsIn(t, c)
		c.Cut()
	}
	remove(t, c, dies)
	c.With()
	c.Boot()
	opened(t, c)
	c.Must("systemctl is-active unknown.service")
}

// Nothing that waits for the gate may be kept shut by how often it has failed.
func TestAfterAGateThatFailedTooOftenTheOwnerGetsIn(t *testing.T) {
	t.Parallel()
	c := locked(t)
	boot.WriteFile(t, c.Root("usr/lib/systemd/system/accountlock-gate.service.d/test.conf"),
		"[Service]\nExecStart=\nExecStart=/bin/sh -c 'test -e /run/well && exec /usr/sbin/accountlock-gate --gate'\n", 0o644)
	c.Boot()
	c.Until("the account check", time.Minute, func() bool {
		_, code := c.Sh("systemctl is-active accountlock-locked.target accountlock-firstboot@console.service")
		return code == 0
	})
	c.Until("the gate to be refused", time.Minute, func() bool {
		out, _ := c.Sh("systemctl start accountlock-gate.service; journalctl -b -o cat -u accountlock-gate.service")
		return strings.Contains(out, "Start request repeated too quickly")
	})
	boot.NobodyGetsIn(t, c)
	c.Must("touch /run/well")
	unlock(t, c.Console, c.Service.Demo.Person)
	opened(t, c)
}

// remove removes a file from a device that is off.
func remove(t *testing.T, c *boot.Container, name string) {
	t.Helper()
	if err := os.Remove(c.Root(name)); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutANetworkALockedDeviceStaysShutAndOpensOnceThereIsOne(t *testing.T) {
	t.Parallel()
	c := locked(t)
	c.Service.Stop(t)
	c.Boot()
	shut(t, c, "factory-reset")
	unlock(t, c.Console, c.Service.Demo.Person)
	time.Sleep(2 * time.Second)
	shut(t, c, "factory-reset")
	c.Service.Start(t)
	c.Reboot()
	settles(c, "accountlock-locked.target")
	unlock(t, c.Console, c.Service.Demo.Person)
	opened(t, c)
}
