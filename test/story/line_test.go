// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"strings"
	"testing"
)

// locked returns a rig whose device was linked and then reset.
func locked(t *testing.T, options ...option) *rig {
	t.Helper()
	r := newRig(t, options...)
	r.run("Link")
	r.Reset()
	r.wantState("locked factory-reset")
	return r
}

func TestTheOwnerUnlocksOnASerialConsole(t *testing.T) {
	t.Parallel()
	r := locked(t)
	tm := r.openTerminal("80x24", []string{"TERM=vt220"}, "--plain")
	tm.await("Type a number from 1 to", 1)
	tm.await(r.Property("DeviceId").Value().(string), 1)
	tm.await("It was reset.", 1)
	tm.keys("1", "Enter")
	tm.await("Account ID, e-mail or phone number", 1)
	tm.keys("Enter") // the account that the hint names
	tm.await("Password", 1)
	tm.types("certainly-not-the-password")
	tm.keys("Enter")
	tm.await("This counted as an attempt.", 1)
	tm.await("user name or password is wrong", 1)
	tm.await("Password (Enter", 2)
	tm.types(r.demo.Password)
	tm.keys("Enter")
	tm.await("This device is open", 1)
	tm.awaitExit(0)
	tm.never(r.demo.Password, "certainly-not-the-password")
	r.wantState("linked")
}

func TestTheOwnerUnlocksOnAWholeTerminal(t *testing.T) {
	t.Parallel()
	r := locked(t)
	tm := r.openTerminal("80x24", []string{"TERM=xterm-256color"})
	tm.await("> 1 Type the password of the account", 1)
	tm.await(r.Property("DeviceId").Value().(string), 1)
	tm.keys("Enter")
	tm.await("Account ID, e-mail or phone number", 1)
	tm.types(r.demo.Other.Email)
	tm.keys("Enter")
	tm.await("Type the password of the account.", 1)
	tm.types(r.demo.Other.Password)
	tm.keys("Enter")
	tm.await("belongs to another account", 1)
	tm.await("Password", 1)
	tm.keys("Down", "Down", "Down", "Enter") // use another account
	tm.await("Account ID, e-mail or phone number", 1)
	tm.keys("Enter")
	tm.await("Type the password of the account.", 1)
	tm.keys("C-c", "C-z", "C-\\", "C-d")
	tm.types("wrong")
	tm.keys("BSpace", "BSpace", "BSpace", "BSpace", "BSpace")
	tm.types(r.demo.Password)
	tm.never("ended with", r.demo.Password)
	tm.tmux("resize-window", "-x", "100", "-y", "30")
	tm.keys("Enter")
	tm.awaitExit(0)
	r.wantState("linked")
}

func TestTheScreenCanBeReadWithoutColourAndOnOldTerminals(t *testing.T) {
	t.Parallel()
	r := locked(t)
	for name, vars := range map[string][]string{
		"no colour": {"TERM=xterm-256color", "NO_COLOR=1"}, "vt220": {"TERM=vt220"}, "console": {"TERM=linux"},
	} {
		t.Run(name, func(t *testing.T) {
			tm := r.openTerminal("80x24", vars)
			tm.await("> 1 Type the password of the account", 1)
			if s := tm.tmux("capture-pane", "-p", "-e"); name == "no colour" && strings.Contains(s, "[36m") {
				t.Errorf("coloured:\n%q", s)
			}
			tm.keys("Down", "Down", "Down")
			tm.await("> 4 ", 1)
		})
	}
}

func TestNoKeyLeadsOutOfTheScreen(t *testing.T) {
	t.Parallel()
	r := locked(t)
	for _, mode := range []string{"--plain", "--screen-reader"} {
		t.Run(mode, func(t *testing.T) {
			tm := r.openTerminal("80x24", []string{"TERM=vt220"}, mode)
			tm.await("Type a number from 1 to", 1)
			for range 3 {
				tm.keys("C-c", "C-z", "C-\\", "C-d", "Escape", "C-]", "q", "Enter")
			}
			tm.await("There is no such number here.", 1)
			tm.keys("Enter")
			tm.await("This device is locked", 2)
			tm.keys("1", "Enter")
			tm.await("Account ID, e-mail or phone number", 1)
			tm.keys("C-c", "C-z", "C-\\", "C-d", "C-d", "C-d")
			tm.await("Type the password of the account.", 1)
			tm.keys("C-c", "C-z", "C-\\", "C-d", "C-d")
			tm.never("ended with", "panic", "goroutine")
			r.wantState("locked factory-reset")
		})
	}
}

func TestTheScreenWaitsForTheDaemonAndComesBackAfterIt(t *testing.T) {
	t.Parallel()
	r := locked(t)
	r.StopDaemon()
	tm := r.openTerminal("80x24", []string{"TERM=dumb"})
	tm.await("finding out whether it is locked", 1)
	r.StartDaemon()
	tm.await("Type a number from 1 to", 1)
	r.KillDaemon()
	tm.await("finding out whether it is locked", 2)
	r.StartDaemon()
	tm.await("Type a number from 1 to", 2)
	tm.never("ended with")
}

func TestTheScreenNoticesThatTheServiceReleasedTheDevice(t *testing.T) {
	t.Parallel()
	r := locked(t)
	tm := r.openTerminal("80x24", []string{"TERM=vt220"}, "--plain")
	tm.await("Type a number from 1 to", 1)
	r.admin("device", "release", r.Property("DeviceId").Value().(string))
	if err := r.Call("CheckIn").Err; err != nil {
		t.Fatal(err)
	}
	tm.await("This device is open", 1)
	tm.awaitExit(0)
}
