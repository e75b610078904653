// SPDX-License-Identifier: Apache-2.0

package console

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Hold takes the keys that send signals (Ctrl-C, Ctrl-\, Ctrl-Z) their meaning,
// so that a terminal cannot be left with them, and returns what gives it back.
func Hold(in *os.File) (restore func(), err error) {
	fd := int(in.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("cannot read the terminal's settings: %w", err)
	}
	held := *before
	// A program before this one may have left it raw: lines and echo are on.
	held.Iflag |= unix.ICRNL
	held.Iflag &^= unix.BRKINT | unix.IXON
	held.Lflag |= unix.ICANON | unix.ECHO | unix.ECHOE | unix.ECHOK
	held.Lflag &^= unix.ISIG
	held.Oflag |= unix.OPOST | unix.ONLCR
	if err := unix.IoctlSetTermios(fd, unix.TCSETSF, &held); err != nil {
		return nil, fmt.Errorf("cannot set the terminal: %w", err)
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }, nil
}
