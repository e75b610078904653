// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

// open returns a store in a file of its own that does not exist yet.
func open(t testing.TB) (*record.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "record")
	s, err := record.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	return s, path
}

func write(t testing.TB, s *record.Store, r lock.Record, ownership bool) {
	t.Helper()
	if err := s.Write(r, ownership); err != nil {
		t.Fatal(err)
	}
}

func armed(generation uint64) lock.Record {
	return lock.Record{
		DeviceID: "d-1", DeviceKey: []byte("0123456789abcdef0123456789abcdef"), Armed: true, AccountID: "12345678",
		Hint: "a***@example.org", Link: lock.Link{ID: "l-1", Generation: generation}, MarkerHash: make([]byte, 32),
	}
}

func TestWhatIsWrittenIsReadBackByAnotherProgram(t *testing.T) {
	s, path := open(t)
	if r := s.Read(); r.Store != lock.StoreBlank || r.Err != nil {
		t.Fatalf("an absent store reads as %s, %v", r.Store, r.Err)
	}
	write(t, s, armed(1), true)
	again, err := record.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	r := again.Read()
	if r.Store != lock.StoreValid || r.OneCopy || r.Err != nil || r.Sequence != 2 || !reflect.DeepEqual(r.Record, armed(1)) {
		t.Fatalf("got %+v", r)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != 2*record.SlotBytes || info.Mode() != 0o600 {
		t.Fatalf("the file is %v, %v", info, err)
	}
}

func TestAChangeOfOwnershipCostsTwoSlotWritesAndTwoFlushesAndAnyOtherOneEach(t *testing.T) {
	s, _ := open(t)
	write(t, s, armed(1), true)
	for _, c := range []struct {
		ownership bool
		want      uint64
	}{{true, 2}, {false, 1}, {false, 1}, {true, 2}} {
		before := s.Stats()
		write(t, s, armed(2), c.ownership)
		after := s.Stats()
		if after.SlotWrites-before.SlotWrites != c.want || after.Flushes-before.Flushes != c.want {
			t.Errorf("ownership %v: %+v to %+v", c.ownership, before, after)
		}
	}
}

func TestSpecsThatNameNoFileAreRefused(t *testing.T) {
	for _, spec := range []string{"", "/persist/record", "file:", "file:record", "file:/persist/", "block:sda1", "pdb:/dev/", "disk:/dev/sda1", "FILE:/x", "file:/a\x00b"} {
		if s, err := record.Open(spec); s != nil || fault.CodeOf(err) != fault.InvalidArgument {
			t.Errorf("%q: %v, %v", spec, s, err)
		}
	}
}

func TestAFolderThatIsAbsentIsNotABlankStore(t *testing.T) {
	s, err := record.Open("file:" + filepath.Join(t.TempDir(), "not-mounted", "record"))
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Read(); r.Store != lock.StoreUnreadable || fault.CodeOf(r.Err) != fault.StorageFailed {
		t.Fatalf("got %s, %v", r.Store, r.Err)
	}
	if err := s.Write(armed(1), true); fault.CodeOf(err) != fault.StorageFailed || !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}
