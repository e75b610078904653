// SPDX-License-Identifier: Apache-2.0

package ctl_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/ctl"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/captcha"
)

// captchaSteps ask for a captcha, then for the password.
func captchaSteps(t *testing.T, answer func(values) *fault.Error) []fakeStep {
	t.Helper()
	challenge, err := captcha.New(nil, []byte("a service secret of 32 bytes....."), time.Now).Challenge("flow")
	if err != nil {
		t.Fatal(err)
	}
	return append([]fakeStep{{
		name:   "captcha",
		prompt: map[string]any{"title": "Unlock this device", "text": "Show that a person is typing.", "captcha": challenge},
		fields: []fakeField{{"captcha", "text", true}},
		answer: answer,
	}}, unlockSteps()[1:]...)
}

func TestACaptchaIsSolvedWithoutAskingAnybody(t *testing.T) {
	s := newSession(t)
	scenarios["locked"](s.fake)
	refused := 0
	s.fake.flow.steps = captchaSteps(t, func(in values) *fault.Error {
		if text, ok := in["captcha"].Value().(string); !ok || len(text) < 100 {
			t.Errorf("the answer is %v", in["captcha"])
		}
		if refused++; refused == 1 {
			return fault.New(fault.CaptchaRequired, nil) // it had run out
		}
		return nil
	})
	s.fake.own()
	if code := s.run("unlock", "--identifier", "12345678", "--password-file", s.file(password)); code != ctl.ExitDone || refused != 2 {
		t.Errorf("exit %d after %d answers\n%s", code, refused, s.screen.String())
	}
}

func TestCaptchasAreNotSolvedWithoutEnd(t *testing.T) {
	s := newSession(t)
	scenarios["locked"](s.fake)
	var asked atomic.Int32
	s.fake.flow.steps = captchaSteps(t, func(values) *fault.Error { asked.Add(1); return fault.New(fault.CaptchaRequired, nil) })
	s.fake.own()
	if code := s.run("unlock", "--identifier", "12345678", "--password-file", s.file(password)); code != ctl.ExitRefused || asked.Load() != 5 {
		t.Errorf("exit %d after %d answers", code, asked.Load())
	}
}
