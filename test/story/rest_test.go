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
		if _, err := os.Stat(r.path("wiped/unlinked")); (err == nil) != rests {
			t.Errorf("%s: rests is %v, want %v", when, err == nil, rests)
		}
	}
	if err := r.call("CheckIn").Err; err != nil {
		t.Fatal(err)
	}
	want("while the daemon runs, before it has ever left", false)
	r.stopDaemon()
	want("unlinked", true)
	r.startDaemon()
	r.get("State")
	want("unlinked, with a daemon that was asked for a property", true)
	r.run("Link")
	want("linked", false)
	r.killDaemon()
	want("linked, and the daemon killed", false)
	r.startDaemon()
	r.stopDaemon()
	want("linked, and the daemon left", false)
	r.startDaemon()
	r.run("SignOut")
	r.stopDaemon()
	want("signed out", false)
	r.startDaemon()
	r.run("Link")
	r.run("Unlink")
	r.killDaemon()
	want("unlinked, and the daemon killed", false)
	r.startDaemon()
	r.stopDaemon()
	want("unlinked again", true)

	// After a reset the account service has to be asked once.
	r.stopServer()
	if err := os.RemoveAll(r.path("wiped")); err != nil {
		t.Fatal(err)
	}
	r.startDaemon()
	r.stopDaemon()
	want("after a reset without a network", false)

	// A word that somebody has put back there does not stay beside a device that needs check-ins.
	r.startServer()
	r.startDaemon()
	r.askAgain()
	r.run("Link")
	r.stopDaemon()
	if err := os.WriteFile(r.path("wiped/unlinked"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.startDaemon()
	want("linked, with a file of before", false)
}
