// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// channelName is the gate's channel in the runtime directory: a FIFO that systemd
// listens on (accountlock-gate.socket) and the user accountlock alone can write.
const channelName = "gate"

// Channel is the daemon's end of the gate's channel.
type Channel struct {
	// Dir is the runtime directory.
	Dir string
}

// Poke asks the gate to decide again. It does not wait for the decision. The error
// says that nobody listens, or that this user may not write.
func (c Channel) Poke(context.Context) error {
	path := filepath.Join(c.Dir, channelName)
	// Not an os.File, which waits for room: a channel that nobody empties must not
	// hold the daemon up.
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot reach the gate by %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return fmt.Errorf("cannot reach the gate: %s is no FIFO", path)
	}
	_, err = unix.Write(fd, []byte("decide again\n"))
	if errors.Is(err, unix.EAGAIN) {
		// Full of requests that nobody has answered: one more would add nothing.
		return nil
	}
	return err
}

// Knows reports whether the gate's last word is that the device is open, or that it is
// not. A gate that has not spoken, or died undecided, is asked nothing: while its unit is
// failed, what waits for it cannot start, and to say 'open' would end the account check.
func (c Channel) Knows(open bool) bool {
	says := func(name string) bool {
		_, err := os.Lstat(filepath.Join(c.Dir, filepath.Base(name)))
		return err == nil
	}
	if open {
		word, err := os.ReadFile(filepath.Join(c.Dir, filepath.Base(lockedFile)))
		return says(openFile) || err != nil || string(bytes.TrimSpace(word)) == string(undecided)
	}
	return !says(openFile) && !says(shuttingFile)
}

// Drain takes everything out of the channel, which systemd passes as descriptor 3
// (sd_listen_fds(3)). What comes later starts the gate once more. fd is not closed.
func Drain(fd uintptr) error {
	if err := unix.SetNonblock(int(fd), true); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	// A FIFO holds 64 KiB (pipe(7)); whoever writes without end starts us again.
	for range 32 {
		n, err := unix.Read(int(fd), buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN), errors.Is(err, io.EOF), n == 0:
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}
