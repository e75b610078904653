// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"encoding/base32"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/factor/factortest"
	"github.com/accountlock/accountlock/internal/service/totp"
)

var (
	offerPattern  = regexp.MustCompile(`name="offer" value="([^"]+)"`)
	keyPattern    = regexp.MustCompile(`id="key"[^>]*>([^<]+)<`)
	backupPattern = regexp.MustCompile(`<code>([a-z2-7]{5}-[a-z2-7]{5})</code>`)
	createPattern = regexp.MustCompile(`data-create="([^"]+)"`)
)

func first(t testing.TB, p *regexp.Regexp, page seen) string {
	t.Helper()
	m := p.FindStringSubmatch(page.body)
	if m == nil {
		t.Fatalf("%s has no %s: %s", page.path, p, page.main())
	}
	return html.UnescapeString(m[1])
}

// app is an authenticator app.
type app struct {
	s   *apitest.Service
	key secret.Bytes
}

// code is what it shows now, in a period that no code was used in.
func (a app) code() string {
	a.s.Clock.Advance(31 * time.Second)
	return totp.Code(a.key, totp.Step(a.s.Clock.Now()))
}

// addApp sets up an app and returns it with the backup codes. more is what the form takes
// beside the password.
func (b *browser) addApp(p apitest.Person, more ...string) (app, []string) {
	b.t.Helper()
	page := b.post("/account/factors/app", append(more, "password", p.Password)...)
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(first(b.t, keyPattern, page), " ", ""))
	if err != nil {
		b.t.Fatal(err)
	}
	a := app{b.s, raw}
	done := b.post("/account/factors/app/add", "offer", first(b.t, offerPattern, page), "code", a.code(), "name", "My <b>phone</b>")
	var codes []string
	for _, m := range backupPattern.FindAllStringSubmatch(done.body, -1) {
		codes = append(codes, m[1])
	}
	if len(codes) != 10 {
		b.t.Fatalf("%d backup codes: %s", len(codes), done.main())
	}
	return a, codes
}

// ask fetches what a passkey is to sign, as the page's script does.
func (b *browser) ask(path string) []byte {
	b.t.Helper()
	got := b.post(path)
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/json" {
		b.t.Fatalf("%s: %d %s", path, got.status, got.body)
	}
	return []byte(got.body)
}

// addPasskey sets up a passkey.
func (b *browser) addPasskey(p apitest.Person) *factortest.Authenticator {
	b.t.Helper()
	a := &factortest.Authenticator{Origin: b.s.PortalURL}
	page := b.post("/account/factors/passkey", "password", p.Password)
	offer, answer := a.Create(b.t, []byte(first(b.t, createPattern, page)))
	b.post("/account/factors/passkey/add", "offer", offer, "answer", string(answer), "name", "My key").says(b.t, "Write these codes down")
	return a
}

func TestAnAppIsAskedForAfterThePasswordAndItsCodeServesOnce(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).signIn(s.Owner)
	b.post("/account/factors/app", "password", "guess").says(t, "password is wrong")
	page := b.post("/account/factors/app", "password", s.Owner.Password)
	again := b.post("/account/factors/app/add", "offer", first(t, offerPattern, page), "code", "000000").says(t, "The code is wrong")
	if first(t, keyPattern, page) != first(t, keyPattern, again) {
		t.Error("after a wrong code the form has another key")
	}
	a, backup := b.addApp(s.Owner)
	if listed := b.get("/account/factors").says(t, "My <b>phone</b>", "Left: 10"); strings.Contains(listed.body, "<b>phone") {
		t.Error("a name is taken for markup")
	}

	n := len(s.Outbox(t))
	in := visit(t, s)
	in.post("/sign-in", "identifier", s.Owner.Email, "password", s.Owner.Password, "to", "/account").says(t, "your authenticator app shows")
	if got := in.get("/account"); !strings.HasPrefix(got.path, "/sign-in") {
		t.Fatalf("with the password alone the account is at %s", got.path)
	}
	in.post("/sign-in/code", "code", "000000").says(t, "The code is wrong")
	code := a.code()
	if got := in.post("/sign-in/code", "code", code, "to", "/account"); got.path != "/account" {
		t.Fatalf("with the code: %s %s", got.path, got.main())
	}
	other := visit(t, s)
	other.post("/sign-in", "identifier", s.Owner.Email, "password", s.Owner.Password)
	other.post("/sign-in/code", "code", code).says(t, "The code is wrong")
	// The owner has not said that mail does: whoever reads it gets no further.
	other.post("/sign-in/again").says(t, "your authenticator app shows")
	other.post("/sign-in/code", "by", "sent", "code", "123456").says(t, "The code is wrong")
	if got := s.Outbox(t); len(got) != n {
		t.Errorf("a code was sent: %s", got[len(got)-1])
	}
	if got := other.post("/sign-in/code", "code", strings.ToUpper(backup[3])); got.path != "/devices" {
		t.Errorf("a backup code leads to %s: %s", got.path, got.main())
	}
}

func TestAPersonChoosesBetweenTheAppAndAMessage(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).signInSent(s.Careful)
	b.post("/account/factors/app", "password", s.Careful.Password)
	a, _ := b.addApp(s.Careful, "second", b.code())
	in := visit(t, s)
	in.post("/sign-in", "identifier", s.Careful.Email, "password", s.Careful.Password).says(t, "your authenticator app shows", "Send me a code instead")
	in.post("/sign-in/again").says(t, "A code was sent to c•••@example.org", "Use the app or the passkey")
	in.post("/sign-in/code", "by", "sent", "code", a.code()).says(t, "The code is wrong")
	if got := in.post("/sign-in/code", "by", "sent", "code", in.code()); got.path != "/devices" {
		t.Errorf("the code sent leads to %s", got.path)
	}
}

func TestWhatCannotBeTakenBackTakesTheSecondFactorAgain(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	b := visit(t, s).signIn(s.Owner)
	a, backup := b.addApp(s.Owner)
	page := "/devices/" + d.ID
	const second = "A code of an app has six digits"
	pw := s.Owner.Password
	b.get(page).says(t, "Code of your authenticator app")
	b.post(page+"/unlink", "sure", "1", "password", pw).says(t, second)
	b.post("/account/password", "password", pw, "new-password", fresh, "repeat", fresh).says(t, second)
	b.post("/account/factors/remove", "password", pw).says(t, second)
	b.post("/account/factors/backup", "password", pw).says(t, second)
	b.post("/account/second-factor", "on", "1", "password", pw).says(t, second)
	b.post("/account/delete", "sure", "1", "password", pw).says(t, second)
	b.post(page+"/unlink", "sure", "1", "password", pw, "second", "999999").says(t, "The code is wrong")
	b.post("/account/password", "password", pw, "second", a.code(), "new-password", fresh, "repeat", fresh).says(t, "The password was changed")
	b.post(page+"/unlink", "sure", "1", "password", fresh, "second", backup[0]).says(t, "no longer belongs to you")
	b.post("/account/delete", "sure", "1", "password", fresh, "second", a.code()).says(t, "Your account was deleted")
}

func TestAPasskeySignsInAloneAndProvesTheOwnerAgain(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	b := visit(t, s).signIn(s.Owner)
	key := b.addPasskey(s.Owner)

	alone := visit(t, s)
	offer, answer := key.Sign(t, alone.ask("/sign-in/passkey/ask"))
	if got := alone.post("/sign-in/passkey", "offer", offer, "answer", string(answer), "to", "/account"); got.path != "/account" {
		t.Fatalf("the passkey leads to %s: %s", got.path, got.main())
	}
	visit(t, s).post("/sign-in/passkey", "offer", offer, "answer", string(answer)).says(t, "The passkey was not accepted")

	both := visit(t, s)
	both.post("/sign-in", "identifier", s.Owner.Email, "password", s.Owner.Password).says(t, "Use your passkey")
	offer, answer = key.Sign(t, both.ask("/sign-in/code/passkey"))
	if got := both.post("/sign-in/code", "offer", offer, "answer", string(answer)); got.path != "/devices" {
		t.Fatalf("password and passkey lead to %s: %s", got.path, got.main())
	}

	page := "/devices/" + d.ID + "/unlink"
	both.post(page, "sure", "1", "password", s.Owner.Password).says(t, "A code of an app has six digits")
	// What was signed to sign in does not unlink.
	both.post(page, "sure", "1", "password", s.Owner.Password, "offer", offer, "answer", string(answer)).says(t, "not accepted")
	offer, answer = key.Sign(t, both.ask("/account/passkey/ask"))
	both.post(page, "sure", "1", "password", s.Owner.Password, "offer", offer, "answer", string(answer)).says(t, "no longer belongs to you")
}

func TestAPasskeyOfABlockedAccountOpensNothing(t *testing.T) {
	s := apitest.Start(t)
	key := visit(t, s).signIn(s.Owner).addPasskey(s.Owner)
	if _, err := s.Accounts.Block(t.Context(), s.Owner.ID, s.Clock.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	b := visit(t, s)
	b.language = "de"
	offer, answer := key.Sign(t, b.ask("/sign-in/passkey/ask"))
	if got := b.post("/sign-in/passkey", "offer", offer, "answer", string(answer)).says(t, "gesperrt"); got.status == http.StatusOK {
		t.Errorf("it leads to %s", got.path)
	}
}

func TestAStrangersFactorProvesNothing(t *testing.T) {
	s := apitest.Start(t)
	owner, stranger := visit(t, s).signIn(s.Owner), visit(t, s).signIn(s.Stranger)
	a, backup := stranger.addApp(s.Stranger)
	owner.addApp(s.Owner)
	in := visit(t, s)
	in.post("/sign-in", "identifier", s.Owner.Email, "password", s.Owner.Password)
	for _, code := range []string{a.code(), backup[0]} {
		in.post("/sign-in/code", "code", code).says(t, "The code is wrong")
	}
	in.post("/sign-in/code", "offer", "x", "answer", strings.Repeat("{", 10_000)).says(t, "That took too long")
}

func TestWrongSecondFactorsBlockTheNextGuess(t *testing.T) {
	s := apitest.Start(t)
	a, _ := visit(t, s).signIn(s.Owner).addApp(s.Owner)
	in := visit(t, s)
	in.post("/sign-in", "identifier", s.Owner.Email, "password", s.Owner.Password)
	var got seen
	for range 20 {
		if got = in.post("/sign-in/code", "code", "999999"); got.status == http.StatusTooManyRequests {
			break
		}
	}
	got.says(t, "The next try is taken at")
	if got := in.post("/sign-in/code", "code", a.code()); got.status != http.StatusTooManyRequests {
		t.Errorf("the right code during the delay: %d", got.status)
	}
}
