// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

// waysIn is everything that systemd could start to let a person in, and what brings
// such things: an administrator, udev and a socket ask for these by name.
var waysIn = []string{
	"getty@tty2.service", "autovt@tty3.service", "serial-getty@ttyGS0.service", "serial-getty@ttyS0.service", "console-getty.service",
	"container-getty@1.service", "ssh.service", "ssh.socket", "ssh@1.service", "greetd.service", "display-manager.service", "debug-shell.service",
	"rescue.service", "rescue.target", "emergency.service", "emergency.target", "multi-user.target", "graphical.target",
	"systemd-user-sessions.service", "user@1000.service", "cron.service", "kernel-command-line.service",
	"adbd.service", "usb-gadget.target", "usb-serial.service", "accountlock-open.target",
}

// A USB gadget comes with a cable: udev starts usb-gadget.target, which may want what
// a maker has hung there.
func TestNothingThatLetsPeopleInStartsOnALockedDeviceWhoeverAsks(t *testing.T) {
	t.Parallel()
	c := locked(t)
	sleeps := "[Service]\nExecStart=/usr/bin/sleep infinity\n"
	boot.WriteFile(t, c.Root("usr/lib/systemd/system/adbd.service"), sleeps+"[Install]\nWantedBy=multi-user.target\n", 0o644)
	boot.WriteFile(t, c.Root("usr/lib/systemd/system/usb-serial.service"), sleeps+"[Install]\nWantedBy=usb-gadget.target\n", 0o644)
	boot.WriteFile(t, c.Root("usr/lib/systemd/system/display-manager.service"), sleeps, 0o644)
	c.Enable("adbd.service", "usb-serial.service", "ssh.socket")
	c.Boot()
	shut(t, c, "factory-reset")

	c.Must("systemctl start --no-block usb-gadget.target")
	settles(c, "accountlock-locked.target")
	for _, unit := range waysIn {
		_, _ = c.Sh("systemctl start --no-block " + unit)
	}
	// Some of them end the account check, which root may.
	c.Must("systemctl isolate --no-block accountlock-locked.target")
	settles(c, "accountlock-locked.target")
	out, _ := c.Sh("systemctl list-units --no-legend --plain --state=active,activating " + strings.Join(waysIn, " "))
	if strings.TrimSpace(out) != "" {
		t.Errorf("on a locked device there started:\n%s", out)
	}
	shut(t, c, "factory-reset")

	c.Reboot()
	settles(c, "accountlock-locked.target")
	unlock(t, c.Console, c.Service.Demo.Person)
	opened(t, c)
	if out, _ := c.Sh("systemctl is-active adbd.service ssh.socket"); !strings.Contains(out, "active\n") {
		t.Errorf("on the open device: %s", out)
	}
	c.Must("systemctl start usb-gadget.target && systemctl is-active usb-serial.service")
}

// The user alice is whoever got code to run on the device.
func TestAnotherUsersProgramOpensNothing(t *testing.T) {
	t.Parallel()
	c := locked(t)
	// A settings program that systemd starts for whoever calls it on the bus, made as
	// the documentation says: it requires the open device.
	boot.WriteFile(t, c.Root("usr/lib/systemd/system/settings.service"),
		"[Unit]\nRequires=accountlock-open.target\nAfter=accountlock-open.target\n[Service]\nType=dbus\nBusName=org.example.Settings\nExecStart=/usr/bin/sleep infinity\n", 0o644)
	boot.WriteFile(t, c.Root("usr/share/dbus-1/system-services/org.example.Settings.service"),
		"[D-BUS Service]\nName=org.example.Settings\nExec=/bin/false\nUser=root\nSystemdService=settings.service\n", 0o644)
	c.Boot()
	shut(t, c, "factory-reset")

	bus := "busctl --timeout=5 call "
	daemon := "org.accountlock.AccountLock1 /org/accountlock/AccountLock1 "
	manager := daemon + "org.accountlock.AccountLock1.Manager "
	flow := "org.accountlock.AccountLock1 /org/accountlock/AccountLock1/flow/1 org.accountlock.AccountLock1.Flow "
	systemd := "org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "
	squat := bus + "org.freedesktop.DBus / org.freedesktop.DBus RequestName su org.accountlock.AccountLock1 7"
	for name, script := range map[string]string{
		"takes the name":                squat,
		"adds an account":               bus + manager + "Link 'a{sv}' 0",
		"signs out":                     bus + manager + "SignOut 'a{sv}' 0",
		"unlinks":                       bus + manager + "Unlink 'a{sv}' 0",
		"resets":                        bus + manager + "Reset 'a{sv}' 0",
		"reads the account":             bus + manager + "GetAccount",
		"sets the state":                "busctl set-property " + manager + "State s linked",
		"answers the screen's flow":     bus + flow + "Submit 'a{sv}' 0",
		"reads the screen's flow":       "busctl get-property " + flow + "Prompt",
		"ends the screen's flow":        bus + flow + "Cancel",
		"opens settings":                bus + "org.example.Settings / org.freedesktop.DBus.Peer Ping",
		"starts what lets people in":    bus + systemd + "StartUnit ss multi-user.target replace",
		"starts a program of its own":   "systemd-run --quiet true",
		"stops the gate":                bus + systemd + "StopUnit ss accountlock-gate.service replace",
		"kills the daemon":              bus + systemd + "KillUnit ssi accountlockd.service all 9",
		"reloads systemd":               bus + systemd + "Reload",
		"lingers":                       "loginctl enable-linger",
		"sets the clock":                "date --set 1970-01-01",
		"writes to the gate's channel":  "echo decide >/run/accountlock/gate",
		"replaces the gate's channel":   "mv /run/accountlock/gate /run/accountlock/old",
		"says that the device is open":  "echo linked >/run/accountlock/open",
		"removes that it is locked":     "rm -f /run/accountlock/locked && test ! -e /run/accountlock/locked",
		"asks for a reset":              "test -w /run/accountlock/reset",
		"reads the record":              "cat /persist/accountlock/record",
		"writes a record":               "echo >/persist/accountlock/record",
		"reads the journal":             "ls /var/lib/accountlock/",
		"becomes the daemon":            "setpriv --reuid=accountlock true",
		"changes the vendor's settings": "echo >/usr/lib/accountlock/accountlockd.toml",
		"adds settings in /etc":         "mkdir -p /etc/accountlock/accountlockd.toml.d",
		"takes the screen's terminal":   "echo hello >/dev/console",
	} {
		if out, code := c.As(boot.User, script); code == 0 {
			t.Errorf("on a locked device another user %s: %s", name, out)
		}
	}
	if out, code := c.As(boot.User, "accountlockctl check"); code != 10 {
		t.Errorf("another user is told %d: %s", code, out)
	}
	shut(t, c, "factory-reset")

	// With the daemon gone the name is free, and still nobody's.
	c.Must("systemctl mask --runtime --now accountlockd.service || true; systemctl kill --signal=KILL accountlockd.service || true")
	c.Until("the name to be free", time.Minute, func() bool {
		out, _ := c.Sh("busctl --json=short call org.freedesktop.DBus / org.freedesktop.DBus NameHasOwner s org.accountlock.AccountLock1")
		return strings.Contains(out, "false")
	})
	if out, code := c.As(boot.User, squat); code == 0 {
		t.Errorf("another user takes the free name: %s", out)
	}
	if out, code := c.As(boot.User, "accountlockctl check"); code != 11 {
		t.Errorf("without a daemon another user is told %d: %s", code, out)
	}
	shut(t, c, "factory-reset")
}

// What the daemon's own user could say, had it been taken over: the gate goes by its
// own reading.
func TestTheGateGoesByItsOwnReadingWhoeverWritesToItsChannel(t *testing.T) {
	t.Parallel()
	c := locked(t)
	boot.WriteFile(t, c.Root("usr/lib/accountlock/factory-reset"), "#!/bin/sh\ntouch /persist/wiped\n", 0o755)
	c.Boot()
	shut(t, c, "factory-reset")
	for range 40 {
		if out, code := c.As("accountlock", "echo open linked >/run/accountlock/gate"); code != 0 {
			t.Fatalf("the daemon's user cannot write to the channel: %s", out)
		}
	}
	// More than the channel holds, and no end of it.
	_, _ = c.As("accountlock", "head -c 200000 /dev/zero | timeout 2 cat >/run/accountlock/gate")
	for name, script := range map[string]string{
		"says that it is open":       "echo linked >/run/accountlock/open",
		"replaces what is locked":    "mv /run/accountlock/locked /run/accountlock/open",
		"starts what lets people in": "busctl --timeout=5 call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartUnit ss multi-user.target replace",
	} {
		if out, code := c.As("accountlock", script); code == 0 {
			t.Errorf("the daemon's user %s: %s", name, out)
		}
	}
	_, _ = c.As("accountlock", "printf 'reset\\n' | timeout 5 socat - UNIX-CONNECT:/run/accountlock/reset,type=5")
	shut(t, c, "factory-reset")
	if c.Exists(c.Persist("wiped")) {
		t.Error("a locked device was reset")
	}
	unlock(t, c.Console, c.Service.Demo.Person)
	opened(t, c)
}

// On the owner's open device there is a second person.
func TestASecondUserOfAnOpenDeviceChangesNothingAboutIt(t *testing.T) {
	t.Parallel()
	c := linked(t)
	boot.WriteFile(t, c.Root("usr/lib/accountlock/factory-reset"), "#!/bin/sh\ntouch /persist/wiped\n", 0o755)
	c.Boot()
	opened(t, c)
	for name, command := range map[string]string{
		"signs out": "sign-out", "unlinks": "unlink", "resets": "factory-reset", "reads the account": "account", "checks in": "check-in",
	} {
		// polkit, with nobody there to type an administrator's password.
		if out, code := c.As(boot.User, "accountlockctl "+command+" --password-file - <<'END'\n"+c.Service.Demo.Password+"\nEND"); code != 4 && code != 2 {
			t.Errorf("a second user %s: %d %s", name, code, out)
		}
	}
	if out, code := c.As(boot.User, "accountlockctl status --json"); code != 0 || strings.Contains(out, c.Service.Demo.AccountID) {
		t.Errorf("a second user sees: %d %s", code, out)
	}
	if got := says(c); got != "open linked" || c.Exists(c.Persist("wiped")) {
		t.Errorf("afterwards the gate says %q", got)
	}
}
