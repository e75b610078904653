// SPDX-License-Identifier: Apache-2.0

package ctl_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/ctl"
)

// console is accountlockctl on a real terminal.
type console struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	cmd    *exec.Cmd

	mu       sync.Mutex
	seen     bytes.Buffer
	more     chan struct{}
	answered int           // how much had been seen at the last answer
	over     chan struct{} // closed once everything has been seen
}

func openConsole(t *testing.T, s *session, args ...string) *console {
	t.Helper()
	c := &console{t: t, more: make(chan struct{}, 1)}
	var err error
	if c.master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Skipf("no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { c.master.Close() })
	fd := int(c.master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if c.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.slave.Close() })
	keepOutput(t, int(c.slave.Fd()))
	c.cmd = exec.Command("accountlockctl", args...)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = c.slave, c.slave, c.slave
	c.cmd.Env = []string{"DBUS_SYSTEM_BUS_ADDRESS=" + s.vars["DBUS_SYSTEM_BUS_ADDRESS"], "TZ=UTC"}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	c.over = make(chan struct{})
	go c.read()
	return c
}

// keepOutput has Ctrl-C throw nothing away: the kernel empties the terminal's queues after
// it has sent the signal, and with them what the program says to it if that is quick.
func keepOutput(t *testing.T, fd int) {
	t.Helper()
	termios, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	termios.Lflag |= unix.NOFLSH
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, termios); err != nil {
		t.Fatal(err)
	}
}

func (c *console) read() {
	defer close(c.over)
	buf := make([]byte, 4096)
	for {
		n, err := c.master.Read(buf)
		c.mu.Lock()
		c.seen.Write(buf[:n])
		c.mu.Unlock()
		select {
		case c.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (c *console) screen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.String()
}

// types waits for a prompt and answers it.
func (c *console) types(prompt, keys string) {
	c.t.Helper()
	deadline := time.After(time.Minute)
	for !strings.HasSuffix(c.screen()[c.answered:], prompt) {
		select {
		case <-c.more:
		case <-deadline:
			c.t.Fatalf("no prompt %q:\n%s", prompt, c.screen())
		}
	}
	c.answered = len(c.screen())
	if _, err := c.master.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
}

func (c *console) wait() int {
	c.t.Helper()
	stuck := time.AfterFunc(time.Minute, func() { _ = c.cmd.Process.Kill() })
	defer stuck.Stop()
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	termios, err := unix.IoctlGetTermios(int(c.slave.Fd()), unix.TCGETS)
	if err != nil || termios.Lflag&unix.ECHO == 0 {
		c.t.Errorf("the echo is left off (%v)", err)
	}
	// The last one to have it open: then the other end reads to its end.
	c.slave.Close()
	<-c.over
	return c.cmd.ProcessState.ExitCode()
}

func TestOnARealTerminalThePasswordIsNotEchoed(t *testing.T) {
	s := newSession(t)
	scenarios["locked"](s.fake)
	s.fake.own()
	c := openConsole(t, s, "unlock")
	c.types("(Enter for j•••@example.org): ", "\r")
	c.types("Password: ", wrongPassword+"\r")
	c.types("Password: ", password+"\r")
	if code := c.wait(); code != ctl.ExitDone {
		t.Errorf("exit %d", code)
	}
	for _, word := range []string{password, wrongPassword} {
		if strings.Contains(c.screen(), word) {
			t.Errorf("echoed:\n%s", c.screen())
		}
	}
	if n := len(s.fake.seen("Submit")); n != 3 {
		t.Errorf("%d answers", n)
	}
}

func TestOnARealTerminalCtrlCEndsTheFlowAndLeavesTheEchoOn(t *testing.T) {
	s := newSession(t)
	scenarios["locked"](s.fake)
	s.fake.own()
	c := openConsole(t, s, "unlock")
	c.types("(Enter for j•••@example.org): ", "\r")
	c.types("Password: ", "half a pass\x03")
	if code := c.wait(); code != ctl.ExitFailed {
		t.Errorf("exit %d", code)
	}
	if !s.fake.flow.wasCancelled() {
		t.Error("the flow was not cancelled")
	}
	if !strings.Contains(c.screen(), "nothing was changed") || strings.Contains(c.screen(), "half a pass") {
		t.Errorf("screen:\n%s", c.screen())
	}
}

func TestOnARealTerminalCtrlDEndsTheFlow(t *testing.T) {
	s := newSession(t)
	scenarios["locked"](s.fake)
	s.fake.own()
	c := openConsole(t, s, "unlock")
	c.types("(Enter for j•••@example.org): ", "\x04")
	if code := c.wait(); code != ctl.ExitFailed || !s.fake.flow.wasCancelled() {
		t.Errorf("exit %d:\n%s", code, c.screen())
	}
}
