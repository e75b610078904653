// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/gate"
)

// listens makes the FIFO in dir and opens it as systemd does.
func listens(t *testing.T, dir string) *os.File {
	t.Helper()
	path := filepath.Join(dir, "gate")
	must(t, unix.Mkfifo(path, 0o600))
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	must(t, err)
	f := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { f.Close() })
	return f
}

func waiting(t *testing.T, f *os.File) int {
	t.Helper()
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ)
	must(t, err)
	return n
}

func TestAPokeArrivesAndIsTakenOut(t *testing.T) {
	dir := t.TempDir()
	f := listens(t, dir)
	c := gate.Channel{Dir: dir}
	must(t, c.Poke(t.Context()))
	if waiting(t, f) == 0 {
		t.Fatal("nothing arrived")
	}
	for range 10_000 { // more than a FIFO holds: none waits, none fails
		must(t, c.Poke(t.Context()))
	}
	must(t, gate.Drain(f.Fd()))
	if n := waiting(t, f); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
	must(t, gate.Drain(f.Fd()))
}

func TestAGateThatSaysSomethingElseIsNoticed(t *testing.T) {
	for _, c := range []struct {
		says         []string
		word         string
		open, locked bool // whether it knows that
	}{
		{nil, "", true, true},
		{[]string{"open"}, "linked", true, false},
		{[]string{"locked"}, "factory-reset", false, true},
		{[]string{"locked"}, "undecided", true, true},
		{[]string{"open", "locked"}, "linked", true, false}, // about to open
		{[]string{"locked", "shutting"}, "lost", false, false},
	} {
		dir := t.TempDir()
		for _, name := range c.says {
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(c.word+"\n"), 0o600))
		}
		gate := gate.Channel{Dir: dir}
		if open, locked := gate.Knows(true), gate.Knows(false); open != c.open || locked != c.locked {
			t.Errorf("%v: open %v, locked %v", c.says, open, locked)
		}
	}
}

func TestAPokeThatNobodyHearsIsAnError(t *testing.T) {
	dir := t.TempDir()
	c := gate.Channel{Dir: dir}
	if err := c.Poke(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no channel: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "gate"), nil, 0o600))
	if err := c.Poke(t.Context()); err == nil {
		t.Error("a file is no channel")
	}
	must(t, os.Remove(filepath.Join(dir, "gate")))
	must(t, unix.Mkfifo(filepath.Join(dir, "gate"), 0o600))
	if err := c.Poke(t.Context()); !errors.Is(err, unix.ENXIO) {
		t.Errorf("nobody listens: %v", err)
	}
}
