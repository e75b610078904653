// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"testing"

	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/staff"
	"github.com/accountlock/accountlock/internal/service/support"
	"github.com/accountlock/accountlock/test/browser"
)

// desk is a world with a case about its device and two members of staff.
type desk struct {
	world
	alice, bob apitest.Member
	number     string
}

func newDesk(t *testing.T) desk {
	t.Helper()
	d := desk{world: newWorld(t)}
	d.alice, d.bob = d.Member(t, "alice", staff.Agent), d.Member(t, "bob", staff.Agent)
	c, err := d.Cases.Open(t.Context(), d.alice.Member, d.device.ID, support.Asked{Challenge: "0123456789", Region: "GB"})
	if err != nil {
		t.Fatal(err)
	}
	d.number = c.Number
	return d
}

// staffSignIn are the steps by which a member signs in.
func (d desk) staffSignIn(m apitest.Member) [][]any {
	return [][]any{
		d.goTo("/staff"), do("see", "These pages are for the staff of support"),
		do("fill", "Name", m.Name), do("fill", "Your password", apitest.StaffPassword), do("fill", "Code of your authenticator app", m.Code()),
		do("button", "Sign in"), do("see", "Open cases"),
	}
}

func TestThePagesOfSupportServeAThumbAndAScreenReader(t *testing.T) {
	d := newDesk(t)
	if _, _, err := d.Cases.Answer(t.Context(), d.alice.Member, d.number, "account-id", d.Owner.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Cases.Note(t.Context(), d.alice.Member, d.number, "calls back at noon"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		plan browser.Plan
	}{
		{"phone", phone},
		{"narrow-dark", browser.Plan{Width: 320, Height: 640, Touch: true, Dark: true}},
		{"desktop", browser.Plan{Width: 1280, Height: 900}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var steps [][]any
			look := func(path, says string) {
				steps = append(steps, d.goTo(path), do("see", says), do("axe"))
				if c.plan.Touch {
					steps = append(steps, do("targets"))
				}
			}
			look("/staff", "These pages are for the staff of support")
			steps = append(steps, d.staffSignIn(d.alice)...)
			look("/staff/cases?all=1", d.number)
			look("/staff/cases/"+d.number, "Questions about the account")
			steps = append(steps, shot(t, "portal-staff-case-"+c.name))
			look("/staff/audit", "case-opened")
			steps = append(steps, do("button", "Verify the trail"), do("see", "The trail is whole"), do("axe"), shot(t, "portal-staff-audit-"+c.name))
			look("/support/stop?case="+d.number+"&code=AAAA", "Somebody asked support to open or release your device")
			steps = append(steps, d.signIn()...)
			look("/support", "Nobody has approved of anything yet.")
			steps = append(steps, shot(t, "portal-support-"+c.name))
			d.visit(t, c.plan, steps...)
		})
	}
}

func TestStaffWorkOnACaseByTheKeyboardAlone(t *testing.T) {
	d := newDesk(t)
	d.visit(t, browser.Plan{Width: 1024, Height: 768},
		d.goTo("/staff"),
		do("tab", "Name"), do("type", d.alice.Name), do("tab", "Your password"), do("type", apitest.StaffPassword),
		do("tab", "Code of your authenticator app"), do("type", d.alice.Code()), do("key", "Enter"),
		do("see", "Open cases"), do("tab", d.number), do("key", "Enter"),
		do("see", "Questions about the account"),
		do("tab", "Answer"), do("type", d.Owner.ID), do("key", "Enter"), do("see", "The answer was right."),
		do("tab", "Note"), do("type", "calls back at noon"), do("tab", "Write it down"), do("key", "Enter"), do("see", "The note was written down."),
		do("tab", "Close the case"), do("key", "Enter"), do("see", "The case is closed."),
		do("tab", "Sign out"), do("key", "Enter"), do("see", "You are signed out"),
	)
}

func TestSupportWorksWithoutJavaScript(t *testing.T) {
	d := newDesk(t)
	for question, answer := range map[string]string{"account-id": d.Owner.ID, "email": d.Owner.Email} {
		if _, _, err := d.Cases.Answer(t.Context(), d.alice.Member, d.number, question, answer); err != nil {
			t.Fatal(err)
		}
	}
	off := false
	steps := append(d.staffSignIn(d.alice),
		do("link", d.number), do("fillin", "#approve-password", apitest.StaffPassword), do("button", "Approve"),
		do("see", "Your approval was noted"), do("button", "Sign out"), do("see", "You are signed out"))
	steps = append(steps, d.signIn()...)
	steps = append(steps, do("link", "See it"), do("see", "approved by one member of staff"), do("button", "Stop case"),
		do("see", "The case is stopped."), do("see", "There is no open case"))
	d.visit(t, browser.Plan{Width: 390, Height: 844, JavaScript: &off}, steps...)
}
