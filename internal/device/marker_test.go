// SPDX-License-Identifier: Apache-2.0

package device_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/device"
	"github.com/accountlock/accountlock/internal/fault"
)

var (
	first  = bytes.Repeat([]byte{1}, device.MarkerSize)
	second = bytes.Repeat([]byte{2}, device.MarkerSize)
)

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestAMarkerIsReadBackUntilItIsWipedOrRemoved(t *testing.T) {
	m := device.Marker{Dir: filepath.Join(t.TempDir(), "state")}
	if b, err := m.Read(); b != nil || err != nil {
		t.Errorf("no directory: %v, %v", b, err)
	}
	must(t, m.Remove())
	must(t, os.Mkdir(m.Dir, 0o700))
	if b, err := m.Read(); b != nil || err != nil {
		t.Errorf("no marker: %v, %v", b, err)
	}
	for _, want := range [][]byte{first, second} {
		must(t, m.Write(want))
		if b, err := m.Read(); !bytes.Equal(b, want) || err != nil {
			t.Errorf("got %v, %v", b, err)
		}
	}
	info, err := os.Stat(filepath.Join(m.Dir, "reset-marker"))
	if must(t, err); info.Mode() != 0o600 || info.Size() != device.MarkerSize || len(names(t, m.Dir)) != 1 {
		t.Errorf("%v, beside %v", info.Mode(), names(t, m.Dir))
	}
	must(t, m.Remove())
	must(t, m.Remove())
	if b, err := m.Read(); b != nil || err != nil {
		t.Errorf("removed: %v, %v", b, err)
	}
	must(t, os.RemoveAll(m.Dir))
	if b, err := m.Read(); b != nil || err != nil {
		t.Errorf("wiped: %v, %v", b, err)
	}
}

func TestAMarkerOfAnotherSizeIsNotWritten(t *testing.T) {
	m := device.Marker{Dir: t.TempDir()}
	must(t, m.Write(first))
	for _, b := range [][]byte{nil, first[:31], append(bytes.Clone(first), 0)} {
		if err := m.Write(b); fault.CodeOf(err) != fault.StorageFailed {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	if b, err := m.Read(); !bytes.Equal(b, first) || err != nil {
		t.Errorf("got %v, %v", b, err)
	}
}

func TestWhatIsNoMarkerIsNamedAndNotTakenForOne(t *testing.T) {
	for name, make := range map[string]func(t *testing.T, path string){
		"too short": func(t *testing.T, path string) { must(t, os.WriteFile(path, first[:31], 0o600)) },
		"empty":     func(t *testing.T, path string) { must(t, os.WriteFile(path, nil, 0o600)) },
		"too long":  func(t *testing.T, path string) { must(t, os.WriteFile(path, append(bytes.Clone(first), 0), 0o600)) },
		"a folder":  func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) },
		"a FIFO":    func(t *testing.T, path string) { must(t, unix.Mkfifo(path, 0o600)) },
		"a link to a marker": func(t *testing.T, path string) {
			must(t, os.WriteFile(path+"2", first, 0o600))
			must(t, os.Symlink(path+"2", path))
		},
		"a link to nothing": func(t *testing.T, path string) { must(t, os.Symlink("nowhere", path)) },
		"the folder is no such": func(t *testing.T, path string) {
			must(t, os.Remove(filepath.Dir(path)))
			must(t, os.WriteFile(filepath.Dir(path), nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := device.Marker{Dir: filepath.Join(t.TempDir(), "state")}
			must(t, os.Mkdir(m.Dir, 0o700))
			make(t, filepath.Join(m.Dir, "reset-marker"))
			b, err := m.Read()
			if b != nil || fault.CodeOf(err) != fault.StorageFailed || !strings.Contains(err.Error(), m.Dir) {
				t.Errorf("got %v, %v", b, err)
			}
			if said := fault.As(err).Message; said != "The device could not read its reset marker." {
				t.Errorf("a person reads %q", said)
			}
		})
	}
}

func TestWritingFollowsNoLinkAndGoesOverWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	m := device.Marker{Dir: filepath.Join(dir, "state")}
	must(t, os.Mkdir(m.Dir, 0o700))
	victim := filepath.Join(dir, "victim")
	must(t, os.WriteFile(victim, []byte("precious"), 0o600))
	for _, name := range []string{"reset-marker", ".reset-marker.new"} {
		must(t, os.Symlink(victim, filepath.Join(m.Dir, name)))
	}
	must(t, m.Write(first))
	if b, err := os.ReadFile(victim); string(b) != "precious" || err != nil {
		t.Errorf("the link's target holds %q, %v", b, err)
	}
	must(t, os.WriteFile(filepath.Join(m.Dir, ".reset-marker.new"), second[:7], 0o600))
	if b, err := m.Read(); !bytes.Equal(b, first) || err != nil {
		t.Errorf("beside half a new one: got %v, %v", b, err)
	}
	must(t, m.Write(second))
	if b, err := m.Read(); !bytes.Equal(b, second) || err != nil {
		t.Errorf("got %v, %v", b, err)
	}
}

func TestAMediumThatFailsKeepsTheOldMarker(t *testing.T) {
	absent := device.Marker{Dir: filepath.Join(t.TempDir(), "absent")}
	if err := absent.Write(first); fault.CodeOf(err) != fault.StorageFailed || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	inTheWay := device.Marker{Dir: t.TempDir()}
	must(t, os.MkdirAll(filepath.Join(inTheWay.Dir, ".reset-marker.new", "full"), 0o700))
	if err := inTheWay.Write(first); fault.CodeOf(err) != fault.StorageFailed {
		t.Errorf("a full folder in the way: %v", err)
	}

	m := device.Marker{Dir: t.TempDir()}
	smallFilesystem(t, m.Dir)
	must(t, m.Write(first))
	// Fill it up.
	f, err := os.Create(filepath.Join(m.Dir, "filler"))
	must(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	if err := m.Write(second); fault.CodeOf(err) != fault.StorageFailed || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("full: %v", err)
	}
	if b, err := m.Read(); !bytes.Equal(b, first) || err != nil || len(names(t, m.Dir)) != 2 {
		t.Errorf("full: got %v, %v beside %v", b, err, names(t, m.Dir))
	}
	must(t, unix.Mount("", m.Dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for what, err := range map[string]error{"write": m.Write(second), "remove": m.Remove()} {
		if fault.CodeOf(err) != fault.StorageFailed || !errors.Is(err, unix.EROFS) {
			t.Errorf("%s on a read-only medium: %v", what, err)
		}
		if said := fault.As(err).Message; said != "The device could not write its reset marker." {
			t.Errorf("%s: a person reads %q", what, said)
		}
	}
	if b, err := m.Read(); !bytes.Equal(b, first) || err != nil {
		t.Errorf("read-only: got %v, %v", b, err)
	}
}

// smallFilesystem mounts a filesystem of a few pages, which only this goroutine
// sees: its thread gets a mount namespace of its own and is not given back.
func smallFilesystem(t *testing.T, dir string) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		runtime.UnlockOSThread()
		t.Skipf("cannot mount a small filesystem: %v", err)
	}
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
}

func TestAMarkerThatTheStateDirectoryDoesNotTakeCountsUntilTheNextBoot(t *testing.T) {
	dir, spare := filepath.Join(t.TempDir(), "wiped"), t.TempDir()
	m := device.Marker{Dir: dir, Spare: spare}
	first, second := bytes.Repeat([]byte{1}, device.MarkerSize), bytes.Repeat([]byte{2}, device.MarkerSize)
	if err := m.Write(first); fault.CodeOf(err) != fault.StorageFailed {
		t.Fatalf("written to a folder that is not there: %v", err)
	}
	if b, err := m.Read(); !bytes.Equal(b, first) || err != nil {
		t.Fatalf("got %v, %v", b, err)
	}
	// A boot wipes the spare folder.
	if b, err := (device.Marker{Dir: dir, Spare: t.TempDir()}).Read(); b != nil || err != nil {
		t.Fatalf("after a boot: %v, %v", b, err)
	}
	must(t, os.Mkdir(dir, 0o700))
	must(t, m.Write(second))
	if b, err := m.Read(); !bytes.Equal(b, second) || err != nil || len(names(t, spare)) != 0 {
		t.Fatalf("the state directory takes it again: %v, %v, %v", b, err, names(t, spare))
	}
	// A spare one that is damaged vouches for nothing.
	must(t, os.WriteFile(filepath.Join(spare, "reset-marker"), []byte("x"), 0o600))
	if b, err := m.Read(); !bytes.Equal(b, second) || err != nil {
		t.Fatalf("got %v, %v", b, err)
	}
}
