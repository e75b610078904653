// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/proofofwork"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

func TestAnOwnerSignsInByEachIdentifierAndOut(t *testing.T) {
	s := apitest.Start(t)
	for _, identifier := range []string{s.Owner.Email, s.Owner.ID, strings.ToUpper(s.Owner.Email)} {
		b := visit(t, s)
		b.post("/sign-in", "identifier", identifier, "password", s.Owner.Password).says(t, "These devices belong to your account")
		b.get("/account").says(t, s.Owner.ID, s.Owner.Email)
		b.post("/sign-out").says(t, "You are signed out")
		if got := b.get("/account"); !strings.HasPrefix(got.path, "/sign-in") {
			t.Errorf("after signing out, the account is at %s", got.path)
		}
	}
}

func TestAWrongPasswordAndAnUnknownNameLookAlike(t *testing.T) {
	s := apitest.Start(t)
	wrong := visit(t, s).post("/sign-in", "identifier", s.Owner.Email, "password", "something else")
	unknown := visit(t, s).post("/sign-in", "identifier", "nobody1@example.org", "password", "something else")
	mask := strings.NewReplacer(s.Owner.Email, "X", "nobody1@example.org", "X")
	if wrong.status != 422 || unknown.status != 422 || mask.Replace(wrong.body) != mask.Replace(unknown.body) {
		t.Errorf("they differ:\n%d %s\n%d %s", wrong.status, wrong.main(), unknown.status, unknown.main())
	}
	wrong.says(t, "user name or password is wrong")
	if strings.Contains(wrong.body, "something else") {
		t.Error("the page repeats the password")
	}
}

func TestASecondFactorIsAskedForBeforeAnyPage(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	b.post("/sign-in", "identifier", s.Careful.Email, "password", s.Careful.Password, "to", "/account").says(t, "A code was sent to c•••@example.org")
	if got := b.get("/account"); !strings.HasPrefix(got.path, "/sign-in") {
		t.Fatalf("without the code, the account is at %s", got.path)
	}
	b.post("/sign-in/code", "code", "000000", "to", "/account").says(t, "The code is wrong")
	if got := b.post("/sign-in/code", "code", b.code(), "to", "/account"); got.path != "/account" {
		t.Errorf("with the code: %s %d\n%s", got.path, got.status, got.main())
	}
}

func TestTheTokenOfTheFirstStepOpensNothingAfterTheSecond(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	b.post("/sign-in", "identifier", s.Careful.Email, "password", s.Careful.Password)
	early := b.cookie()
	b.post("/sign-in/code", "code", b.code())
	if late := b.cookie(); late == early || late == "" {
		t.Fatal("the second step kept the token of the first")
	}
	thief := visit(t, s)
	thief.setCookie(early)
	if got := thief.get("/account"); !strings.HasPrefix(got.path, "/sign-in") {
		t.Errorf("the early token opens %s", got.path)
	}
}

func TestASessionEndsByItselfAndFromElsewhere(t *testing.T) {
	s := apitest.Start(t)
	here, there := visit(t, s).signIn(s.Owner), visit(t, s).signIn(s.Owner)
	if n := strings.Count(here.get("/account").body, "last used"); n != 2 {
		t.Errorf("%d sessions are listed", n)
	}
	here.post("/account/sessions/end").says(t, "Every other browser was signed out")
	if got := there.get("/devices"); !strings.HasPrefix(got.path, "/sign-in") {
		t.Errorf("the other browser is still at %s", got.path)
	}
	s.Clock.Advance(13 * time.Hour)
	if got := here.get("/devices"); !strings.HasPrefix(got.path, "/sign-in") {
		t.Errorf("after 13 idle hours: %s", got.path)
	}
}

func TestAPasswordIsChangedByWhoKnowsTheOldOne(t *testing.T) {
	s := apitest.Start(t)
	b, other := visit(t, s).signIn(s.Owner), visit(t, s).signIn(s.Owner)
	const fresh = "a brand new violin"
	b.post("/account/password", "password", "not it", "new-password", fresh, "repeat", fresh).says(t, "password is wrong")
	b.post("/account/password", "password", s.Owner.Password, "new-password", fresh, "repeat", fresh+"x").says(t, "not the same")
	b.post("/account/password", "password", s.Owner.Password, "new-password", "password1", "repeat", "password1").says(t, "guessed first")
	b.post("/account/password", "password", s.Owner.Password, "new-password", fresh, "repeat", fresh).says(t, "The password was changed")
	if got := other.get("/devices"); !strings.HasPrefix(got.path, "/sign-in") {
		t.Errorf("whoever knew the old password is still at %s", got.path)
	}
	visit(t, s).post("/sign-in", "identifier", s.Owner.Email, "password", fresh).says(t, "These devices")
}

func TestAnAddressIsAddedByTheCodeSentToIt(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).signIn(s.Owner)
	b.post("/account/identifiers", "identifier", "second@example.org").says(t, "The password is missing")
	b.post("/account/identifiers", "identifier", "second@example.org", "password", s.Owner.Password).says(t, "A code was sent to second@example.org")
	// The code is for this address alone.
	b.post("/account/identifiers/code", "identifier", "third@example.org", "code", b.code()).says(t, "no longer valid")
	b.post("/account/identifiers/code", "identifier", "second@example.org", "code", b.code()).says(t, "It was added", "second@example.org")
	visit(t, s).post("/sign-in", "identifier", "second@example.org", "password", s.Owner.Password).says(t, "These devices")

	b.post("/account/identifiers/drop", "identifier", s.Owner.Email, "password", "nope").says(t, "password is wrong")
	b.post("/account/identifiers/drop", "identifier", s.Owner.Email, "password", s.Owner.Password).says(t, "It was removed")
	b.post("/account/identifiers/drop", "identifier", "second@example.org", "password", s.Owner.Password).says(t, "cannot be removed")
}

func TestNobodyLearnsByAddingAnAddressWhoseItIs(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).signIn(s.Owner)
	free := b.post("/account/identifiers", "identifier", "free@example.org", "password", s.Owner.Password)
	s.Clock.Advance(time.Minute)
	taken := b.post("/account/identifiers", "identifier", s.Stranger.Email, "password", s.Owner.Password)
	mask := strings.NewReplacer("free@example.org", "X", s.Stranger.Email, "X")
	if free.status != taken.status || mask.Replace(free.body) != mask.Replace(taken.body) {
		t.Errorf("they differ:\n%s\n%s", free.main(), taken.main())
	}
	all := s.Outbox(t)
	if last := all[len(all)-1]; !strings.Contains(last, s.Stranger.Email) || codePattern.MatchString(last) {
		t.Errorf("the stranger was sent %s", last)
	}
	a := b.post("/account/identifiers/code", "identifier", s.Stranger.Email, "code", "123456")
	f := b.post("/account/identifiers/code", "identifier", "free@example.org", "code", "123456")
	if a.status != f.status || mask.Replace(a.main()) != mask.Replace(f.main()) {
		t.Errorf("a wrong code tells them apart:\n%s\n%s", a.main(), f.main())
	}
}

func TestADeviceIsChangedFromAfarByItsOwnerAlone(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	page := "/devices/" + d.ID
	owner, stranger := visit(t, s).signIn(s.Owner), visit(t, s).signIn(s.Stranger)
	owner.get("/devices").says(t, d.ID, "linked")
	for _, what := range []string{"", "/lost", "/found", "/sign-out", "/unlink"} {
		got := stranger.get(page)
		if what != "" {
			got = stranger.post(page+what, "password", s.Stranger.Password, "sure", "1")
		}
		if got.status != http.StatusNotFound || strings.Contains(got.main(), d.ID) {
			t.Errorf("%q by a stranger: %d %s", what, got.status, got.main())
		}
	}
	owner.post(page+"/lost", "message", "Please call", "contact", "+44 20 7946 0001").says(t, "marked as lost", "Please call")
	if st := state(t, s, d); *st.Status != accountapi.ClaimsStatusLost || *st.Lost.Message != "Please call" {
		t.Errorf("the device hears %+v", st)
	}
	owner.post(page+"/sign-out", "password", s.Owner.Password).says(t, "marked lost")
	owner.post(page+"/found", "password", "guess").says(t, "password is wrong")
	owner.post(page+"/found", "password", s.Owner.Password).says(t, "no longer marked as lost")
	owner.post(page+"/sign-out", "password", s.Owner.Password).says(t, "The device is signed out")
	if st := state(t, s, d); *st.Status != accountapi.ClaimsStatusSignedOut {
		t.Errorf("the device hears %+v", st)
	}
	owner.post(page+"/unlink", "password", s.Owner.Password).says(t, "not ticked")
	owner.post(page+"/unlink", "password", s.Owner.Password, "sure", "1").says(t, "no longer belongs to you", "No device belongs")
	if st := state(t, s, d); *st.Status != accountapi.ClaimsStatusUnlinked {
		t.Errorf("the device hears %+v", st)
	}
}

func TestABuyerLearnsLockedOrFreeAndNothingElse(t *testing.T) {
	s := apitest.Start(t)
	linked, free := s.Device(t), apitest.NewDevice(s.URL, apitest.Client(s.CA))
	free.Enrol(t, apitest.Identity(accountapi.Dmi, "another machine"))
	s.Link(t, linked, s.Owner)
	b := visit(t, s)
	b.get("/check?device="+strings.ToLower(linked.ID)).says(t, "is locked to an account")
	b.get("/check?device="+free.ID).says(t, "is free")
	b.get("/check?device=ABCD-2345-WXYZ").says(t, "is free")
	for _, typed := range []string{strings.ReplaceAll(linked.ID, "-", ""), strings.ReplaceAll(linked.ID, "-", "%20")} {
		b.get("/check?device="+typed).says(t, linked.ID+" is locked to an account")
	}
	for _, mistyped := range []string{linked.ID[:13], linked.ID + "2", "nothing", strings.Repeat("A", 5000)} {
		if got := b.get("/check?device="+mistyped).says(t, "no device ID"); strings.Contains(got.body, "is free") {
			t.Errorf("a buyer who typed %.20q reads that it is free", mistyped)
		}
	}
	if body := b.get("/check?device=" + linked.ID).body; strings.Contains(body, "owner@") || strings.Contains(body, "o•••") || strings.Contains(body, s.Owner.ID) {
		t.Errorf("it tells more:\n%s", body)
	}
}

func TestADeletedAccountStrandsNoDevice(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	b, other := visit(t, s).signIn(s.Owner), visit(t, s).signIn(s.Owner)
	b.get("/account/delete").says(t, s.Owner.ID, d.ID, "cannot be taken back")
	b.post("/account/delete", "password", s.Owner.Password).says(t, "not ticked")
	b.post("/account/delete", "sure", "1", "password", "nope").says(t, "password is wrong")
	if got := b.post("/account/delete/code", "code", "123456"); !strings.Contains(got.body, "no longer valid") {
		t.Errorf("a code that was never sent: %s", got.main())
	}
	b.post("/account/delete", "sure", "1", "password", s.Owner.Password).says(t, "A code was sent to o•••@example.org")
	b.post("/account/delete/code", "code", b.code()).says(t, "Your account was deleted")
	if st := state(t, s, d); *st.Status != accountapi.ClaimsStatusAccountDeleted {
		t.Errorf("the device hears %+v", st)
	}
	if got := other.get("/devices"); !strings.HasPrefix(got.path, "/sign-in") {
		t.Errorf("another browser of the account is at %s", got.path)
	}
}

func TestAFormFromAnotherSiteChangesNothing(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).signIn(s.Owner)
	if got := b.postFrom("https://evil.example", "/account/sessions/end"); got.status != http.StatusForbidden {
		t.Errorf("from another site: %d", got.status)
	}
	if got := b.postFrom("https://evil.example", "/sign-in", "identifier", s.Stranger.Email, "password", s.Stranger.Password); got.status != http.StatusForbidden {
		t.Errorf("signing somebody in as another: %d", got.status)
	}
	b.get("/account").says(t, s.Owner.ID)
}

func TestNoLinkLeadsAwayAfterSigningIn(t *testing.T) {
	s := apitest.Start(t)
	for _, to := range []string{"//evil.example", "https://evil.example/", `/\evil.example`, "/..//evil.example", "javascript:alert(1)", "/%0d%0aX: y", "http:evil.example"} {
		b := visit(t, s)
		if got := b.post("/sign-in", "identifier", s.Owner.Email, "password", s.Owner.Password, "to", to); got.path != "/devices" && got.status != 404 {
			t.Errorf("%q leads to %s", to, got.path)
		}
	}
}

func TestEveryPageHasItsHeaders(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).signIn(s.Owner)
	for _, path := range []string{"/", "/sign-in", "/check", "/help", "/account", "/devices", "/account/delete", "/static/portal.css", "/nothing"} {
		h := b.get(path).header
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Referrer-Policy": "same-origin", "Strict-Transport-Security": "max-age",
		} {
			if !strings.Contains(h.Get(name), want) {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
		if csp := h.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", path, csp)
		}
	}
}

func TestAFormThatIsTooLargeOrBrokenIsRefused(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	if got := b.post("/sign-in", "identifier", strings.Repeat("x", 100<<10)); got.status < 400 || got.status >= 500 {
		t.Errorf("100 KiB: %d", got.status)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/sign-in", strings.NewReader("identifier=%zz"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if got := b.do(r); got.status != http.StatusBadRequest {
		t.Errorf("a broken form: %d", got.status)
	}
}

func TestWhatNoDatabaseStoresIsRefusedOnEveryPage(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	for _, bad := range []string{"x\xff", "x\x00"} {
		b.post("/sign-in", "identifier", bad, "password", "something else").says(t, "user name or password is wrong")
		if got := b.post("/recover", "identifier", bad); got.status != http.StatusBadRequest {
			t.Errorf("a form with %q: %d", bad, got.status)
		}
		if got := b.post("/staff/sign-in", "name", bad, "password", "x", "code", "123456"); got.status != http.StatusBadRequest {
			t.Errorf("a member called %q: %d", bad, got.status)
		}
		for _, path := range []string{"/check?device=", "/sign-in?to=", "/sign-in?", "/devices/"} {
			if got := b.get(path + url.PathEscape(bad)); got.status != http.StatusBadRequest {
				t.Errorf("%s with %q: %d", path, bad, got.status)
			}
		}
	}
}

func TestAnOwnerAnswersTheChallengeOfTheirOwnDevice(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	page := "/devices/" + d.ID + "/answer"
	owner, stranger := visit(t, s).signIn(s.Owner), visit(t, s).signIn(s.Stranger)
	owner.post(page, "as", "ticket", "challenge", "0123 4567 89", "password", "guess").says(t, "password is wrong")
	owner.post(page, "as", "ticket", "challenge", "12", "password", s.Owner.Password).says(t, "this is none")
	got := owner.post(page, "as", "ticket", "challenge", "0123 4567 89", "password", s.Owner.Password).says(t, "within a day")
	ticket := regexp.MustCompile(`[\w-]+\.[\w-]+\.[\w-]{80,}`).FindString(got.body)
	c := apitest.Open(t, ticket, accountapi.TypeGrant, s.Set(t))
	if c.Aud != d.ID || *c.Nonce != accountapi.TicketNonce(d.ID, "0123456789") {
		t.Errorf("the ticket is for %s, %s", c.Aud, *c.Nonce)
	}
	if got := stranger.post(page, "as", "ticket", "challenge", "0123456789", "password", s.Stranger.Password); got.status != http.StatusNotFound || strings.Contains(got.body, ".eyJ") {
		t.Errorf("a stranger gets %d %s", got.status, got.main())
	}
	owner.post("/devices/" + d.ID + "/lost")
	if got := owner.post(page, "as", "ticket", "challenge", "0123456789", "password", s.Owner.Password); got.status != 422 || strings.Contains(got.body, "eyJ") {
		t.Errorf("while it is lost: %d %s", got.status, got.main())
	}
}

func TestGuessesTakeACheckBeforeTheyBlockAnybody(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	var got seen
	for range 40 {
		if got = b.post("/sign-in", "identifier", s.Owner.Email, "password", "a guess"); strings.Contains(got.body, "data-captcha") {
			break
		}
	}
	challenge := regexp.MustCompile(`data-captcha="([^"]+)"`).FindStringSubmatch(got.body)
	if challenge == nil {
		t.Fatalf("no check was asked for: %s", got.main())
	}
	answer, err := proofofwork.Solve(t.Context(), html.UnescapeString(challenge[1]))
	if err != nil {
		t.Fatal(err)
	}
	if got := b.post("/sign-in", "identifier", s.Owner.Email, "password", s.Owner.Password, "captcha", "bm9uZQ=="); got.path != "/sign-in" {
		t.Errorf("a wrong answer leads to %s", got.path)
	}
	if got := b.post("/sign-in", "identifier", s.Owner.Email, "password", s.Owner.Password, "captcha", answer); got.path != "/devices" {
		t.Errorf("the right one leads to %s: %s", got.path, got.main())
	}
	if got := visit(t, s).post("/sign-in", "identifier", s.Owner.Email, "password", "a guess", "captcha", answer); !strings.Contains(got.body, "data-captcha") {
		t.Errorf("one answer served twice: %s", got.main())
	}
}
