// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

// asked is an unlock in which the person is asked whether support shall help.
func asked(t *testing.T, d *daemon) *flow.Flow {
	t.Helper()
	f := begin(t, d, lock.KindUnlock)
	if err := f.Choose(t.Context(), "support"); err != nil {
		t.Fatal(err)
	}
	if v := f.View(); v.Step != flow.StepConfirm || v.Prompt.CaseNumber != "" || len(v.Prompt.Consequences) != 3 {
		t.Fatalf("%s %+v", v.Step, v.Prompt)
	}
	return f
}

func consent(f *flow.Flow, yes bool) error {
	return f.Submit(context.Background(), flow.Input{"confirm": yes})
}

func TestSupportOpensACaseOnceThePersonSaysSoAndItsCodeOpensTheDevice(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	f := asked(t, d)
	if len(w.cases) != 0 {
		t.Fatal("a case was opened before anybody said so")
	}
	if err := consent(f, true); err != nil {
		t.Fatal(err)
	}
	v := f.View()
	challenge := v.Prompt.Challenge
	if v.Step != flow.StepOffline || !strings.HasPrefix(v.Prompt.CaseNumber, "482-177-") || !strings.Contains(v.Prompt.Text, "case number") {
		t.Fatalf("%s %+v", v.Step, v.Prompt)
	}
	if len(w.cases) != 1 || w.cases[0].Challenge != challenge || len(challenge) != 10 {
		t.Fatalf("%+v", w.cases)
	}
	wantCode(t, code(f, w.wrongFor(t, challenge, 1)), fault.InvalidCode)
	if now := f.View().Prompt; now.CaseNumber != v.Prompt.CaseNumber || now.Text != v.Prompt.Text {
		t.Fatalf("after a wrong code: %+v", now)
	}
	if err := code(f, w.respond(t, challenge)); err != nil {
		t.Fatal(err)
	}
	if d.state().State != lock.Linked {
		t.Fatal(d.state())
	}
	// Nobody asks for a case about a device that is open.
	wantCode(t, begin(t, d, lock.KindSignOut).Choose(t.Context(), "support"), fault.InvalidArgument)
}

func TestWhoDoesNotWantACaseIsBackAtTheBeginning(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	f := asked(t, d)
	if err := consent(f, false); err != nil {
		t.Fatal(err)
	}
	if v := f.View(); v.Step != flow.StepIdentify || len(w.cases) != 0 {
		t.Fatalf("%s %v", v.Step, w.cases)
	}
	// Another way taken in its place asks for no case.
	f = asked(t, d)
	if err := f.Choose(t.Context(), "password"); err != nil {
		t.Fatal(err)
	}
	if v := f.View(); v.Step != flow.StepIdentify || len(w.cases) != 0 {
		t.Fatalf("%s %v", v.Step, w.cases)
	}
}

func TestARefusedCaseLeavesTheOtherWaysOpen(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	for _, c := range []fault.Code{fault.NetworkUnavailable, fault.RateLimited, fault.Declined, fault.ServiceUnavailable} {
		w.fail["case"] = fault.New(c, nil)
		f := asked(t, d)
		wantCode(t, consent(f, true), c)
		v := f.View()
		if v.Step != flow.StepConfirm || v.Error == nil || v.Error.Code != c || v.Error.Counted {
			t.Fatalf("%s: %s %+v", c, v.Step, v.Error)
		}
		delete(w.fail, "case")
		if err := consent(f, true); err != nil || f.View().Prompt.CaseNumber == "" {
			t.Fatalf("%s: asked again: %v", c, err)
		}
	}
	if w.record.Attempts.Failed != 0 {
		t.Fatal("a refused case counted as an attempt")
	}
}
