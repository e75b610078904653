// SPDX-License-Identifier: Apache-2.0

package breached_test

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the list's own
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/accountlock/accountlock/internal/service/breached"
)

func sum(password string) string {
	h := sha1.Sum([]byte(password)) //nolint:gosec // see above
	return strings.ToUpper(hex.EncodeToString(h[:]))
}

// write makes a list of passwords as it is given out, its lines ended by end.
func write(t testing.TB, end string, passwords ...string) string {
	t.Helper()
	var all []string
	for i, p := range passwords {
		// Counts have one to eight digits, so that lines have many lengths.
		all = append(all, fmt.Sprintf("%s:%d", sum(p), []int{1, 37, 520, 99_999_999}[i%4]))
	}
	slices.Sort(all)
	return file(t, strings.Join(all, end)+end)
}

func file(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pwnedpasswords.txt")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func passwords(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("password %d", i))
	}
	return out
}

func TestEachPasswordOfTheListIsFoundAndNoOther(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 100, 5000} {
		for name, end := range map[string]string{"lines of Unix": "\n", "as it is downloaded": "\r\n"} {
			known := passwords(n)
			l, err := breached.Open(write(t, end, known...))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range known {
				if found, err := l.Has([]byte(p)); err != nil || !found {
					t.Fatalf("%d %s: %q: %v %v", n, name, p, found, err)
				}
			}
			for i := range 200 {
				if found, err := l.Has([]byte(fmt.Sprintf("another %d", i))); err != nil || found {
					t.Fatalf("%d %s: %v %v", n, name, found, err)
				}
			}
		}
	}
}

func TestAListInLowerCaseWithoutCountsOrAnEndServes(t *testing.T) {
	all := []string{strings.ToLower(sum("a violin")), strings.ToLower(sum("in the rain"))}
	slices.Sort(all)
	l, err := breached.Open(file(t, strings.Join(all, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"a violin", "in the rain"} {
		if found, err := l.Has([]byte(p)); err != nil || !found {
			t.Errorf("%q: %v %v", p, found, err)
		}
	}
}

func TestWhatIsNoListIsRefused(t *testing.T) {
	sorted, err := os.ReadFile(write(t, "\n", passwords(2000)...))
	if err != nil {
		t.Fatal(err)
	}
	large, err := os.ReadFile(write(t, "\n", passwords(30_000)...))
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.SplitAfter(string(large), "\n")
	lines := strings.SplitAfter(strings.TrimSpace(string(sorted))+"\n", "\n")
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	for name, text := range map[string]string{
		"nothing":            "",
		"ordered by count":   strings.Join(lines, ""),
		"the passwords":      strings.Join(passwords(100), "\n"),
		"of NTLM":            strings.Repeat("8846F7EAEE8FB117AD06BDD830B7586C:3\n", 10),
		"one endless line":   strings.Repeat("A", 100_000),
		"cut at the front":   string(sorted[7:]),
		"cut in a line":      string(sorted[:len(sorted)-20]),
		"cut between lines":  strings.Join(whole[:len(whole)-1000], ""),
		"a range of a range": "0018A45C4D1DEF81644B54AB7F969B88D65:10\n",
	} {
		if _, err := breached.Open(file(t, text)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := breached.Open(t.TempDir()); err == nil {
		t.Error("a folder is taken")
	}
	if _, err := breached.Open(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there is taken")
	}
}

func TestAListThatIsLostOrDamagedIsAnErrorAndNoAbsence(t *testing.T) {
	path := write(t, "\n", passwords(100)...)
	l, err := breached.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Has([]byte("password 1")); err == nil {
		t.Error("damaged")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Has([]byte("password 1")); err == nil {
		t.Error("lost")
	}
}

func TestAListThatIsReplacedCountsAtOnce(t *testing.T) {
	path := write(t, "\n", passwords(10)...)
	l, err := breached.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(write(t, "\n", "a violin in the rain"), path); err != nil {
		t.Fatal(err)
	}
	if found, err := l.Has([]byte("a violin in the rain")); err != nil || !found {
		t.Errorf("%v %v", found, err)
	}
	if found, err := l.Has([]byte("password 1")); err != nil || found {
		t.Errorf("%v %v", found, err)
	}
}

func TestManyAskAtOnce(t *testing.T) {
	l, err := breached.Open(write(t, "\r\n", passwords(1000)...))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if found, err := l.Has([]byte(fmt.Sprintf("password %d", i))); err != nil || !found {
				t.Errorf("%d: %v %v", i, found, err)
			}
		})
	}
	all.Wait()
}

// long is a list of a thousand million hashes, each the number of its line, that nobody
// has to write: lines of 43 bytes, of which it counts how many were asked for.
type long struct{ reads, bytes int }

const (
	longLines = 1_000_000_000
	lineSize  = 43
)

func (l *long) ReadAt(p []byte, at int64) (int, error) {
	l.reads++
	l.bytes += len(p)
	n := 0
	for n < len(p) {
		number, within := (at+int64(n))/lineSize, (at+int64(n))%lineSize
		if number >= longLines {
			return n, io.EOF
		}
		n += copy(p[n:], fmt.Sprintf("%040X:1\n", number)[within:])
	}
	return n, nil
}

func TestALookupReadsLittleOfALongList(t *testing.T) {
	for _, number := range []uint64{0, 1, 499_999_999, 123_456_789, longLines - 1, longLines, 1 << 60} {
		var want [20]byte
		binary.BigEndian.PutUint64(want[12:], number)
		var l long
		found, err := breached.Find(&l, longLines*lineSize, want)
		if err != nil || found != (number < longLines) {
			t.Errorf("%d: %v %v", number, found, err)
		}
		if l.reads > 48 || l.bytes > 16<<10 {
			t.Errorf("%d: %d reads of %d bytes in all", number, l.reads, l.bytes)
		}
	}
}

// FuzzList has no list make the lookup run on, or find what is not there.
func FuzzList(f *testing.F) {
	good, err := os.ReadFile(write(f, "\r\n", "a violin", "in the rain", "two herons"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, "a violin")
	f.Add([]byte("\n\n\n"), "x")
	f.Add([]byte(sum("x")), "x")
	f.Add([]byte(sum("x")+":1\n"+sum("y")), "y")
	f.Add(bytes.Repeat([]byte("A"), 300), "x")
	f.Fuzz(func(t *testing.T, text []byte, password string) {
		found, err := breached.Find(bytes.NewReader(text), int64(len(text)), sha1.Sum([]byte(password))) //nolint:gosec // see above
		if err == nil && found && !bytes.Contains(bytes.ToUpper(text), []byte(sum(password))) {
			t.Errorf("%q is found in %q", password, text)
		}
	})
}
