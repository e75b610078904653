// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/gate"
)

var update = flag.Bool("update", false, "write the golden files")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree makes files below a new folder; a value that begins with `->` is a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if to, ok := strings.CutPrefix(text, "->"); ok {
			must(t, os.Symlink(to, path))
		} else {
			must(t, os.WriteFile(path, []byte(text), 0o600))
		}
	}
	return root
}

// plain is the tree of a device as it comes: two drop-ins, a graphical default.
func plain(more map[string]string) map[string]string {
	files := map[string]string{
		"usr/lib/systemd/system/default.target":                                 "->graphical.target",
		"usr/lib/systemd/system/getty@.service.d/50-accountlock.conf":           "[Unit]\n",
		"usr/lib/systemd/system/multi-user.target.d/50-accountlock.conf":        "[Unit]\n",
		"etc/systemd/system/multi-user.target.wants/NetworkManager.service":     "->/lib/systemd/system/NetworkManager.service",
		"usr/lib/systemd/system/sysinit.target.wants/systemd-timesyncd.service": "->../systemd-timesyncd.service",
		"sys/class/tty/console/active":                                          "tty0 ttyS0 hvc0\n",
		"proc/cmdline":                                                          "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet\n",
		"proc/1/cmdline":                                                        "/sbin/init\x00",
	}
	for name, text := range more {
		files[name] = text
		if text == "" && strings.Contains(name, ".wants/") {
			delete(files, name) // not enabled here
		}
	}
	return files
}

// written is all that stands below dir.
func written(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	files := os.DirFS(dir)
	must(t, fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if to, err := os.Readlink(filepath.Join(dir, name)); err == nil {
			fmt.Fprintf(&b, "%s -> %s\n", name, to)
			return nil
		}
		text, err := fs.ReadFile(files, name)
		fmt.Fprintf(&b, "%s:\n    %s\n", name, strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n    "))
		return err
	}))
	return b.String()
}

func TestWhatTheGeneratorWrites(t *testing.T) {
	broken := errors.New("bad file")
	block := func(c *config.Config) { c.Record.Store = "block:/dev/disk/by-partlabel/frp" }
	for _, c := range []struct {
		name      string
		files     map[string]string
		container bool
		cfg       config.Config
		err       error
	}{
		{"not-provisioned", nil, false, config.Default(nil), nil},
		{"no-gate-wanted", nil, false, provisioned(func(c *config.Config) { c.Gate.Mode = config.GateNone }), nil},
		{"provisioned", nil, false, provisioned(), nil},
		{"a-configuration-that-cannot-be-read", nil, false, config.Config{}, broken},
		{"another-default-target-with-wants", map[string]string{
			"etc/systemd/system/default.target":                   "->/lib/systemd/system/multi-user.target",
			"etc/systemd/system/default.target.wants/own.service": "->/etc/systemd/system/own.service",
			"usr/lib/systemd/system/default.target.d/x.conf":      "[Unit]\n",
		}, false, provisioned(), nil},
		{"something-replaces-what-holds-back", map[string]string{
			"etc/systemd/system/getty@.service.d/50-accountlock.conf":              "[Unit]\n",
			"etc/systemd/system/getty@tty1.service.d/50-accountlock.conf":          "->/dev/null",
			"run/systemd/system.attached/multi-user.target.d/50-accountlock.conf":  "[Unit]\n",
			"usr/local/lib/systemd/system/multi-user.target.d/50-accountlock.conf": "->/dev/null",
			"etc/systemd/system/multi-.target.d/50-accountlock.conf":               "[Unit]\n",
			"etc/systemd/system/serial-.service.d/50-accountlock.conf":             "[Unit]\n",
			"usr/lib/systemd/system/serial-getty@.service.d/50-accountlock.conf":   "[Unit]\n",
			"usr/lib/systemd/system/serial-.target.d/50-accountlock.conf":          "[Unit]\n",
			"etc/systemd/system/getty@.service.d/60-own.conf":                      "[Unit]\n",
			"etc/systemd/system/nginx.service.d/50-accountlock.conf":               "[Unit]\n",
			"etc/systemd/system/service.d/50-accountlock.conf":                     "[Unit]\n",
			"etc/systemd/system/accountlock-gate.service.d/50-accountlock.conf":    "[Unit]\n",
			"etc/systemd/system/sysinit.target.d/50-accountlock.conf":              "[Unit]\n",
			"usr/lib/systemd/system/sysinit.target.d/50-accountlock.conf":          "[Unit]\n",
		}, false, provisioned(), nil},
		{"the-command-line-names-units", map[string]string{
			"proc/cmdline": `root=/dev/sda1 systemd.unit=rescue.target "systemd.wants=own shell.service" systemd.wants=telnet.socket 3 systemd.unit=evil@x.service systemd.unit=../x` + "\n",
		}, false, provisioned(), nil},
		{"the-command-line-wants-units-without-a-type", map[string]string{
			"proc/cmdline": "systemd.wants=cage@tty1 systemd.wants=docker systemd.wants=shell-1.2 systemd.wants=own/shell systemd.wants=/dev/sda systemd.wants= systemd.wants\n",
		}, false, provisioned(), nil},
		{"the-command-line-masks-the-gate", map[string]string{
			"proc/cmdline": "systemd.mask=accountlock-gate.service\n",
			"etc/systemd/system/multi-user.target.wants/nginx.service": "->/lib/systemd/system/nginx.service",
			"etc/systemd/system/sockets.target.wants/cockpit.socket":   "->/lib/systemd/system/cockpit.socket",
			"etc/systemd/system/basic.target.wants/usb-moded.service":  "->/lib/systemd/system/usb-moded.service",
			"usr/lib/systemd/system/sockets.target.wants/dbus.socket":  "->../dbus.socket",
			// The gate waits for these: were it the other way round too, systemd would
			// drop one of them.
			"usr/lib/systemd/system/sockets.target.wants/systemd-journald.socket": "->../systemd-journald.socket",
			"usr/lib/systemd/system/systemd-journald.socket":                      "[Unit]\nDefaultDependencies=no\n",
			"etc/systemd/system/multi-user.target.wants/early@x.service":          "->/lib/systemd/system/early@.service",
			"usr/lib/systemd/system/early@.service":                               "[Unit]\nDefaultDependencies = off\n",
			"etc/systemd/system/multi-user.target.wants/snap-core.mount":          "->/etc/systemd/system/snap-core.mount",
			"etc/systemd/system/multi-user.target.wants/late@x.service":           "->/lib/systemd/system/late@.service",
			"usr/lib/systemd/system/late@.service":                                "[Unit]\nDefaultDependencies=yes\n",
		}, false, provisioned(), nil},
		{"the-command-line-runs-a-command", map[string]string{
			"proc/cmdline": "systemd.run=\"/usr/bin/touch /run/x\" systemd.run_success_action=none\n",
		}, false, provisioned(), nil},
		{"what-follows-two-dashes-is-pid-1s", map[string]string{"proc/1/cmdline": "/sbin/init\x00--unit\x00evil.service\x00"}, false, provisioned(), nil},
		{"pid-1s-options-can-be-short", map[string]string{"proc/1/cmdline": "/sbin/init\x00--un\x00first.service\x00--uni=evil.service\x00--us=good.service\x00"}, false, provisioned(), nil},
		{"pid-1s-options-can-be-very-short", map[string]string{"proc/1/cmdline": "/sbin/init\x00--un\x00evil.service\x00--u=good.service\x00"}, false, provisioned(), nil},
		{"in-a-container-the-hosts-command-line-is-not-ours", map[string]string{
			"proc/cmdline": "systemd.unit=rescue.target", "proc/1/cmdline": "/sbin/init\x00single\x00",
		}, true, provisioned(), nil},
		{"pid-1s-environment-stands-in-for-the-command-line", map[string]string{
			"proc/cmdline":   "systemd.unit=rescue.target",
			"proc/1/environ": "HOME=/\x00SYSTEMD_EFI_OPTIONS=systemd.wants=first systemd.unit=good.service\x00SYSTEMD_PROC_CMDLINE=systemd.mask=accountlock-gate.service systemd.unit=evil.service\x00",
		}, false, provisioned(), nil},
		{"pid-1-takes-itself-for-an-initrds", map[string]string{
			"proc/cmdline": "rd.systemd.wants=evil rd.systemd.unit=rescue.target", "proc/1/environ": "SYSTEMD_IN_INITRD=1\x00",
		}, false, provisioned(), nil},
		{"in-an-initrd-the-words-with-rd-count", map[string]string{
			"proc/cmdline": "rd.systemd.unit=evil.service systemd.unit=rescue.target 5", "proc/1/environ": "SYSTEMD_IN_INITRD=true\x00",
		}, false, provisioned(), nil},
		{"outside-an-initrd-the-words-with-rd-do-not-count", map[string]string{
			"proc/cmdline": "systemd.unit=evil.service rd.systemd.unit=rescue.target", "proc/1/environ": "SYSTEMD_IN_INITRD=0\x00",
		}, false, provisioned(), nil},
		{"generators-are-told-more-than-pid-1", map[string]string{
			"etc/systemd/system/multi-user.target.wants/nginx.service": "->/lib/systemd/system/nginx.service",
		}, false, provisioned(), nil},
		{"a-usb-gadget-brings-a-shell", map[string]string{
			"etc/systemd/system/usb-gadget.target.wants/serial-getty@ttyGS0.service": "->/usr/lib/systemd/system/serial-getty@.service",
			"usr/lib/systemd/system/usb-gadget.target.wants/adbd.service":            "->../adbd.service",
			"usr/lib/systemd/system/usb-gadget.target.requires/mtp.service":          "->../mtp.service",
		}, false, provisioned(), nil},
		{"netplan-enables-the-network", map[string]string{
			"etc/systemd/system/multi-user.target.wants/NetworkManager.service": "",
			"etc/netplan/50-cloud-init.yaml":                                    "network:\n",
			"usr/lib/systemd/system-generators/netplan":                         "->/usr/libexec/netplan/generate",
		}, false, provisioned(), nil},
		{"an-offline-update-is-due", map[string]string{"system-update": "->/var/lib/update"}, false, provisioned(), nil},
		{"the-record-is-on-a-partition-that-is-not-there-yet", nil, false, provisioned(block), nil},
		{"the-record-is-on-a-partition", map[string]string{"dev/disk/by-partlabel/frp": ""}, false, provisioned(block), nil},
		{"a-tpm-is-there", map[string]string{"sys/class/tpm/tpm0/x": "", "dev/tpmrm0": ""}, false, provisioned(), nil},
		{"a-tpm-may-come-with-its-driver", map[string]string{"sys/firmware/acpi/tables/TPM2": ""}, false, provisioned(), nil},
		{"no-tpm-is-wanted", nil, false, provisioned(func(c *config.Config) { c.TPM.Mode = config.TPMOff }), nil},
		{"a-tpm-is-required-and-not-there-yet", nil, false, provisioned(func(c *config.Config) { c.TPM.Mode = config.TPMRequire; block(c) }), nil},
		{"a-tpm-is-a-socket", nil, false, provisioned(func(c *config.Config) { c.TPM.Mode, c.TPM.Device = config.TPMRequire, "swtpm:/run/tpm" }), nil},
		{"the-device-is-open-already", map[string]string{"run/accountlock/open": "linked\n"}, false, provisioned(), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, early := tree(t, plain(c.files)), t.TempDir()
			// Another generator's redirection was there first.
			if strings.HasPrefix(c.name, "an-offline") {
				must(t, os.Symlink("/usr/lib/systemd/system/system-update.target", filepath.Join(early, "default.target")))
			}
			environ := map[string]string{}
			if strings.HasPrefix(c.name, "generators-are-told") {
				environ["SYSTEMD_PROC_CMDLINE"] = "systemd.wants=evil systemd.mask=accountlock-gate.service systemd.unit=good.service"
				environ["SYSTEMD_EFI_OPTIONS"] = "systemd.wants=worse"
			}
			getenv := func(name string) (string, bool) { value, ok := environ[name]; return value, ok }
			g := gate.Generator{Root: root, Early: early, Container: c.container, Getenv: getenv, Config: func(string) (config.Config, error) { return c.cfg, c.err }}
			for range 2 { // a second run, as daemon-reload makes it, changes nothing
				must(t, g.Run())
				golden(t, "generator/"+c.name, written(t, early))
			}
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s is\n%s\nand should be\n%s", name, got, want)
	}
}

func TestAGeneratorThatCannotWriteSaysSo(t *testing.T) {
	root := tree(t, plain(nil))
	file := filepath.Join(root, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	g := gate.Generator{Root: root, Early: file, Getenv: os.LookupEnv, Config: func(string) (config.Config, error) { return provisioned(), nil }}
	if err := g.Run(); err == nil {
		t.Error("no error")
	}
}
