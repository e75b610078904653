// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver

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

// newer makes the package again under a higher version.
func newer(t *testing.T) string {
	t.Helper()
	root, out := t.TempDir(), filepath.Join(t.TempDir(), "newer.deb")
	host(t, "dpkg-deb", "-R", boot.Deb(t, "accountlock"), root)
	host(t, "sed", "-i", "s/^Version: .*/Version: 99.0-1/", filepath.Join(root, "DEBIAN/control"))
	host(t, "dpkg-deb", "-b", "-Zgzip", "-z1", "--root-owner-group", root, out)
	return out
}

// pending counts the operations in the device's journal that are not over, and
// begin notes one as a daemon does that ends right after. The device is off.
func journal(t *testing.T, c *boot.Container, do func(db *sql.DB) error) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+c.Root("var/lib/accountlock/journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(do(db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func pending(t *testing.T, c *boot.Container) (n int) {
	t.Helper()
	journal(t, c, func(db *sql.DB) error {
		return db.QueryRow("SELECT count(*) FROM operations WHERE outcome = ''").Scan(&n)
	})
	return n
}

// A sign-out was noted, and the account service has not been heard since; then the
// package is upgraded, twice, on the running device.
func TestAnUpgradeInTheMiddleOfAnOperationLosesNothing(t *testing.T) {
	t.Parallel()
	c := linked(t)
	c.Service.Stop(t)
	journal(t, c, func(db *sql.DB) error {
		_, err := db.Exec("INSERT INTO operations (flow_id, kind, link_id, begun_at) VALUES ('b2ZmbGluZS1zaWduLW91dA', 'sign-out', ?, ?)", c.LinkID(), time.Now().Unix())
		return err
	})
	raw, err := os.ReadFile(newer(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Persist("newer.deb"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	c.Boot()
	opened(t, c)
	c.Must("accountlockctl status")
	gate := c.Must("systemctl show -p ActiveEnterTimestampMonotonic accountlock-gate.service")
	for _, from := range []string{"older", "same"} {
		before := c.Must("systemctl show -p MainPID accountlockd.service")
		if out, code := c.Sh("dpkg -i /persist/newer.deb"); code != 0 {
			t.Fatalf("the upgrade from the %s version failed: %s", from, out)
		}
		if after := c.Must("systemctl show -p MainPID accountlockd.service"); after == before {
			t.Error("the daemon of before the upgrade runs on")
		}
		// Nobody was shut out, and the gate was left alone.
		opened(t, c)
		if got := says(c); got != "open linked" {
			t.Errorf("after the upgrade the gate says %q", got)
		}
	}
	if after := c.Must("systemctl show -p ActiveEnterTimestampMonotonic accountlock-gate.service"); after != gate {
		t.Errorf("the gate was started again: %s, and before %s", after, gate)
	}
	c.Cut()
	if n := pending(t, c); n != 1 {
		t.Fatalf("after the upgrade %d operations are pending", n)
	}

	// The service is back; it never heard of the sign-out, and its word is that the
	// device is linked.
	c.Service.Start(t)
	c.Boot()
	opened(t, c)
	c.Must("accountlockctl status")
	c.Must("accountlockctl check-in")
	c.PowerOff()
	if n := pending(t, c); n != 0 {
		t.Errorf("%d operations are pending still", n)
	}
	c.Boot()
	opened(t, c)
	if got := says(c); got != "open linked" {
		t.Errorf("at the end the gate says %q", got)
	}
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
}
