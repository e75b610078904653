// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openPartition opens a block device, or a regular file that stands for one, as
// an image of a disk does. Links are followed: /dev/disk/by-partlabel is made of
// them.
func openPartition(path string, write bool) (partition, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	// Before opening, since opening some devices does something.
	device := info.Mode().Type() == os.ModeDevice
	if !device && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no block device and no regular file (%s)", path, info.Mode().Type())
	}
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	if device {
		// Past the page cache: what is read comes from the medium.
		flag |= unix.O_DIRECT
	}
	if device && write {
		// Not while it is mounted, or is a part of something else (open(2)).
		flag |= unix.O_EXCL
	}
	f, err := os.OpenFile(path, flag|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("%w, or the partition is mounted or a part of another device: %w", ErrBusy, err)
	case err != nil:
		return nil, err
	}
	p := &linuxPartition{File: f, device: device}
	now, err := f.Stat()
	if err == nil && !os.SameFile(now, info) {
		err = fmt.Errorf("%s was replaced while it was opened", path)
	}
	if err == nil && device && write {
		err = p.writable()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return p, nil
}

// linuxPartition is an open partition of the machine.
type linuxPartition struct {
	*os.File
	device bool
}

var _ partition = (*linuxPartition)(nil)

// writable finds out what writing would say less plainly (blockdev(8), --setro).
func (p *linuxPartition) writable() error {
	if ro, err := unix.IoctlGetInt(int(p.Fd()), unix.BLKROGET); err != nil || ro == 0 {
		return err
	}
	return fmt.Errorf("%s is switched to read-only: %w", p.Name(), unix.EROFS)
}

func (p *linuxPartition) size() (int64, error) { return p.Seek(0, io.SeekEnd) }

// ReadAt implements io.ReaderAt through a buffer that O_DIRECT takes.
func (p *linuxPartition) ReadAt(b []byte, off int64) (int, error) {
	page := aligned(len(b))
	defer clear(page) // it may hold the device key
	n, err := p.File.ReadAt(page, off)
	copy(b, page[:n])
	return n, err
}

// WriteAt implements io.WriterAt through a buffer that O_DIRECT takes.
func (p *linuxPartition) WriteAt(b []byte, off int64) (int, error) {
	page := aligned(len(b))
	defer clear(page)
	copy(page, b)
	return p.File.WriteAt(page, off)
}

// aligned returns n bytes that begin at a page.
func aligned(n int) []byte {
	b := make([]byte, n+pageSize)
	off := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (pageSize - 1) //nolint:gosec // only the address counts
	return b[off : off+n]
}

// flush also empties the cache of a device (fsync(2)).
func (p *linuxPartition) flush() error {
	err := uninterrupted(func() error { return unix.Fsync(int(p.Fd())) })
	if !p.device {
		// Only advice: where it is not taken, reading back proves less.
		_ = unix.Fadvise(int(p.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	return err
}

// lock takes a lock of the open file and not flock(2), with which udev looks at
// disks that have just been written.
func (p *linuxPartition) lock() error {
	err := p.setLock(unix.F_OFD_SETLK, unix.F_WRLCK)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrBusy
	}
	return err
}

// await waits for the writers' lock and gives it back at once.
func (p *linuxPartition) await() error {
	if err := p.setLock(unix.F_OFD_SETLKW, unix.F_RDLCK); err != nil {
		return err
	}
	return p.setLock(unix.F_OFD_SETLK, unix.F_UNLCK)
}

func (p *linuxPartition) setLock(cmd int, kind int16) error {
	l := unix.Flock_t{Type: kind, Whence: io.SeekStart}
	return uninterrupted(func() error { return unix.FcntlFlock(p.Fd(), cmd, &l) })
}
