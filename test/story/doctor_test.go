// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheDoctorNamesARecordThatCannotBeWritten(t *testing.T) {
	r := newRig(t)
	r.run("Link")
	doctor := func() (line string, code int) {
		t.Helper()
		p := r.Bus.Run(t, exec.Command(filepath.Join(r.Bin, "accountlockctl"), "doctor"))
		for l := range strings.Lines(string(p.Output())) {
			if strings.Contains(l, "lock record") {
				line = l
			}
		}
		return line, p.ExitCode()
	}
	if line, _ := doctor(); !strings.Contains(line, "ok") || !strings.Contains(line, "The lock record is whole.") {
		t.Errorf("a record that can be written: %q", line)
	}
	r.StopDaemon()

	// A read-only filesystem that only the daemon started from here sees: this thread gets
	// a mount namespace of its own and is not given back.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		runtime.UnlockOSThread()
		t.Skipf("cannot mount: %v", err)
	}
	for _, err := range []error{
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount(r.Path("kept"), r.Path("kept"), "", unix.MS_BIND, ""),
		unix.Mount("", r.Path("kept"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(r.Path("kept"), unix.MNT_DETACH) })
	r.StartDaemon()
	r.wantState("linked")
	line, code := doctor()
	for _, want := range []string{"failed", "cannot be written", "read-only file system", "Mount what the record store is on for writing"} {
		if !strings.Contains(line, want) {
			t.Errorf("the doctor does not say %q: %q", want, line)
		}
	}
	if code == 0 {
		t.Error("the doctor finds nothing wrong")
	}
}
