// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"os"
	"testing"
)

// An unlinked device is not woken for check-ins (accountlock-checkin.path); whatever
// crashes, a device that needs one is.
func TestADeviceIsWokenForCheckInsWhileTheyAreNeeded(t *testing.T) {
	r := newRig(t)
	want := func(when string, rests bool) {
		t.Helper()
		if _, err := os.Stat(r.Path("wiped/unlinked")); (err == nil) != rests {
			t.Errorf("%s: rests is %v, want %v", when, err == nil, rests)
		}
	}
	if err := r.Call("CheckIn").Err; err != nil {
		t.Fatal(err)
	}
	want("while the daemon runs, before it has ever left", false)
	r.StopDaemon()
	want("unlinked", true)
	r.StartDaemon()
	r.Property("State")
	want("unlinked, with a daemon that was asked for a property", true)
	r.run("Link")
	want("linked", false)
	r.KillDaemon()
	want("linked, and the daemon killed", false)
	r.StartDaemon()
	r.StopDaemon()
	want("linked, and the daemon left", false)
	r.StartDaemon()
	r.run("SignOut")
	r.StopDaemon()
	want("signed out", false)
	r.StartDaemon()
	r.run("Link")
	r.run("Unlink")
	r.KillDaemon()
	want("unlinked, and the daemon killed", false)
	r.StartDaemon()
	r.StopDaemon()
	want("unlinked again", true)

	// After a reset the account service has to be asked once.
	r.stopServer()
	if err := os.RemoveAll(r.Path("wiped")); err != nil {
		t.Fatal(err)
	}
	r.StartDaemon()
	r.StopDaemon()
	want("after a reset without a network", false)

	// A word that somebody has put back there does not stay beside a device that needs check-ins.
	r.startServer()
	r.StartDaemon()
	r.Settle()
	r.run("Link")
	r.StopDaemon()
	if err := os.WriteFile(r.Path("wiped/unlinked"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.StartDaemon()
	want("linked, with a file of before", false)
}
