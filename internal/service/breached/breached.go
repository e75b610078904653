// SPDX-License-Identifier: Apache-2.0

// Package breached looks passwords up in a list of those that became known in thefts of
// data, which the operator has on a disk: SHA-1 in hexadecimal, a colon and a count, one a
// line, in the order of the hashes, as Have I Been Pwned gives it out. Nobody is asked over
// the network.
//
// It must not keep passwords, nor decide what becomes of one.
package breached

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the list's own hash: it names passwords, and keeps none
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxLine bounds, in bytes, a line of the list with its end.
const maxLine = 128

// probes is how many places Check looks at for the order of the hashes.
const probes = 64

// wholeSize is how large, in bytes, a list is that must have hashes up to the last.
const wholeSize = 1 << 20

// List is a list on a disk. It is safe for concurrent use, and keeps nothing between
// calls: a file that is replaced by another (rename) counts at once.
type List struct{ path string }

// Open returns the list at path, once Check has nothing against it.
func Open(path string) (*List, error) {
	l := &List{path: path}
	return l, l.Check()
}

// hash is a SHA-1.
type hash [sha1.Size]byte

// Has reports whether a password, as it would be compared, is in the list. It reads some
// forty places of it at most, some hundred bytes each. An error is of a list that cannot be
// read, or is none.
func (l *List) Has(password []byte) (bool, error) {
	found := false
	err := l.open(func(r lines) (err error) {
		found, err = r.find(sha1.Sum(password)) //nolint:gosec // see above
		return err
	})
	return found, err
}

// Check says whether the file can be the list: it is no proof, but finds one that is
// ordered by count, of another hash, empty or cut at its beginning.
func (l *List) Check() error {
	return l.open(func(r lines) error {
		var last hash
		for i := range int64(probes) {
			at := r.size / probes * i
			one, ok, err := r.from(at, r.size)
			if err != nil {
				return err
			}
			if i == 0 && !ok {
				return errors.New("it is empty")
			}
			if ok && bytes.Compare(one.hash[:], last[:]) < 0 {
				return fmt.Errorf("it is not in the order of its hashes, at byte %d", one.start)
			}
			if ok {
				last = one.hash
			}
		}
		// Where the file was cut, the last line is not whole, or not of the last hashes.
		end, ok, err := r.last()
		switch {
		case err != nil:
			return err
		case ok && r.size > wholeSize && end.hash[0] != 0xff:
			return errors.New("it ends before the last hashes")
		}
		return nil
	})
}

func (l *List) open(do func(lines) error) error {
	err := func() error {
		f, err := os.Open(l.path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return errors.New("it is no file")
		}
		return do(lines{f, info.Size()})
	}()
	if err != nil {
		return fmt.Errorf("cannot use the list of breached passwords %s: %w", l.path, err)
	}
	return nil
}

// lines are the lines of a list.
type lines struct {
	io.ReaderAt

	size int64
}

// last is the last line that begins within a line's length of the end.
func (r lines) last() (end line, ok bool, err error) {
	for at := max(0, r.size-maxLine); ; {
		one, more, err := r.from(at, r.size)
		if err != nil || !more {
			return end, ok, err
		}
		end, ok, at = one, true, one.end
	}
}

// line is one of them: where it stands, and what it names.
type line struct {
	start, end int64
	hash       hash
}

// find looks for a hash by halving: each step leaves at most half of what was left.
func (r lines) find(want hash) (bool, error) {
	for low, high := int64(0), r.size; low < high; {
		middle := low + (high-low)/2
		one, ok, err := r.from(middle, high)
		if err != nil {
			return false, err
		}
		if !ok {
			high = middle // none begins from here on
			continue
		}
		switch bytes.Compare(one.hash[:], want[:]) {
		case 0:
			return true, nil
		case -1:
			low = one.end
		default:
			high = middle
		}
	}
	return false, nil
}

// from returns the first line that begins at or after a place, and before another.
func (r lines) from(at, before int64) (line, bool, error) {
	var buffer [2 * maxLine]byte
	// One byte more shows whether a line begins at the very place.
	read := max(at-1, 0)
	n, err := r.ReadAt(buffer[:], read)
	if err != nil && !errors.Is(err, io.EOF) {
		return line{}, false, err
	}
	text, ends := buffer[:n], read+int64(n) >= r.size
	start := 0
	if at > 0 {
		start = bytes.IndexByte(text, '\n') + 1
	}
	if at > 0 && start == 0 && !ends {
		return line{}, false, fmt.Errorf("a line at byte %d is too long", at)
	}
	one := line{start: read + int64(start)}
	if at > 0 && start == 0 || one.start >= before || one.start >= r.size {
		return line{}, false, nil
	}
	text = text[start:]
	length := bytes.IndexByte(text, '\n') + 1
	switch {
	case length > 0:
		text = text[:length]
	case !ends:
		return line{}, false, fmt.Errorf("the line at byte %d is too long", one.start)
	}
	one.end = one.start + int64(len(text))
	if !one.read(text) {
		return line{}, false, fmt.Errorf("the line at byte %d is no SHA-1 in hexadecimal", one.start)
	}
	return one, true, nil
}

// read takes in a line: the hash, and, after a colon, a count, which does not matter.
func (l *line) read(text []byte) bool {
	text = bytes.TrimRight(text, "\r\n")
	name, _, _ := bytes.Cut(text, []byte(":"))
	if len(name) != hex.EncodedLen(len(l.hash)) {
		return false
	}
	_, err := hex.Decode(l.hash[:], name)
	return err == nil
}
