// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// Device is a device of either tier, as far as looking at it goes.
type Device interface {
	// Sh runs a script as root by a way that no thief has.
	Sh(script string) (out string, code int)
	// State is what to print when something is wrong.
	State() string
	// SSH connects to the device's port of sshd.
	SSH() (net.Conn, error)
}

// SSH connects to the container's sshd.
func (c *Container) SSH() (net.Conn, error) { return c.Service.Dial(serviceHost + ":22") }

// allowed are the units that may run while the device is locked. Everything
// else that runs is a finding.
var allowed = []string{
	"init.scope", "systemd-journald.service", "systemd-udevd.service", "dbus.service", "polkit.service",
	"systemd-networkd.service", "systemd-timesyncd.service", "systemd-resolved.service",
	"accountlock-gate.service", "accountlockd.service",
	// Logs users in for those who let people in; by itself it lets in nobody.
	"systemd-logind.service",
	"test-agent.service",
}

// Running lists what runs on the device, by the unit it belongs to: "unit:
// command".
func Running(t testing.TB, d Device) []string {
	t.Helper()
	// Kernel threads are in no unit. This script is not of the device, and in no
	// group of it.
	out, code := d.Sh("ps -eww -o cgroup:120= -o args=")
	if code != 0 {
		t.Fatalf("cannot list what runs: %d %s", code, out)
	}
	var lines []string
	for line := range strings.Lines(out) {
		group, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		_, group, ok := strings.Cut(group, "::")
		if args = strings.TrimSpace(args); !ok || group == "/" || strings.Contains(group, "..") || strings.HasPrefix(args, "[") {
			continue
		}
		// What a unit divides its own group into has no full stop in its name.
		for i := strings.LastIndex(group, "/"); i > 0 && !strings.Contains(group[i:], "."); i = strings.LastIndex(group, "/") {
			group = group[:i]
		}
		lines = append(lines, group[strings.LastIndex(group, "/")+1:]+": "+args)
	}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "init.scope:") }) {
		t.Fatalf("the list of what runs lacks PID 1:\n%s", out)
	}
	return lines
}

// waysIn returns what runs and is not on the list of what may.
func waysIn(t testing.TB, d Device, besides ...string) []string {
	t.Helper()
	return slices.DeleteFunc(Running(t, d), func(line string) bool {
		unit, _, _ := strings.Cut(line, ":")
		return slices.Contains(allowed, unit) || slices.Contains(besides, unit) || strings.HasPrefix(unit, "accountlock-firstboot")
	})
}

// NobodyGetsIn asserts that the device is shut: nothing runs that lets a person
// in, no login is possible, and it stays like that. Units besides those of a locked
// device may be named.
func NobodyGetsIn(t testing.TB, d Device, besides ...string) {
	t.Helper()
	for range 3 {
		if in := waysIn(t, d, besides...); len(in) > 0 {
			t.Fatalf("on a locked device there runs:\n%s\n\n%s", strings.Join(in, "\n"), d.State())
		}
		if who, err := sshLogin(d, User, UserPassword); err == nil {
			t.Fatalf("ssh let %s in on a locked device: %s\n%s", User, who, d.State())
		}
		out, _ := d.Sh("systemctl is-active multi-user.target graphical.target rescue.target emergency.target accountlock-open.target user@1000.service systemd-user-sessions.service")
		if strings.Contains("\n"+out, "\nactive") {
			t.Fatalf("on a locked device there is active:\n%s\n%s", out, d.State())
		}
		time.Sleep(300 * time.Millisecond)
	}
}

// OwnerGetsIn asserts that the device is open: everything that lets a person in
// is there, and a login works.
func OwnerGetsIn(t testing.TB, d Device) {
	t.Helper()
	missing := []string{"?"}
	untilEvery(t, "everything that lets the owner in", patience(d)*100*time.Millisecond, patience(d)*time.Minute, func() bool {
		running := Running(t, d)
		missing = nil
		for _, want := range []string{"getty", "ssh.service:", "cron.service:", "greetd.service:", "session"} {
			if want == "session" {
				want = "user@1000" // the lingering user
				out, _ := d.Sh("systemctl is-active user@1000.service")
				if strings.TrimSpace(out) == "active" {
					continue
				}
			} else if slices.ContainsFunc(running, func(l string) bool { return strings.Contains(l, want) }) {
				continue
			}
			missing = append(missing, want)
		}
		return len(missing) == 0
	}, func() string { return "missing: " + strings.Join(missing, " ") + "\n" + d.State() })
	var who string
	var err error
	untilEvery(t, "a login by ssh", patience(d)*100*time.Millisecond, patience(d)*time.Minute, func() bool {
		who, err = sshLogin(d, User, UserPassword)
		return err == nil
	}, d.State)
	if !strings.Contains(who, "("+User+")") {
		t.Fatalf("ssh let in %q", who)
	}
}

// patience is how much longer than a container's everything may take.
func patience(d Device) time.Duration {
	if _, ok := d.(*VM); ok {
		return slowness
	}
	return 1
}

// until polls for what has no event to wait for.
func until(t testing.TB, what string, limit time.Duration, done func() bool, state func() string) {
	t.Helper()
	untilEvery(t, what, 50*time.Millisecond, limit, done, state)
}

func untilEvery(t testing.TB, what string, step, limit time.Duration, done func() bool, state func() string) {
	t.Helper()
	for end := time.Now().Add(limit); !done(); time.Sleep(step) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s\n%s", limit, what, state())
		}
	}
}

// sshLogin signs in with the password and returns what `id` says.
func sshLogin(d Device, user, password string) (string, error) {
	conn, err := d.SSH()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience(d) * 10 * time.Second)); err != nil {
		return "", err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, "device", &ssh.ClientConfig{
		User:            user,
		Auth:            []ssh.AuthMethod{ssh.Password(password)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // the device is the test's own
	})
	if err != nil {
		return "", err
	}
	client := ssh.NewClient(c, channels, requests)
	defer func() { _ = client.Close() }()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	out, err := session.CombinedOutput("id")
	return string(out), errors.Join(err)
}
