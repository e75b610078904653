// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/accountlock/accountlock/internal/lock"
)

// What the gate leaves in its folder, which root alone can write, for units and
// people to see. One that opens has both for a moment.
const (
	runDir     = "run/accountlock"
	openFile   = runDir + "/open"
	lockedFile = runDir + "/locked"
	// shuttingFile is there while a running device is being shut.
	shuttingFile = runDir + "/shutting"
	// firstBootFile is PID 1's: /etc was empty, and PID 1 has filled it by the presets.
	firstBootFile = "run/systemd/first-boot"
)

// undecided is what stands in lockedFile, and nowhere else, while the first decision
// is made.
const undecided lock.Reason = "undecided"

// Service is accountlock-gate as a service: it decides and lets systemd act on it.
type Service struct {
	// Root is the root of the filesystem, "/" on a device.
	Root string
	// Decide is the gate's own reading of record and marker.
	Decide func() Verdict
	// Systemctl runs systemctl with these arguments and waits for it.
	Systemctl func(args ...string) error
	// Run runs a program without arguments and waits for it.
	Run func(program string) error
	// Log takes what the journal is to keep.
	Log io.Writer
	// NoReboot: a device found locked while it runs is shut without a reboot.
	NoReboot bool
}

// Boot decides for the first time. Until it has written that the device is open,
// nothing that asks for it starts; on an open device systemd goes on by itself. The
// error means that nobody could be told; nothing is open then.
func (s Service) Boot() error {
	// fails shut: what an earlier life of this system left does not count.
	if err := s.remove(openFile); err != nil {
		return err
	}
	// A gate that dies while it decides leaves the device to the account check, which can
	// say that nothing is decided.
	if err := s.tell(Verdict{Status: lock.LockedFor(undecided)}); err != nil {
		fmt.Fprintf(s.Log, "cannot say that nothing is decided yet: %v\n", err)
	}
	v := s.Decide()
	s.say(v)
	if v.passes() {
		if err := s.open(v); err != nil {
			return err
		}
		if err := s.settle(v); err != nil {
			// No reason to call the gate of an open device failed: the next check-in does it.
			fmt.Fprintf(s.Log, "cannot have the daemon take the permission to reset back: %v\n", err)
		}
		return nil
	}
	err := s.tell(v)
	if s.exists(firstBootFile) {
		// Generators ran before the presets: ours has not seen which network is enabled, and
		// the owner needs one now.
		if rerr := s.Systemctl("daemon-reload"); rerr != nil {
			fmt.Fprintf(s.Log, "cannot have the generators run again: %v\n", rerr)
		}
	}
	// What the command line or a unit asked for besides goes: not one of it has
	// started yet.
	return errors.Join(err, s.Systemctl("isolate", "--no-block", lockedTarget))
}

// Again decides again, because something on the channel asked for it. Who asked
// and what was written does not matter.
func (s Service) Again() error {
	v := s.Decide()
	was := s.exists(openFile)
	switch {
	case v.passes() && was:
		return errors.Join(s.remove(shuttingFile), s.remove(lockedFile))
	case v.passes():
		s.say(v)
		// However often the gate has failed in this boot, what requires it starts it now.
		if err := s.Systemctl("reset-failed", "accountlock-gate.service"); err != nil {
			fmt.Fprintf(s.Log, "cannot have the gate start again: %v\n", err)
		}
		return s.open(v)
	case !was && !s.exists(shuttingFile):
		// Still locked, perhaps for another reason.
		return s.tell(v)
	}
	s.say(v)
	return s.shut(v)
}

// settle has the daemon take back at once a reset that was allowed, and not at its
// first check-in: until it has, a wipe would pass for that reset.
func (s Service) settle(v Verdict) error {
	if !v.Settle {
		return nil
	}
	return s.Systemctl("start", "--no-block", "accountlockd.service")
}

// shut locks a running device: nothing new starts from now on, and what runs ends.
// One that fails on the way is done over by whoever asks next.
func (s Service) shut(v Verdict) error {
	err := errors.Join(s.write(shuttingFile, v), s.remove(openFile), s.tell(v), s.end())
	if err != nil {
		return err
	}
	return s.remove(shuttingFile)
}

// end ends what runs. It waits for nothing that a process could put off: the gate
// has two minutes.
func (s Service) end() error {
	// Sessions are scopes that isolating leaves alone, and some services leave what they
	// started running (KillMode=process). What ignores SIGTERM gets no time.
	kill := s.Systemctl(append([]string{"kill", "--signal=SIGKILL"}, sessions...)...)
	if kill != nil {
		fmt.Fprintf(s.Log, "cannot end all sessions: %v\n", kill)
	}
	if !s.NoReboot {
		return s.Systemctl("start", "--no-block", "--job-mode=replace-irreversibly", "reboot.target")
	}
	// The debug shell and slices ignore isolating.
	return errors.Join(
		s.Systemctl("stop", "--no-block", "debug-shell.service", "user.slice", "machine.slice"),
		s.Systemctl("isolate", "--no-block", lockedTarget))
}

// sessions are the units, as patterns, in which people's processes may be.
var sessions = []string{
	"user*.slice", "machine*.slice", "*getty*.service", "ssh*.service", "dropbear*.service",
	"*cron*.service", "atd.service", "debug-shell.service", "rescue.service", "emergency.service",
}

// open says that the device is open. PID 1 waits for that (accountlock-continue.path).
func (s Service) open(v Verdict) error {
	if err := s.write(openFile, v); err != nil {
		return err
	}
	return errors.Join(s.remove(shuttingFile), s.remove(lockedFile))
}

// tell says that the device is locked, and why.
func (s Service) tell(v Verdict) error { return s.write(lockedFile, v) }

func (s Service) say(v Verdict) {
	fmt.Fprintln(s.Log, strings.ReplaceAll(strings.TrimSpace(string(v.text())), "\n", "; "))
}

// write puts the reason in place whole.
func (s Service) write(name string, v Verdict) error {
	path := filepath.Join(s.Root, name)
	_, reason := v.words()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // for all to read
		return err
	}
	temp := path + ".new"
	if err := s.remove(name + ".new"); err != nil {
		return err
	}
	if err := os.WriteFile(temp, []byte(reason+"\n"), 0o644); err != nil { //nolint:gosec // for all to read
		return err
	}
	return os.Rename(temp, path)
}

func (s Service) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(s.Root, name))
	return err == nil
}

func (s Service) remove(name string) error {
	err := os.Remove(filepath.Join(s.Root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
