// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rebootCode is what systemd-nspawn ends with when the system wants to be
// started again.
const rebootCode = 133

// Container is a device in the fast tier. What a factory reset leaves alone is
// the folder /persist of its own; the rest is a copy on write of the image.
type Container struct {
	t       testing.TB
	name    string
	dir     string // persist, disk (upper and work), root
	image   string
	Service *Service
	netns   string

	cmd      *exec.Cmd
	ended    chan struct{}
	terminal *os.File
	leader   int
	Console  *Console
	args     []string // of PID 1: what a kernel command line would hold
	setenv   []string // what of it is in the environment of PID 1, as options of systemd-nspawn
	options  []string // of systemd-nspawn
	readOnly []string // likewise
	env      []string // likewise
}

// NewContainer makes a device with the package, provisioned for a new account
// service, that has never been booted.
func NewContainer(t testing.TB, extra string) *Container {
	t.Helper()
	c := newContainer(t, true)
	c.Provision(extra)
	return c
}

// NewPlainContainer makes a device that no vendor has provisioned, with the
// package or without.
func NewPlainContainer(t testing.TB, installed bool) *Container { return newContainer(t, installed) }

func newContainer(t testing.TB, installed bool) *Container {
	t.Helper()
	return newContainerOn(t, installed, "")
}

func newContainerOn(t testing.TB, installed bool, size string) *Container {
	t.Helper()
	c := &Container{t: t, dir: t.TempDir(), image: image(t, installed), Service: NewService(t)}
	c.netns = c.Service.netns()
	c.name = fmt.Sprintf("accountlock-%d-%d", os.Getpid(), c.Service.pid)
	for _, d := range []string{"persist", "disk", "disk/upper", "disk/work", "root"} {
		if d == "disk/upper" && size != "" {
			if err := unix.Mount("disk", c.path("disk"), "tmpfs", 0, "size="+size); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(c.path("disk"), unix.MNT_DETACH) })
		}
		if err := os.Mkdir(c.path(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c.mount()
	// It needs a virtual terminal, which a container has not; what counts here is
	// whether it is started.
	WriteFile(t, c.Root("etc/systemd/system/greetd.service.d/test.conf"), "[Service]\nExecStart=\nExecStart=/usr/bin/sleep infinity\n", 0o644)
	// nspawn gives each boot an ID of its own by a mount over the host's, which the daemon's
	// own view of /proc lacks: to it all boots would be one.
	WriteFile(t, c.Root("etc/systemd/system/accountlockd.service.d/test.conf"),
		"[Service]\nBindReadOnlyPaths=/etc/test-boot-id:/proc/sys/kernel/random/boot_id\n", 0o644)
	t.Cleanup(func() {
		c.Cut()
		if err := unix.Unmount(c.path("root"), unix.MNT_DETACH); err != nil {
			t.Errorf("cannot unmount: %v", err)
		}
	})
	return c
}

func (c *Container) path(name string) string { return filepath.Join(c.dir, name) }

// Root is the device's tree as the host sees it; to be changed only while the
// device is off.
func (c *Container) Root(name string) string { return filepath.Join(c.dir, "root", name) }

// Persist is a file of what a reset leaves alone.
func (c *Container) Persist(name string) string { return filepath.Join(c.dir, "persist", name) }

func (c *Container) mount() {
	c.t.Helper()
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", c.image, c.path("disk/upper"), c.path("disk/work"))
	if err := unix.Mount("overlay", c.path("root"), "overlay", 0, options); err != nil {
		c.t.Fatalf("cannot mount a copy of the image: %v", err)
	}
}

// Provision puts the vendor's configuration into the image.
func (c *Container) Provision(extra string) {
	c.t.Helper()
	provision(c.t, c.Service, c.Root("/"), extra)
	// What the maker of a device prepares in the filesystem that outlives resets.
	if err := os.MkdirAll(c.Persist("accountlock"), 0o700); err != nil {
		c.t.Fatal(err)
	}
	c.own(c.Persist("accountlock"))
}

func provision(t testing.TB, s *Service, root, extra string) {
	t.Helper()
	toml, ca, keySet := s.Config(t, extra)
	WriteFile(t, filepath.Join(root, "usr/lib/accountlock/accountlockd.toml"), toml, 0o644)
	WriteFile(t, filepath.Join(root, "usr/lib/accountlock/ca.pem"), ca, 0o644)
	WriteFile(t, filepath.Join(root, "usr/lib/accountlock/key_set.json"), keySet, 0o644)
	WriteFile(t, filepath.Join(root, "usr/lib/accountlock/serial"), "serial-"+filepath.Base(root)+t.Name()+"\n", 0o644)
}

// own gives a file to the device's user accountlock.
func (c *Container) own(path string) {
	c.t.Helper()
	uid, gid := userOf(c.t, c.Root("etc/passwd"), "accountlock")
	if err := os.Chown(path, uid, gid); err != nil {
		c.t.Fatal(err)
	}
}

func userOf(t testing.TB, passwd, name string) (uid, gid int) {
	t.Helper()
	raw, err := os.ReadFile(passwd)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, name+":x:"); ok {
			if n, _ := fmt.Sscanf(rest, "%d:%d:", &uid, &gid); n == 2 {
				return uid, gid
			}
		}
	}
	t.Fatalf("there is no user %s in the image", name)
	return 0, 0
}

// With sets the kernel's command line for the next boots: what PID 1 finds among
// its arguments or, as the kernel does it, in its environment. What follows `--` are
// arguments whatever they look like.
func (c *Container) With(words ...string) *Container {
	c.args, c.setenv = nil, nil
	for i, word := range words {
		if word == "--" {
			c.args = append(c.args, words[i+1:]...)
			break
		}
		if name, _, assigned := strings.Cut(word, "="); assigned && !strings.Contains(name, ".") {
			c.setenv = append(c.setenv, "--setenv="+word)
		} else {
			c.args = append(c.args, word)
		}
	}
	return c
}

// Options adds options of systemd-nspawn for the next boots.
func (c *Container) Options(options ...string) *Container {
	c.options = append(c.options, options...)
	return c
}

// The two ends of the cable of a device that has a network of its own.
const (
	Gateway = "10.77.0.1"
	Address = "10.77.0.10/24"
)

// Apart gives the device a network of its own, whose one interface eth0 nobody has
// set up, with a cable to the account service's. The device must be off.
func (c *Container) Apart() {
	c.t.Helper()
	pid := network(c.t, "ip link set lo up")
	c.netns = netnsOf(pid)
	// It may set that network up, as on a machine.
	c.Options("--capability=CAP_NET_ADMIN")
	c.env = append(c.env, "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network")
	run(c.t, "nsenter", "--net="+c.Service.netns(), "--", "sh", "-ec", fmt.Sprintf(
		"ip link add net0 type veth peer name eth0 netns %d; ip address add %s/24 dev net0; ip link set net0 up", pid, Gateway))
}

// Enable has the next boots start services of the image. The device must be off.
func (c *Container) Enable(units ...string) {
	c.t.Helper()
	run(c.t, "systemctl", append([]string{"--quiet", "--root=" + c.Root(""), "enable"}, units...)...)
}

// Link makes a symbolic link in the device's tree, in the place of what is there. The
// device must be off.
func (c *Container) Link(to, name string) {
	c.t.Helper()
	if err := os.Remove(c.Root(name)); err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	if err := os.Symlink(to, c.Root(name)); err != nil {
		c.t.Fatal(err)
	}
}

// Boot switches the device on. It does not wait for anything but PID 1.
func (c *Container) Boot() {
	c.t.Helper()
	c.start()
	c.leader = c.awaitLeader()
}

// BootInVain switches the device on where PID 1 is to give up, and returns what the
// console shows.
func (c *Container) BootInVain() string {
	c.t.Helper()
	c.start()
	select {
	case <-c.ended:
		c.awaitEnd()
	case <-time.After(time.Minute):
		c.Cut()
		c.t.Fatalf("PID 1 does not give up:\n%s", c.Console.Text())
	}
	return c.Console.Text()
}

func (c *Container) start() {
	c.t.Helper()
	WriteFile(c.t, c.Root("etc/test-boot-id"), rand.Text()+"\n", 0o444)
	master, slave := terminal(c.t)
	// A container needs the unified hierarchy, and a group that is its own. Where
	// the host has another one, only this process and what it starts see the change.
	script := `set -e
		umount -R /sys/fs/cgroup 2>/dev/null || umount -R -l /sys/fs/cgroup
		mount -t cgroup2 cgroup2 /sys/fs/cgroup
		mkdir -p "/sys/fs/cgroup/$NAME"
		echo $$ >"/sys/fs/cgroup/$NAME/cgroup.procs"
		exec systemd-nspawn --quiet --directory="$ROOT" --machine="$NAME" --register=no --keep-unit --console=interactive \
			--network-namespace-path="$NETNS" --bind="$PERSIST:/persist" "$@"`
	args := []string{"--mount", "--propagation", "private", "--", "bash", "-c", script, "bash"}
	args = append(append(append(args, c.options...), c.readOnly...), c.setenv...)
	args = append(append(args, "--boot", "--"), c.args...)
	c.cmd = exec.Command("unshare", args...)
	c.cmd.Env = append(os.Environ(), "NAME="+c.name, "ROOT="+c.path("root"), "PERSIST="+c.path("persist"), "NETNS="+c.netns, "TERM=vt220")
	c.cmd.Env = append(c.cmd.Env, c.env...)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = slave, slave, slave
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	_ = slave.Close()
	c.terminal, c.Console = master, newConsole(master, master)
	c.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(c.cmd, c.ended)
}

// awaitLeader waits for PID 1 of the container: the child of systemd-nspawn that
// has the number 1 in its own namespace.
func (c *Container) awaitLeader() int {
	c.t.Helper()
	first := regexp.MustCompile(`(?m)^NSpid:\t\d+\t1$`)
	parent := fmt.Sprintf("\nPPid:\t%d\n", c.cmd.Process.Pid)
	pid := 0
	c.Until("the container's PID 1", time.Minute, func() bool {
		select {
		case <-c.ended:
			c.t.Fatalf("systemd-nspawn ended with %d:\n%s", c.cmd.ProcessState.ExitCode(), c.Console.Text())
		default:
		}
		statuses, _ := filepath.Glob("/proc/[0-9]*/status")
		for _, path := range statuses {
			raw, err := os.ReadFile(path)
			if err == nil && first.Match(raw) && bytes.Contains(raw, []byte(parent)) {
				_, _ = fmt.Sscanf(path, "/proc/%d/status", &pid)
			}
		}
		// Before it is systemd it is nspawn, still at preparing the tree.
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return pid != 0 && string(name) == "systemd\n"
	})
	return pid
}

// Until polls for what has no event to wait for.
func (c *Container) Until(what string, limit time.Duration, done func() bool) {
	c.t.Helper()
	until(c.t, what, limit, done, func() string { return c.State() })
}

const stateScript = "systemctl list-jobs --no-pager; systemctl list-units --no-pager --state=failed; " +
	"systemctl status --no-pager accountlock-gate accountlockd; journalctl -b --no-pager | grep -v 'was skipped because' | tail -n 50; ps axo pid,user,args"

// State is what to print when something is not as it should be.
func (c *Container) State() string {
	if c.leader == 0 {
		return c.Console.Text()
	}
	out, _ := c.Sh(stateScript)
	return out + "\nconsole:\n" + c.Console.Text()
}

// In has what fails told as the subtest's, until the function that it returns is
// called.
func (c *Container) In(t testing.TB) (done func()) {
	outer := c.t
	c.t = t
	return func() { c.t = outer }
}

// Sh runs a script on the device as root, as no thief could.
func (c *Container) Sh(script string) (out string, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "-t", fmt.Sprint(c.leader), "-a", "env", "-i",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root", "sh", "-c", script)
	cmd.WaitDelay = time.Second
	raw, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return string(raw), 0
	case errors.As(err, &exit) && exit.Exited():
		return string(raw), exit.ExitCode()
	default:
		return string(raw) + err.Error(), -1
	}
}

// Must runs a script that has to succeed.
func (c *Container) Must(script string) string {
	c.t.Helper()
	out, code := c.Sh(script)
	if code != 0 {
		c.t.Fatalf("%s: %d\n%s", script, code, out)
	}
	return out
}

// Cut is a power cut.
func (c *Container) Cut() {
	c.t.Helper()
	if c.cmd == nil {
		return
	}
	if c.leader != 0 {
		// nspawn lives as long as its container.
		_ = syscall.Kill(c.leader, syscall.SIGKILL)
	} else {
		_ = c.cmd.Process.Kill()
	}
	c.awaitEnd()
}

// PowerOff shuts the device down.
func (c *Container) PowerOff() {
	c.t.Helper()
	_, _ = c.Sh("systemctl poweroff")
	c.awaitEnd()
}

// AwaitReboot waits until the device wants to be started again, and starts it.
func (c *Container) AwaitReboot() {
	c.t.Helper()
	if code := c.awaitEnd(); code != rebootCode {
		c.t.Fatalf("the device was to reboot, but ended with %d", code)
	}
	c.Boot()
}

// Reboot restarts the device.
func (c *Container) Reboot() {
	c.t.Helper()
	_, _ = c.Sh("systemctl reboot")
	c.AwaitReboot()
}

func (c *Container) awaitEnd() int {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(time.Minute):
		state := c.State()
		_ = syscall.Kill(c.leader, syscall.SIGKILL)
		<-c.ended
		c.t.Errorf("the device does not end:\n%s", state)
	}
	code := c.cmd.ProcessState.ExitCode()
	_ = c.terminal.Close()
	c.removeGroup()
	c.cmd, c.leader = nil, 0
	return code
}

// removeGroup removes the container's control groups.
func (c *Container) removeGroup() {
	script := `umount -R -l /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
		[ ! -d "/sys/fs/cgroup/$1" ] || find "/sys/fs/cgroup/$1" -depth -type d -exec rmdir {} \;`
	_ = exec.Command("unshare", "--mount", "--propagation", "private", "--", "sh", "-c", script, "sh", c.name).Run()
}

// Wipe is an untrusted factory reset of a device that is off: /var is as the
// image has it.
func (c *Container) Wipe() {
	c.t.Helper()
	if err := os.RemoveAll(c.Root("var")); err != nil {
		c.t.Fatal(err)
	}
	run(c.t, "cp", "-a", filepath.Join(c.image, "var"), c.Root("var"))
}
