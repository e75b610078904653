// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/accountlock/accountlock/internal/config"
)

// The units that the generator speaks of.
const (
	defaultTarget = "default.target"
	bootTarget    = "accountlock.target"
	lockedTarget  = "accountlock-locked.target"
	openTarget    = "accountlock-open.target"
	unitDir       = "usr/lib/systemd/system"
	dropIn        = "50-accountlock.conf"
)

// unitDirs are where units lie, the first having the most to say, without those
// of generators (systemd.unit(5)).
var unitDirs = []string{
	"etc/systemd/system", "etc/systemd/system.attached", "run/systemd/system", "run/systemd/system.attached", "usr/local/lib/systemd/system", unitDir,
}

// Generator is accountlock-gate as a systemd generator (systemd.generator(7)). It
// runs before /var and udev are there, and again at each daemon-reload.
type Generator struct {
	// Root is the root of the filesystem, "/" on a device.
	Root string
	// Early is the folder of the three that goes over /etc.
	Early string
	// Container: PID 1 runs in a container ($SYSTEMD_VIRTUALIZATION).
	Container bool
	// Getenv looks a variable of the generator's own environment up.
	Getenv func(name string) (string, bool)
	// Config is Parts.Config.
	Config func(path string) (config.Config, error)
}

// Run puts accountlock.target in the place of default.target, and has the last word,
// where /etc has less to say, on what holds back all that lets a person in. It decides
// nothing: the gate does. It goes on after an error, since each piece helps; whatever
// fails, the static units hold the same things back.
func (g Generator) Run() error {
	cfg, err := g.Config("")
	if err == nil && (!cfg.Provisioned() || cfg.Gate.Mode == config.GateNone) {
		// Nothing to hold back, and nothing to notice.
		return nil
	}
	// fails locked: a configuration that cannot be read may be one with a lock.
	words := readBootWords(g.Root, g.Container, g.Getenv)
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	found := g.look()
	do(g.holdBack(words, found))
	do(g.furnish(found))
	do(g.mounts(words))
	if err == nil {
		do(g.devices(cfg))
	}
	do(g.goOnTo(words))
	return errors.Join(errs...)
}

// holdBack repeats each static drop-in that something above /usr/lib would replace by a
// file of its name, and adds one for each unit that the command line names.
func (g Generator) holdBack(words bootWords, found units) error {
	var errs []error
	for _, unit := range found.replaced {
		errs = append(errs, g.write(heldBack, unit+".d", dropIn))
	}
	names := slices.Concat(words.wants, words.units)
	// A cable starts these (99-systemd.rules): a target that is refused still starts what
	// it wants or requires.
	names = append(names, g.hangingOn("usb-gadget")...)
	if len(words.units) > 0 || words.masks {
		// Somebody may want it without the gate: not even what lets nobody in starts then.
		names = append(names, g.wantedUnits()...)
	}
	for _, unit := range names {
		if !neverHeldBack[unit] && !strings.HasPrefix(unit, "accountlock") && !g.exists(filepath.Join(unitDir, unit+".d", dropIn)) {
			errs = append(errs, g.write(heldBack, unit+".d", dropIn))
		}
	}
	return errors.Join(errs...)
}

// units are what the folders of units say of those that matter here.
type units struct {
	// wanted are those that some target wants.
	wanted map[string]bool
	// replaced are those whose static drop-in a folder above /usr/lib replaces, be it
	// for one instance alone.
	replaced []string
}

// look reads each folder once: every boot waits for it.
func (g Generator) look() units {
	found := units{wanted: map[string]bool{}}
	var static, prefixes []string
	for _, dir := range unitDirs {
		for _, name := range g.names(dir) {
			if strings.HasSuffix(name, ".target.wants") {
				for _, unit := range g.names(filepath.Join(dir, name)) {
					found.wanted[unit] = true
				}
				continue
			}
			unit, ok := strings.CutSuffix(name, ".d")
			switch {
			case !ok || unit == "sysinit.target":
			case dir == unitDir:
				static = append(static, unit)
			case !g.exists(filepath.Join(dir, name, dropIn)):
			case g.isStatic(unit):
				found.replaced = append(found.replaced, unit)
			case strings.HasSuffix(strings.TrimSuffix(unit, filepath.Ext(unit)), "-"):
				prefixes = append(prefixes, unit)
			}
		}
	}
	if !found.wanted["NetworkManager.service"] && g.exists(netplan) && len(g.names("etc/netplan")) > 0 {
		found.wanted["systemd-networkd.service"] = true
	}
	for _, prefix := range prefixes {
		for _, unit := range static {
			if hasPrefix(unit, prefix) && g.isStatic(unit) {
				found.replaced = append(found.replaced, unit)
			}
		}
	}
	return found
}

// hasPrefix reports whether what stands in a folder such as foo-.service.d is for the unit
// (systemd.unit(5)).
func hasPrefix(unit, prefix string) bool {
	kind := filepath.Ext(prefix)
	return filepath.Ext(unit) == kind && strings.HasPrefix(unit, strings.TrimSuffix(prefix, kind))
}

// names are those of a folder's entries; one that cannot be read has none.
func (g Generator) names(dir string) []string {
	f, err := os.Open(filepath.Join(g.Root, dir))
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	return names
}

// isStatic reports whether the unit, or what it is an instance of, is held back by a
// static drop-in.
func (g Generator) isStatic(unit string) bool {
	return g.exists(filepath.Join(unitDir, unit+".d", dropIn)) || g.exists(filepath.Join(unitDir, template(unit)+".d", dropIn))
}

// template is the unit that this one is an instance of, or itself.
func template(unit string) string {
	if name, instance, ok := strings.Cut(unit, "@"); ok && instance != filepath.Ext(unit) {
		return name + "@" + filepath.Ext(unit)
	}
	return unit
}

// wantedUnits are those that a boot would start beyond what a locked device runs.
func (g Generator) wantedUnits() []string {
	return slices.DeleteFunc(g.hangingOn("default", "graphical", "multi-user", "basic", "sockets", "timers", "paths"), func(unit string) bool {
		return slices.Contains(furniture, unit) || g.early(unit)
	})
}

// hangingOn are the units that these targets want or require.
func (g Generator) hangingOn(targets ...string) []string {
	var out []string
	for _, target := range targets {
		for _, dir := range unitDirs {
			for _, kind := range []string{".target.wants", ".target.requires"} {
				out = append(out, slices.DeleteFunc(g.names(filepath.Join(dir, target+kind)), func(name string) bool { return !unitName(name) })...)
			}
		}
	}
	return out
}

// early reports whether the unit may be one that the gate itself waits for: a
// mount, or one that says that it belongs to the early boot, such as the journal's
// sockets. If it waited for the gate in turn, systemd would drop one of the two, or
// half of the boot. What lets people in and says so too is held back by name.
func (g Generator) early(unit string) bool {
	switch filepath.Ext(unit) {
	case ".mount", ".automount", ".swap", ".slice":
		return true
	}
	for _, dir := range unitDirs {
		text, err := os.ReadFile(filepath.Join(g.Root, dir, template(unit)))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, "=")
			if strings.TrimSpace(key) == "DefaultDependencies" {
				return slices.Contains([]string{"no", "false", "off", "0", "n", "f"}, strings.ToLower(strings.TrimSpace(value)))
			}
		}
		return false
	}
	return false
}

// heldBack is the drop-in of a unit that must wait for the gate.
const heldBack = "[Unit]\nRequires=accountlock-gate.service\nAfter=accountlock-gate.service\nAssertPathExists=/run/accountlock/open\n"

// neverHeldBack are what the account check itself needs, and lets nobody in.
var neverHeldBack = map[string]bool{
	"sysinit.target": true, "basic.target": true, "local-fs.target": true, "dbus.service": true, "dbus.socket": true, "dbus-broker.service": true,
}

// goOnTo makes default.target accountlock.target, and the real default target, or
// the unit that the command line names, what an open device goes on to. Once the
// device is open, default.target is left alone.
func (g Generator) goOnTo(words bootWords) error {
	from := g.realDefault()
	target := from
	switch {
	case words.unit != "":
		target = words.unit
	case words.runs:
		// systemd-run-generator(8) has made it, and redirects default.target to it.
		target = "kernel-command-line.target"
	case g.exists("system-update"), g.exists("etc/system-update"):
		// systemd-system-update-generator(8) redirects default.target too. Ours wins,
		// and leads on to there.
		target = "system-update.target"
	}
	errs := []error{g.link(filepath.Join("/", unitDir, target), openTarget+".wants", target)}
	if g.exists(openFile) {
		return errors.Join(errs...)
	}
	// What hangs on the name default.target goes along with the target.
	for _, kind := range []string{".wants", ".requires", ".upholds", ".d"} {
		for _, dir := range unitDirs {
			for _, name := range g.names(filepath.Join(dir, defaultTarget+kind)) {
				errs = append(errs,
					g.link(filepath.Join("/", dir, defaultTarget+kind, name), from+kind, name),
					g.link("/dev/null", defaultTarget+kind, name))
			}
		}
	}
	return errors.Join(append(errs, g.redirect())...)
}

// redirect makes default.target ours, in the place of what another generator may
// have made of it.
func (g Generator) redirect() error {
	temp := ".accountlock-" + defaultTarget
	if err := g.link(filepath.Join("/", unitDir, bootTarget), temp); err != nil {
		return err
	}
	return os.Rename(filepath.Join(g.Early, temp), filepath.Join(g.Early, defaultTarget))
}

func (g Generator) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(g.Root, name))
	return err == nil
}

// realDefault returns the target that default.target stands for below the
// generators.
func (g Generator) realDefault() string {
	for _, dir := range unitDirs {
		to, err := os.Readlink(filepath.Join(g.Root, dir, defaultTarget))
		if err != nil {
			continue
		}
		if name := filepath.Base(to); unitName(name) && name != defaultTarget && name != bootTarget {
			return name
		}
	}
	return "graphical.target"
}

// furniture are the services of network and time that a locked device runs too,
// those of them that are enabled.
var furniture = []string{
	"NetworkManager.service", "systemd-networkd.service", "systemd-networkd.socket", "systemd-resolved.service", "networking.service", "ifupdown2.service",
	"connman.service", "iwd.service", "dhcpcd.service", "wpa_supplicant.service", "ModemManager.service",
	"systemd-timesyncd.service", "chrony.service", "chronyd.service", "ntp.service", "ntpsec.service", "ntpd.service", "openntpd.service",
	"nftables.service", "firewalld.service", "ufw.service", "iptables.service",
}

// netplan is a generator too, and what it enables, networkd, ours cannot see.
const netplan = "usr/lib/systemd/system-generators/netplan"

// furnish gives a locked device the network and the time that it has enabled, and
// a screen on each serial console.
func (g Generator) furnish(found units) error {
	var errs []error
	for _, unit := range furniture {
		if found.wanted[unit] {
			errs = append(errs, g.link(filepath.Join("/", unitDir, unit), lockedTarget+".wants", unit))
		}
	}
	for _, tty := range g.consoles() {
		screen := "accountlock-firstboot@" + tty + ".service"
		errs = append(errs, g.link(filepath.Join("/", unitDir, "accountlock-firstboot@.service"), lockedTarget+".wants", screen))
	}
	return errors.Join(errs...)
}

// consoles returns the terminals, besides the virtual ones, that the kernel or the
// container's manager prints to.
func (g Generator) consoles() []string {
	if g.Container {
		return []string{"console"}
	}
	text, _ := os.ReadFile(filepath.Join(g.Root, "sys/class/tty/console/active"))
	var out []string
	for _, tty := range strings.Fields(string(text)) {
		if !strings.HasPrefix(tty, "tty") || strings.TrimLeft(tty[3:], "0123456789") != "" {
			out = append(out, tty)
		}
	}
	return out
}

// mounts gives the gate the mounts where the unit that is booted, such as
// emergency.target, may not want them. It never wants them otherwise: emergency.target
// is also what PID 1 starts once a mount failed, and needs the gate, which would have
// the same mount tried again, without end.
func (g Generator) mounts(words bootWords) error {
	if words.unit == "" {
		return nil
	}
	return g.write("[Unit]\nWants=local-fs.target\n", "accountlock-gate.service.d", "50-mounts.conf")
}

// devices lets the gate, at boot and again, use the devices that the configuration
// names, and wait for those that are not there yet. That one never comes is the
// gate's to say.
func (g Generator) devices(cfg config.Config) error {
	var use, await string
	scheme, path, _ := strings.Cut(cfg.Record.Store, ":")
	if scheme == "block" || scheme == "pdb" {
		use, await = g.device(path, "r")
	}
	if cfg.TPM.Mode == config.TPMRequire || cfg.TPM.Mode == config.TPMAuto {
		u, a := g.device(cfg.TPM.Device, "rw")
		use += u
		// In auto a TPM whose driver comes later may be used too, but one that nothing
		// tells of is not waited for.
		if cfg.TPM.Mode == config.TPMRequire || g.hasTPM() {
			await += a
		}
	}
	if use == "" {
		return nil
	}
	return errors.Join(
		g.write("[Unit]\n"+await+"[Service]\n"+use, "accountlock-gate.service.d", "50-devices.conf"),
		// Once booted, what is not there is not waited for.
		g.write("[Service]\n"+use, "accountlock-again.service.d", "50-devices.conf"))
}

// device returns what a unit says to use a device and to wait for it. Anything but
// a device, such as a socket, needs neither.
func (g Generator) device(path, access string) (use, await string) {
	if !strings.HasPrefix(path, "/dev/") || strings.ContainsAny(path, " \t\n%") {
		return "", ""
	}
	if _, err := os.Stat(filepath.Join(g.Root, path)); errors.Is(err, fs.ErrNotExist) {
		unit := escapePath(path) + ".device"
		await = fmt.Sprintf("Wants=%[1]s\nAfter=%[1]s\n", unit)
	}
	return "DeviceAllow=" + path + " " + access + "\n", await
}

// hasTPM reports whether there is a TPM, be it that its driver comes later.
func (g Generator) hasTPM() bool {
	return g.exists("sys/class/tpm/tpm0") || g.exists("sys/firmware/acpi/tables/TPM2")
}

// escapePath is `systemd-escape --path`.
func escapePath(path string) string {
	var b strings.Builder
	for i, c := range []byte(strings.Trim(filepath.Clean(path), "/")) {
		switch {
		case c == '/':
			b.WriteByte('-')
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == ':', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// link makes a symbolic link in the early folder. Where something has the name
// already it stays: another generator's early word, or an entry of a higher folder.
func (g Generator) link(to string, name ...string) error {
	path := filepath.Join(append([]string{g.Early}, name...)...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // PID 1's folder, for all to read
		return err
	}
	err := os.Symlink(to, path)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (g Generator) write(text string, name ...string) error {
	path := filepath.Join(append([]string{g.Early}, name...)...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // PID 1's folder, for all to read
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // PID 1's folder, for all to read
}
