// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/service/apitest"
)

// patterns are the addresses that the portal answers by a method, as its code has them.
func patterns(t *testing.T, method string) []string {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	find := regexp.MustCompile(`"` + method + ` (/[^"]*)"`)
	var out []string
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range find.FindAllStringSubmatch(string(b), -1) {
			out = append(out, strings.NewReplacer("{$}", "", "{device}", "ABCD-2345-WXYZ", "{file}", "portal.css").Replace(m[1]))
		}
	}
	if len(out) < 10 {
		t.Fatalf("only %q were found", out)
	}
	return out
}

func TestNoFormOfAnotherSiteIsTakenByAnyPage(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).signIn(s.Owner)
	for _, path := range patterns(t, "POST") {
		if strings.Contains(path, "backchannel") {
			continue // an identity provider's, which is no browser
		}
		if got := b.postFrom("https://evil.example", path, "password", s.Owner.Password, "sure", "1"); got.status != http.StatusForbidden && got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	b.get("/account").says(t, s.Owner.ID)
}

func TestWithoutASessionEveryOwnersPageLeadsToTheSignIn(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	for _, method := range []string{"GET", "POST"} {
		for _, path := range patterns(t, method) {
			if !strings.HasPrefix(path, "/account") && !strings.HasPrefix(path, "/devices") && path != "/sign-out" {
				continue
			}
			got := b.get(path)
			if method == "POST" {
				got = b.post(path, "password", s.Owner.Password, "sure", "1")
			}
			if !strings.HasPrefix(got.path, "/sign-in") && got.status != http.StatusNotFound && got.status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d at %s", method, path, got.status, got.path)
			}
		}
	}
}

func TestASessionThatWasPlantedIsNeverRaised(t *testing.T) {
	s := apitest.Start(t)
	mine := visit(t, s).signIn(s.Stranger).cookie()
	victim := visit(t, s)
	victim.setCookie(mine)
	victim.signIn(s.Owner)
	if victim.cookie() == mine {
		t.Fatal("the sign-in kept the token that was planted")
	}
	thief := visit(t, s)
	thief.setCookie(mine)
	if got := thief.get("/account"); !strings.HasPrefix(got.path, "/sign-in") {
		t.Errorf("the planted token opens %s", got.path)
	}
}

func TestASessionOfABlockedAccountOpensNothing(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s).signIn(s.Owner)
	if _, err := s.Accounts.Block(t.Context(), s.Owner.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := b.get("/devices"); !strings.HasPrefix(got.path, "/sign-in") {
		t.Errorf("it opens %s", got.path)
	}
	if _, err := s.Accounts.Unblock(t.Context(), s.Owner.ID); err != nil {
		t.Fatal(err)
	}
	b.get("/devices").says(t, "These devices")
}

func TestNothingThatIsTypedBecomesAHeader(t *testing.T) {
	s := apitest.Start(t)
	const lines = "\r\nSet-Cookie: evil=1\r\nBcc: evil@example.org"
	b := visit(t, s)
	b.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, got := range []seen{
		b.post("/sign-in", "identifier", s.Owner.Email, "password", s.Owner.Password, "to", "/devices"+lines),
		b.post("/language", "language", "de"+lines, "to", "/help"+lines),
		b.post("/sign-in/passkey", "offer", lines, "answer", lines, "to", lines),
		b.get("/sign-in?to=%2Fdevices%0d%0aSet-Cookie:%20evil=1"),
		b.get("/recover/stop?code=A%0d%0aSet-Cookie:%20evil=1"),
	} {
		for name, values := range got.header {
			if strings.Contains(strings.Join(values, " "), "evil") {
				t.Errorf("%s: %s: %q", got.path, name, values)
			}
		}
	}
	other := visit(t, s)
	for _, page := range []seen{
		other.register("new@example.org" + lines),
		other.recover(s.Owner.Email+lines, "id"),
		visit(t, s).signIn(s.Owner).post("/account/identifiers", "identifier", "new@example.org"+lines, "password", s.Owner.Password),
	} {
		if page.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", page.path, page.status)
		}
	}
	if all := s.Outbox(t); len(all) != 0 {
		t.Errorf("sent: %q", all)
	}
}
