// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

func openedAs(t testing.TB, scheme, path string) *record.Store {
	t.Helper()
	s, err := record.Open(scheme + ":" + path)
	must(t, err)
	return s
}

func TestWhatIsNoPartitionIsUnreadableAndNamed(t *testing.T) {
	sized := func(n int64) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			must(t, os.WriteFile(path, nil, 0o600))
			must(t, os.Truncate(path, n))
		}
	}
	for _, c := range []struct {
		name string
		make func(t *testing.T, path string)
		says string
	}{
		{"it is absent", func(*testing.T, string) {}, "not there"},
		{"its folder is absent", func(t *testing.T, path string) { must(t, os.Remove(filepath.Dir(path))) }, "not there"},
		{"it is a link to nothing", func(t *testing.T, path string) { must(t, os.Symlink("nowhere", path)) }, "not there"},
		{"it is a link to itself", func(t *testing.T, path string) { must(t, os.Symlink(path, path)) }, "too many levels"},
		{"it is a folder", func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }, "no block device"},
		{"it is a FIFO", func(t *testing.T, path string) { must(t, unix.Mkfifo(path, 0o600)) }, "no block device"},
		{"it is a character device", func(t *testing.T, path string) { must(t, os.Symlink("/dev/zero", path)) }, "no block device"},
		{"it has no byte", sized(0), "65536"},
		{"it is one sector too small", sized(64<<10 - 512), "65536"},
		{"it is no whole sectors", sized(64<<10 + 1), "whole sectors"},
		{"it is one sector too large", sized(16<<20 + 512), "16777216"},
		{"it is as large as a system", sized(1 << 36), "16777216"},
		{"it may not be used", func(t *testing.T, path string) {
			sized(64<<10)(t, path)
			must(t, os.Chmod(path, 0))
			must(t, os.Chmod(filepath.Dir(path), 0o755))
			must(t, os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755))
			unprivileged(t)
		}, "user accountlock"},
	} {
		for _, scheme := range []string{"block", "pdb"} {
			t.Run(scheme+": "+c.name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "dev", "frp")
				must(t, os.Mkdir(filepath.Dir(path), 0o700))
				c.make(t, path)
				s := openedAs(t, scheme, path)
				r := s.Read()
				if r.Store != lock.StoreUnreadable || fault.CodeOf(r.Err) != fault.StorageFailed || !strings.Contains(r.Err.Error(), path) || !strings.Contains(r.Err.Error(), c.says) {
					t.Errorf("reads as %s: %v", r.Store, r.Err)
				}
				if decide(r, nil) != lock.LockedFor(lock.RecordDamaged) {
					t.Errorf("decides %s", decide(r, nil))
				}
				if err := s.Write(armed(2), true); fault.CodeOf(err) != fault.StorageFailed {
					t.Errorf("writing: %v", err)
				}
				if err := s.Mend(); scheme == "pdb" && fault.CodeOf(err) != fault.StorageFailed {
					t.Errorf("mending: %v", err)
				}
			})
		}
	}
}

// loop returns a real block device with this content, and the file behind it.
func loop(t testing.TB, content []byte) (device, file string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root makes block devices")
	}
	file = filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(file, content, 0o600))
	return loopOf(t, file), file
}

func loopOf(t testing.TB, file string) string {
	t.Helper()
	out, err := exec.Command("losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		t.Skipf("no loop devices here: %v %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("%v %s", err, out)
		}
	})
	return device
}

func TestARealBlockDeviceKeepsTheRecord(t *testing.T) {
	for _, scheme := range []string{"block", "pdb"} {
		for _, kind := range contents {
			t.Run(scheme+" with "+kind, func(t *testing.T) {
				content := contentOf(kind, 512<<10)
				device, file := loop(t, content)
				link := filepath.Join(t.TempDir(), "frp")
				must(t, os.Symlink(device, link))
				for i := range uint64(4) {
					write(t, openedAs(t, scheme, link), armed(i), i%2 == 0)
					if r := openedAs(t, scheme, device).Read(); r.Store != lock.StoreValid || r.OneCopy || !reflect.DeepEqual(r.Record, armed(i)) {
						t.Fatalf("write %d reads as %s: %v", i, r.Store, r.Err)
					}
				}
				must(t, openedAs(t, scheme, device).Mend())
				now, err := os.ReadFile(file)
				must(t, err)
				untouched(t, scheme, content, now)
			})
		}
	}
}

// What is read comes from the medium: bytes that changed below the page cache are
// seen, although the cache of the device holds the old ones.
func TestABlockDeviceIsReadPastThePageCache(t *testing.T) {
	device, file := loop(t, contentOf("zeros", 64<<10))
	s := openedAs(t, "block", device)
	write(t, s, armed(1), true)
	cached, err := os.Open(device)
	must(t, err)
	defer cached.Close()
	page := make([]byte, 64<<10)
	_, err = cached.ReadAt(page, 0) // now it is in the cache
	must(t, err)
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte{page[40] ^ 1}, 40)
	must(t, err)
	again := make([]byte, 4096)
	if _, err = cached.ReadAt(again, 0); err != nil || !bytes.Equal(again, page[:4096]) {
		t.Fatalf("the cache shows the change too: the test would prove nothing (%v)", err)
	}
	if r := s.Read(); r.Slots[0].State != record.SlotDamaged {
		t.Errorf("slot 0 reads as %s: from a cache", r.Slots[0].State)
	}
}

func TestADeviceInUseAReadOnlyOneAndAnotherWriterAreNamed(t *testing.T) {
	for _, scheme := range []string{"block", "pdb"} {
		t.Run(scheme, func(t *testing.T) {
			device, _ := loop(t, contentOf("zeros", 64<<10))
			s := openedAs(t, scheme, device)
			write(t, s, armed(1), true)
			held, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL, 0) // as a mount does
			must(t, err)
			if err := s.Write(armed(2), true); !errors.Is(err, record.ErrBusy) || !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "mounted") {
				t.Errorf("in use: %v", err)
			}
			if err := s.Writable(); !errors.Is(err, unix.EBUSY) {
				t.Errorf("in use, and Writable says %v", err)
			}
			must(t, held.Close())
			f, err := os.OpenFile(device, os.O_RDWR, 0)
			must(t, err)
			l := unix.Flock_t{Type: unix.F_WRLCK}
			must(t, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l))
			if err := s.Write(armed(2), true); !errors.Is(err, record.ErrBusy) {
				t.Errorf("another writer: %v", err)
			}
			if err := s.Writable(); err != nil {
				t.Errorf("another writer just now, and Writable says %v", err)
			}
			if r := s.Read(); r.Store != lock.StoreValid || r.Record.Link.Generation != 1 || r.OneCopy {
				t.Errorf("reads as %s, %v", r.Store, r.Err)
			}
			must(t, f.Close())
			readOnly(t, device, 1)
			t.Cleanup(func() { readOnly(t, device, 0) })
			if err := s.Write(armed(2), true); fault.CodeOf(err) != fault.StorageFailed || !errors.Is(err, unix.EROFS) {
				t.Errorf("read-only: %v", err)
			}
			if err := s.Writable(); !errors.Is(err, unix.EROFS) {
				t.Errorf("read-only, and Writable says %v", err)
			}
			if r := s.Read(); r.Store != lock.StoreValid || r.Record.Link.Generation != 1 || r.OneCopy {
				t.Errorf("read-only: reads as %s, %v", r.Store, r.Err)
			}
		})
	}
}

func readOnly(t *testing.T, device string, on int) {
	t.Helper()
	f, err := os.Open(device)
	must(t, err)
	defer f.Close()
	must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, on))
}

// The kernel's own input/output errors: behind the device is less than it says.
func TestADeviceThatFailsIsUnreadableAndNeverBlank(t *testing.T) {
	for _, scheme := range []string{"block", "pdb"} {
		t.Run(scheme, func(t *testing.T) {
			content := contentOf("android", 64<<10)
			device, file := loop(t, content)
			s := openedAs(t, scheme, device)
			write(t, s, armed(1), true)
			whole, err := os.ReadFile(file)
			must(t, err)
			for _, left := range []int64{0, 4096, 16384, 32768, 60 << 10} {
				must(t, os.Truncate(file, left))
				r := s.Read()
				got := decide(r, nil)
				if got.Open() || r.Store == lock.StoreBlank || r.Store == lock.StoreUnreadable && !errors.Is(r.Err, unix.EIO) {
					t.Errorf("with %d bytes left: %s, %v", left, r.Store, r.Err)
				}
				if left < 4096 && r.Store != lock.StoreUnreadable {
					t.Errorf("with %d bytes left: %s", left, r.Store)
				}
				if err := s.Write(armed(2), true); fault.CodeOf(err) != fault.StorageFailed && (left <= 16384 || scheme == "pdb") {
					t.Errorf("with %d bytes left: writing: %v", left, err)
				}
				must(t, os.WriteFile(file, whole, 0o600))
			}
		})
	}
}

func TestADeviceThatTakesNoMoreKeepsWhatItHas(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes block devices")
	}
	dir := t.TempDir()
	smallFilesystem(t, dir)
	file := filepath.Join(dir, "image")
	f, err := os.Create(file)
	must(t, err)
	must(t, f.Truncate(64<<10)) // more than the filesystem has room for
	must(t, f.Close())
	s := openedAs(t, "block", loopOf(t, file))
	fill(t, filepath.Join(dir, "filler"))
	if err := s.Write(armed(1), true); fault.CodeOf(err) != fault.StorageFailed || !errors.Is(err, unix.EIO) && !errors.Is(err, unix.ENOSPC) {
		t.Errorf("full: %v", err)
	}
	if r := s.Read(); r.Store != lock.StoreBlank {
		t.Errorf("full: reads as %s, %v", r.Store, r.Err)
	}
	must(t, os.Remove(filepath.Join(dir, "filler")))
	if err := s.Write(armed(1), true); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// The daemon's user needs the device's node and nothing else.
func TestAnOrdinaryUserWritesADeviceThatIsGivenToIt(t *testing.T) {
	device, _ := loop(t, contentOf("android", 64<<10))
	must(t, os.Chown(device, 65534, 65534))
	t.Cleanup(func() { must(t, os.Chown(device, 0, 6)) })
	t.Run("as that user", func(t *testing.T) {
		unprivileged(t)
		s := openedAs(t, "pdb", device)
		write(t, s, armed(1), true)
		must(t, s.Mend())
		if r := s.Read(); r.Store != lock.StoreValid || r.OneCopy {
			t.Errorf("reads as %s, %v", r.Store, r.Err)
		}
	})
	if r := openedAs(t, "pdb", device).Read(); r.Store != lock.StoreValid {
		t.Errorf("root reads %s, %v", r.Store, r.Err)
	}
}

func TestReadersAndWritersShareADevice(t *testing.T) {
	for _, scheme := range []string{"block", "pdb"} {
		t.Run(scheme, func(t *testing.T) {
			_, path := partition(t, scheme, contentOf("zeros", 64<<10))
			if os.Geteuid() == 0 {
				path, _ = loop(t, contentOf("zeros", 64<<10))
			}
			write(t, openedAs(t, scheme, path), armed(0), true)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					mine := openedAs(t, scheme, path)
					for i := range 20 {
						if err := mine.Write(armed(uint64(i)), i%2 == 0); err != nil && !errors.Is(err, record.ErrBusy) {
							t.Error(err)
						}
						if r := openedAs(t, scheme, path).Read(); r.Store != lock.StoreValid {
							t.Errorf("reads as %s: %v", r.Store, r.Err)
						}
						runtime.Gosched()
					}
				})
			}
			wg.Wait()
		})
	}
}
