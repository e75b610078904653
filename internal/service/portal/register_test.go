// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/service/apitest"
)

// register begins a registration.
func (b *browser) register(identifier string) seen {
	b.t.Helper()
	return b.post("/register", "identifier", identifier, "captcha", b.solve(b.get("/register")))
}

func TestANewAccountIsMadeByTheCodeThatWasSent(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	b.register("New.Person@example.org").says(t, "A code was sent to New.Person@example.org")
	if got := b.post("/register/password", "new-password", fresh, "repeat", fresh); got.status != http.StatusUnprocessableEntity {
		t.Errorf("a password before the code: %d %s", got.status, got.main())
	}
	b.post("/register/code", "code", "000000").says(t, "The code is wrong")
	b.post("/register/code", "code", b.code()).says(t, "Password again")
	b.post("/register/password", "new-password", fresh, "repeat", fresh+"x").says(t, "not the same")
	b.post("/register/password", "new-password", "new.person@example.org", "repeat", "new.person@example.org").says(t, "own name")
	b.post("/register/password", "new-password", "Sunshine2024!", "repeat", "Sunshine2024!").says(t, "guessed first")
	made := b.post("/register/password", "new-password", fresh, "repeat", fresh).says(t, "Your account is made", "New.Person@example.org")
	id := regexp.MustCompile(`id="account-id" readonly value="(\d{8,10})"`).FindStringSubmatch(made.body)
	if id == nil {
		t.Fatalf("no account ID to copy: %s", made.main())
	}
	all := s.Outbox(t)
	if last := all[len(all)-1]; !strings.Contains(last, id[1]) {
		t.Errorf("the ID was not sent: %s", last)
	}
	b.post("/sign-out")
	visit(t, s).post("/sign-in", "identifier", id[1], "password", fresh).says(t, "These devices")
	if got := b.get("/register/next"); got.path != "/register" {
		t.Errorf("afterwards the registration is at %s", got.path)
	}
}

func TestAnAccountIsWrittenToInTheLanguageThatItWasMadeIn(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	b.language = "zh-CN"
	last := func() string {
		all := s.Outbox(t)
		return all[len(all)-1]
	}
	b.register("new.person@example.org")
	b.post("/register/code", "code", b.code())
	b.post("/register/password", "new-password", fresh, "repeat", fresh).says(t, "账号已创建")
	if got := last(); !strings.Contains(got, "您的账号已创建") {
		t.Errorf("the account ID is sent so: %s", got)
	}
	other := visit(t, s)
	other.language = "es"
	other.register("new.person@example.org")
	if got := last(); !strings.Contains(got, "Ya tiene una cuenta") {
		t.Errorf("an owner hears of it so: %s", got)
	}
	s.Clock.Advance(time.Minute)
	b.post("/account/delete", "sure", "1", "password", fresh)
	b.post("/account/delete/code", "code", b.code())
	// Whose account is gone has no password to change.
	if got := last(); !strings.Contains(got, "您的账号已删除") || strings.Contains(got, "密码") {
		t.Errorf("the owner is told so: %s", got)
	}
}

func TestAPhoneNumberRegistersToo(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	b.register("020 7946 0123").says(t, "A code was sent to +442079460123")
	b.post("/register/code", "code", b.code()).says(t, "Password again")
	b.post("/register/password", "new-password", fresh, "repeat", fresh).says(t, "Your account is made", "+442079460123")
}

func TestRegisteringTellsNobodyWhoHasAnAccount(t *testing.T) {
	s := apitest.Start(t)
	a, b := visit(t, s), visit(t, s)
	mask := strings.NewReplacer(s.Owner.Email, "X", "free@example.org", "X")
	same := func(step string, x, y seen) {
		t.Helper()
		if x.status != y.status || x.path != y.path || mask.Replace(html.UnescapeString(x.main())) != mask.Replace(html.UnescapeString(y.main())) {
			t.Errorf("%s differs:\n%d %s %s\n%d %s %s", step, x.status, x.path, x.main(), y.status, y.path, y.main())
		}
	}
	same("the code", a.register(s.Owner.Email), b.register("free@example.org"))
	all := s.Outbox(t)
	if len(all) != 2 || !strings.Contains(all[0], "belongs to your account already") || codePattern.MatchString(strings.Split(all[0], "\n\n")[1]) {
		t.Errorf("sent: %q", all)
	}
	for range 5 {
		same("a guess", a.post("/register/code", "code", "000000"), b.post("/register/code", "code", "000000"))
	}
	same("a guess too many", a.post("/register/code", "code", "000000"), b.post("/register/code", "code", "000000"))
	same("a password without a code", a.post("/register/password", "new-password", fresh, "repeat", fresh), b.post("/register/password", "new-password", fresh, "repeat", fresh))
	same("sent again at once", a.post("/register/again"), b.post("/register/again"))
	s.Clock.Advance(time.Minute)
	same("sent again", a.post("/register/again"), b.post("/register/again"))
}

func TestNobodysMailboxIsFloodedByRegistrations(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	var got seen
	for range 30 {
		if got = b.register("victim@example.org"); got.status == http.StatusTooManyRequests {
			break
		}
	}
	got.says(t, "The next try is taken at")
	if n := len(s.Outbox(t)); n > 11 {
		t.Errorf("%d messages were sent", n)
	}
	if got := b.post("/register", "identifier", "other@example.org"); got.status != http.StatusUnprocessableEntity {
		t.Errorf("without a check: %d", got.status)
	}
	b.register("no address").says(t, "no e-mail address or phone number")
}

func TestOnlyTheBrowserThatRegistersGoesOn(t *testing.T) {
	s := apitest.Start(t)
	b, other := visit(t, s), visit(t, s)
	b.register("new@example.org")
	code := b.code()
	if got := other.post("/register/code", "code", code); got.path != "/register" {
		t.Errorf("another browser is at %s", got.path)
	}
	s.Clock.Advance(31 * time.Minute)
	b.post("/register/code", "code", code).says(t, "Make an account")
}
