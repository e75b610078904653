// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

// maxInstalled is what all programs on a device may come to, in bytes, stripped.
const maxInstalled = 25_000_000

func TestThePackagesProgramsFitInTwentyFiveMegabytes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	host(t, "dpkg-deb", "-x", boot.Deb(t, "accountlock"), root)
	var sum int64
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o111 != 0 {
			t.Logf("%9d %s", info.Size(), strings.TrimPrefix(path, root))
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum > maxInstalled || sum < maxInstalled/10 {
		t.Errorf("the programs come to %d bytes; %d are allowed", sum, maxInstalled)
	}
}

// host runs a program of the host's and returns what it prints.
func host(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// system is a kind of package on a device: how it is put in and taken out, on a
// system that is off or running.
type system struct {
	name            string
	install, remove func(t *testing.T, c *boot.Container) (out string, err error)
}

// inTree runs a program of the host's on a device that is off, with its /persist.
func inTree(c *boot.Container, name string, args ...string) (string, error) {
	script := `mount --bind "$0" "$1" && shift && exec "$@"`
	args = append([]string{"--mount", "--propagation", "private", "--", "sh", "-c", script, c.Persist(""), c.Root("persist"), name}, args...)
	out, err := exec.Command("unshare", args...).CombinedOutput()
	return string(out), err
}

var systems = []system{
	{
		name: "deb",
		install: func(t *testing.T, c *boot.Container) (string, error) {
			boot.Install(t, c.Root("/"), boot.Deb(t, "accountlock"))
			return "", nil
		},
		remove: func(_ *testing.T, c *boot.Container) (string, error) {
			return inTree(c, "chroot", c.Root("/"), "dpkg", "-P", "accountlock")
		},
	},
	{
		name: "rpm",
		install: func(t *testing.T, c *boot.Container) (string, error) {
			found, err := filepath.Glob(filepath.Join(os.Getenv("ACCOUNTLOCK_PACKAGES"), "accountlock-[0-9]*.rpm"))
			if err != nil || len(found) != 1 {
				t.Fatalf("rpm packages: %v %v", found, err)
			}
			return inTree(c, "rpm", "--root", c.Root("/"), "--nodeps", "--nosignature", "-i", found[0])
		},
		remove: func(_ *testing.T, c *boot.Container) (string, error) {
			return inTree(c, "rpm", "--root", c.Root("/"), "-e", "accountlock")
		},
	},
}

func TestAPackageStaysOnALinkedDeviceAndLeavesAnUnlinkedOneOpen(t *testing.T) {
	t.Parallel()
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			c := boot.NewPlainContainer(t, false)
			if out, err := s.install(t, c); err != nil {
				t.Fatalf("cannot install: %v\n%s", err, out)
			}
			c.Provision("")
			c.Boot()
			settles(c, "graphical.target")
			link(t, c, c.Service)
			c.PowerOff()
			refused := func(reason string) {
				t.Helper()
				out, err := s.remove(t, c)
				if err == nil || !strings.Contains(out, reason) {
					t.Fatalf("on a device of somebody's the package was removed: %v\n%s", err, out)
				}
				for _, name := range []string{"usr/sbin/accountlock-gate", "usr/sbin/accountlockd", "usr/lib/systemd/system/accountlock-gate.service", "usr/lib/systemd/system-generators/accountlock-gate"} {
					if !c.Exists(c.Root(name)) {
						t.Errorf("after a removal that was refused there is no %s", name)
					}
				}
			}
			refused("not removed, because this device is linked to an account")
			// What a reset leaves of /var, save what the packages' own tools keep there.
			if err := os.RemoveAll(c.Root("var/lib/accountlock")); err != nil {
				t.Fatal(err)
			}
			refused("not removed, because this device is locked (locked factory-reset)")
			c.Boot()
			shut(t, c, "factory-reset")
			unlock(t, c.Console, c.Service.Demo.Person)
			opened(t, c)
			c.Must("accountlockctl sign-out --password-file - <<'END'\n" + c.Service.Demo.Password + "\nEND")
			if got := says(c); got != "open signed-out" {
				t.Fatalf("after the sign-out the gate says %q", got)
			}
			c.PowerOff()
			if out, err := s.remove(t, c); err != nil {
				t.Fatalf("the package cannot be removed: %v\n%s", err, out)
			}
			for _, name := range []string{"usr/sbin/accountlock-gate", "usr/lib/systemd/system-generators/accountlock-gate", "usr/lib/systemd/system/accountlock-gate.service", "usr/lib/systemd/system/getty@.service.d/50-accountlock.conf"} {
				if c.Exists(c.Root(name)) {
					t.Errorf("removing leaves %s behind", name)
				}
			}
			if s.name == "deb" && c.Exists(c.Root("var/lib/accountlock")) {
				t.Error("purging leaves the state behind")
			}
			if !c.Exists(c.Persist("accountlock/record")) {
				t.Error("the lock record is gone: it is the device's and not the package's")
			}
			c.Boot()
			settlesWithoutAGate(c)
			boot.OwnerGetsIn(t, c)
			if out, _ := c.Sh("systemctl --failed --no-legend; systemctl list-units --all --no-legend 'accountlock*'"); strings.TrimSpace(out) != "" {
				t.Errorf("without the package there is: %s", out)
			}
		})
	}
}

func settlesWithoutAGate(c *boot.Container) {
	c.Until("graphical.target to be reached", 60*time.Second, func() bool {
		out, _ := c.Sh("systemctl is-active graphical.target; systemctl list-jobs --no-pager")
		return out == "active\nNo jobs running.\n"
	})
}

// apk itself is no package of Debian's: its archive is looked at.
func TestTheAPKHoldsWhatTheDebHoldsAndAsksBeforeItIsRemoved(t *testing.T) {
	t.Parallel()
	found, err := filepath.Glob(filepath.Join(os.Getenv("ACCOUNTLOCK_PACKAGES"), "accountlock_*.apk"))
	if err != nil || len(found) != 1 {
		t.Fatalf("apk packages: %v %v", found, err)
	}
	apk, deb := t.TempDir(), t.TempDir()
	host(t, "tar", "--ignore-zeros", "--warning=no-unknown-keyword", "-xzf", found[0], "-C", apk)
	host(t, "dpkg-deb", "-x", boot.Deb(t, "accountlock"), deb)
	list := func(root string) string {
		return host(t, "sh", "-c", "cd '"+root+"' && find usr -path usr/share -prune -o ! -type d -printf '%M %p %l\\n' | sort")
	}
	if a, d := list(apk), list(deb); a != d || a == "" {
		t.Errorf("the .apk holds\n%s\nand the .deb\n%s", a, d)
	}
	for name, words := range map[string]string{
		".post-install": "package-step installed", ".post-upgrade": "package-step upgraded", ".pre-deinstall": "package-step may-remove || exit 1",
	} {
		if raw, err := os.ReadFile(filepath.Join(apk, name)); err != nil || !strings.Contains(string(raw), words) {
			t.Errorf("%s: %v %s", name, err, raw)
		}
	}
	info, err := os.ReadFile(filepath.Join(apk, ".PKGINFO"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(info)) {
		if _, _, ok := strings.Cut(line, " = "); !ok && line[0] != '#' {
			t.Errorf(".PKGINFO has a line that is no field: %s", line)
		}
	}
}
