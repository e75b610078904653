// SPDX-License-Identifier: Apache-2.0

// Package wire is the way to a TPM 2.0: a device or the socket of swtpm, with a
// bound on every wait. It must not know what a command says.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/lock"
)

const (
	// swtpmPrefix stands before the path of a socket that speaks a TPM's commands,
	// as `swtpm socket --server type=unixio` does.
	swtpmPrefix = "swtpm:"
	// maxResponse is longer than any response of a TPM 2.0 to what is asked here.
	maxResponse = 4096
	headerSize  = 10
)

// Wait bounds everything that is done in one go. Slow TPMs take two seconds to
// make a key.
const Wait = 10 * time.Second

// Conn is an open TPM, for one goroutine. Everything ends at its deadline: the
// package that the library brings waits for an answer without end.
type Conn struct {
	fd       int
	socket   bool
	deadline time.Time
	// stuck: an answer did not come; what comes later would be taken for another.
	stuck bool
	// commands counts what was sent.
	commands int
}

// Dial opens the TPM at path, a device or `swtpm:` and the path of a socket, for
// as long as wait. It says nothing to it yet. Its errors, and Send's, are
// *lock.TPMError.
func Dial(path string, wait time.Duration) (*Conn, error) {
	deadline := time.Now().Add(wait)
	c := &Conn{fd: -1, deadline: deadline}
	var err error
	if socket, ok := strings.CutPrefix(path, swtpmPrefix); ok {
		c.socket = true
		c.fd, err = dialSocket(socket, wait)
	} else {
		// Non-blocking, so that the kernel does not wait for the answer in write(2).
		c.fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	}
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTDIR):
		return nil, &lock.TPMError{Says: lock.TPMAbsent, Err: fmt.Errorf("%s: %w", path, err)}
	case errors.Is(err, unix.EAGAIN):
		return nil, &lock.TPMError{Says: lock.TPMSilent, Err: fmt.Errorf("%s: no connection in time", path)}
	default:
		// fails locked: one that may not be used is there all the same.
		return nil, &lock.TPMError{Says: lock.TPMFailing, Err: fmt.Errorf("cannot open %s: %w", path, err)}
	}
}

func dialSocket(path string, wait time.Duration) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// Bounds the wait for a place in the queue of a server that serves another.
	tv := unix.NsecToTimeval(max(wait, time.Millisecond).Nanoseconds())
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
	if err == nil {
		err = retried(func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) })
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// retried calls f until no signal interrupts it.
func retried(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// The answers that ask for the same command again (TPM 2.0 Part 2, 6.6.3).
const (
	rcYielded = 0x908
	rcTesting = 0x90a
	rcRetry   = 0x922
)

// Send sends one command and returns its answer, which is at least a header.
func (c *Conn) Send(command []byte) ([]byte, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		out, err := c.once(command)
		if err != nil {
			return nil, err
		}
		switch binary.BigEndian.Uint32(out[6:]) {
		case rcYielded, rcTesting, rcRetry:
			if err := c.sleep(pause); err != nil {
				return nil, err
			}
		default:
			return out, nil
		}
	}
}

func (c *Conn) once(command []byte) ([]byte, error) {
	if c.stuck {
		return nil, &lock.TPMError{Says: lock.TPMSilent}
	}
	c.commands++
	// Until the answer is whole.
	c.stuck = true
	if err := c.write(command); err != nil {
		return nil, err
	}
	out := make([]byte, maxResponse)
	n := 0
	for n < headerSize || n < int(binary.BigEndian.Uint32(out[2:])) {
		if err := c.wait(unix.POLLIN); err != nil {
			return nil, err
		}
		var got int
		err := retried(func() (err error) { got, err = unix.Read(c.fd, out[n:]); return err })
		if errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return nil, Failing(fmt.Errorf("cannot read the answer: %w", err))
		}
		if got == 0 {
			return nil, Failing(errors.New("it ended in the middle of an answer"))
		}
		n += got
		if n >= headerSize && binary.BigEndian.Uint32(out[2:]) > maxResponse {
			return nil, Failing(errors.New("the answer is too long"))
		}
	}
	c.stuck = false
	return out[:n], nil
}

func (c *Conn) write(b []byte) error {
	for len(b) > 0 {
		if err := c.wait(unix.POLLOUT); err != nil {
			return err
		}
		var n int
		err := retried(func() (err error) { n, err = c.put(b); return err })
		if errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return Failing(fmt.Errorf("cannot send a command: %w", err))
		}
		b = b[n:]
	}
	return nil
}

// put writes once; to a socket whose other end is gone without a signal.
func (c *Conn) put(b []byte) (int, error) {
	if c.socket {
		return unix.SendmsgN(c.fd, b, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	}
	return unix.Write(c.fd, b)
}

// wait returns once the TPM takes or gives something.
func (c *Conn) wait(events int16) error {
	for {
		left := time.Until(c.deadline)
		if left <= 0 {
			return &lock.TPMError{Says: lock.TPMSilent}
		}
		p := []unix.PollFd{{Fd: int32(c.fd), Events: events}} //nolint:gosec // a file descriptor
		n, err := unix.Poll(p, int(left.Milliseconds())+1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return Failing(fmt.Errorf("cannot wait: %w", err))
		case n > 0:
			return nil // errors show in what is done next
		}
	}
}

// sleep waits before a command is sent again.
func (c *Conn) sleep(d time.Duration) error {
	if time.Until(c.deadline) < d {
		return &lock.TPMError{Says: lock.TPMSilent}
	}
	_, err := unix.Poll(nil, int(d.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return Failing(err)
	}
	return nil
}

// Managed reports whether somebody sees to it that there is room in the TPM: the
// kernel, but for a socket.
func (c *Conn) Managed() bool { return !c.socket }

// Commands returns how many commands were sent.
func (c *Conn) Commands() int { return c.commands }

// Close lets go of the TPM. A device that has not answered is left to the end of
// the process: close(2) would wait for its driver, whatever our deadline is.
func (c *Conn) Close() {
	if !c.stuck || c.socket {
		_ = unix.Close(c.fd) // nothing is lost with it
	}
}

// Failing is the error of a TPM that fails otherwise than it says itself.
func Failing(err error) error { return &lock.TPMError{Says: lock.TPMFailing, Err: err} }
