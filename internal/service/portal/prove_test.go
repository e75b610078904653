// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"database/sql"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/service/apitest"
)

// signInSent signs in who is sent a code.
func (b *browser) signInSent(p apitest.Person) *browser {
	b.t.Helper()
	b.post("/sign-in", "identifier", p.Email, "password", p.Password)
	if got := b.post("/sign-in/code", "code", b.code()); got.path != "/devices" {
		b.t.Fatalf("signed in at %s: %d\n%s", got.path, got.status, got.main())
	}
	return b
}

// careful has the account ask for a code that is sent, and signs in with one.
func (b *browser) careful(p apitest.Person) *browser {
	b.t.Helper()
	if _, err := b.s.Accounts.SetSecondFactor(b.t.Context(), p.ID, true); err != nil {
		b.t.Fatal(err)
	}
	return b.signInSent(p)
}

const nothingYet = "Nothing was changed yet: a code was sent to "

func TestTheSentCodeIsSwitchedOffByAFreshOneAlone(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).signInSent(s.Careful)
	old, pw, page := b.code(), s.Careful.Password, "/account/second-factor"
	on := func() bool {
		t.Helper()
		a, err := s.Accounts.Get(t.Context(), s.Careful.ID)
		if err != nil {
			t.Fatal(err)
		}
		return a.SecondFactor
	}
	n := len(s.Outbox(t))
	b.get("/account").says(t, "Code that is sent to you")
	b.post(page, "on", "0", "password", "a guess").says(t, "password is wrong")
	b.post(page, "on", "0", "second", old).says(t, "The password is missing")
	if got := len(s.Outbox(t)); got != n {
		t.Fatalf("%d messages were sent without the password", got-n)
	}
	b.post(page, "on", "0", "password", pw, "second", old).says(t, "The code is no longer valid")
	b.post(page, "on", "0", "password", pw, "form", "factor").says(t, nothingYet, `<details open><summary>Change this`)
	code := b.code()
	b.post(page, "on", "0", "password", pw, "second", wrong(code)).says(t, "The code is wrong")
	b.post(page, "on", "0", "password", "a guess", "second", code).says(t, "password is wrong")
	other := visit(t, s).signInSent(s.Careful)
	other.post(page, "on", "0", "password", pw, "second", code).says(t, "The code is no longer valid")
	if !on() {
		t.Fatal("it was switched off without its code")
	}
	b.post(page, "on", "0", "password", pw, "second", code).says(t, "The second factor was changed")
	if on() {
		t.Fatal("it is still on")
	}
	// Nobody is asked for what is off, and switching it on takes the password.
	b.post(page, "on", "1", "password", pw).says(t, "The second factor was changed")
}

// wrong is another code than the right one.
func wrong(code string) string { return string('0'+(code[0]-'0'+1)%10) + code[1:] }

func TestWhatCannotBeTakenBackTakesTheCodeThatIsSent(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	b := visit(t, s).careful(s.Owner)
	device, pw := "/devices/"+d.ID, s.Owner.Password
	b.post(device+"/lost", "message", "Call me").says(t, "It locks at its next contact")
	for _, form := range [][]string{
		{device + "/found"},
		{device + "/unlink", "sure", "1"},
		{device + "/sign-out"},
		{"/account/password", "new-password", fresh, "repeat", fresh},
		{"/account/factors/passkey"},
		{"/account/identifiers", "identifier", "second@example.org"},
		{"/account/identifiers/drop", "identifier", s.Owner.Email},
	} {
		s.Clock.Advance(20 * time.Minute) // as many as an account is sent
		b.post(form[0], append(form[1:], "password", pw)...).says(t, nothingYet)
	}
	if got := state(t, s, d); *got.Status != "lost" {
		t.Fatalf("the device is %s", *got.Status)
	}
	// A code is for the act that it was sent for.
	b.post(device+"/unlink", "sure", "1", "password", pw).says(t, nothingYet)
	unlink := b.code()
	b.post("/account/password", "password", pw, "second", unlink, "new-password", fresh, "repeat", fresh).says(t, "The code is no longer valid")
	b.post(device+"/unlink", "sure", "1", "password", pw, "second", unlink).says(t, "no longer belongs to you")
}

func TestAnApprovalLaterTakesTheCodeThatIsSent(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	b := visit(t, s).careful(s.Owner)
	s.Clock.Advance(11 * time.Minute)
	_, code := d.AskApproval(t)
	form := []string{"code", code, "decision", "approve", "hands", "1", "password", s.Owner.Password}
	b.post("/approve", form...).says(t, nothingYet, `name="hands" value="1" required checked`)
	b.post("/approve", append(form, "second", b.code())...).says(t, "You approved it.")
}

func TestADeletionTakesOneCodeAndNoMore(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).signInSent(s.Careful)
	if got := b.get("/account/delete"); strings.Contains(got.body, "Code that is sent to you") {
		t.Error("the first form asks for the code of the second")
	}
	b.post("/account/delete", "sure", "1", "password", s.Careful.Password).says(t, "A code was sent to c•••@example.org")
	b.post("/account/delete/code", "code", b.code()).says(t, "Your account was deleted")
}

func TestAFormThatCannotBeMadeIsAPageThatSaysSo(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).signIn(s.Owner)
	if err := s.DB.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `DROP TABLE factors`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if got := b.get("/account").says(t, "Something went wrong", "Try again in a few minutes"); got.status != http.StatusInternalServerError {
		t.Errorf("it answers %d", got.status)
	}
}

func TestCodesThatProveAreBounded(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).signInSent(s.Careful)
	page, form := "/account/second-factor", []string{"on", "0", "password", s.Careful.Password}
	b.post(page, form...).says(t, nothingYet)
	if got := b.post(page, form...); got.status != http.StatusTooManyRequests {
		t.Errorf("a second code at once: %d", got.status)
	}
	code := b.code()
	for range 5 {
		b.post(page, append(form, "second", wrong(code))...).says(t, "The code is wrong")
	}
	b.post(page, append(form, "second", code)...).says(t, "The code is no longer valid")

	n := len(s.Outbox(t))
	for i := range 20 {
		// Each is an act of its own.
		b.post("/devices/NO-SUCH-"+strings.Repeat("X", i)+"/sign-out", "password", s.Careful.Password)
	}
	if got := len(s.Outbox(t)) - n; got == 0 || got > 10 {
		t.Errorf("%d codes were sent at once", got)
	}
	s.Clock.Advance(31 * time.Second)
	if got := b.post(page, form...); got.status != http.StatusTooManyRequests {
		t.Errorf("one more after them: %d", got.status)
	}
	s.Clock.Advance(2 * time.Hour)
	b.post(page, form...).says(t, nothingYet)
	b.post(page, append(form, "second", b.code())...).says(t, "The second factor was changed")
}

func TestAWeakPasswordSpendsNoCode(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).careful(s.Owner)
	pw, page := s.Owner.Password, "/account/password"
	b.post(page, "password", pw, "new-password", fresh, "repeat", fresh).says(t, nothingYet)
	code, n := b.code(), len(s.Outbox(t))
	b.post(page, "password", pw, "second", code, "new-password", "Sunshine2024!", "repeat", "Sunshine2024!").says(t, "guessed first")
	b.post(page, "password", pw, "second", code, "new-password", fresh, "repeat", fresh+"x").says(t, "not the same")
	if got := len(s.Outbox(t)); got != n {
		t.Errorf("%d more messages were sent", got-n)
	}
	b.post(page, "password", pw, "second", code, "new-password", fresh, "repeat", fresh).says(t, "The password was changed")
}
