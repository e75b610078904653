// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a program on the bus. All that it prints is kept, for the test to
// read and for the bus to look over at its end.
type Process struct {
	name   string
	cmd    *exec.Cmd
	stdout output
	all    output
	done   chan struct{} // closed when it has ended and all its output is here
}

// StartProcess starts a program with the bus's environment and keeps its
// output. The command may bring arguments, standard input, a folder, a user
// (SysProcAttr.Credential) and more environment, which must not name another
// bus. What still runs when the test ends gets SIGTERM, and fails the test if it
// does not leave on that.
func (b *Bus) StartProcess(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	if cmd.Stdout != nil || cmd.Stderr != nil {
		t.Fatalf("bus: %s: the harness takes the output", cmd.Path)
	}
	for _, entry := range cmd.Env {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "DBUS_") && value != b.Address() {
			t.Fatalf("bus: refusing to start %s with %s: it would leave the private bus", cmd.Path, entry)
		}
	}
	p := &Process{name: filepath.Base(cmd.Path), cmd: cmd, done: make(chan struct{})}
	p.stdout.init()
	p.all.init()
	cmd.Env = append(b.Env(), cmd.Env...)
	cmd.Stdout = both{&p.stdout, &p.all}
	cmd.Stderr = &p.all
	cmd.WaitDelay = 5 * time.Second // a child that kept the output open
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // even if the test is killed
	if err := cmd.Start(); err != nil {
		t.Fatalf("bus: cannot start %s: %v", cmd.Path, err)
	}
	go func() {
		defer close(p.done)
		cmd.Wait() //nolint:errcheck // the exit status says it, and is kept
	}()
	b.mu.Lock()
	b.processes = append(b.processes, p)
	b.mu.Unlock()
	return p
}

// Run starts a program as StartProcess does and waits for its end.
func (b *Bus) Run(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := b.StartProcess(t, cmd)
	p.Wait(t)
	return p
}

// Pid is the process's ID.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Stdout is what it has printed so far on standard output.
func (p *Process) Stdout() []byte { return p.stdout.bytes() }

// Output is what it has printed so far on standard output and standard error.
func (p *Process) Output() []byte { return p.all.bytes() }

// Done is closed when it has ended and all its output is there.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is its exit code, or -1 if a signal ended it or it still runs.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// AwaitOutput waits until it has printed the text, on either output.
func (p *Process) AwaitOutput(t testing.TB, text string) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		more := p.all.more()
		if strings.Contains(string(p.all.bytes()), text) {
			return
		}
		select {
		case <-more:
		case <-p.done:
			if strings.Contains(string(p.all.bytes()), text) {
				return
			}
			t.Fatalf("bus: %s ended without printing %q:\n%s", p.name, text, p.Output())
		case <-deadline.C:
			t.Fatalf("bus: %s has not printed %q after %v:\n%s", p.name, text, patience, p.Output())
		}
	}
}

// Signal sends it a signal. It is no error if it has ended.
func (p *Process) Signal(t testing.TB, signal os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("bus: cannot signal %s: %v", p.name, err)
	}
}

// Wait waits for its end and returns its exit code, as ExitCode.
func (p *Process) Wait(t testing.TB) int {
	t.Helper()
	if !p.ended() {
		t.Fatalf("bus: %s still runs after %v:\n%s", p.name, patience, p.Output())
	}
	return p.ExitCode()
}

// Stop asks it to leave (SIGTERM), waits and returns its exit code. One that
// does not leave is killed, and the test fails.
func (p *Process) Stop(t testing.TB) int {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	p.Signal(t, syscall.SIGCONT) // a test may have stopped it
	if !p.ended() {
		t.Errorf("bus: %s did not leave on SIGTERM:\n%s", p.name, p.Output())
		p.Kill(t)
	}
	return p.ExitCode()
}

// Kill ends it with SIGKILL and waits until it is gone.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
	<-p.done
}

// ended waits for its end and says whether that came in time.
func (p *Process) ended() bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case <-p.done:
		return true
	case <-deadline.C:
		return false
	}
}
