// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"database/sql"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/staff"
	"github.com/accountlock/accountlock/internal/service/support"
)

// asStaff signs a member in at the pages of staff.
func asStaff(t *testing.T, s *apitest.Service, m apitest.Member) *browser {
	t.Helper()
	b := visit(t, s)
	got := b.post("/staff/sign-in", "name", m.Name, "password", apitest.StaffPassword, "code", m.Code())
	if got.path != "/staff/cases" || got.status != 200 {
		t.Fatalf("%s is at %s: %d\n%s", m.Name, got.path, got.status, got.main())
	}
	return b
}

// opened is a service with a linked device and an open case about it.
func opened(t *testing.T) (*apitest.Service, *apitest.Device, apitest.Member, apitest.Member, support.Case) {
	t.Helper()
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	alice, bob := s.Member(t, "alice", staff.Agent), s.Member(t, "bob", staff.Agent)
	c, err := s.Cases.Open(t.Context(), alice.Member, d.ID, support.Asked{Challenge: "0123456789"})
	if err != nil {
		t.Fatal(err)
	}
	return s, d, alice, bob, c
}

func TestStaffSignInWithASecondFactorAndApartFromOwners(t *testing.T) {
	s, _, alice, _, c := opened(t)
	b := visit(t, s)
	for _, wrong := range [][3]string{
		{"alice", apitest.StaffPassword, "000000"}, {"alice", "another password", alice.Code()}, {"nobody", apitest.StaffPassword, alice.Code()},
	} {
		got := b.post("/staff/sign-in", "name", wrong[0], "password", wrong[1], "code", wrong[2])
		got.says(t, "The name, the password or the code is wrong.")
		if got.status != 422 || strings.Contains(got.body, wrong[1]) {
			t.Errorf("%v: %d", wrong, got.status)
		}
	}
	// Neither door opens the other.
	owner := visit(t, s).signIn(s.Owner)
	for _, path := range []string{"/staff/cases", "/staff/audit", "/staff/cases/" + c.Number} {
		if got := owner.get(path); got.path != "/staff" {
			t.Errorf("an owner sees %s at %s", path, got.path)
		}
	}
	if got := owner.post("/staff/cases/"+c.Number+"/close", "x", "y"); got.path != "/staff" {
		t.Errorf("an owner closes a case: %s", got.path)
	}
	in := asStaff(t, s, alice)
	if got := in.get("/devices"); !strings.HasPrefix(got.path, "/sign-in") {
		t.Errorf("staff see an owner's devices at %s", got.path)
	}
	got := in.get("/staff/cases")
	if got.header.Get("Cache-Control") != "no-store" {
		t.Error("the pages of staff may be stored")
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if len(in.http.Jar.Cookies(u)) != 0 {
		t.Error("the cookie of staff goes to the owners' pages")
	}
	in.post("/staff/sign-out").says(t, "You are signed out")
	if got := in.get("/staff/cases"); got.path != "/staff" {
		t.Errorf("after signing out: %s", got.path)
	}
	again := asStaff(t, s, alice)
	s.Clock.Advance(31 * time.Minute)
	if got := again.get("/staff/cases"); got.path != "/staff" {
		t.Errorf("after half an idle hour: %s", got.path)
	}
}

func TestStaffReleaseADeviceOnTheirPagesTogether(t *testing.T) {
	s, d, alice, bob, c := opened(t)
	at := "/staff/cases/" + c.Number
	a, b := asStaff(t, s, alice), asStaff(t, s, bob)
	a.get("/staff/cases").says(t, c.Number)
	if got := a.get("/staff/cases?number=" + strings.ReplaceAll(c.Number, "-", "")); got.path != at {
		t.Errorf("a case is found at %s", got.path)
	}
	a.get("/staff/cases?number=123").says(t, "nine digits")
	a.get(at).says(t, d.ID, "0123456789", "What is the account ID?", "Nobody has approved")
	if strings.Contains(a.get(at).body, s.Owner.Email) {
		t.Error("a case shows the owner's address")
	}
	a.post(at+"/approve", "action", "release", "password", apitest.StaffPassword).says(t, "Too few questions")
	a.post(at+"/answer", "question", "devices", "answer", "7").says(t, "The answer was wrong.")
	a.post(at+"/answer", "question", "account-id", "answer", s.Owner.ID).says(t, "The answer was right.")
	a.post(at+"/answer", "question", "email", "answer", s.Owner.Email).says(t, "2 answered rightly, 1 wrongly")
	a.post(at+"/note", "text", "calls back <b>at noon</b>").says(t, "The note was written down.", "calls back <b>at noon</b>")
	a.post(at+"/approve", "action", "release", "password", "not mine").says(t, "password is wrong")
	a.post(at+"/approve", "action", "release", "password", apitest.StaffPassword).says(t, "Your approval was noted", "Another member of staff has to approve too.")
	a.post(at+"/approve", "action", "release", "password", apitest.StaffPassword).says(t, "You have approved already")
	b.post(at+"/approve", "action", "release", "password", apitest.StaffPassword).says(t, "The owner can object until")
	b.post(at+"/act", "action", "release", "password", apitest.StaffPassword).says(t, "The owner can still object")
	s.Clock.Advance(support.ObjectionTime)
	// Their sessions have ended by then; that is as it should be.
	b = asStaff(t, s, bob)
	b.get(at).says(t, "It may be done until")
	b.post(at+"/act", "action", "ticket", "password", apitest.StaffPassword).says(t, "This is not approved of by two")
	b.post(at+"/act", "action", "release", "password", apitest.StaffPassword).says(t, "It is done", "released")
	if st := state(t, s, d); *st.Status != "unlinked" {
		t.Errorf("the device hears %s", *st.Status)
	}
	b.get("/staff/audit?case="+c.Number).says(t, "device-released", "case-opened")
	b.post("/staff/audit").says(t, "The trail is whole")
	if err := s.DB.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE audit_entries SET actor = 'bob' WHERE number = 4`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	b.post("/staff/audit").says(t, "The trail is not whole", "Entry 4 was changed")
}

func TestATicketIsShownOnceAndToWhoFetchedIt(t *testing.T) {
	s, _, alice, bob, c := opened(t)
	at := "/staff/cases/" + c.Number
	a := asStaff(t, s, alice)
	a.post(at+"/answer", "question", "account-id", "answer", s.Owner.ID)
	a.post(at+"/answer", "question", "email", "answer", s.Owner.Email)
	for _, m := range []apitest.Member{alice, bob} {
		if _, err := s.Cases.Approve(t.Context(), m.Member, c.Number, support.Ticket); err != nil {
			t.Fatal(err)
		}
	}
	s.Clock.Advance(support.ObjectionTime)
	a = asStaff(t, s, alice)
	got := a.post(at+"/act", "action", "ticket", "challenge", "01234 56789", "password", apitest.StaffPassword)
	got.says(t, "Give this to the person")
	if !strings.Contains(got.body, "eyJ") || strings.Contains(a.get(at).body, "eyJ") {
		t.Error("the ticket is not shown once")
	}
}

func TestAnAuditorReadsAndChangesNothing(t *testing.T) {
	s, d, _, _, c := opened(t)
	dora := asStaff(t, s, s.Member(t, "dora", staff.Auditor))
	at := "/staff/cases/" + c.Number
	if page := dora.get(at).says(t, c.Number); strings.Contains(page.main(), "<form") {
		t.Errorf("an auditor is offered a form:\n%s", page.main())
	}
	for _, f := range [][]string{
		{at + "/note", "text", "hello"}, {at + "/answer", "question", "account-id", "answer", s.Owner.ID}, {at + "/close"},
		{at + "/approve", "action", "release", "password", apitest.StaffPassword}, {at + "/act", "action", "release", "password", apitest.StaffPassword},
		{"/staff/cases", "device", d.ID},
	} {
		dora.post(f[0], f[1:]...).says(t, "An auditor reads cases and changes none.")
	}
	dora.post("/staff/audit").says(t, "The trail is whole")
}

func TestAnOwnerSeesACaseAndStopsItThereOrByTheMail(t *testing.T) {
	s, _, alice, _, c := opened(t)
	b := visit(t, s).signIn(s.Owner)
	b.get("/devices").says(t, "Support has an open case about your account.")
	b.get("/support").says(t, c.Number, "Nobody has approved of anything yet.")
	other := visit(t, s).signIn(s.Stranger)
	if strings.Contains(other.get("/support").body, c.Number) {
		t.Error("a stranger sees the case")
	}
	other.post("/support/stop-mine", "case", c.Number)
	b.get("/support").says(t, c.Number)
	b.post("/support/stop-mine", "case", c.Number).says(t, "The case is stopped.", "There is no open case")
	s.Clock.Advance(25 * time.Hour)
	next, err := s.Cases.Open(t.Context(), alice.Member, c.DeviceID, support.Asked{})
	if err != nil {
		t.Fatal(err)
	}
	link := strings.TrimPrefix(s.Cases.StopURL(next.Number), "https://accounts.example.org")
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	guest := visit(t, s)
	guest.language = "de"
	guest.get(link).says(t, "Einen Supportfall anhalten", next.Number)
	if got, err := s.Cases.Get(t.Context(), next.Number); err != nil || got.Outcome != support.Open {
		t.Fatal("looking at the link stopped the case")
	}
	guest.post("/support/stop", "case", next.Number, "code", "AAAA").says(t, "Kein offener Fall")
	guest.post("/support/stop", "case", next.Number, "code", u.Query().Get("code")).says(t, "Der Fall ist angehalten.")
	if got, err := s.Cases.Get(t.Context(), next.Number); err != nil || got.Outcome != support.Stopped {
		t.Fatal(got.Outcome)
	}
}

func TestAFormOfAnotherSiteDoesNothingForStaff(t *testing.T) {
	s, _, alice, _, c := opened(t)
	a := asStaff(t, s, alice)
	for _, path := range []string{"/staff/cases/" + c.Number + "/close", "/staff/cases/" + c.Number + "/approve", "/staff/sign-in", "/support/stop"} {
		if got := a.postFrom("https://evil.example", path, "password", apitest.StaffPassword); got.status != 403 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	if got, err := s.Cases.Get(t.Context(), c.Number); err != nil || got.Outcome != support.Open {
		t.Fatal(got.Outcome)
	}
}
