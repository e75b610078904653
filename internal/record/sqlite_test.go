// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"modernc.org/libc"
	_ "modernc.org/sqlite" // registers SQLite's own VFS first
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/accountlock/accountlock/internal/record"
)

// sqliteTap records what SQLite does to files of some folders on disks in memory.
// It is a VFS in front of SQLite's own: the files are SQLite's, with the three
// methods replaced that change one.
type sqliteTap struct {
	real uintptr // the VFS behind

	mu    sync.Mutex
	disks map[string]*tapped // by folder
	files map[uintptr]*tappedFile
	// tables are the replaced methods, by the real ones.
	tables map[uintptr]uintptr
	// kept are the functions that only C's side knows.
	kept []any
}

type tapped struct {
	lock sync.Locker
	disk *record.Disk
}

type tappedFile struct {
	*tapped
	name    string
	methods *sqlite3.Tsqlite3_io_methods
	// named: its folder was flushed since it was made, as SQLite does it once
	// for logs and journals.
	named bool
}

var tap = sync.OnceValue(newTap)

func newTap() *sqliteTap {
	tls := libc.NewTLS()
	t := &sqliteTap{
		real: sqlite3.Xsqlite3_vfs_find(tls, 0), disks: map[string]*tapped{},
		files: map[uintptr]*tappedFile{}, tables: map[uintptr]uintptr{},
	}
	vfs := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	v := at[sqlite3.Tsqlite3_vfs](vfs)
	*v = *at[sqlite3.Tsqlite3_vfs](t.real)
	name, err := libc.CString("tap")
	if err != nil {
		panic(err)
	}
	v.FzName, v.FpNext = name, 0
	v.FxOpen = address(t, t.open)
	v.FxDelete = address(t, t.remove)
	if rc := sqlite3.Xsqlite3_vfs_register(tls, vfs, 1); rc != sqlite3.SQLITE_OK {
		panic(rc)
	}
	return t
}

// address returns what C's side calls a Go function by, which is kept alive.
func address[F any](t *sqliteTap, f F) uintptr {
	t.kept = append(t.kept, f)
	return *(*uintptr)(unsafe.Pointer(&f)) //nolint:gosec // a Go function as C's side knows it
}

func function[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&p)) } //nolint:gosec // and back

// at returns what is at an address of C's side.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) } //nolint:gosec // memory of C's side

// onto records the files of a folder on a disk for as long as the test runs.
func (t *sqliteTap) onto(test testing.TB, dir string, lock sync.Locker, d *record.Disk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.disks[dir] = &tapped{lock, d}
	test.Cleanup(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.disks, dir)
	})
}

func (t *sqliteTap) file(p uintptr) *tappedFile {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.files[p]
}

func (t *sqliteTap) open(tls *libc.TLS, _, zName, pFile uintptr, flags int32, pOut uintptr) int32 {
	v := at[sqlite3.Tsqlite3_vfs](t.real)
	rc := function[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](v.FxOpen)(tls, t.real, zName, pFile, flags, pOut)
	if rc != sqlite3.SQLITE_OK || zName == 0 {
		return rc
	}
	path := libc.GoString(zName)
	to := t.replace(tls, path, pFile)
	if to != nil {
		to.lock.Lock()
		defer to.lock.Unlock()
		to.disk.Create(filepath.Base(path))
	}
	return rc
}

// replace gives an open file the methods that record, where it is to be recorded.
func (t *sqliteTap) replace(tls *libc.TLS, path string, pFile uintptr) *tapped {
	t.mu.Lock()
	defer t.mu.Unlock()
	to := t.disks[filepath.Dir(path)]
	if to == nil {
		return nil
	}
	file := at[sqlite3.Tsqlite3_file](pFile)
	old := file.FpMethods
	t.files[pFile] = &tappedFile{tapped: to, name: filepath.Base(path), methods: at[sqlite3.Tsqlite3_io_methods](old)}
	if t.tables[old] == 0 {
		t.tables[old] = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
		m := at[sqlite3.Tsqlite3_io_methods](t.tables[old])
		*m = *at[sqlite3.Tsqlite3_io_methods](old)
		m.FxClose, m.FxWrite, m.FxTruncate, m.FxSync = address(t, t.close), address(t, t.write), address(t, t.truncate), address(t, t.sync)
	}
	file.FpMethods = t.tables[old]
	return to
}

func (t *sqliteTap) close(tls *libc.TLS, p uintptr) int32 {
	f := t.file(p)
	t.mu.Lock()
	delete(t.files, p)
	t.mu.Unlock()
	return function[func(*libc.TLS, uintptr) int32](f.methods.FxClose)(tls, p)
}

func (t *sqliteTap) write(tls *libc.TLS, p, b uintptr, n int32, off int64) int32 {
	f := t.file(p)
	rc := function[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](f.methods.FxWrite)(tls, p, b, n, off)
	if rc == sqlite3.SQLITE_OK {
		f.lock.Lock()
		defer f.lock.Unlock()
		f.disk.Write(f.name, unsafe.Slice(at[byte](b), n), off) //nolint:gosec // SQLite's page
	}
	return rc
}

func (t *sqliteTap) truncate(tls *libc.TLS, p uintptr, size int64) int32 {
	f := t.file(p)
	rc := function[func(*libc.TLS, uintptr, int64) int32](f.methods.FxTruncate)(tls, p, size)
	if rc == sqlite3.SQLITE_OK {
		f.lock.Lock()
		defer f.lock.Unlock()
		f.disk.Truncate(f.name, size)
	}
	return rc
}

func (t *sqliteTap) sync(tls *libc.TLS, p uintptr, flags int32) int32 {
	f := t.file(p)
	rc := function[func(*libc.TLS, uintptr, int32) int32](f.methods.FxSync)(tls, p, flags)
	if rc == sqlite3.SQLITE_OK {
		f.lock.Lock()
		defer f.lock.Unlock()
		f.disk.Flush(f.name)
		if !f.named && strings.Contains(f.name, "-") {
			f.named = true
			f.disk.SyncFolder()
		}
	}
	return rc
}

func (t *sqliteTap) remove(tls *libc.TLS, _, zName uintptr, syncDir int32) int32 {
	v := at[sqlite3.Tsqlite3_vfs](t.real)
	rc := function[func(*libc.TLS, uintptr, uintptr, int32) int32](v.FxDelete)(tls, t.real, zName, syncDir)
	path := libc.GoString(zName)
	t.mu.Lock()
	to := t.disks[filepath.Dir(path)]
	t.mu.Unlock()
	if rc == sqlite3.SQLITE_OK && to != nil {
		to.lock.Lock()
		defer to.lock.Unlock()
		to.disk.Remove(filepath.Base(path))
		if syncDir != 0 {
			to.disk.SyncFolder()
		}
	}
	return rc
}
