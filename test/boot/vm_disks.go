// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// tree copies the image and puts in what a virtual machine needs besides.
func (m *VM) tree(installed bool) string {
	t := m.t
	t.Helper()
	root := m.path("tree")
	run(t, "cp", "-a", image(t, installed), root)
	put := func(name, text string, mode os.FileMode) { WriteFile(t, filepath.Join(root, name), text, mode) }
	put("etc/fstab", "LABEL=root / ext4 ro 0 0\nLABEL=var /var ext4 defaults 0 0\nLABEL=persist /persist ext4 defaults 0 0\ntmpfs /tmp tmpfs defaults 0 0\n", 0o644)
	put("usr/lib/test-agent", agent, 0o755)
	put("usr/lib/systemd/system/test-agent.service", agentUnit, 0o644)
	// Whatever is booted, the agent is there to look at it.
	for _, target := range []string{"sysinit", "rescue", "emergency"} {
		put("usr/lib/systemd/system/"+target+".target.d/agent.conf", "[Unit]\nWants=test-agent.service\n", 0o644)
	}
	put("etc/systemd/network/device.network", "[Match]\nName=en* eth*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n", 0o644)
	run(t, "systemctl", "--quiet", "--root="+root, "enable", "systemd-networkd.service")
	run(t, "systemctl", "--quiet", "--root="+root, "disable", "systemd-networkd-wait-online.service")
	// Of no use to this machine, and seconds of every boot: modules that it has not,
	// and the screen on a terminal that it does not show.
	for _, unit := range []string{"modprobe@.service", "accountlock-firstboot@tty1.service"} {
		if err := os.Symlink("/dev/null", filepath.Join(root, "etc/systemd/system", unit)); err != nil {
			t.Fatal(err)
		}
	}
	// What docs/gate.md asks of an image whose record is on a partition, or in a TPM.
	put("usr/lib/udev/rules.d/70-accountlock.rules", `SUBSYSTEM=="block", ENV{ID_PART_ENTRY_NAME}=="frp", GROUP="accountlock", MODE="0660"`+"\n"+
		`SUBSYSTEM=="tpmrm", GROUP="tss", MODE="0660"`+"\n", 0o644)
	put("usr/lib/systemd/system/accountlockd.service.d/store.conf", "[Service]\nDeviceAllow=/dev/disk/by-partlabel/frp rw\n", 0o644)
	modules, err := filepath.Glob(filepath.Join(kernel(t), "lib/modules/*"))
	if err != nil || len(modules) != 1 {
		t.Fatalf("kernel modules: %v %v", modules, err)
	}
	to := filepath.Join(root, "usr/lib/modules", filepath.Base(modules[0]))
	for _, part := range []string{"kernel/drivers/virtio", "kernel/drivers/net/virtio_net.ko", "kernel/drivers/net/net_failover.ko",
		"kernel/net/core/failover.ko", "modules.order", "modules.builtin", "modules.builtin.modinfo"} {
		if err := os.MkdirAll(filepath.Join(to, filepath.Dir(part)), 0o755); err != nil {
			t.Fatal(err)
		}
		run(t, "cp", "-a", filepath.Join(modules[0], part), filepath.Join(to, part))
	}
	run(t, "depmod", "-b", root, filepath.Base(to))
	return root
}

// kernel returns Debian's kernel for virtual machines, unpacked and kept.
func kernel(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(cacheDir(t), "kernel")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	name := strings.TrimSpace(run(t, "sh", "-c", "apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \\(linux-image-.*\\)/\\1/p' | head -n 1"))
	if name == "" {
		t.Fatal("apt knows no linux-image-cloud-amd64; apt-get update")
	}
	at := t.TempDir()
	run(t, "sh", "-c", "cd '"+at+"' && apt-get download -q "+name+" && dpkg -x "+name+"_*.deb new && rm ./*.deb && mv new '"+dir+"'")
	return dir
}

// disks makes the disks out of the tree.
func (m *VM) disks(root string) {
	m.t.Helper()
	m.mkfs("root", "700M", root)
	if err := os.Rename(filepath.Join(root, "var"), m.path("new-var")); err != nil {
		m.t.Fatal(err)
	}
	m.Wipe()
	persist := m.path("persist")
	if err := os.MkdirAll(filepath.Join(persist, "accountlock"), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(root, "etc/passwd")); err == nil && strings.Contains(string(raw), "\naccountlock:") {
		uid, gid := userOf(m.t, filepath.Join(root, "etc/passwd"), "accountlock")
		if err := os.Chown(filepath.Join(persist, "accountlock"), uid, gid); err != nil {
			m.t.Fatal(err)
		}
	}
	m.mkfs("persist", "16M", persist)
	run(m.t, "truncate", "-s", "4M", m.path("frp.img"))
	cmd := exec.Command("sfdisk", "--quiet", m.path("frp.img"))
	cmd.Stdin = strings.NewReader("label: gpt\nname=frp, size=1MiB, type=L\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("sfdisk: %v\n%s", err, out)
	}
	if err := os.Mkdir(m.path("tpm"), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.RemoveAll(root); err != nil {
		m.t.Fatal(err)
	}
}

// mkfs makes a disk of the size with what is in the folder.
func (m *VM) mkfs(name, size, from string) {
	m.t.Helper()
	disk := m.path(name + ".img")
	_ = os.Remove(disk)
	run(m.t, "truncate", "-s", size, disk)
	run(m.t, "mke2fs", "-q", "-t", "ext4", "-L", name, "-d", from, disk)
}

// Wipe is an untrusted factory reset of a device that is off.
func (m *VM) Wipe() {
	m.t.Helper()
	m.mkfs("var", "64M", m.path("new-var"))
}

// kept are devices that took long to bring to where they are: copies of them are
// made instead of others.
var kept = struct {
	sync.Mutex
	dirs map[string]string
}{dirs: map[string]string{}}

// CopyOf returns a copy, switched off and with an account service of its own, of
// the device that make makes the first time.
func CopyOf(t testing.TB, name string, make func() *VM) *VM {
	t.Helper()
	kept.Lock()
	defer kept.Unlock()
	if kept.dirs[name] == "" {
		m := make()
		m.Service.Stop(t)
		to, err := os.MkdirTemp(sharedDir(t), "kept-")
		if err != nil {
			t.Fatal(err)
		}
		copyDisks(t, m.dir, filepath.Join(to, "device"))
		copyDisks(t, m.Service.dir, filepath.Join(to, "service"))
		m.Service.Start(t)
		kept.dirs[name] = to
		return m
	}
	dir := t.TempDir()
	copyDisks(t, filepath.Join(kept.dirs[name], "device"), filepath.Join(dir, "device"))
	copyDisks(t, filepath.Join(kept.dirs[name], "service"), filepath.Join(dir, "service"))
	return vmIn(t, filepath.Join(dir, "device"), newService(t, filepath.Join(dir, "service")))
}

func copyDisks(t testing.TB, from, to string) {
	t.Helper()
	run(t, "cp", "-a", "--sparse=always", from, to)
}
