// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

// contentOf returns what may be on a partition of a size before any record of
// ours is.
func contentOf(kind string, size int) []byte {
	b := make([]byte, size)
	switch kind {
	case "zeros":
	case "ones":
		for i := range b {
			b[i] = 0xff
		}
	case "noise":
		r := rand.NewChaCha8([32]byte{1})
		_, _ = r.Read(b)
	case "android":
		copy(b, androidFormatted(size))
	case "android with data":
		copy(b, androidFormatted(size))
		androidWrite(b, bytes.Repeat([]byte("account of the owner "), 400))
	}
	return b
}

var contents = []string{"zeros", "ones", "noise", "android", "android with data"}

// partition returns a store on a regular file in the place of a partition.
func partition(t testing.TB, scheme string, content []byte) (*record.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "frp")
	must(t, os.WriteFile(path, content, 0o600))
	s, err := record.Open(scheme + ":" + path)
	must(t, err)
	return s, path
}

func TestAPartitionOfAnySizeAndContentTakesTheRecord(t *testing.T) {
	for _, scheme := range []string{"block", "pdb"} {
		for _, size := range []int{64 << 10, 64<<10 + 512, 512 << 10, 1 << 20, 16 << 20} {
			for _, kind := range contents {
				if size > 1<<20 && kind != "noise" && kind != "android" {
					continue
				}
				content := contentOf(kind, size)
				s, path := partition(t, scheme, content)
				found := s.Read()
				want := lock.StoreBlank
				if kind == "noise" || kind == "android with data" || kind == "android" && scheme == "block" {
					want = lock.StoreDamaged
				}
				if found.Store != want {
					t.Errorf("%s of %d bytes with %s reads as %s: %v", scheme, size, kind, found.Store, found.Err)
				}
				for i := range uint64(4) {
					write(t, s, armed(i), i%2 == 0)
					if r := s.Read(); r.Store != lock.StoreValid || r.OneCopy || !reflect.DeepEqual(r.Record, armed(i)) {
						t.Fatalf("%s of %d bytes with %s: write %d reads as %s: %v", scheme, size, kind, i, r.Store, r.Err)
					}
					now, err := os.ReadFile(path)
					must(t, err)
					untouched(t, scheme, content, now)
				}
			}
		}
	}
}

// untouched holds what a store may write on a partition against what it wrote.
func untouched(t *testing.T, scheme string, before, after []byte) {
	t.Helper()
	base := 0
	if scheme == "pdb" {
		base = 4096
		if why := androidRefuses(after); why != "" {
			t.Fatalf("an Android would not take it: %s", why)
		}
		if d := androidData(after); len(d) < base-40+32768+slotBytes {
			t.Fatalf("the data block ends before the slots: %d bytes", len(d))
		}
	}
	clean := func(b []byte) []byte {
		b = bytes.Clone(b)
		clear(b[base : base+slotBytes])
		clear(b[base+32768 : base+32768+slotBytes])
		clear(b[base+16384 : base+16384+4096])
		if scheme == "pdb" {
			clear(b[:40])
		}
		return b
	}
	b, a := clean(before), clean(after)
	if len(a) != len(b) || !bytes.Equal(a, b) {
		t.Fatalf("%s: byte %d was changed", scheme, firstDifference(a, b))
	}
}
