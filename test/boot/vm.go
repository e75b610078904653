// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// agentLimit is how long a boot may take until the agent answers; one that
	// stalls is tried again, once.
	agentLimit = 60 * time.Second
	sshPort    = "2222"
)

// agent runs what comes in over the second serial line: a way in that only the
// tests have.
const agent = `#!/bin/bash
stty -F /dev/ttyS1 raw -echo 115200
exec </dev/ttyS1 >/dev/ttyS1 2>&1
echo "@@READY"
while IFS= read -r line; do
    bash </dev/null -c "$(base64 -d <<<"$line")"
    printf '\n@@RC %d\n' $?
done
`

const agentUnit = `[Unit]
Description=test agent
DefaultDependencies=no
ConditionPathExists=/dev/ttyS1
[Service]
ExecStart=/usr/lib/test-agent
Restart=always
RestartSec=200ms
StandardInput=null
`

// VM is a device in the full tier: a virtual machine with a read-only root, and
// with /var and /persist on disks of their own.
type VM struct {
	t       testing.TB
	dir     string
	Service *Service

	cmd     *exec.Cmd
	ended   chan struct{}
	agent   net.Conn
	lines   chan string
	serial  net.Conn
	Console *Console
	append  string
	options []string
	started time.Time
}

// NewVM makes a virtual device with the package, provisioned for a new account
// service, that has never been booted.
func NewVM(t testing.TB, extra string) *VM {
	t.Helper()
	m := newVM(t)
	root := m.tree(true)
	provision(t, m.Service, root, extra)
	m.disks(root)
	return m
}

// NewPlainVM makes a virtual device that no vendor has provisioned, with the
// package or without.
func NewPlainVM(t testing.TB, installed bool) *VM {
	t.Helper()
	m := newVM(t)
	m.disks(m.tree(installed))
	return m
}

func newVM(t testing.TB) *VM {
	t.Helper()
	m := &VM{t: t, dir: t.TempDir(), Service: NewService(t)}
	t.Cleanup(func() {
		if m.cmd != nil {
			m.Cut()
		}
	})
	return m
}

func (m *VM) path(name string) string { return filepath.Join(m.dir, name) }

// tree copies the image and puts in what a virtual machine needs besides.
func (m *VM) tree(installed bool) string {
	t := m.t
	t.Helper()
	root := m.path("tree")
	run(t, "cp", "-a", image(t, installed), root)
	put := func(name, text string, mode os.FileMode) { WriteFile(t, filepath.Join(root, name), text, mode) }
	put("etc/fstab", "LABEL=root / ext4 ro 0 0\nLABEL=var /var ext4 defaults 0 0\nLABEL=persist /persist ext4 defaults 0 0\ntmpfs /tmp tmpfs defaults 0 0\n", 0o644)
	put("usr/lib/test-agent", agent, 0o755)
	put("etc/systemd/system/test-agent.service", agentUnit, 0o644)
	// Whatever is booted, the agent is there to look at it.
	for _, target := range []string{"sysinit", "rescue", "emergency"} {
		put("etc/systemd/system/"+target+".target.d/agent.conf", "[Unit]\nWants=test-agent.service\n", 0o644)
	}
	put("etc/systemd/network/device.network", "[Match]\nName=en* eth*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n", 0o644)
	run(t, "systemctl", "--quiet", "--root="+root, "enable", "systemd-networkd.service")
	run(t, "systemctl", "--quiet", "--root="+root, "disable", "systemd-networkd-wait-online.service")
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
}

// mkfs makes a disk of the size with what is in the folder.
func (m *VM) mkfs(name, size, from string) {
	m.t.Helper()
	disk := m.path(name + ".ext4")
	_ = os.Remove(disk)
	run(m.t, "truncate", "-s", size, disk)
	run(m.t, "mke2fs", "-q", "-t", "ext4", "-L", name, "-d", from, disk)
}

// Wipe is an untrusted factory reset of a device that is off.
func (m *VM) Wipe() {
	m.t.Helper()
	m.mkfs("var", "64M", m.path("tree/var"))
}

// With sets what is added to the kernel's command line at the next boots.
func (m *VM) With(words ...string) *VM {
	m.append = strings.Join(words, " ")
	return m
}

// Options sets further options of QEMU for the next boots.
func (m *VM) Options(options ...string) *VM {
	m.options = options
	return m
}

// Boot switches the device on and waits for the agent.
func (m *VM) Boot() {
	m.t.Helper()
	if !m.boot(agentLimit) {
		m.t.Logf("the boot stalled; the console shows:\n%s\nonce more", m.Console.Text())
		m.Cut()
		if !m.boot(agentLimit) {
			m.t.Fatalf("no agent after the boot:\n%s", m.Console.Text())
		}
	}
}

// BootWithoutAgent switches the device on where no agent is to be expected.
func (m *VM) BootWithoutAgent() {
	m.t.Helper()
	m.boot(0)
}

func (m *VM) boot(limit time.Duration) bool {
	m.t.Helper()
	for _, s := range []string{"agent", "serial"} {
		_ = os.Remove(m.path(s))
	}
	images, err := filepath.Glob(filepath.Join(kernel(m.t), "boot/vmlinuz-*"))
	if err != nil || len(images) != 1 {
		m.t.Fatalf("kernel: %v %v", images, err)
	}
	args := []string{
		"-M", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", "1024",
		"-nographic", "-nodefaults", "-no-reboot",
		"-chardev", "socket,id=s0,path=" + m.path("serial") + ",server=on,wait=off", "-serial", "chardev:s0",
		"-chardev", "socket,id=s1,path=" + m.path("agent") + ",server=on,wait=off", "-serial", "chardev:s1",
		"-kernel", images[0],
		"-append", "console=ttyS0 root=/dev/nvme0n1 ro mitigations=off nokaslr audit=0 quiet " + m.append,
		"-netdev", "user,id=n,hostfwd=tcp:127.0.0.1:" + sshPort + "-:22", "-device", "virtio-net-pci,netdev=n",
	}
	for i, disk := range []string{"root", "var", "persist"} {
		snapshot := ""
		if i == 0 {
			snapshot = ",snapshot=on"
		}
		args = append(args, "-drive", "file="+m.path(disk+".ext4")+",format=raw,if=none,id="+disk+snapshot, "-device", "nvme,serial="+disk+",drive="+disk)
	}
	m.cmd = m.Service.enter("qemu-system-x86_64", append(args, m.options...)...)
	problems, err := os.OpenFile(m.path("qemu.err"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	m.cmd.Stderr = problems
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	m.started = time.Now()
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	_ = problems.Close()
	m.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(m.cmd, m.ended)
	m.serial = m.connect("serial")
	m.Console = newConsole(m.serial, m.serial)
	m.agent = m.connect("agent")
	m.lines = make(chan string, 1024)
	go func(agent io.Reader, lines chan string) {
		defer close(lines)
		for s := bufio.NewScanner(agent); s.Scan(); {
			lines <- strings.TrimRight(s.Text(), "\r")
		}
	}(m.agent, m.lines)
	if limit == 0 {
		return true
	}
	end := time.After(limit)
	for {
		select {
		case line, ok := <-m.lines:
			if !ok {
				return false
			}
			if strings.Contains(line, "@@READY") {
				return true
			}
		case <-end:
			return false
		}
	}
}

func (m *VM) connect(name string) net.Conn {
	m.t.Helper()
	var conn net.Conn
	until(m.t, "QEMU", 20*time.Second, func() bool {
		select {
		case <-m.ended:
			raw, _ := os.ReadFile(m.path("qemu.err"))
			m.t.Fatalf("QEMU has ended:\n%s", raw)
		default:
		}
		var err error
		conn, err = net.Dial("unix", m.path(name))
		return err == nil
	}, func() string { return "" })
	return conn
}

// Since is the time since the device was switched on.
func (m *VM) Since() time.Duration { return time.Since(m.started) }

// Sh runs a script on the device as root, as no thief could.
func (m *VM) Sh(script string) (out string, code int) {
	if _, err := fmt.Fprintf(m.agent, "%s\n", base64.StdEncoding.EncodeToString([]byte(script))); err != nil {
		return err.Error(), -1
	}
	var b strings.Builder
	for end := time.After(90 * time.Second); ; {
		select {
		case line, ok := <-m.lines:
			if !ok {
				return b.String() + "\nthe agent is gone", -1
			}
			if n, ok := strings.CutPrefix(line, "@@RC "); ok {
				code, err := strconv.Atoi(n)
				if err != nil {
					return b.String() + err.Error(), -1
				}
				return strings.TrimSuffix(b.String(), "\n"), code
			}
			b.WriteString(line + "\n")
		case <-end:
			return b.String() + "\nthe agent does not answer", -1
		}
	}
}

// Must runs a script that has to succeed.
func (m *VM) Must(script string) string {
	m.t.Helper()
	out, code := m.Sh(script)
	if code != 0 {
		m.t.Fatalf("%s: %d\n%s", script, code, out)
	}
	return out
}

// SSH connects to the device's sshd.
func (m *VM) SSH() (net.Conn, error) { return m.Service.Dial("127.0.0.1:" + sshPort) }

// State is what to print when something is not as it should be.
func (m *VM) State() string {
	out, _ := m.Sh(stateScript)
	return out + "\nconsole:\n" + m.Console.Text()
}

// Cut is a power cut.
func (m *VM) Cut() {
	m.t.Helper()
	_ = m.cmd.Process.Kill()
	m.AwaitEnd(10 * time.Second)
}

// AwaitEnd waits until the device is off, be it for a restart.
func (m *VM) AwaitEnd(limit time.Duration) {
	m.t.Helper()
	select {
	case <-m.ended:
	case <-time.After(limit):
		_ = m.cmd.Process.Kill()
		<-m.ended
		m.t.Fatalf("the device does not end:\n%s", m.Console.Text())
	}
	_ = m.agent.Close()
	_ = m.serial.Close()
	m.cmd = nil
}
