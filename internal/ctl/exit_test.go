// SPDX-License-Identifier: Apache-2.0

package ctl_test

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/ctl"
	"github.com/accountlock/accountlock/internal/fault"
)

// wantExit is the design's list, written out once more.
var wantExit = map[int][]fault.Code{
	1: {fault.Timeout, fault.Internal},
	2: {fault.InvalidArgument},
	3: {
		fault.InvalidCredentials, fault.WrongAccount, fault.AccountBlocked, fault.AccountDeleted, fault.CaptchaRequired,
		fault.InvalidCode, fault.CodeExpired, fault.WeakPassword, fault.Declined, fault.DeviceUnknown,
	},
	4: {fault.NotAuthorized},
	5: {fault.NetworkUnavailable, fault.CaptivePortal, fault.ServiceUnavailable, fault.ClockWrong},
	6: {fault.NotLocked, fault.Locked, fault.NotLinked, fault.AlreadyLinked, fault.WrongStep},
	7: {fault.RateLimited, fault.RecoveryPending, fault.TooManyFlows},
	8: {fault.ServiceUntrusted, fault.GrantRefused},
	9: {fault.StorageFailed},
}

func TestEveryRefusalHasItsExitCode(t *testing.T) {
	s := newSession(t)
	var refusal atomic.Pointer[fault.Error]
	s.fake.flow.steps = []fakeStep{{
		name: "password", prompt: map[string]any{}, fields: []fakeField{passwordField},
		answer: func(values) *fault.Error { return refusal.Load() },
	}}
	s.fake.own()
	secret := s.file(password)
	seen := 0
	for exit, codes := range wantExit {
		for _, c := range codes {
			seen++
			f := counted(c, "What happened.")
			refusal.Store(f)
			s.stdout.Reset()
			if got := s.run("unlock", "--json", "--password-file", secret); got != exit || ctl.ExitCode(c) != exit {
				t.Errorf("%s: exit %d, want %d", c, got, exit)
			}
			var got struct {
				Error struct {
					Name, Message, Remedy string
					Counted               bool
				}
			}
			if err := json.Unmarshal(s.stdout.Bytes(), &got); err != nil {
				t.Fatalf("%s: %v: %s", c, err, s.stdout.String())
			}
			e := got.Error
			if e.Name != fakeErrors+string(c) || e.Message != "What happened." || e.Remedy != f.Remedy || !e.Counted {
				t.Errorf("%s: %+v", c, e)
			}
		}
	}
	if seen != len(fault.Codes()) {
		t.Errorf("%d codes of %d are in the list", seen, len(fault.Codes()))
	}
}

func TestWhatTheBusAnswersHasItsExitCode(t *testing.T) {
	const prefix = "org.freedesktop.DBus.Error."
	for name, want := range map[string]int{
		prefix + "AccessDenied":               ctl.ExitNotAllowed,
		prefix + "ServiceUnknown":             ctl.ExitUnavailable,
		prefix + "Spawn.ChildExited":          ctl.ExitUnavailable,
		prefix + "NoReply":                    ctl.ExitUnavailable,
		prefix + "UnknownMethod":              ctl.ExitFailed,
		"com.example.Error.Strange":           ctl.ExitFailed,
		fakeErrors + "NotYetInvented":         ctl.ExitFailed,
		"org.accountlock.AccountLock1.Error.": ctl.ExitFailed,
	} {
		if got := ctl.ExitCodeOf(name); got != want {
			t.Errorf("%s: exit %d, want %d", name, got, want)
		}
	}
}

func TestARefusalWithoutItsTextsStillSaysWhatToDo(t *testing.T) {
	s := newSession(t)
	s.fake.refuse["Unlock"] = dbus.NewError(fakeErrors+"NotLocked", nil)
	s.fake.own()
	if got := s.run("unlock"); got != ctl.ExitWrongState || !strings.Contains(s.screen.String(), "The device is not locked.") ||
		!strings.Contains(s.screen.String(), "Nothing needs to be done.") {
		t.Errorf("exit %d: %s", got, s.screen.String())
	}
}

func TestCheckSaysOpenLockedOrUnknown(t *testing.T) {
	for _, tt := range []struct {
		name, state, reason string
		exit                int
		says                string
	}{
		{"unlinked", "unlinked", "", 0, "open unlinked\n"},
		{"linked", "linked", "", 0, "open linked\n"},
		{"signed out", "signed-out", "", 0, "open signed-out\n"},
		{"reset", "locked", "factory-reset", 10, "locked factory-reset\n"},
		{"a state from the future", "ajar", "", 11, "unknown ajar\n"},
		{"no state", "", "", 11, "unknown \n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSession(t)
			s.fake.props["State"], s.fake.props["LockReason"] = tt.state, tt.reason
			s.fake.own()
			if got := s.run("check"); got != tt.exit || s.stdout.String() != tt.says {
				t.Errorf("exit %d: %q", got, s.stdout.String())
			}
			s.stdout.Reset()
			if got := s.run("check", "--quiet"); got != tt.exit || s.stdout.Len() != 0 {
				t.Errorf("quiet: exit %d: %q", got, s.stdout.String())
			}
		})
	}
}

func TestCheckIsUnknownWhereNobodyAnswers(t *testing.T) {
	t.Run("no daemon", func(t *testing.T) {
		s := newSession(t)
		if got := s.run("check"); got != ctl.ExitUnknown {
			t.Errorf("exit %d: %s", got, s.stdout.String())
		}
	})
	t.Run("no bus", func(t *testing.T) {
		s := newSession(t)
		s.vars["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=/nonexistent/bus"
		if got := s.run("check", "--json"); got != ctl.ExitUnknown || !strings.Contains(s.stdout.String(), `"result":"unknown"`) {
			t.Errorf("exit %d: %s", got, s.stdout.String())
		}
	})
	t.Run("a property is missing", func(t *testing.T) {
		s := newSession(t)
		delete(s.fake.props, "LockReason")
		s.fake.own()
		if got := s.run("check"); got != ctl.ExitUnknown {
			t.Errorf("exit %d: %s", got, s.stdout.String())
		}
	})
}
