// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// suite is the oldest Debian with the systemd that the project asks for (252).
const suite = "bookworm"

// packages is what the image holds besides Debian's minimum: a way in of every
// kind (console, ssh, display manager, lingering user, cron), and managers.
const packages = "systemd-sysv,libpam-systemd,dbus,polkitd,udev,kmod,e2fsprogs,procps,openssh-server,cron,greetd,iproute2,login,passwd,ca-certificates," +
	"network-manager,systemd-resolved,systemd-timesyncd"

// managers are the services of network and time in the image that a test enables
// if it wants them.
var managers = []string{"NetworkManager.service", "systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service"}

// The people of the image. Their passwords are known to the thief.
const (
	User         = "alice"
	UserPassword = "open-sesame-1"
	RootPassword = "open-sesame-2"
)

// images are the trees of this test process: with the packages and without.
var images = struct {
	sync.Mutex
	dir  string
	made map[string]string
}{made: map[string]string{}}

// cacheDir is where what takes long is kept between runs: $ACCOUNTLOCK_BOOT_CACHE.
func cacheDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("ACCOUNTLOCK_BOOT_CACHE")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "accountlock-boot-cache")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Base returns the archive of the system that the packages are put into, made
// once for each list of packages.
func base(t testing.TB) string {
	t.Helper()
	sum := sha256.Sum256([]byte(suite + packages))
	dir := cacheDir(t)
	archive := filepath.Join(dir, "base-"+hex.EncodeToString(sum[:6])+".tar")
	// Two test processes may want it at once.
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(archive); err == nil {
		return archive
	}
	t.Logf("making the base system (mmdebstrap %s)", suite)
	run(t, "mmdebstrap", "--mode=root", "--variant=apt", "--quiet", "--include="+packages,
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--dpkgopt=path-exclude=/usr/share/doc/*", suite, archive+".new.tar")
	if err := os.Rename(archive+".new.tar", archive); err != nil {
		t.Fatal(err)
	}
	return archive
}

// Deb returns the path of the package of that name in $ACCOUNTLOCK_PACKAGES.
func Deb(t testing.TB, name string) string { return artefact(t, name+"_*.deb") }

func artefact(t testing.TB, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(os.Getenv("ACCOUNTLOCK_PACKAGES"), pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%d files %s in $ACCOUNTLOCK_PACKAGES (%v); make packages", len(found), pattern, err)
	}
	return found[0]
}

// Image returns a tree to boot, of which devices take copies on write: with the
// package for the device installed by dpkg, or without.
func image(t testing.TB, installed bool) string {
	t.Helper()
	name := "plain"
	if installed {
		name = "installed"
	}
	images.Lock()
	defer images.Unlock()
	if dir, ok := images.made[name]; ok {
		return dir
	}
	root := filepath.Join(shared(t), name)
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "tar", "-C", root, "-xf", base(t))
	furnish(t, root)
	if installed {
		Install(t, root, Deb(t, "accountlock"))
	}
	images.made[name] = root
	return root
}

// sharedDir is a folder for what the tests of this process share.
func sharedDir(t testing.TB) string {
	t.Helper()
	images.Lock()
	defer images.Unlock()
	return shared(t)
}

func shared(t testing.TB) string {
	t.Helper()
	if images.dir == "" {
		dir, err := os.MkdirTemp("", "accountlock-boot-")
		if err != nil {
			t.Fatal(err)
		}
		images.dir = dir
	}
	return images.dir
}

// removeImages is for TestMain.
func removeImages() {
	images.Lock()
	defer images.Unlock()
	if images.dir != "" {
		_ = os.RemoveAll(images.dir)
	}
}

// Install installs a package in a tree that is not running.
func Install(t testing.TB, root, deb string) {
	t.Helper()
	copyFile(t, deb, filepath.Join(root, "package.deb"))
	run(t, "chroot", root, "dpkg", "-i", "/package.deb")
	if err := os.Remove(filepath.Join(root, "package.deb")); err != nil {
		t.Fatal(err)
	}
}

// furnish puts people and ways in into the tree, and takes out what only makes
// noise.
func furnish(t testing.TB, root string) {
	t.Helper()
	put := func(name, text string, mode os.FileMode) { WriteFile(t, filepath.Join(root, name), text, mode) }
	run(t, "chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", User)
	cmd := exec.Command("chroot", root, "chpasswd")
	cmd.Stdin = strings.NewReader(User + ":" + UserPassword + "\nroot:" + RootPassword + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("chpasswd: %v\n%s", err, out)
	}
	put("etc/ssh/sshd_config.d/test.conf", "PermitRootLogin yes\nPasswordAuthentication yes\nUseDNS no\n", 0o644)
	// A user whose session begins without a login.
	put("var/lib/systemd/linger/"+User, "", 0o644)
	put("etc/cron.d/thief", "* * * * * root touch /run/cron-was-here\n", 0o644)
	put("etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444)
	put("etc/hostname", "device\n", 0o644)
	put("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 device\n", 0o644)
	if err := os.Remove(filepath.Join(root, "etc/resolv.conf")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, unit := range []string{
		"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
		"fstrim.timer", "systemd-hwdb-update.service", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount",
	} {
		if err := os.Symlink("/dev/null", filepath.Join(root, "etc/systemd/system", unit)); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "systemctl", append([]string{"--quiet", "--root=" + root, "disable"}, managers...)...)
	for _, dir := range []string{"persist"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// run runs a program of the host, to its end, and fails the test if it fails.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// WriteFile writes a file with its folders, for everybody to read.
func WriteFile(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, raw, 0o644); err != nil {
		t.Fatal(fmt.Errorf("cannot copy: %w", err))
	}
}

// Main runs the tests and removes what they share.
func Main(m *testing.M) int {
	defer removeImages()
	return m.Run()
}
