// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
)

// This file is in the package itself, since it implements its unexported
// interfaces; the tests that use it are outside, like all others.

const sectorSize = 512

// Disk is a filesystem in memory that knows what would be left of it after a
// power cut: what was flushed, and any selection, in any order, of the sectors
// and names that were not.
type Disk struct {
	names   map[string]*diskFile // what programs see
	durable map[string]*diskFile // what is on the medium
	nameOps []func(map[string]*diskFile)
	folders map[string]bool

	// Lies: flushing does nothing, as on a medium that lies about it.
	Lies bool
	// Before is called before every operation; its error is the operation's.
	Before func(op string) error
	// Changes counts what changed the disk, or what a power cut would leave of it.
	Changes int
	// Cost is what was done to the disk until now.
	Cost Cost
	// Sampled counts the times that PowerCuts could not visit every selection:
	// where more than MaxDirty sectors are unflushed. Then Chance selections are made
	// by chance, besides those that are always made.
	Sampled          int
	MaxDirty, Chance int
	// OnAwait is called where a reader waits for writers, Waits counts that.
	OnAwait func()
	Waits   int
}

// Cost is what operations cost a medium.
type Cost struct{ Writes, WrittenBytes, Flushes, ReadBytes int }

// Since returns what was done since an earlier moment.
func (c Cost) Since(e Cost) Cost {
	return Cost{c.Writes - e.Writes, c.WrittenBytes - e.WrittenBytes, c.Flushes - e.Flushes, c.ReadBytes - e.ReadBytes}
}

type diskFile struct {
	now     []byte
	durable []byte
	// sectors are the unflushed contents of each sector, oldest first.
	sectors map[int][][]byte
	locked  bool
	kind    fs.FileMode
	// shared: now and durable are one slice, to be copied before it is written.
	shared bool
}

// NewDisk returns a disk with one empty folder.
func NewDisk(folder string) *Disk {
	return &Disk{
		names: map[string]*diskFile{}, durable: map[string]*diskFile{}, folders: map[string]bool{folder: true},
		MaxDirty: 12, Chance: 300,
	}
}

// NewOn returns a store in a file on a disk.
func NewOn(d *Disk, file string, options ...Option) *Store {
	return newStore("file:"+file, &fileMedium{path: file, sys: d}, options...)
}

// NewOnPartition returns a store on a file of a disk that stands for a partition.
func NewOnPartition(d *Disk, file string, android bool, options ...Option) *Store {
	return newStore("block:"+file, &blockMedium{path: file, android: android, opener: d.partition}, options...)
}

func (d *Disk) partition(name string, write bool) (partition, error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	h, err := d.open(name, flag)
	if err != nil {
		return nil, err
	}
	return h.(*diskHandle), nil
}

// Put puts a file there, all of it on the medium.
func (d *Disk) Put(file string, content []byte) {
	f := &diskFile{now: slices.Clone(content), durable: slices.Clone(content), sectors: map[int][][]byte{}}
	d.names[file], d.durable[file] = f, f
}

// Content returns what programs read in a file; nil where it is absent.
func (d *Disk) Content(file string) []byte {
	f := d.names[file]
	if f == nil {
		return nil
	}
	return f.now
}

// Names returns the names of all files, sorted.
func (d *Disk) Names() []string { return slices.Sorted(maps.Keys(d.names)) }

// PowerCuts calls visit with every disk that a power cut at this moment could
// leave, and returns how many there are.
func (d *Disk) PowerCuts(visit func(after *Disk)) int {
	n := 0
	for _, f := range d.names {
		if len(f.sectors) > d.MaxDirty {
			d.Sampled++
		}
	}
	for k := range len(d.nameOps) + 1 {
		names := maps.Clone(d.durable)
		for _, op := range d.nameOps[:k] {
			op(names)
		}
		n += d.visitFiles(names, slices.Sorted(maps.Keys(names)), func(files map[string][]byte) {
			after := NewDisk("")
			after.folders = d.folders
			for name, content := range files {
				f := &diskFile{now: content, durable: content, sectors: map[int][][]byte{}, shared: true}
				after.names[name], after.durable[name] = f, f
			}
			visit(after)
		})
	}
	return n
}

// visitFiles enumerates the product of what each file could hold.
func (d *Disk) visitFiles(names map[string]*diskFile, rest []string, visit func(map[string][]byte)) int {
	if len(rest) == 0 {
		visit(map[string][]byte{})
		return 1
	}
	n := 0
	d.contents(names[rest[0]], func(content []byte) {
		n += d.visitFiles(names, rest[1:], func(files map[string][]byte) {
			files[rest[0]] = content
			visit(files)
		})
	})
	return n
}

// contents enumerates what a file could hold after a power cut: for each sector
// what was durable or any version written since, and the old size or the new.
func (d *Disk) contents(f *diskFile, visit func([]byte)) {
	sizes := []int{len(f.durable)}
	if len(f.now) != len(f.durable) {
		sizes = append(sizes, len(f.now))
	}
	dirty := slices.Sorted(maps.Keys(f.sectors))
	for _, size := range sizes {
		if len(dirty) > d.MaxDirty {
			d.sample(f, size, visit)
			continue
		}
		content := make([]byte, size)
		copy(content, f.durable)
		var walk func(i int)
		walk = func(i int) {
			if i == len(dirty) || dirty[i]*sectorSize >= size {
				visit(slices.Clone(content))
				return
			}
			at := content[dirty[i]*sectorSize : min(size, (dirty[i]+1)*sectorSize)]
			before := slices.Clone(at)
			walk(i + 1)
			for _, version := range f.sectors[dirty[i]] {
				copy(at, version)
				walk(i + 1)
			}
			copy(at, before)
		}
		walk(0)
	}
}

// sample is contents for more sectors than can be enumerated: the first so many
// written, each one missing, the last so many and each one alone (on a disk where
// sampling is the exception), and some selections by chance, always the same.
func (d *Disk) sample(f *diskFile, size int, visit func([]byte)) {
	dirty := slices.Sorted(maps.Keys(f.sectors))
	chosen := func(choose func(i int) bool) {
		content := make([]byte, size)
		copy(content, f.durable)
		for i, s := range dirty {
			if versions := f.sectors[s]; s*sectorSize < size && choose(i) {
				copy(content[s*sectorSize:], versions[len(versions)-1])
			}
		}
		visit(content)
	}
	for k := range len(dirty) + 1 {
		chosen(func(i int) bool { return i < k })
		chosen(func(i int) bool { return i != k })
		if d.MaxDirty >= 12 {
			chosen(func(i int) bool { return i >= k })
			chosen(func(i int) bool { return i == k })
		}
	}
	by := rand.New(rand.NewPCG(1, uint64(len(dirty))))
	for range d.Chance {
		chosen(func(int) bool { return by.IntN(2) == 0 })
	}
}

func (d *Disk) before(op string, args ...any) error {
	if d.Before == nil {
		return nil
	}
	return d.Before(fmt.Sprintf(op, args...))
}

func (d *Disk) lstat(name string) (fs.FileMode, error) {
	if err := d.before("lstat %s", name); err != nil {
		return 0, err
	}
	if f := d.names[name]; f != nil {
		return f.kind, nil
	}
	return 0, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
}

func (d *Disk) open(name string, flag int) (handle, error) {
	if err := d.before("open %s", name); err != nil {
		return nil, err
	}
	f := d.names[name]
	if f == nil && flag&os.O_CREATE != 0 {
		d.Changes++
	}
	switch {
	case f == nil && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case f != nil && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case f == nil:
		f = &diskFile{sectors: map[int][][]byte{}}
		d.names[name] = f
		d.nameOps = append(d.nameOps, func(m map[string]*diskFile) { m[name] = f })
	}
	return &diskHandle{Disk: d, file: f, write: flag&os.O_RDWR != 0}, nil
}

func (d *Disk) rename(from, to string, replace bool) error {
	if err := d.before("rename %s %s", from, to); err != nil {
		return err
	}
	if d.names[to] != nil && !replace {
		return fs.ErrExist
	}
	d.Changes++
	op := func(m map[string]*diskFile) {
		if f, ok := m[from]; ok {
			m[to] = f
			delete(m, from)
		}
	}
	op(d.names)
	d.nameOps = append(d.nameOps, op)
	return nil
}

func (d *Disk) remove(name string) error {
	if err := d.before("remove %s", name); err != nil {
		return err
	}
	d.Changes++
	op := func(m map[string]*diskFile) { delete(m, name) }
	op(d.names)
	d.nameOps = append(d.nameOps, op)
	return nil
}

func (d *Disk) probe(folder string) error {
	if err := d.before("probe %s", folder); err != nil {
		return err
	}
	if !d.folders[folder] {
		return fs.ErrNotExist
	}
	return nil
}

func (d *Disk) syncFolder(folder string) error {
	if err := d.before("sync %s", folder); err != nil {
		return err
	}
	d.Changes++
	d.Cost.Flushes++
	if d.Lies {
		return nil
	}
	d.nameOps = slices.DeleteFunc(d.nameOps, func(op func(map[string]*diskFile)) bool {
		op(d.durable)
		return true
	})
	return nil
}

type diskHandle struct {
	*Disk
	file  *diskFile
	write bool
	holds bool
}

var (
	_ handle = (*diskHandle)(nil)
	_ system = (*Disk)(nil)
)

func (h *diskHandle) size() (int64, error) {
	if err := h.before("size"); err != nil {
		return 0, err
	}
	return int64(len(h.file.now)), nil
}

func (h *diskHandle) mode() (fs.FileMode, error)      { return h.file.kind, nil }
func (h *diskHandle) named(name string) (bool, error) { return h.names[name] == h.file, nil }

func (h *diskHandle) lock() error {
	if err := h.before("lock"); err != nil {
		return err
	}
	if h.file.locked {
		return ErrBusy
	}
	h.file.locked, h.holds = true, true
	return nil
}

func (h *diskHandle) await() error {
	h.Waits++
	if h.OnAwait != nil {
		h.OnAwait()
	}
	return nil
}

func (h *diskHandle) Close() error {
	if h.holds {
		h.file.locked = false
	}
	return nil
}

func (h *diskHandle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.before("read %d", off); err != nil {
		return 0, err
	}
	if off >= int64(len(h.file.now)) {
		return 0, io.EOF
	}
	n := copy(p, h.file.now[off:])
	h.Cost.ReadBytes += n
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// ErrTorn makes a write stop in the middle: what the Before hook returns for a
// write that puts only its first half there and then fails.
var ErrTorn = errors.New("input/output error in the middle of a write")

func (h *diskHandle) WriteAt(p []byte, off int64) (int, error) {
	err := h.before("write %d", off)
	switch {
	case !h.write:
		return 0, fs.ErrPermission
	case errors.Is(err, ErrTorn):
		p = p[:len(p)/2]
	case err != nil:
		return 0, err
	}
	h.Changes++
	h.Cost.Writes++
	h.Cost.WrittenBytes += len(p)
	f := h.file
	if f.shared {
		f.now, f.shared = slices.Clone(f.now), false
	}
	if end := int(off) + len(p); end > len(f.now) {
		f.now = append(f.now, make([]byte, end-len(f.now))...)
	}
	for s := int(off) / sectorSize; s*sectorSize < int(off)+len(p); s++ {
		lo, hi := s*sectorSize, min((s+1)*sectorSize, len(f.now))
		was := slices.Clone(f.now[lo:hi])
		from, to := max(lo, int(off)), min(hi, int(off)+len(p))
		copy(f.now[from:to], p[from-int(off):to-int(off)])
		if !bytes.Equal(was, f.now[lo:hi]) {
			f.sectors[s] = append(f.sectors[s], slices.Clone(f.now[lo:hi]))
		}
	}
	return len(p), err
}

func (h *diskHandle) flush() error {
	if err := h.before("flush"); err != nil {
		return err
	}
	h.Changes++
	h.Cost.Flushes++
	if !h.Lies {
		h.file.durable, h.file.shared = h.file.now, true
		clear(h.file.sectors)
	}
	return nil
}

// Write writes into a file as a program does that has it open.
func (d *Disk) Write(name string, b []byte, off int64) {
	h := &diskHandle{Disk: d, file: d.names[name], write: true}
	if _, err := h.WriteAt(b, off); err != nil {
		panic(err)
	}
}

// Flush flushes a file.
func (d *Disk) Flush(name string) {
	if err := (&diskHandle{Disk: d, file: d.names[name]}).flush(); err != nil {
		panic(err)
	}
}

// Create makes a file where there is none.
func (d *Disk) Create(name string) {
	if _, err := d.open(name, os.O_RDWR|os.O_CREATE); err != nil {
		panic(err)
	}
}

// Remove takes a name away, Rename gives it to another file, SyncFolder flushes
// all names.
func (d *Disk) Remove(name string)     { _ = d.remove(name) }
func (d *Disk) Rename(from, to string) { _ = d.rename(from, to, true) }
func (d *Disk) SyncFolder()            { _ = d.syncFolder("") }

// Truncate gives a file another size. The sectors beyond are gone at once or later.
func (d *Disk) Truncate(name string, size int64) {
	_ = d.before("truncate %s", name)
	d.Changes++
	f := d.names[name]
	now := make([]byte, size)
	copy(now, f.now)
	f.now, f.shared = now, false
	for s := range f.sectors {
		if int64(s)*sectorSize >= size {
			delete(f.sectors, s)
		}
	}
}

// Files returns the contents of all files.
func (d *Disk) Files() map[string][]byte {
	out := map[string][]byte{}
	for name, f := range d.names {
		out[name] = f.now
	}
	return out
}
