// SPDX-License-Identifier: Apache-2.0

package ctl_test

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/ctl"
	"github.com/accountlock/accountlock/internal/fault"
)

func TestAPersonUnlocksTheDeviceAfterAWrongPassword(t *testing.T) {
	s := newSession(t)
	scenarios["locked"](s.fake)
	s.fake.own()
	p := s.types("", wrongPassword, password)
	p.caps = true
	if code := s.run("unlock"); code != ctl.ExitDone {
		t.Errorf("exit %d", code)
	}
	s.golden("unlock")
	calls := s.fake.seen("Submit")
	if len(calls) != 3 || len(calls[0].Args) != 0 {
		t.Fatalf("answers: %v", calls)
	}
	if !calls[1].Interactive {
		t.Error("on a terminal polkit must be allowed to ask")
	}
	for _, line := range p.typed {
		if strings.Trim(string(line), "\x00") != "" {
			t.Errorf("what was typed is still in memory: %q", string(line))
		}
	}
}

func TestAPersonLinksTheDeviceAndTypesTheRecoveryGroups(t *testing.T) {
	s := newSession(t)
	scenarios["unlinked"](s.fake)
	s.fake.own()
	// The empty line at the code opens the menu; 2 sends the code again.
	s.types("12345678", password, "", "2", smsCode, "y", "jklnrtuv-cbdefghj")
	if code := s.run("link"); code != ctl.ExitDone {
		t.Errorf("exit %d", code)
	}
	if n := s.fake.flow.resentTimes(); n != 1 {
		t.Errorf("sent again %d times", n)
	}
	if strings.Contains(s.stdout.String(), recoveryCode) {
		t.Error("a recovery code that a person has typed back need not stand in the result")
	}
	s.golden("link")
}

func TestAPersonTakesAnotherWay(t *testing.T) {
	s := newSession(t)
	scenarios["locked"](s.fake)
	s.fake.own()
	s.types("", "", "3")
	if code := s.run("unlock"); code != ctl.ExitDone {
		t.Errorf("exit %d", code)
	}
	s.golden("another-way")
}

func TestNothingIsChangedByANo(t *testing.T) {
	s := newSession(t)
	scenarios["linked"](s.fake)
	s.fake.own()
	s.types("maybe", "n")
	if code := s.run("unlink"); code != ctl.ExitFailed {
		t.Errorf("exit %d", code)
	}
	if !s.fake.flow.wasCancelled() {
		t.Error("the flow was not cancelled")
	}
	s.golden("no")
}

func TestCtrlCCancelsTheFlow(t *testing.T) {
	s := newSession(t)
	scenarios["locked"](s.fake)
	s.fake.own()
	ctx, interrupt := context.WithCancel(context.Background())
	s.types("").at = map[int]func(){1: interrupt}
	if code := ctl.Run(ctx, []string{"unlock"}, s.env); code != ctl.ExitFailed {
		t.Errorf("exit %d", code)
	}
	if !s.fake.flow.wasCancelled() {
		t.Error("the flow was not cancelled")
	}
	s.golden("ctrl-c")
}

func TestWhatHasBegunIsNotSaidToBeCancelled(t *testing.T) {
	s := newSession(t)
	scenarios["stuck"](s.fake)
	s.fake.own()
	ctx, interrupt := context.WithCancel(context.Background())
	s.fake.flow.steps[2].enter = func(*fakeDaemon) { interrupt() }
	s.types("", password)
	if code := ctl.Run(ctx, []string{"unlock"}, s.env); code != ctl.ExitFailed {
		t.Errorf("exit %d", code)
	}
	if !strings.Contains(s.screen.String(), "goes on without you") {
		t.Errorf("screen:\n%s", s.screen.String())
	}
}

func TestAStepThatThisProgramDoesNotKnowIsDrawnAndAnswered(t *testing.T) {
	s := newSession(t)
	s.fake.flow.steps = []fakeStep{
		{
			name: "palm-reading",
			prompt: map[string]any{
				"title": "Show your hand", "text": "Hold it\x1b[2J before the camera.", "line-of-life": "long", "fingers": uint32(5),
			},
			fields: []fakeField{{"hand", "text", true}, {"sure", "bool", true}, {"ring", "text", false}},
		},
		doneAs("linked"),
	}
	s.fake.own()
	s.types("left", "yes", "")
	if code := s.run("unlock"); code != ctl.ExitDone {
		t.Errorf("exit %d", code)
	}
	s.golden("unknown-step")
	got := s.fake.seen("Submit")[0].Args
	if got["hand"].Value() != "left" || got["sure"].Value() != true || len(got) != 2 {
		t.Errorf("answer: %v", got)
	}
}

func TestAFlowEndsAsItsLastStepSays(t *testing.T) {
	tests := map[string]struct {
		steps []fakeStep
		exit  int
		says  string
	}{
		"failed with its reason": {
			[]fakeStep{{name: "failed", prompt: map[string]any{}, err: fault.New(fault.GrantRefused, nil)}},
			ctl.ExitUntrusted, "does not fit this device",
		},
		"failed without one": {
			[]fakeStep{{name: "failed", prompt: map[string]any{}}}, ctl.ExitFailed, "did not say why",
		},
		"a wait of days": {
			[]fakeStep{{name: "wait", prompt: map[string]any{"title": "Wait", "until": uint64(1772791200)}}},
			ctl.ExitWait, "Friday 2026-03-06 10:00",
		},
		"done, with something left to do": {
			[]fakeStep{{name: "working", prompt: map[string]any{}, progress: []float64{1}}, {
				name: "done", prompt: map[string]any{}, err: fault.New(fault.StorageFailed, nil),
			}},
			ctl.ExitDone, "could not read or write its own storage",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSession(t)
			s.fake.flow.steps = tt.steps
			s.fake.own()
			if code := s.run("unlock"); code != tt.exit || !strings.Contains(s.screen.String(), tt.says) {
				t.Errorf("exit %d:\n%s", code, s.screen.String())
			}
		})
	}
}

func TestAFlowIsBegunInThePersonsLanguage(t *testing.T) {
	for _, tt := range []struct {
		name string
		vars map[string]string
		args []string
		want map[string]any
	}{
		{"the environment's", map[string]string{"LANG": "de_DE.UTF-8"}, []string{"unlock"}, map[string]any{"locale": "de-DE"}},
		{"the stronger variable's", map[string]string{"LANG": "de_DE", "LC_ALL": "sr_RS@latin"}, []string{"unlock"}, map[string]any{"locale": "sr-RS"}},
		{"none", map[string]string{"LANG": "C.UTF-8"}, []string{"unlock"}, map[string]any{}},
		{"nonsense is none", map[string]string{"LANG": "english"}, []string{"unlock"}, map[string]any{}},
		{
			"the flag's", map[string]string{"LANG": "de_DE"},
			[]string{"factory-reset", "--locale", "fr", "--region", "CH", "--unlink"},
			map[string]any{"locale": "fr", "region": "CH", "unlink": true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSession(t)
			s.fake.flow.steps = []fakeStep{{name: "failed", prompt: map[string]any{}, err: fault.New(fault.Timeout, nil)}}
			s.fake.own()
			for k, v := range tt.vars {
				s.vars[k] = v
			}
			s.run(tt.args...)
			var got fakeCall
			for m := range kinds {
				for _, c := range s.fake.seen(m) {
					got = c
				}
			}
			if len(got.Args) != len(tt.want) {
				t.Errorf("options %v", got.Args)
			}
			for k, v := range tt.want {
				if got.Args[k].Value() != v {
					t.Errorf("%s is %v", k, got.Args[k])
				}
			}
		})
	}
}

func TestNoSignalIsReliedOn(t *testing.T) {
	s := newSession(t)
	scenarios["locked"](s.fake)
	s.fake.flow.silent = true
	s.fake.own()
	code := s.run("unlock", "--json", "--password-file", s.file(password))
	if code != ctl.ExitDone || !strings.Contains(s.stdout.String(), `"state":"linked"`) {
		t.Errorf("exit %d: %s", code, s.stdout.String())
	}
}

func TestSignalsOfOthersAreNotBelieved(t *testing.T) {
	s := newSession(t)
	scenarios["linked"](s.fake)
	s.fake.own()
	// Somebody else says that the flow is finished, and gives a receipt.
	s.fake.flow.result = values{"receipt": dbus.MakeVariant("genuine")}
	s.fake.flow.steps[1].answer = func(in values) *fault.Error {
		other, err := dbus.Connect(s.vars["DBUS_SYSTEM_BUS_ADDRESS"])
		if err != nil {
			t.Error(err)
			return nil
		}
		defer other.Close()
		// The flow's owner hears both; only one is from the daemon.
		err = unicast(other, s.fake.flow.owner, s.fake.flow.path, fakeName+".Flow.Finished",
			"done", values{"receipt": dbus.MakeVariant("forged")})
		if err == nil {
			err = other.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err // sent by now
		}
		if err != nil {
			t.Error(err)
		}
		return checkPassword(in)
	}
	code := s.run("unlink", "--json", "--yes", "--password-file", s.file(password))
	var got struct{ Receipt string }
	if err := json.Unmarshal(s.stdout.Bytes(), &got); err != nil || code != 0 || got.Receipt != "genuine" {
		t.Errorf("exit %d, %v: %s", code, err, s.stdout.String())
	}
}

func TestADaemonThatDiesDuringALinkLeavesTheCodeToItsOwner(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			s := newSession(t)
			scenarios["unlinked"](s.fake)
			s.fake.flow.steps[3].answer = func(values) *fault.Error {
				s.fake.conn.Close()
				return nil
			}
			s.fake.own()
			args := []string{"link", "--identifier", "1", "--password-file", s.file(password), "--code-file", s.file(smsCode), "--yes"}
			want := "Recovery code: " + recoveryCode
			if format == "json" {
				args, want = append(args, "--json"), `"recovery_code":"`+recoveryCode
			}
			code := s.run(args...)
			if code != ctl.ExitUnavailable || !strings.Contains(s.screen.String(), "(accountlockd) stopped") || !strings.Contains(s.stdout.String(), want) {
				t.Errorf("exit %d:\n%s", code, s.screen.String())
			}
		})
	}
}

// hoard keeps every buffer that was read into.
type hoard struct {
	r    io.Reader
	bufs [][]byte
}

func (h *hoard) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.bufs = append(h.bufs, p[:n])
	return n, err
}

func TestASecretFromStandardInputIsWiped(t *testing.T) {
	for _, word := range []string{password, wrongPassword} {
		s := newSession(t)
		scenarios["locked"](s.fake)
		s.fake.own()
		in := &hoard{r: strings.NewReader(word + "\n")}
		s.env.Stdin = in
		s.run("unlock", "--password-file", "-")
		if len(in.bufs) == 0 {
			t.Fatal("nothing was read")
		}
		for _, b := range in.bufs {
			if strings.Trim(string(b), "\x00\n") != "" {
				t.Errorf("still in memory: %q", b)
			}
		}
		if got := s.fake.seen("Submit")[1].Args["password"]; sayType(got) != "ay" {
			t.Errorf("the password was sent as %s", sayType(got))
		}
	}
}

func TestTextThatTheBusCannotCarryIsAWrongCall(t *testing.T) {
	s := newSession(t)
	s.fake.flow.steps = linkSteps()
	s.fake.own()
	const bad = "x\xff"
	for _, args := range [][]string{{"link", "--identifier", bad}, {"link", "--locale", bad}, {"link", "--region", bad}, {"support", "--region", bad}} {
		s.stdout.Reset()
		if code := s.run(append(args, "--json")...); code != ctl.ExitUsage || !strings.Contains(s.stdout.String(), "cannot be read") {
			t.Errorf("%q: exit %d, %s", args, code, s.stdout.String())
		}
	}
}

func TestARefusedWayIsToldInTheFlowsOwnWords(t *testing.T) {
	s := newSession(t)
	scenarios["locked"](s.fake)
	lost := fault.Newf(fault.Declined, "This device is marked lost: no approval opens it.")
	lost.Remedy = "Sign in on it with its owner's account and password."
	s.fake.flow.refuseWay = lost
	s.fake.own()
	if code := s.run("unlock", "--method", "approve", "--json"); code != ctl.ExitRefused {
		t.Errorf("exit %d", code)
	}
	const want = `"message":"This device is marked lost: no approval opens it.","remedy":"Sign in on it with its owner's account and password.","counted":false`
	if !strings.Contains(s.stdout.String(), want) {
		t.Errorf("it says %s", s.stdout.String())
	}
}
