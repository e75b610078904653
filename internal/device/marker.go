// SPDX-License-Identifier: Apache-2.0

package device

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/fault"
)

// MarkerSize is the size of a reset marker in bytes.
const MarkerSize = 32

// The names of the marker, and of a new one that is not yet in its place.
const (
	markerName = "reset-marker"
	markerTemp = ".reset-marker.new"
)

// Marker is the reset marker: 32 random bytes in the state directory, which a
// factory reset wipes. It has one writer, the daemon.
type Marker struct {
	// Dir is the state directory. It is not made here.
	Dir string
	// Spare is a folder that a reboot wipes, or empty. A marker that Dir does not take
	// lies there, so that the gate lets an owner in for this boot whose /var is full
	// or read-only. The daemon's user alone must be able to write it.
	Spare string
}

// Read returns the marker; nil without an error where there is none, be it that
// the whole directory is gone. Anything else that keeps it from being read, and
// a marker of another size, is a *fault.Error of code StorageFailed.
func (m Marker) Read() ([]byte, error) {
	b, err := m.read()
	if err != nil {
		return nil, failed("The device could not read its reset marker.", fmt.Errorf("cannot read the reset marker: %w", err))
	}
	return b, nil
}

func (m Marker) read() ([]byte, error) {
	// The spare one is only there if it is the newer one.
	if m.Spare != "" {
		if b, err := readMarker(m.Spare); b != nil && err == nil {
			return b, nil
		}
	}
	return readMarker(m.Dir)
}

func readMarker(dir string) ([]byte, error) {
	path := filepath.Join(dir, markerName)
	// Not waiting: somebody may have put a FIFO there.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file (%s)", path, info.Mode().Type())
	}
	b, err := io.ReadAll(io.LimitReader(f, MarkerSize+1))
	if err != nil {
		return nil, err
	}
	if len(b) != MarkerSize {
		return nil, fmt.Errorf("%s is not %d bytes long", path, MarkerSize)
	}
	return b, nil
}

// Write puts a new marker, of MarkerSize bytes, in the place of the old one and
// returns when it is on the medium. After an error, a *fault.Error of code
// StorageFailed, either the old one or the new one is there, whole, and the new
// one in Spare too if that could be.
func (m Marker) Write(marker []byte) error {
	if len(marker) != MarkerSize {
		return failed("The device could not write its reset marker.", fmt.Errorf("cannot write a reset marker of %d bytes", len(marker)))
	}
	spare := Marker{Dir: m.Spare}
	if err := m.write(marker); err != nil {
		if m.Spare != "" {
			err = errors.Join(err, spare.write(marker))
		}
		return failed("The device could not write its reset marker.", fmt.Errorf("cannot write the reset marker: %w", err))
	}
	if m.Spare == "" {
		return nil
	}
	if err := os.Remove(filepath.Join(m.Spare, markerName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed("The device could not write its reset marker.", fmt.Errorf("cannot remove the spare reset marker: %w", err))
	}
	return nil
}

func (m Marker) write(marker []byte) (err error) {
	temp := filepath.Join(m.Dir, markerTemp)
	// What a crash left of an earlier write, or what somebody put in its way.
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temp)
		}
	}()
	_, err = f.Write(marker)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(m.Dir, markerName)); err != nil {
		return err
	}
	return m.syncDir()
}

// Remove takes the marker away and returns when that is on the medium. Where
// there is none it does nothing. The error is a *fault.Error of code
// StorageFailed.
func (m Marker) Remove() error {
	if m.Spare != "" {
		_ = os.Remove(filepath.Join(m.Spare, markerName))
	}
	err := os.Remove(filepath.Join(m.Dir, markerName))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		// Also where it is gone already: whoever removed it may not have come so far.
		err = m.syncDir()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed("The device could not write its reset marker.", fmt.Errorf("cannot remove the reset marker: %w", err))
	}
	return nil
}

func (m Marker) syncDir() error {
	d, err := os.Open(m.Dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// failed is the package's edge: which part of the device's storage failed, as a fault.
func failed(message string, err error) error {
	f := fault.New(fault.StorageFailed, err)
	f.Message = message
	return f
}
