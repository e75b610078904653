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

	"github.com/accountlock/accountlock/internal/proofofwork"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

var checkPattern = regexp.MustCompile(`data-captcha="([^"]+)"`)

// solve makes the check of a page, as the page's script does.
func (b *browser) solve(page seen) string {
	b.t.Helper()
	m := checkPattern.FindStringSubmatch(page.body)
	if m == nil {
		b.t.Fatalf("%s asks for no check: %s", page.path, page.main())
	}
	answer, err := proofofwork.Solve(b.t.Context(), html.UnescapeString(m[1]))
	if err != nil {
		b.t.Fatal(err)
	}
	return answer
}

// recover begins a recovery, or goes on with one; what is `password` or `id`.
func (b *browser) recover(identifier, what string) seen {
	b.t.Helper()
	return b.post("/recover", "identifier", identifier, "what", what, "captcha", b.solve(b.get("/recover")))
}

const fresh = "a brand new violin"

func TestAForgottenPasswordIsRecoveredAfterTheWaitOnAnotherDevice(t *testing.T) {
	s := apitest.Start(t)
	old, here := visit(t, s).signIn(s.Owner), visit(t, s)
	here.language = "de-DE"
	waiting := here.recover(s.Owner.Email, "password").says(t, "Ein Code wird ab ", "Uhr CEST gesendet")
	if !regexp.MustCompile(`(Montag|Dienstag|Mittwoch|Donnerstag|Freitag|Samstag|Sonntag), \d+\. April 2031`).MatchString(waiting.body) {
		t.Errorf("no weekday and date: %s", waiting.main())
	}
	here.post("/recover/code", "code", "123456").says(t, "wird ab ")
	s.Clock.Advance(6 * 24 * time.Hour)
	there := visit(t, s)
	there.recover(s.Owner.Email, "password").says(t, "a code was sent to o•••@example.org")
	there.post("/recover/code", "code", "000000").says(t, "The code is wrong")
	if got := there.post("/recover/password", "new-password", fresh, "repeat", fresh); got.status != http.StatusUnprocessableEntity {
		t.Errorf("a password before the code: %d %s", got.status, got.main())
	}
	there.post("/recover/code", "code", there.code()).says(t, "New password again")
	there.post("/recover/password", "new-password", fresh, "repeat", fresh+"x").says(t, "not the same")
	there.post("/recover/password", "new-password", "password1", "repeat", "password1").says(t, "guessed first")
	there.post("/recover/password", "new-password", fresh, "repeat", fresh).says(t, "Your new password is set")
	if got := old.get("/devices"); !strings.HasPrefix(got.path, "/sign-in") {
		t.Errorf("a session of before is at %s", got.path)
	}
	there.post("/sign-in", "identifier", s.Owner.Email, "password", fresh).says(t, "These devices")
	all := s.Outbox(t)
	if last := all[len(all)-1]; !strings.Contains(last, "password of your account was changed") {
		t.Errorf("the last message is %s", last)
	}
	if got := there.get("/recover/next"); got.path != "/recover" {
		t.Errorf("afterwards the recovery is at %s", got.path)
	}
}

func TestABrowserThatWasSignedInForDaysWaitsForNothing(t *testing.T) {
	s := apitest.Start(t)
	b, gone := visit(t, s).signIn(s.Owner), visit(t, s).signIn(s.Owner)
	gone.post("/sign-out")
	young := visit(t, s)
	s.Clock.Advance(71 * time.Hour)
	young.signIn(s.Owner)
	s.Clock.Advance(2 * time.Hour)
	if got := b.get("/devices"); !strings.HasPrefix(got.path, "/sign-in") {
		t.Fatalf("it is still signed in at %s", got.path)
	}
	young.recover(s.Owner.Email, "password").says(t, "A code is sent from")
	gone.recover(s.Owner.Email, "password").says(t, "A code is sent from")
	b.recover(s.Stranger.Email, "password").says(t, "A code is sent from")
	b.recover(s.Owner.Email, "password").says(t, "a code was sent to")
	b.post("/recover/code", "code", b.code()).says(t, "New password again")
	b.post("/recover/password", "new-password", fresh, "repeat", fresh).says(t, "Your new password is set")
	// Neither this browser nor any other is known from before.
	b.recover(s.Owner.Email, "password").says(t, "A code is sent from")
}

func TestABrowserIsForgottenWhereItsOwnerSignsItOutFromElsewhere(t *testing.T) {
	s := apitest.Start(t)
	lost, here := visit(t, s).signIn(s.Owner), visit(t, s).signIn(s.Owner)
	s.Clock.Advance(73 * time.Hour)
	here.signIn(s.Owner).post("/account/sessions/end").says(t, "Every other browser")
	lost.recover(s.Owner.Email, "password").says(t, "A code is sent from")
	here.recover(s.Owner.Email, "password").says(t, "a code was sent to")
}

func TestAForgottenAccountIDIsSentAndNeverShown(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	known := b.recover(s.Owner.Email, "id").says(t, "its account ID was sent there")
	all := s.Outbox(t)
	if len(all) != 1 || !strings.Contains(all[0], s.Owner.ID) || !strings.Contains(all[0], s.Owner.Email) {
		t.Fatalf("sent: %q", all)
	}
	unknown := b.recover("nobody7@example.org", "id")
	if known.status != unknown.status || known.body != unknown.body || strings.Contains(known.body, s.Owner.ID) {
		t.Errorf("they differ:\n%s\n%s", known.main(), unknown.main())
	}
	if n := len(s.Outbox(t)); n != 1 {
		t.Errorf("%d messages", n)
	}
	b.recover(s.Owner.ID, "id").says(t, "no e-mail address or phone number")
	for _, who := range []string{s.Owner.Email, "nobody7@example.org"} {
		b.recover(who, "id")
		b.recover(who, "id")
		if got := b.recover(who, "id"); got.status != http.StatusTooManyRequests {
			t.Errorf("the fourth for %s: %d", who, got.status)
		}
	}
	if n := len(s.Outbox(t)); n != 3 {
		t.Errorf("%d messages went to a mailbox within a day", n)
	}
	s.Clock.Advance(25 * time.Hour)
	b.recover(s.Owner.Email, "id").says(t, "its account ID was sent there")
}

func TestARecoveryOfNobodysAccountLooksLikeOne(t *testing.T) {
	s := apitest.Start(t)
	a, b := visit(t, s), visit(t, s)
	mask := strings.NewReplacer(s.Owner.Email, "X", "o•••@example.org", "Y", "nobody7@example.org", "X", "n•••@example.org", "Y")
	same := func(step string, x, y seen) {
		t.Helper()
		if x.status != y.status || x.path != y.path || mask.Replace(html.UnescapeString(x.main())) != mask.Replace(html.UnescapeString(y.main())) {
			t.Errorf("%s differs:\n%d %s %s\n%d %s %s", step, x.status, x.path, x.main(), y.status, y.path, y.main())
		}
	}
	same("the wait", a.recover(s.Owner.Email, "password"), b.recover("nobody7@example.org", "password"))
	s.Clock.Advance(7 * 24 * time.Hour)
	same("the code", a.recover(s.Owner.Email, "password"), b.recover("nobody7@example.org", "password"))
	s.Outbox(t)
	for range 5 {
		same("a guess", a.post("/recover/code", "code", "000000"), b.post("/recover/code", "code", "000000"))
	}
	same("a guess too many", a.post("/recover/code", "code", "000000"), b.post("/recover/code", "code", "000000"))
	s.Clock.Advance(time.Minute)
	same("another code", a.post("/recover/again"), b.post("/recover/again"))
}

func TestNothingIsAskedWithoutTheCheck(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	for _, what := range []string{"password", "id"} {
		if got := b.post("/recover", "identifier", s.Owner.Email, "what", what); got.status != http.StatusUnprocessableEntity {
			t.Errorf("%s without a check: %d", what, got.status)
		}
	}
	answer := b.solve(b.get("/recover"))
	b.post("/recover", "identifier", s.Owner.Email, "what", "id", "captcha", answer).says(t, "its account ID was sent")
	if got := b.post("/recover", "identifier", s.Owner.Email, "what", "id", "captcha", answer); got.status != http.StatusUnprocessableEntity {
		t.Errorf("one check twice: %d", got.status)
	}
	if n := len(s.Outbox(t)); n != 1 {
		t.Errorf("%d messages were sent", n)
	}
}

var stopLink = regexp.MustCompile(`/recover/stop\?code=(\w+)`)

func TestAnOwnerStopsARecoveryByThePushOfAButton(t *testing.T) {
	s := apitest.Start(t)
	thief, owner := visit(t, s), visit(t, s)
	thief.recover(s.Owner.Email, "password").says(t, "A code is sent from")
	stop := stopLink.FindStringSubmatch(strings.Join(s.Outbox(t), "\n"))
	if stop == nil {
		t.Fatal("no notice was sent")
	}
	owner.get(stop[0]).says(t, stop[1], "If it was not you")
	thief.get("/recover/next").says(t, "A code is sent from") // looking at the page has stopped nothing
	if got := owner.get("/recover/stop?code=" + url.QueryEscape(`"><script>alert(1)</script>`)); strings.Contains(got.main(), "<script>") {
		t.Error("the page repeats what it is given")
	}
	owner.post("/recover/stop", "code", "AAAA").says(t, "No recovery that is under way")
	owner.post("/recover/stop", "code", strings.Repeat("A", 10_000)).says(t, "No recovery that is under way")
	owner.post("/recover/stop", "code", stop[1]).says(t, "The recovery is stopped")
	thief.get("/recover/next").says(t, "has stopped this recovery")
	owner.post("/recover/stop", "code", stop[1]).says(t, "No recovery that is under way")
}

func TestAPlantedRecoveryCookieLeadsNowhere(t *testing.T) {
	s := apitest.Start(t)
	victim := visit(t, s)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	victim.http.Jar.SetCookies(u, []*http.Cookie{
		{Name: "__Host-recovery", Value: "planted", Path: "/", Secure: true}, {Name: "__Host-known", Value: "planted", Path: "/", Secure: true}, //nolint:gosec // a client's own
	})
	victim.recover(s.Owner.Email, "password").says(t, "A code is sent from")
	victim.signIn(s.Owner)
	for _, c := range victim.http.Jar.Cookies(u) {
		if c.Value == "planted" {
			t.Errorf("%s is kept as it was planted", c.Name)
		}
	}
}
