// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/gate"
	"github.com/accountlock/accountlock/internal/lock"
)

const hook = "usr/lib/accountlock/factory-reset"

func TestAResetGoesTheVendorsWayOrSystemds(t *testing.T) {
	broken := errors.New("the hook broke")
	for _, c := range []struct {
		name    string
		files   map[string]string
		mode    os.FileMode
		verdict gate.Verdict
		asked   string
		fails   error
		did     string
		says    string
	}{
		{"the vendor's program", map[string]string{hook: "#!/bin/sh\n"}, 0o755, allowed, "reset\n", nil, hook, "begun"},
		{"the vendor's goes before systemd's", map[string]string{hook: "", "usr/lib/systemd/system/factory-reset.target.wants/x.service": ""}, 0o755, allowed, "reset\n", nil, hook, "begun"},
		{"systemd's", map[string]string{"usr/lib/systemd/system/factory-reset.target.wants/x.service": ""}, 0, allowed, "reset\n", nil, "start --no-block factory-reset.target", "begun"},
		{"a target that does nothing is no way", map[string]string{"usr/lib/systemd/system/factory-reset.target": ""}, 0, allowed, "reset\n", nil, "", "there is neither"},
		{"a program that cannot be run", map[string]string{hook: ""}, 0o644, allowed, "reset\n", nil, "", "not executable"},
		{"a program that fails", map[string]string{hook: ""}, 0o755, allowed, "reset\n", broken, hook, "the hook broke"},
		{"a locked device", map[string]string{hook: ""}, 0o755, lostDevice, "reset\n", nil, "", "the device is locked (lost)"},
		{"a locked device without a gate", map[string]string{hook: ""}, 0o755, gate.Verdict{Status: lostDevice.Status, Ungated: true}, "reset\n", nil, "", "the device is locked (lost)"},
		{"a linked device whose owner has not allowed it", map[string]string{hook: ""}, 0o755, openDevice, "reset\n", nil, "", "the owner has not allowed"},
		{"a device without an account", map[string]string{hook: ""}, 0o755, gate.Verdict{Status: lock.Status{State: lock.Unlinked}}, "reset\n", nil, hook, "begun"},
		{"nobody asked", map[string]string{hook: ""}, 0o755, allowed, "", nil, "", "nobody asked"},
		{"something else", map[string]string{hook: ""}, 0o755, allowed, "reset\nnow", nil, "", "nobody asked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.root, m.verdict = tree(t, c.files), c.verdict
			if c.mode != 0 {
				must(t, os.Chmod(filepath.Join(m.root, hook), c.mode))
			}
			s := m.service()
			s.Run = func(program string) error {
				name, _ := filepath.Rel(m.root, program)
				m.calls = append(m.calls, name)
				return c.fails
			}
			var out bytes.Buffer
			err := s.Reset(strings.NewReader(c.asked), &out)
			if (err == nil) != (c.says == "begun") || !strings.HasPrefix(out.String(), c.says) && !strings.Contains(out.String(), c.says) {
				t.Errorf("says %q, %v", &out, err)
			}
			if got := m.did(); got != c.did {
				t.Errorf("did %q", got)
			}
		})
	}
}

func TestTheDaemonAsksForAResetAndHearsWhatBecameOfIt(t *testing.T) {
	root := tree(t, map[string]string{hook: ""})
	r := gate.Resetter{Root: root, Dir: root}
	if err := r.Ready(); err == nil || errors.Is(err, gate.ErrNoReset) {
		t.Errorf("a program that cannot be run: %v", err)
	}
	must(t, os.Chmod(filepath.Join(root, hook), 0o755))
	if err := r.Ready(); err == nil || errors.Is(err, gate.ErrNoReset) {
		t.Errorf("nobody listens: %v", err)
	}
	if err := r.Trigger(t.Context()); err == nil {
		t.Error("nobody listens, and it has begun")
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(root, "reset"), Net: "unixpacket"})
	must(t, err)
	defer l.Close()
	must(t, r.Ready())
	for answer, want := range map[string]string{"begun\n": "", "no such disk\n": "no such disk", "": ""} {
		heard := make(chan string, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				heard <- err.Error()
				return
			}
			defer c.Close()
			buf := make([]byte, 64)
			n, _ := c.Read(buf)
			heard <- string(buf[:n])
			if answer != "" {
				c.Write([]byte(answer))
			}
		}()
		err := r.Trigger(t.Context())
		if got := <-heard; got != "reset\n" {
			t.Errorf("heard %q", got)
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("answered %q: %v", answer, err)
		}
	}
	must(t, os.Remove(filepath.Join(root, hook)))
	if err := r.Ready(); !errors.Is(err, gate.ErrNoReset) {
		t.Errorf("no way to be reset: %v", err)
	}
}
