// SPDX-License-Identifier: Apache-2.0

package ctl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/ctl"
	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
)

func fillReports(d *fakeDaemon) {
	d.facts = []fakeFact{
		{"the record is armed and the reset marker is missing or another one", "decision", values{"state": dbus.MakeVariant("locked")}},
		{"slot 1 is whole", "record store", values{"sequence": dbus.MakeVariant(uint64(7)), "digest": dbus.MakeVariant([]byte{1, 2, 3})}},
	}
	d.checks = []fakeCheck{
		{"record store", "ok", "It can be read and written.", values{}},
		{"account service", "warning", "Its certificate ends soon.", values{"days": dbus.MakeVariant(uint32(6))}},
		{"tpm", "skipped", "There is none.", values{}},
	}
}

func TestWhatIsReadIsShown(t *testing.T) {
	tests := []struct {
		name     string
		scenario string
		args     []string
		exit     int
	}{
		{"status-unlinked", "unlinked", []string{"status"}, 0},
		{"status-lost", "lost", []string{"status"}, 0},
		{"status-lost-json", "lost", []string{"status", "--json"}, 0},
		{"account", "linked", []string{"account"}, 0},
		{"account-json", "linked", []string{"account", "--json"}, 0},
		{"explain", "locked", []string{"explain"}, 0},
		{"explain-json", "locked", []string{"explain", "--json"}, 0},
		{"doctor", "locked", []string{"doctor"}, 0},
		{"doctor-json", "locked", []string{"doctor", "--json"}, 0},
		{"support", "locked", []string{"support", "--region", "DE"}, 0},
		{"support-json", "unlinked", []string{"support", "--json"}, 0},
		{"check-in", "lost", []string{"check-in"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSession(t)
			scenarios[tt.scenario](s.fake)
			fillReports(s.fake)
			s.fake.contacts = []fakeContact{{"phone", "Helpline, 8 to 18", "+49 30 5678"}, {"web", "Chat", "https://help.example.org/"}}
			s.fake.own()
			if code := s.run(tt.args...); code != tt.exit {
				t.Errorf("exit %d", code)
			}
			s.golden(tt.name)
			if slices.Contains(tt.args, "--json") && !json.Valid(s.stdout.Bytes()) {
				t.Errorf("no JSON: %s", s.stdout.String())
			}
		})
	}
}

func TestTheDoctorSaysWhatFailed(t *testing.T) {
	t.Run("no daemon", func(t *testing.T) {
		s := newSession(t)
		if code := s.run("doctor"); code != ctl.ExitFailed {
			t.Errorf("exit %d", code)
		}
		s.golden("doctor-no-daemon")
	})
	t.Run("a check of the daemon's", func(t *testing.T) {
		s := newSession(t)
		s.fake.checks = []fakeCheck{{"record store", "failed", "It cannot be read.", values{}}}
		s.fake.own()
		if code := s.run("doctor", "--json"); code != ctl.ExitFailed {
			t.Errorf("exit %d", code)
		}
	})
}

func TestCheckInReportsItsRefusal(t *testing.T) {
	s := newSession(t)
	s.fake.refuse["CheckIn"] = refusal(fault.New(fault.NetworkUnavailable, nil))
	s.fake.own()
	if code := s.run("check-in"); code != ctl.ExitUnavailable {
		t.Errorf("exit %d", code)
	}
	s.golden("check-in-refused")
}

func TestTheRemedyOfADiagnosisIsSaidOnce(t *testing.T) {
	s := newSession(t)
	s.fake.own()
	for _, c := range diagnose.Causes() {
		if strings.Contains(c.Remedy, "HOST") {
			continue
		}
		f := fault.New(c.Code, nil)
		f.Message, f.Remedy = c.Message, c.Remedy
		s.fake.refuses("CheckIn", refusal(f))
		s.stdout.Reset()
		s.run("check-in", "--json")
		var got struct {
			Error struct{ Message, Remedy string }
		}
		if err := json.Unmarshal(s.stdout.Bytes(), &got); err != nil || got.Error.Message != c.Message || got.Error.Remedy != c.Remedy {
			t.Errorf("%s: %v, %s", c.Cause, err, s.stdout.String())
		}
	}
}

// lines hands on whole lines as they are written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
	ch  chan string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	for {
		line, err := l.buf.ReadString('\n')
		if errors.Is(err, io.EOF) {
			l.buf.WriteString(line)
			return len(p), nil
		}
		l.ch <- line
	}
}

// await waits for a line with the given text.
func (l *lines) await(t *testing.T, text string) {
	t.Helper()
	for {
		select {
		case line := <-l.ch:
			if strings.Contains(line, text) {
				return
			}
		case <-time.After(time.Minute):
			t.Fatalf("no line with %q", text)
		}
	}
}

func TestMonitorPrintsEveryChangeUntilItIsInterrupted(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			s := newSession(t)
			scenarios["linked"](s.fake)
			s.fake.own()
			out := &lines{ch: make(chan string, 100)}
			s.env.Stdout = out
			ctx, interrupt := context.WithCancel(context.Background())
			ended := make(chan int)
			args := []string{"monitor"}
			want := func(text, json string) string { return text }
			if format == "json" {
				args, want = append(args, "--json"), func(text, json string) string { return json }
			}
			go func() { ended <- ctl.Run(ctx, args, s.env) }()
			out.await(t, want("10:00:00  state: linked", `"event":"property","name":"state","time":1772618400,"value":"linked"`))
			out.await(t, "version")

			s.fake.set(map[string]any{"State": "locked", "LockReason": "lost", "LostMessage": map[string]string{"contact": "+49", "message": "call"}})
			out.await(t, want("lock_reason: lost", `"name":"lock_reason"`))
			out.await(t, want("lost_message:  contact=+49 message=call", `"value":{"contact":"+49","message":"call"}`))
			out.await(t, want("state: locked", `"value":"locked"`))
			s.fake.emit(fakeManager, fakeName+".Manager.Locked", "lost")
			out.await(t, want("locked: lost", `"event":"locked","reason":"lost"`))
			s.fake.emit(fakeManager, fakeName+".Manager.Unlocked", "account")
			out.await(t, want("unlocked: account", `"event":"unlocked","how":"account"`))
			s.fake.mu.Lock()
			s.fake.props["RetryAfter"] = uint32(30)
			s.fake.mu.Unlock()
			s.fake.emit(fakeManager, "org.freedesktop.DBus.Properties.PropertiesChanged", fakeName+".Manager", values{}, []string{"RetryAfter"})
			out.await(t, want("retry_after: 30", `"name":"retry_after"`))

			other := newFakeOn(t, s)
			if err := unicast(other, clientOf(t, s), fakeManager, fakeName+".Manager.Unlocked", "forged"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.fake.conn.ReleaseName(fakeName); err != nil {
				t.Fatal(err)
			}
			select {
			case line := <-out.ch:
				if !strings.Contains(line, want("accountlockd stopped", `"event":"daemon","running":false`)) {
					t.Errorf("line %q", line)
				}
			case <-time.After(time.Minute):
				t.Fatal("the daemon's end was not printed")
			}
			s.fake.own()
			out.await(t, want("accountlockd started", `"running":true`))
			interrupt()
			if code := <-ended; code != ctl.ExitDone {
				t.Errorf("exit %d", code)
			}
		})
	}
}

func newFakeOn(t *testing.T, s *session) *dbus.Conn {
	t.Helper()
	conn, err := dbus.Connect(s.vars["DBUS_SYSTEM_BUS_ADDRESS"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// clientOf returns the one connection that is neither the bus nor the fake's
// nor the newest.
func clientOf(t *testing.T, s *session) string {
	t.Helper()
	var names []string
	if err := s.fake.conn.BusObject().Call("org.freedesktop.DBus.ListNames", 0).Store(&names); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		name := fmt.Sprintf(":1.%d", n)
		if slices.Contains(names, name) && !slices.Contains(s.fake.conn.Names(), name) {
			return name
		}
	}
	t.Fatal("no client is on the bus")
	return ""
}
