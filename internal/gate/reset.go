// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/lock"
)

// How a factory reset is begun.
const (
	// resetHook is the vendor's program; where there is one, it is run as root and must
	// end with 0 once the machine is on its way to the reset.
	resetHook = "usr/lib/accountlock/factory-reset"
	// resetTarget is systemd's way, from version 258 on (systemd-factory-reset(8)).
	resetTarget = "factory-reset.target"
	// resetChannel is the socket in the runtime directory by which the daemon asks for
	// a reset (accountlock-reset.socket).
	resetChannel = "reset"
	// resetWord is what the daemon says there.
	resetWord = "reset\n"
	// resetBegun is the answer there where it has begun; any other is an error's text.
	resetBegun = "begun"
	// resetTime is how long the vendor's program may take.
	resetTime = 90 * time.Second
)

// ErrNoReset is the error of a machine without a way to begin a factory reset.
var ErrNoReset = errors.New("there is neither /" + resetHook + " nor a " + resetTarget + " that does something")

// resetWay returns whether the vendor has a program for the reset, or ErrNoReset.
// The target alone is no way: before version 258 systemd has it and does nothing
// there.
func resetWay(root string) (hook bool, err error) {
	info, err := os.Stat(filepath.Join(root, resetHook))
	if err == nil {
		if info.Mode().Perm()&0o111 == 0 {
			return false, fmt.Errorf("/%s is not executable", resetHook)
		}
		return true, nil
	}
	for _, dir := range unitDirs {
		for _, kind := range []string{".wants", ".requires"} {
			if entries, err := os.ReadDir(filepath.Join(root, dir, resetTarget+kind)); err == nil && len(entries) > 0 {
				return false, nil
			}
		}
	}
	return false, ErrNoReset
}

// Reset begins the factory reset if in says so, and says on out what became of it.
// A locked device is not reset so: its daemon has no business with that. A linked one
// is where the record says that its owner allowed it.
func (s Service) Reset(in io.Reader, out io.Writer) error {
	word := make([]byte, len(resetWord)+1)
	n, err := in.Read(word)
	if err == nil && string(word[:n]) == resetWord {
		err = s.reset()
	} else {
		err = errors.Join(errors.New("nobody asked for a reset"), err)
	}
	answer := resetBegun
	if err != nil {
		answer = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	_, werr := io.WriteString(out, answer+"\n")
	return errors.Join(err, werr)
}

func (s Service) reset() error {
	v := s.Decide()
	switch {
	case !v.Status.Open():
		_, reason := v.words()
		return fmt.Errorf("the device is locked (%s)", reason)
	case v.Status.State == lock.Linked && !v.Settle:
		// fails shut: the daemon's word alone wipes nobody's device.
		return errors.New("the owner has not allowed a reset")
	}
	hook, err := resetWay(s.Root)
	switch {
	case err != nil:
		return err
	case hook:
		return s.Run(filepath.Join(s.Root, resetHook))
	}
	return s.Systemctl("start", "--no-block", resetTarget)
}

// Resetter is the daemon's way to a factory reset.
type Resetter struct {
	// Root is the root of the filesystem, "/" on a device; Dir the runtime directory.
	Root, Dir string
}

// Ready returns nil where the machine can be reset, ErrNoReset where it has no way
// to, and another error where nobody listens.
func (r Resetter) Ready() error {
	if _, err := resetWay(r.Root); err != nil {
		return err
	}
	if err := unix.Access(filepath.Join(r.Dir, resetChannel), unix.W_OK); err != nil {
		return fmt.Errorf("cannot ask the gate for a reset by %s: %w", filepath.Join(r.Dir, resetChannel), err)
	}
	return nil
}

// Trigger begins the reset and returns once it has begun; an error means that it has
// not. It waits no longer than the vendor's program may take.
func (r Resetter) Trigger(context.Context) error {
	fd, err := r.connect()
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	limit := unix.NsecToTimeval(int64(resetTime + 10*time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte(resetWord)); err != nil {
		return fmt.Errorf("cannot ask for the reset: %w", err)
	}
	buf := make([]byte, 1024)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil && !errors.Is(err, unix.ECONNRESET):
			return fmt.Errorf("cannot hear what became of the reset: %w", err)
		case err != nil, n == 0:
			// What fails says so. Who ends without a word was ended by the shutdown that the
			// reset began; and a permission that is not used dies at the next boot.
			return nil
		case strings.TrimSpace(string(buf[:n])) == resetBegun:
			return nil
		}
		return errors.New("cannot begin the reset: " + strings.TrimSpace(string(buf[:n])))
	}
}

func (r Resetter) connect() (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	path := filepath.Join(r.Dir, resetChannel)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("cannot reach the gate by %s: %w", path, err)
	}
	return fd, nil
}
