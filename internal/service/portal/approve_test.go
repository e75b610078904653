// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

func TestAnOwnerWhoScansTheCodeSignsInAndComesBackToIt(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	flow, code := d.AskApproval(t)
	b := visit(t, s)
	form := b.get("/approve?code=" + code)
	if !strings.HasPrefix(form.path, "/sign-in?to=") {
		t.Fatalf("a visitor is at %s", form.path)
	}
	page := b.post("/sign-in", "to", "/approve?code="+code, "identifier", s.Owner.Email, "password", s.Owner.Password)
	page.says(t, "Somebody asks to open this device", "test device", d.ID, code, "The device is in my hands", "From the network that you are in now (127.0.0.1)")
	if strings.Contains(page.main(), `name="password"`) {
		t.Error("the password is asked for again right after the sign-in")
	}
	b.post("/approve", "code", code, "decision", "approve").says(t, "is not ticked")
	got := b.post("/approve", "code", code, "decision", "approve", "hands", "1").says(t, "You approved it. The device opens within seconds.", "You approved that it is opened.")
	if got.path != "/devices/"+d.ID+"?done=device-approved" {
		t.Errorf("it goes on at %s", got.path)
	}
	// Until the device has fetched it, it can be taken back, and not be given again.
	page = b.get("/approve?code="+code).says(t, "You approved it.", "No, keep it locked")
	if strings.Contains(page.body, "Open this device</button>") {
		t.Errorf("it asks again for what was approved: %s", page.main())
	}
	s.Clock.Advance(5 * time.Second)
	if a := d.Reply(t, flow, apitest.Approve(apitest.NewNonce())); a.Step.Grant == nil {
		t.Errorf("the device gets %d %s", a.Status, a.Body)
	}
	b.post("/approve", "code", code, "decision", "refuse").says(t, "This code is no longer good.", "Have the device show a new code")
}

func TestAnApprovalTakesThePasswordSomeTimeAfterTheSignIn(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	b := visit(t, s).signIn(s.Owner)
	s.Clock.Advance(11 * time.Minute)
	flow, code := d.AskApproval(t)
	if page := b.get("/approve?code=" + code); !strings.Contains(page.main(), `name="password"`) {
		t.Error("the page asks for no password")
	}
	b.post("/approve", "code", code, "decision", "approve", "hands", "1").says(t, "The password is missing.")
	b.post("/approve", "code", code, "decision", "approve", "hands", "1", "password", "a guess").says(t, "password is wrong")
	s.Clock.Advance(5 * time.Second)
	if a := d.Reply(t, flow, apitest.Approve(apitest.NewNonce())); a.Step.Step != accountapi.Approve {
		t.Errorf("the device gets %d %s", a.Status, a.Body)
	}
	// To refuse takes none.
	b.post("/approve", "code", code, "decision", "refuse").says(t, "You refused it. The device stays locked.")
	s.Clock.Advance(5 * time.Second)
	if a := d.Reply(t, flow, apitest.Approve(apitest.NewNonce())); a.Code() != "Declined" {
		t.Errorf("the device gets %d %s", a.Status, a.Body)
	}
}

func TestARequestIsShownToItsOwnerAlone(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	_, code := d.AskApproval(t)
	stranger := visit(t, s).signIn(s.Stranger)
	for _, got := range []seen{stranger.get("/approve?code=" + code), stranger.post("/approve", "code", code, "decision", "approve", "hands", "1")} {
		got.says(t, "No device of yours asks with this code.", "sign in with the account that the device belongs to")
		if strings.Contains(got.body, d.ID) || got.status != http.StatusUnprocessableEntity {
			t.Errorf("a stranger sees %d %s", got.status, got.main())
		}
	}
	stranger.get("/approve?code=12").says(t, "A code has eight letters")
	var last seen
	for range 12 {
		last = stranger.get("/approve?code=BCDF-GHJK")
	}
	if last.says(t, "Too many codes were wrong."); last.status != http.StatusTooManyRequests {
		t.Errorf("guesses: %d", last.status)
	}
	owner := visit(t, s).signIn(s.Owner)
	owner.get("/approve?code="+strings.ToLower(strings.ReplaceAll(code, "-", " "))).says(t, "test device")
	owner.post("/devices/" + d.ID + "/lost")
	owner.get("/approve?code="+code).says(t, "marked as lost: nobody can approve")
	owner.post("/devices/"+d.ID+"/found", "password", s.Owner.Password)
	_, next := d.AskApproval(t)
	if got := owner.get("/approve?code=" + next); !strings.Contains(got.body, `name="to" value="/approve?code=`+next+`"`) {
		t.Error("a choice of language loses the code")
	}
	owner.post("/devices/" + d.ID + "/lost")
	owner.language = "de"
	owner.get("/approve?code="+code).says(t, "als verloren gemeldet")
}

func TestALinkOnAnotherSiteOnlyFillsTheFormIn(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	_, code := d.AskApproval(t)
	b := visit(t, s).signIn(s.Owner)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/approve?code="+code, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if got := b.do(r).says(t, "The code on the device", code); strings.Contains(got.body, d.ID) {
		t.Errorf("it shows the request: %s", got.main())
	}
	if got := b.postFrom("https://evil.example.org", "/approve", "code", code, "decision", "approve", "hands", "1"); got.status != http.StatusForbidden {
		t.Errorf("another site's form: %d", got.status)
	}
}

func TestADeviceThatLostItsKeyIsPointedOut(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	other := apitest.NewDevice(s.URL, apitest.Client(s.CA))
	other.Serial = d.Serial
	other.Enrol(t)
	_, code := other.AskApproval(t)
	visit(t, s).signIn(s.Owner).get("/approve?code="+code).says(t, "It could not prove to be the device that you linked")
}

func TestAnApprovalTakesTheSecondFactorTooWhereThereIsOne(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	b := visit(t, s).signIn(s.Owner)
	app, _ := b.addApp(s.Owner)
	s.Clock.Advance(11 * time.Minute)
	_, code := d.AskApproval(t)
	b.get("/approve?code="+code).says(t, `name="password"`, `name="second"`)
	b.post("/approve", "code", code, "decision", "approve", "hands", "1", "password", s.Owner.Password, "second", "000000").says(t, "Somebody asks to open this device")
	b.post("/approve", "code", code, "decision", "approve", "hands", "1", "password", s.Owner.Password, "second", app.code()).says(t, "You approved it.")
}
