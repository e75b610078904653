// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

// spell is what a thief writes on the kernel's command line. In a container the
// words are arguments of PID 1, which reads them alike.
type spell struct {
	// words in the order in which they are written; `NAME=value` without a full stop
	// is what the kernel puts into the environment of PID 1.
	words string
	// gives is a script that succeeds where the words had the effect that the thief
	// wants: on an open device it has to, on a locked one it must not.
	gives string
	// reason why the device is locked, if it is another than the reset.
	reason string
	// dark: not even the account check comes. The device is shut all the same.
	dark bool
}

const (
	isRescue    = "systemctl -q is-active rescue.service"
	isEmergency = "systemctl -q is-active emergency.service"
	isMultiUser = "systemctl -q is-active multi-user.target"
	isGraphical = "systemctl -q is-active graphical.target"
	// What a mask is written for: that the boot goes on.
	goesOn = isMultiUser
	// Marks that units of newer versions of systemd leave, once they run (putThief).
	brokeBeforeUdev  = "test -e /run/thief-breakpoint-pre-udev.service"
	brokeBeforeBasic = "test -e /run/thief-breakpoint-pre-basic.service"
	gaveDisksAway    = "test -e /run/thief-systemd-storagetm.service"
	// A service of the vendor's that no drop-in of the package knows by name.
	vendors   = "vendors-own"
	isVendors = "systemctl -q is-active " + vendors + ".service"
)

var spells = []spell{
	{words: "systemd.unit=rescue.target", gives: isRescue},
	{words: "systemd.unit=emergency.target", gives: isEmergency},
	{words: "systemd.unit=multi-user.target", gives: isMultiUser},
	{words: "systemd.unit=graphical.target", gives: isGraphical},
	{words: "systemd.unit=ssh.service", gives: "systemctl -q is-active ssh.service"},
	{words: "systemd.unit=timers.target systemd.wants=cron.service", gives: "systemctl -q is-active cron.service"},
	{words: "single", gives: isRescue},
	{words: "s", gives: isRescue},
	{words: "1", gives: isRescue},
	{words: "rescue", gives: isRescue},
	{words: "emergency", gives: isEmergency},
	{words: "3", gives: isMultiUser},
	{words: "5", gives: isGraphical},
	{words: "systemd.debug_shell=console", gives: "systemctl -q is-active debug-shell.service"},
	{words: "systemd.debug_shell=console systemd.unit=emergency.target", gives: "systemctl -q is-active debug-shell.service"},
	{words: "systemd.run=/usr/lib/thief systemd.run_success_action=none", gives: "test -e /run/thief"},
	{words: "systemd.unit=basic.target systemd.wants=ssh.service", gives: "systemctl -q is-active ssh.service"},
	{words: "systemd.unit=basic.target systemd.wants=console-getty.service", gives: "systemctl -q is-active console-getty.service"},
	{words: "systemd.mask=accountlock-gate.service", gives: goesOn, dark: true},
	{words: "systemd.mask=accountlock.target", gives: goesOn, dark: true},
	{words: "systemd.mask=accountlock-locked.target", gives: goesOn, dark: true},
	{words: "systemd.mask=accountlock-open.target", gives: goesOn},
	{words: "systemd.mask=accountlock-continue.path", gives: goesOn},
	{words: "systemd.mask=accountlockd.service", gives: goesOn},
	{words: "systemd.mask=accountlock-firstboot@console.service systemd.mask=accountlock-firstboot@tty1.service", gives: goesOn},
	{words: "SYSTEMD_UNIT_PATH=/usr/lib/systemd/system", gives: goesOn},
	{words: "SYSTEMD_UNIT_PATH=/usr/lib/systemd/system systemd.unit=multi-user.target", gives: goesOn},
	{words: "SYSTEMD_GENERATOR_PATH=/var/empty", gives: goesOn},
	{words: "SYSTEMD_GENERATOR_PATH=/var/empty systemd.unit=rescue.target", gives: isRescue},
	{words: "systemd.mask=accountlock-gate.service systemd.wants=" + vendors, gives: isVendors, dark: true},
	{words: "-- --uni=rescue.target", gives: isRescue},
	{words: "systemd.wants=" + vendors, gives: isVendors},
	{words: "SYSTEMD_PROC_CMDLINE=systemd.unit=" + vendors + ".service", gives: isVendors},
	{words: `"SYSTEMD_PROC_CMDLINE=systemd.mask=accountlock-gate.service systemd.wants=` + vendors + `"`, gives: isVendors, dark: true},
	{words: `"SYSTEMD_EFI_OPTIONS=systemd.mask=accountlock-gate.service systemd.wants=` + vendors + `"`, gives: isVendors, dark: true},
	// What is set like this generators are told, and PID 1's own environment does not say.
	{words: "systemd.setenv=SYSTEMD_PROC_CMDLINE=systemd.wants=" + vendors, gives: isVendors},
	{words: `"systemd.setenv=SYSTEMD_PROC_CMDLINE=systemd.mask=accountlock-gate.service systemd.wants=` + vendors + `"`, gives: isVendors, dark: true},
	{words: `"systemd.setenv=SYSTEMD_EFI_OPTIONS=systemd.mask=accountlock-gate.service systemd.wants=` + vendors + `"`, gives: isVendors, dark: true},
	{words: "systemd.setenv=SYSTEMD_IN_INITRD=1 rd.systemd.wants=" + vendors, gives: isVendors},
	{words: "SYSTEMD_IN_INITRD=1", gives: goesOn},
	{words: "SYSTEMD_IN_INITRD=1 rd.systemd.unit=" + vendors + ".service systemd.unit=rescue.target", gives: isVendors},
	{words: "SYSTEMD_IN_INITRD=1 rd.systemd.mask=accountlock-gate.service rd.systemd.wants=" + vendors, gives: isVendors, dark: true},
	{words: "systemd.setenv=STATE_DIRECTORY=/persist/accountlock systemd.setenv=RUNTIME_DIRECTORY=/tmp", gives: goesOn},
	{words: "systemd.break=pre-udev", gives: brokeBeforeUdev},
	{words: "systemd.break=pre-basic systemd.unit=basic.target", gives: brokeBeforeBasic},
	{words: "systemd.unit=storage-target-mode.target", gives: gaveDisksAway},
	{words: "SYSTEMD_GENERATOR_PATH=/var/empty systemd.unit=storage-target-mode.target", gives: gaveDisksAway},
}

func TestNoWordOnTheCommandLineOpensALockedDevice(t *testing.T) {
	t.Parallel()
	c := locked(t)
	putThief(t, c)
	for _, one := range spells {
		t.Run(one.words, func(t *testing.T) {
			defer c.In(t)()
			c.With(split(one.words)...)
			c.Boot()
			defer c.Cut()
			withstands(t, c, one)
			orderly(t, c.Console)
		})
	}
}

// What its owner writes there, an open device does. That the words can do it at all
// is also what makes the test above one.
func TestTheWordsOnTheCommandLineWorkForTheOwnerOfAnOpenDevice(t *testing.T) {
	t.Parallel()
	c := linked(t)
	putThief(t, c)
	for _, one := range spells {
		if strings.Contains(one.words, "systemd.mask=") || strings.Contains(one.words, "SYSTEMD_") || one.gives == brokeBeforeUdev {
			continue // a lock that is meddled with opens for nobody, nor is there one before udev
		}
		t.Run(one.words, func(t *testing.T) {
			defer c.In(t)()
			c.With(split(one.words)...)
			c.Boot()
			defer c.Cut()
			c.Until(one.gives, 60*time.Second, func() bool {
				_, code := c.Sh(one.gives)
				return code == 0
			})
			orderly(t, c.Console)
		})
	}
}

// split splits a command line at blanks outside of quotes.
func split(words string) []string {
	quoted := false
	return strings.FieldsFunc(words, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == '"' || r == ' ' && !quoted
	})
}

// putThief gives `systemd.run=` something to run that leaves a trace.
func putThief(t *testing.T, c *boot.Container) {
	t.Helper()
	boot.WriteFile(t, c.Root("usr/lib/thief"), "#!/bin/sh\ntouch /run/thief\n", 0o755)
	boot.WriteFile(t, c.Root("usr/lib/systemd/system/"+vendors+".service"), "[Service]\nExecStart=/usr/bin/sleep infinity\n", 0o644)
	// What is not in the image's systemd: the disks for everybody (255), and shells that its
	// debug generator starts (258).
	for unit, order := range map[string]string{
		"systemd-storagetm.service":    "",
		"breakpoint-pre-udev.service":  "Before=systemd-udevd.service systemd-udev-trigger.service\n",
		"breakpoint-pre-basic.service": "After=sysinit.target\nBefore=basic.target\n",
	} {
		boot.WriteFile(t, c.Root("usr/lib/systemd/system/"+unit),
			"[Unit]\nDefaultDependencies=no\n"+order+"[Service]\nExecStart=/usr/bin/sh -c 'touch /run/thief-%n; sleep infinity'\n", 0o644)
	}
	boot.WriteFile(t, c.Root("usr/lib/systemd/system/storage-target-mode.target"), "[Unit]\nWants=systemd-storagetm.service\nAfter=systemd-storagetm.service\n", 0o644)
	boot.WriteFile(t, c.Root("usr/lib/systemd/system-generators/breakpoints"), `#!/bin/sh
tr '\0' '\n' </proc/1/cmdline | sed -n 's/^systemd\.break=//p' | while read -r point; do
	target=$(tr '\0' '\n' </proc/1/cmdline | sed -n 's/^systemd\.unit=//p')
	mkdir -p "$2/${target:-default.target}.wants"
	ln -s "/usr/lib/systemd/system/breakpoint-$point.service" "$2/${target:-default.target}.wants/"
done
`, 0o755)
}

// withstands asserts that the words gave the thief nothing.
func withstands(t *testing.T, d device, one spell) {
	t.Helper()
	booted(d)
	if out, code := d.Sh(one.gives); code == 0 {
		t.Errorf("the thief has what was asked for: %s %s\n%s", one.gives, out, d.State())
	}
	_, code := d.Sh("systemctl -q is-active accountlock-locked.target")
	if dark := code != 0; dark != one.dark {
		t.Errorf("dark: %v, and not %v\n%s", dark, one.dark, d.State())
	}
	if got := says(d); got != "locked "+cmp.Or(one.reason, "factory-reset") {
		t.Errorf("the gate says %q", got)
	}
	boot.NobodyGetsIn(t, d)
}

// booted waits until PID 1 has nothing more to start.
func booted(d device) {
	d.Until("the boot to end", 60*time.Second, func() bool {
		out, _ := d.Sh("systemctl is-system-running; systemctl list-jobs --no-pager")
		state, jobs, _ := strings.Cut(out, "\n")
		return jobs == "No jobs running.\n" && state != "starting" && state != "initializing"
	})
}

// orderly asserts that nothing waits for what waits for it: PID 1 would drop some
// of the boot's jobs, and nobody can tell which.
func orderly(t *testing.T, c *boot.Console) {
	t.Helper()
	if strings.Contains(c.Text(), "ordering cycle") {
		t.Errorf("PID 1 dropped a job:\n%s", c.Text())
	}
}

// On a real command line, several words a boot where each keeps its meaning.
var spellsOfAMachine = []spell{
	{words: "systemd.unit=rescue.target systemd.debug_shell systemd.wants=getty@tty2.service systemd.wants=ssh.service",
		gives: isRescue + " || systemctl -q is-active debug-shell.service getty@tty2.service ssh.service"},
	{words: "emergency systemd.debug_shell=tty9 systemd.wants=sshd.service",
		gives: isEmergency + " || systemctl -q is-active debug-shell.service ssh.service"},
	{words: "1 systemd.debug_shell=ttyS0 rd.break rd.systemd.unit=rescue.target",
		gives: isRescue + " || systemctl -q is-active debug-shell.service"},
	{words: "single systemd.unit=multi-user.target systemd.wants=user@1000.service systemd.wants=greetd.service", gives: isMultiUser},
	{words: "systemd.unit=graphical.target systemd.mask=accountlockd.service systemd.mask=accountlock-firstboot@ttyS0.service " +
		"systemd.mask=accountlock-continue.path systemd.mask=accountlock-open.target", gives: isGraphical},
	{words: `systemd.run="/usr/bin/touch /run/thief" systemd.run_success_action=none`, gives: "test -e /run/thief"},
	{words: "systemd.mask=accountlock-gate.service systemd.debug_shell=ttyS0 systemd.wants=cron.service",
		gives: "systemctl -q is-active debug-shell.service || systemctl -q is-active cron.service", dark: true},
	{words: "systemd.unit=rescue.target systemd.mask=accountlock-locked.target", gives: isRescue, dark: true},
	// Without the units that generators make nobody mounts what the record is on.
	{words: "SYSTEMD_UNIT_PATH=/usr/lib/systemd/system SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/var/empty SYSTEMD_PRESET_PATH=/var/empty systemd.unit=multi-user.target", gives: isMultiUser, reason: "record-damaged"},
	{words: "SYSTEMD_GENERATOR_PATH=/var/empty systemd.unit=rescue.target", gives: isRescue, reason: "record-damaged"},
	{words: "fstab=no systemd.unit=multi-user.target", gives: isMultiUser, reason: "record-damaged"},
}

func TestNoWordOnTheKernelsCommandLineOpensALockedVirtualDevice(t *testing.T) {
	fullTier(t)
	t.Parallel()
	m := linkedVM(t, inAFile, false)
	m.Wipe()
	m.Discard = true
	for _, one := range spellsOfAMachine {
		t.Run(one.words, func(t *testing.T) {
			defer m.In(t)()
			m.With(one.words)
			m.Boot()
			defer m.Cut()
			withstands(t, m, one)
			orderly(t, m.Console)
		})
	}
}

// A mask of the gate with a unit named besides: what the unit needs is masked, and
// PID 1 starts nothing at all.
func TestWhereTheGateIsMaskedAndAUnitIsNamedPID1GivesUp(t *testing.T) {
	t.Parallel()
	c := locked(t)
	putThief(t, c)
	for _, words := range []string{
		"systemd.unit=multi-user.target", "-- --unit=" + vendors + ".service", "-- --uni " + vendors + ".service", "-- --un=" + vendors + ".service",
		"SYSTEMD_IN_INITRD=1 rd.systemd.mask=accountlock-gate.service rd.systemd.unit=" + vendors + ".service systemd.unit=rescue.target",
	} {
		c.With(strings.Fields("systemd.mask=accountlock-gate.service " + words)...)
		if shown := c.BootInVain(); !strings.Contains(shown, "Exiting PID 1") {
			t.Errorf("%s: %s", words, shown)
		}
	}
}

// What the gate cannot stop, and verified boot must, is shown to be just that.
func TestWhatIsLeftToVerifiedBootOpensALockedVirtualDevice(t *testing.T) {
	fullTier(t)
	t.Parallel()
	m := linkedVM(t, inAFile, false)
	m.Wipe()
	m.Discard = true

	t.Run("init=/bin/sh", func(t *testing.T) {
		defer m.In(t)()
		m.With("init=/bin/sh")
		m.BootWithoutAgent()
		defer m.Cut()
		at := m.Console.Await(t, 0, "# ", 2*time.Minute)
		m.Console.Look()
		m.Console.Type(t, "echo $((6*7))$(id -un)\r")
		m.Console.Await(t, at, "42root", time.Minute)
	})
	t.Run("SYSTEMD_FSTAB=/proc/cmdline", func(t *testing.T) {
		defer m.In(t)()
		// The line is a line of fstab, too: whatever comes first is of no account to a tmpfs.
		m.Options("-append", "BOOT_IMAGE=/vmlinuz /usr/lib/accountlock tmpfs ro SYSTEMD_FSTAB=/proc/cmdline console=ttyS0 root=/dev/nvme0n1 mitigations=off quiet")
		defer m.Options()
		m.Boot()
		defer m.Cut()
		m.Until("the device to be open for the thief", time.Minute, func() bool {
			_, code := m.Sh(isGraphical)
			return code == 0
		})
	})
	t.Run("systemd.set_credential=tmpfiles.extra", func(t *testing.T) {
		defer m.In(t)()
		m.With(`"systemd.set_credential=tmpfiles.extra:f /run/accountlock/open 0644 root root - thief"`)
		m.Boot()
		defer m.Cut()
		m.Until("the device to be open for the thief", time.Minute, func() bool {
			_, code := m.Sh(isGraphical)
			return code == 0
		})
	})
}

func TestAGateThatSomebodySkipsOpensNothing(t *testing.T) {
	t.Parallel()
	c := locked(t)
	c.With("systemd.confirm_spawn=console")
	c.Boot()
	const ask = "[y, f, s"
	for at, skipped := 0, false; ; {
		from := at
		at = c.Console.Await(t, at, ask, time.Minute)
		c.Console.Look()
		question := c.Console.Text()[from:at]
		switch {
		case skipped:
			c.Console.Type(t, "c") // and do not ask again
		case strings.Contains(question, "accountlock-gate"):
			skipped = true
			c.Console.Type(t, "s")
			continue
		default:
			c.Console.Type(t, "y")
			continue
		}
		break
	}
	withstands(t, c, spell{words: "systemd.confirm_spawn", gives: goesOn, dark: true})
}
