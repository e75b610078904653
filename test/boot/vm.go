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

	"golang.org/x/sys/unix"
)

const (
	// agentLimit is how long a boot may take until the agent answers, on a machine
	// that has much else to do; one that stalls is tried again, once.
	agentLimit = 180 * time.Second
	// slowness is how much longer everything may take than in a container.
	slowness = 6
	sshPort  = "2222"
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

// VM is a device in the full tier: a virtual machine with a read-only root, with
// /var and /persist on disks of their own, and a disk with the partition frp.
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
	tpm     bool
	swtpm   *exec.Cmd
	// Discard: what a boot writes is gone at its end, as if it had not been.
	Discard bool
	// Cable: there is a network.
	Cable   bool
	started time.Time
}

// NewVM makes a virtual device with the package, provisioned for a new account
// service, that has never been booted. store is its record store.
func NewVM(t testing.TB, store string, tpm bool) *VM {
	t.Helper()
	m := newVM(t)
	m.tpm, m.Service.Store = tpm, store
	root := m.tree(true)
	extra := ""
	if tpm {
		extra = "[tpm]\nmode = \"require\"\n"
	}
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
	return vmIn(t, t.TempDir(), NewService(t))
}

func vmIn(t testing.TB, dir string, service *Service) *VM {
	t.Helper()
	m := &VM{t: t, dir: dir, Service: service, Cable: true}
	t.Cleanup(func() {
		if m.cmd != nil {
			m.Cut()
		}
	})
	return m
}

func (m *VM) path(name string) string { return filepath.Join(m.dir, name) }

// With sets what is added to the kernel's command line at the next boots.
func (m *VM) With(words ...string) *VM {
	m.append = strings.Join(words, " ")
	return m
}

// HideTPM takes the TPM out for the next boots, or puts it back.
func (m *VM) HideTPM(hidden bool) { m.tpm = !hidden }

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
	}
	if m.Cable {
		args = append(args, "-netdev", "user,id=n,hostfwd=tcp:127.0.0.1:"+sshPort+"-:22", "-device", "virtio-net-pci,netdev=n")
	}
	for _, disk := range []string{"root", "var", "persist", "frp"} {
		mode := ""
		if m.Discard {
			mode = ",snapshot=on"
		}
		args = append(args, "-drive", "file="+m.path(disk+".img")+",format=raw,if=none,id="+disk+mode, "-device", "nvme,serial="+disk+",drive="+disk)
	}
	if m.tpm {
		m.startTPM()
		args = append(args, "-chardev", "socket,id=tpm,path="+m.path("tpm.sock"), "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0")
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
	m.Console.slowness, m.Console.Numbered = slowness, true
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

// startTPM starts the TPM, which ends with the machine. Its state is kept.
func (m *VM) startTPM() {
	m.t.Helper()
	_ = os.Remove(m.path("tpm.sock"))
	m.swtpm = exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+m.path("tpm"), "--ctrl", "type=unixio,path="+m.path("tpm.sock"))
	m.swtpm.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.swtpm.Start(); err != nil {
		m.t.Fatal(err)
	}
	until(m.t, "swtpm", 20*time.Second, func() bool {
		_, err := os.Stat(m.path("tpm.sock"))
		return err == nil
	}, func() string { return "" })
}

// Since is the time since the device was switched on.
func (m *VM) Since() time.Duration { return time.Since(m.started) }

// In has what fails told as the subtest's, until the function that it returns is
// called.
func (m *VM) In(t testing.TB) (done func()) {
	outer := m.t
	m.t = t
	return func() { m.t = outer }
}

// Sh runs a script on the device as root, as no thief could.
func (m *VM) Sh(script string) (out string, code int) {
	if _, err := fmt.Fprintf(m.agent, "%s\n", base64.StdEncoding.EncodeToString([]byte(script))); err != nil {
		return err.Error(), -1
	}
	var b strings.Builder
	for end := time.After(slowness * time.Minute); ; {
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

// Until polls for what has no event to wait for, not so often that the machine has
// little else to do.
func (m *VM) Until(what string, limit time.Duration, done func() bool) {
	m.t.Helper()
	untilEvery(m.t, what, time.Second, slowness*limit, done, m.State)
}

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
	if m.swtpm != nil {
		// What it has answered it has written.
		_ = m.swtpm.Process.Kill()
		_ = m.swtpm.Wait()
		m.swtpm = nil
	}
}

// Monotonic is the machine's clock that goes on since it was switched on, which a
// container shares.
func Monotonic() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}
