// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

func opened(t testing.TB, path string) *record.Store {
	t.Helper()
	s, err := record.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsNoReadableStoreIsUnreadableAndNamed(t *testing.T) {
	for name, make := range map[string]func(t *testing.T, path string){
		"its folder is absent": func(t *testing.T, path string) { must(t, os.Remove(filepath.Dir(path))) },
		"its folder is a file": func(t *testing.T, path string) {
			dir := filepath.Dir(path)
			must(t, os.Remove(dir))
			must(t, os.WriteFile(dir, nil, 0o600))
		},
		"its folder is a broken link": func(t *testing.T, path string) {
			dir := filepath.Dir(path)
			must(t, os.Remove(dir))
			must(t, os.Symlink("nowhere", dir))
		},
		"it is a folder": func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) },
		"it is a FIFO":   func(t *testing.T, path string) { must(t, unix.Mkfifo(path, 0o600)) },
		"it is a link to a good store": func(t *testing.T, path string) {
			write(t, opened(t, path+"2"), disarmed(armed(1)), true)
			must(t, os.Symlink(path+"2", path))
		},
		"it is a link to nothing":       func(t *testing.T, path string) { must(t, os.Symlink("nowhere", path)) },
		"it is a link to itself":        func(t *testing.T, path string) { must(t, os.Symlink(path, path)) },
		"its folder may not be entered": func(t *testing.T, path string) { must(t, os.Chmod(filepath.Dir(path), 0)); unprivileged(t) },
		"its folder may not be listed":  func(t *testing.T, path string) { must(t, os.Chmod(filepath.Dir(path), 0o111)); unprivileged(t) },
		"it may not be read": func(t *testing.T, path string) {
			write(t, opened(t, path), armed(1), true)
			must(t, os.Chmod(path, 0))
			must(t, os.Chmod(filepath.Dir(path), 0o755))
			unprivileged(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "accountlock", "record")
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
			make(t, path)
			s := opened(t, path)
			r := s.Read()
			if r.Store != lock.StoreUnreadable || r.Err == nil || !strings.Contains(r.Err.Error(), path) {
				t.Errorf("reads as %s: %v", r.Store, r.Err)
			}
			if decide(r, nil) != lock.LockedFor(lock.RecordDamaged) {
				t.Errorf("decides %s", decide(r, nil))
			}
			if err := s.Write(armed(2), true); err == nil {
				t.Error("was written")
			}
		})
	}
	if r := opened(t, "/dev/null").Read(); r.Store != lock.StoreUnreadable {
		t.Errorf("a device reads as %s", r.Store)
	}
}

// unprivileged takes root's right to read everything from this goroutine, for
// as long as the test runs.
func unprivileged(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	runtime.LockOSThread()
	if _, err := unix.SetfsuidRetUid(65534); err != nil {
		t.Skipf("cannot give up root's rights: %v", err)
	}
	t.Cleanup(func() {
		if _, err := unix.SetfsuidRetUid(0); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	})
}

func TestNothingElseInTheFolderIsTouched(t *testing.T) {
	s, path := open(t)
	dir := filepath.Dir(path)
	others := map[string]string{"record2": "a", ".record": "b", "record.new": "c", "data": "d"}
	for name, text := range others {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	// What a crash left of making the store is the store's own.
	must(t, os.WriteFile(filepath.Join(dir, ".record.new"), []byte("half"), 0o600))
	for i := range 5 {
		write(t, s, armed(uint64(i)), i%2 == 0)
	}
	must(t, os.Truncate(path, 100))
	write(t, s, armed(9), true)
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		if want, ok := others[e.Name()]; e.Name() != "record" && (!ok || string(b) != want) {
			t.Errorf("%s holds %q", e.Name(), b)
		}
	}
	if len(entries) != len(others)+1 {
		t.Errorf("the folder holds %v", entries)
	}
}

func TestAWriteChangesNothingOfTheFileButTheBytesOfSlots(t *testing.T) {
	s, path := open(t)
	write(t, s, armed(1), true)
	var before, after unix.Stat_t
	must(t, unix.Stat(path, &before))
	for i := range 4 {
		write(t, s, armed(uint64(i)), i%2 == 0)
	}
	must(t, unix.Stat(path, &after))
	if before.Ino != after.Ino || before.Size != after.Size || before.Blocks != after.Blocks || after.Mode != unix.S_IFREG|0o600 {
		t.Errorf("from %+v to %+v", before, after)
	}
}

func TestASecondWriterIsKeptOutAndAReaderIsNot(t *testing.T) {
	s, path := open(t)
	write(t, s, armed(1), true)
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	if err := s.Write(armed(2), true); !errors.Is(err, record.ErrBusy) {
		t.Errorf("got %v", err)
	}
	if r := s.Read(); r.Store != lock.StoreValid || r.Record.Link.Generation != 1 {
		t.Errorf("reads as %s, %v", r.Store, r.Err)
	}
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_UN))
	write(t, s, armed(3), true)
}

func TestAReaderWaitsForAWriterWhereASlotIsNotWhole(t *testing.T) {
	d := record.NewDisk("/p")
	good := image(slotOf(t, 1, armed(1)), slotOf(t, 2, armed(2)))
	half := append([]byte(nil), good...)
	clear(half[slotBytes+20 : slotBytes+100])
	d.Put(where, half)
	d.OnAwait = func() { copy(d.Content(where), good) } // the writer ends
	if r := record.NewOn(d, where).Read(); r.OneCopy || r.Record.Link.Generation != 2 || d.Waits != 1 {
		t.Errorf("read generation %d, one copy %v, after %d waits", r.Record.Link.Generation, r.OneCopy, d.Waits)
	}
	if record.NewOn(d, where).Read(); d.Waits != 1 {
		t.Error("waits for nothing")
	}
}

func TestSeveralStoresOnOneFileKeepItWhole(t *testing.T) {
	s, path := open(t)
	write(t, s, armed(0), true)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			mine := opened(t, path)
			for i := range 8 {
				if err := mine.Write(armed(uint64(i)), i%2 == 0); err != nil && !errors.Is(err, record.ErrBusy) {
					t.Error(err)
				}
				if r := mine.Read(); r.Store != lock.StoreValid {
					t.Errorf("reads as %s: %v", r.Store, r.Err)
				}
			}
		})
	}
	wg.Wait()
}

func TestTwoStoresMayBeMadeAtOnce(t *testing.T) {
	for range 10 {
		_, path := open(t)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				err := opened(t, path).Write(armed(1), true)
				if err != nil && !errors.Is(err, record.ErrBusy) && !errors.Is(err, os.ErrExist) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if r := opened(t, path).Read(); r.Store != lock.StoreValid || r.OneCopy {
			t.Errorf("reads as %s: %v", r.Store, r.Err)
		}
	}
}

func TestARecordThatDoesNotFitIsRefusedAndNothingIsWritten(t *testing.T) {
	s, path := open(t)
	big := armed(1)
	big.LostMessage = strings.Repeat("x", 8200)
	if err := s.Write(big, true); !errors.Is(err, record.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("the store was made")
	}
	for n := 7500; ; n++ { // the longest that fits
		big.LostMessage = strings.Repeat("x", n)
		if len(payload(t, big)) == slotBytes-frameHead {
			break
		}
	}
	write(t, s, big, true)
	if r := s.Read(); !reflect.DeepEqual(r.Record, big) {
		t.Errorf("reads as %s", r.Store)
	}
	big.LostMessage += "x"
	if err := s.Write(big, true); !errors.Is(err, record.ErrTooLarge) {
		t.Errorf("one byte more: %v", err)
	}
}

func TestErrorsDoNotQuoteTheRecord(t *testing.T) {
	secret := `{"device_key":"c2VjcmV0LXNlY3JldA==","armed":"c2VjcmV0"}`
	r := read(image(makeFrame(1, 1, []byte(secret)), nil))
	if r.Err == nil || strings.Contains(r.Err.Error(), "c2Vj") {
		t.Errorf("got %v", r.Err)
	}
}

func TestWhatIsWrittenIsReadAndTheSequenceOnlyGrows(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "record")
		os.Remove(path)
		var last uint64
		for range rapid.IntRange(1, 6).Draw(t, "writes") {
			s, err := record.Open("file:" + path)
			if err != nil {
				t.Fatal(err)
			}
			want := anyRecord(t)
			if err := s.Write(want, rapid.Bool().Draw(t, "ownership")); err != nil {
				t.Fatal(err)
			}
			r := s.Read()
			if !reflect.DeepEqual(r.Record, want) || r.OneCopy || r.Sequence <= last {
				t.Fatalf("sequence %d to %d, one copy %v: got %#v", last, r.Sequence, r.OneCopy, r.Record)
			}
			last = r.Sequence
		}
	})
}

// A real filesystem that is full, or read-only.
func TestAMediumThatTakesNothingKeepsWhatItHas(t *testing.T) {
	dir := t.TempDir()
	smallFilesystem(t, dir)
	s := opened(t, filepath.Join(dir, "record"))
	full := filepath.Join(dir, "filler")
	fill(t, full)
	if err := s.Write(armed(1), true); fault.CodeOf(err) != fault.StorageFailed || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("full: %v", err)
	}
	if said := fault.As(s.Write(armed(1), true)).Message; said != "The device could not write its lock record." {
		t.Errorf("full: a person reads %q", said)
	}
	if r := s.Read(); r.Store != lock.StoreBlank {
		t.Errorf("full: reads as %s", r.Store)
	}
	if err := s.Writable(); err != nil {
		t.Errorf("a folder that can be written: %v", err)
	}
	must(t, os.Remove(full))
	write(t, s, armed(1), true)
	fill(t, full)
	write(t, s, armed(2), true) // needs no more room than it has
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	if err := s.Write(armed(3), true); fault.CodeOf(err) != fault.StorageFailed || !errors.Is(err, unix.EROFS) {
		t.Errorf("read-only: %v", err)
	}
	if err := s.Writable(); !errors.Is(err, unix.EROFS) {
		t.Errorf("read-only, and Writable says %v", err)
	}
	if err := opened(t, filepath.Join(dir, "absent")).Writable(); !errors.Is(err, unix.EROFS) {
		t.Errorf("read-only, and one that could not be made there: %v", err)
	}
	if r := s.Read(); r.Store != lock.StoreValid || r.Record.Link.Generation != 2 || r.OneCopy {
		t.Errorf("read-only: reads as %s, generation %d", r.Store, r.Record.Link.Generation)
	}
	entries, err := os.ReadDir(dir)
	if must(t, err); len(entries) != 2 {
		t.Errorf("the folder holds %v", entries)
	}
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
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
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=32k"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
}

func BenchmarkUnlockWritesTheRecord(b *testing.B) {
	s, _ := open(b)
	write(b, s, armed(0), true)
	before := s.Stats()
	for i := range b.N {
		write(b, s, armed(uint64(i)), true)
	}
	after := s.Stats()
	b.ReportMetric(float64(after.SlotWrites-before.SlotWrites)/float64(b.N), "slot-writes/op")
	b.ReportMetric(float64(after.Flushes-before.Flushes)/float64(b.N), "flushes/op")
	b.ReportMetric(float64((after.SlotWrites-before.SlotWrites)*record.SlotBytes)/float64(b.N), "written-B/op")
}

func BenchmarkRead(b *testing.B) {
	s, _ := open(b)
	write(b, s, armed(0), true)
	for b.Loop() {
		if r := s.Read(); r.Err != nil {
			b.Fatal(r.Err)
		}
	}
}
