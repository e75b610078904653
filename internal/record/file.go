// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fileMedium is the store `file:PATH`: a regular file of storeSize bytes. It is
// made at its full size, with its blocks written, so that a later write changes
// nothing but the bytes of one slot.
type fileMedium struct {
	path string
	sys  system
}

var _ medium = (*fileMedium)(nil)

// system is the few calls to the operating system that a store in a file needs;
// the enumeration of power cuts puts a recording one in its place. Errors are
// those of package os, so that errors.Is(err, fs.ErrNotExist) works.
type system interface {
	// lstat returns the type of what is at path, not following a link there.
	lstat(path string) (fs.FileMode, error)
	// open opens path, never following a link there, never waiting, and makes it
	// with mode 0600 where flag says so.
	open(path string, flag int) (handle, error)
	// rename gives from the name to. Where that name is taken it fails, or takes
	// the other file's place.
	rename(from, to string, replace bool) error
	// remove takes the name path away.
	remove(path string) error
	// probe finds out whether the folder exists and can be read.
	probe(folder string) error
	// syncFolder returns when the names in the folder are on the medium.
	syncFolder(folder string) error
}

// handle is an open file.
type handle interface {
	slots
	// mode returns the file's type.
	mode() (fs.FileMode, error)
	// named reports whether path is this file's name.
	named(path string) (bool, error)
	// lock keeps every other locker out until the file is closed. It does not
	// wait: ErrBusy.
	lock() error
}

func (m *fileMedium) folder() string { return filepath.Dir(m.path) }

// open implements medium.
func (m *fileMedium) open(write bool) (slots, error) {
	mode, err := m.sys.lstat(m.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// fails locked: without its folder the store is not blank, but somewhere
		// that was not mounted.
		if err := m.sys.probe(m.folder()); err != nil {
			return nil, fmt.Errorf("the folder of the store cannot be read: %w", err)
		}
		return nil, errAbsent
	case err != nil:
		return nil, err
	case !mode.IsRegular():
		// Found out before opening, since opening some devices does something.
		return nil, notRegular(m.path, mode)
	}
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	h, err := m.openAs(m.path, flag)
	if err != nil {
		return nil, err
	}
	if write {
		if err := m.own(h, m.path); err != nil {
			h.Close()
			return nil, err
		}
	}
	return h, nil
}

// mayMake returns why the store, which is absent, could not be made.
func (m *fileMedium) mayMake() error {
	if err := unix.Access(m.folder(), unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "write", Path: m.folder(), Err: err}
	}
	return nil
}

// openAs opens path and makes sure that it is a regular file.
func (m *fileMedium) openAs(path string, flag int) (handle, error) {
	h, err := m.sys.open(path, flag)
	if err != nil {
		return nil, err
	}
	mode, err := h.mode()
	if err == nil && !mode.IsRegular() {
		err = notRegular(path, mode)
	}
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// own takes the writers' lock of h and makes sure that path still is its name:
// it may have been replaced before the lock was there.
func (m *fileMedium) own(h handle, path string) error {
	if err := h.lock(); err != nil {
		return err
	}
	if ok, err := h.named(path); err != nil || !ok {
		return errors.Join(ErrBusy, err)
	}
	return nil
}

// create implements medium. The file gets its name when it is whole and on the
// medium, so a store is never shorter than it should be.
func (m *fileMedium) create(image []byte, old slots) error {
	temp := filepath.Join(m.folder(), "."+filepath.Base(m.path)+".new")
	if err := m.removeStale(temp); err != nil {
		return err
	}
	h, err := m.openAs(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := m.own(h, temp); err != nil {
		return err // the name is another writer's now, so it stays
	}
	err = putBack(h, image, 0)
	if err == nil {
		// Over the old one, whose lock is held; otherwise over nothing.
		err = m.sys.rename(temp, m.path, old != nil)
	}
	if err != nil {
		m.sys.remove(temp) //nolint:errcheck // the next write removes what stays
	}
	return err
}

// removeStale removes what a crash left of making a store, unless somebody is
// making one just now.
func (m *fileMedium) removeStale(temp string) error {
	h, err := m.openAs(temp, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer h.Close()
	if err := m.own(h, temp); err != nil {
		return err
	}
	return m.sys.remove(temp)
}

// anchor implements medium.
func (m *fileMedium) anchor() error { return m.sys.syncFolder(m.folder()) }

// mend implements medium: nobody else reads there, and the next write removes
// what a cut left beside the file.
func (m *fileMedium) mend() error { return nil }

func notRegular(path string, mode fs.FileMode) error {
	return fmt.Errorf("%s is no regular file (%s)", path, mode.Type())
}

// linux is the system outside of tests.
type linux struct{}

var _ system = linux{}

func (linux) lstat(path string) (fs.FileMode, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return info.Mode(), nil
}

func (linux) open(path string, flag int) (handle, error) {
	f, err := os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	return &linuxFile{f}, nil
}

func (linux) rename(from, to string, replace bool) error {
	if replace {
		return os.Rename(from, to)
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// A filesystem without it: a link refuses to replace as well.
		if err := os.Link(from, to); err != nil {
			return err
		}
		return os.Remove(from)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (linux) remove(path string) error { return os.Remove(path) }

func (linux) probe(folder string) error {
	f, err := os.OpenFile(folder, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Readdirnames(1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (linux) syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// linuxFile is a handle on a real file.
type linuxFile struct{ *os.File }

var _ handle = (*linuxFile)(nil)

func (f *linuxFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *linuxFile) mode() (fs.FileMode, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Mode(), nil
}

func (f *linuxFile) named(path string) (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(path)
	if err != nil {
		return false, err
	}
	return os.SameFile(mine, there), nil
}

// flush flushes the bytes, and the size where that has changed, then drops them
// from the page cache: what is read back is to come from the medium.
func (f *linuxFile) flush() error {
	err := uninterrupted(func() error { return unix.Fdatasync(int(f.Fd())) })
	// Only advice: where it is not taken, reading back proves less.
	_ = unix.Fadvise(int(f.Fd()), 0, storeSize, unix.FADV_DONTNEED)
	return err
}

func (f *linuxFile) lock() error {
	err := uninterrupted(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrBusy
	}
	return err
}

// await waits for the writers' lock and gives it back at once. Only who may
// read the store can hold it, and a writer holds it for two flushes.
func (f *linuxFile) await() error {
	if err := uninterrupted(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_SH) }); err != nil {
		return err
	}
	return unix.Flock(int(f.Fd()), unix.LOCK_UN)
}

func uninterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
