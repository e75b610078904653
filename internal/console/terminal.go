// SPDX-License-Identifier: Apache-2.0

// Package console is a person at a terminal: lines read with and without the
// echo, caps lock, and text from elsewhere made safe to print.
package console

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/accountlock/accountlock/internal/secret"
)

// Terminal is a terminal with a person at it.
type Terminal struct {
	in, out *os.File
}

// Open returns a terminal where both ends are one; nil otherwise.
func Open(in, out *os.File) *Terminal {
	if !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return nil
	}
	return &Terminal{in, out}
}

// ReadLine asks with the echo on. It returns io.EOF once the input is closed,
// and ctx's error once that ends.
func (t *Terminal) ReadLine(ctx context.Context, prompt string) (secret.Bytes, error) {
	fmt.Fprint(t.out, prompt)
	line, err := t.read(ctx)
	if err != nil {
		fmt.Fprintln(t.out)
	}
	return line, err
}

// ReadSecret asks with the echo off; errors are ReadLine's.
func (t *Terminal) ReadSecret(ctx context.Context, prompt string) (secret.Bytes, error) {
	fd := int(t.in.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("cannot turn the echo off: %w", err)
	}
	quiet := *before
	quiet.Lflag &^= unix.ECHO | unix.ECHONL
	// Flushed, so that nothing typed before the question, and seen, is taken
	// for the password.
	if err := unix.IoctlSetTermios(fd, unix.TCSETSF, &quiet); err != nil {
		return nil, fmt.Errorf("cannot turn the echo off: %w", err)
	}
	defer func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }()
	fmt.Fprint(t.out, prompt)
	line, err := t.read(ctx)
	fmt.Fprintln(t.out)
	return line, err
}

// maxLine is what the kernel hands over as one line at most (N_TTY_BUF_SIZE).
const maxLine = 4096

// read returns one line without its end. It waits in poll rather than in read,
// so that a context that ends leaves no read behind to swallow the next line.
func (t *Terminal) read(ctx context.Context) (secret.Bytes, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot wait for the terminal: %w", err)
	}
	defer func() { _ = unix.Close(wake) }()
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		close(woken)
	})
	defer func() {
		if !stop() {
			<-woken // the descriptor is closed after its last use
		}
	}()
	fd := int(t.in.Fd())
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}} //nolint:gosec // descriptors are small
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return nil, fmt.Errorf("cannot wait for the terminal: %w", err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if fds[0].Revents == 0 {
			continue
		}
		return t.line(fd)
	}
}

func (t *Terminal) line(fd int) (secret.Bytes, error) {
	buf := make(secret.Bytes, maxLine)
	n, err := unix.Read(fd, buf)
	switch {
	case err == unix.EIO: // the terminal was hung up
		return nil, io.EOF
	case err != nil:
		return nil, fmt.Errorf("cannot read from the terminal: %w", err)
	case n == 0:
		return nil, io.EOF
	}
	return TrimEnd(buf[:n]), nil
}

// TrimEnd takes one line end off.
func TrimEnd(s secret.Bytes) secret.Bytes {
	if n := len(s); n > 0 && s[n-1] == '\n' {
		s = s[:n-1]
		if n := len(s); n > 0 && s[n-1] == '\r' {
			s = s[:n-1]
		}
	}
	return s
}

// Width is the terminal's, in characters.
func (t *Terminal) Width() int {
	if w, _, err := term.GetSize(int(t.out.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}

// Size is the terminal's width and height in characters; 0 where it has none.
func (t *Terminal) Size() (width, height int) {
	w, h, err := term.GetSize(int(t.out.Fd()))
	if err != nil {
		return 0, 0
	}
	return w, h
}

// What linux/kd.h says of a console's keyboard lights.
const (
	kdGetLED = 0x4B64 // KDGKBLED
	ledCaps  = 0x04   // K_CAPSLOCK
)

// CapsLock reports whether caps lock is known to be on. Only a Linux console tells; a terminal
// emulator or a remote session is never said to have it on.
func (t *Terminal) CapsLock() bool {
	flags, err := unix.IoctlGetInt(int(t.in.Fd()), kdGetLED)
	return err == nil && flags&ledCaps != 0
}

// Gone reports whether the terminal was hung up: nobody can type there again.
func (t *Terminal) Gone() bool {
	fds := []unix.PollFd{{Fd: int32(t.in.Fd()), Events: unix.POLLIN}} //nolint:gosec // descriptors are small
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}
