// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/service/apitest"
)

var (
	inPages = regexp.MustCompile(`\.T "([^"]+)"`)
	inCode  = regexp.MustCompile(`(?:Mark|\.T)\("([^"]+)"`)
	// inFaults are the sentences of refusals, with numbers for values alone.
	inFaults = regexp.MustCompile(`(?:fault\.Newf\(fault\.\w+, |\.Remedy = )"([^"%]+(?:%d[^"%]*)*)"`)
	number   = regexp.MustCompile(`\d+`)
)

// elsewhere are refusals that only devices or the console get.
var elsewhere = map[string]bool{
	"The offline_key is no public X{1} key.":                       true,
	"The time until which to block has passed.":                    true,
	"One of the e-mail addresses is none.":                         true,
	"One of the phone numbers is none, or lacks its country code.": true,
	"No account has this ID, e-mail address or phone number.":      true,
	"Use another way in; a new link brings a key.":                 true,
	"No member of staff has this name.":                            true,
	"Its owner deletes it in the portal. Or two members of staff release each device first, in a case; one that is lost after they have approved of 'found'.": true,
}

// said are the English texts of pages and code.
func said(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	sources := []struct {
		glob    string
		pattern *regexp.Regexp
	}{{"pages/*.html", inPages}, {"*.go", inCode}, {"*.go", inFaults}, {"../support/questions.go", inCode}}
	for _, p := range []string{"account", "device", "factor", "offline", "recovery", "staff", "support"} {
		sources = append(sources, struct {
			glob    string
			pattern *regexp.Regexp
		}{"../" + p + "/*.go", inFaults})
	}
	for _, src := range sources {
		names, err := filepath.Glob(src.glob)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range src.pattern.FindAllStringSubmatch(string(b), -1) {
				text := m[1]
				if src.pattern == inFaults {
					text = number.ReplaceAllString(strings.ReplaceAll(text, "%d", "0"), "{1}")
				}
				if !elsewhere[text] {
					out[text] = true
				}
			}
		}
	}
	if len(out) < 100 {
		t.Fatalf("only %d texts were found", len(out))
	}
	return out
}

func TestEveryLanguageSaysEveryText(t *testing.T) {
	apitest.WantCatalogs(t, "catalogs", said(t))
}

func TestAVisitorIsSpokenToInTheBrowsersLanguageOrTheOneChosen(t *testing.T) {
	s := apitest.Start(t)
	b := visit(t, s)
	for _, c := range []struct{ wish, tag, says string }{
		{"", "en", "Sign in"}, {"de-AT,de;q=0.9", "de", "Anmelden"}, {"fi, es;q=0.5", "es", "Iniciar sesión"}, {"hi", "hi", "साइन इन"},
		{"id", "id", "Masuk"}, {"ru", "ru", "Войти"}, {"zh-CN", "zh-Hans", "登录"}, {";;;", "en", "Sign in"},
	} {
		b.language = c.wish
		got := b.get("/sign-in").says(t, c.says, `lang="`+c.tag+`"`)
		if got.header.Get("Content-Language") != c.tag {
			t.Errorf("%q: the language is %q", c.wish, got.header.Get("Content-Language"))
		}
	}
	b.language = "ru"
	b.post("/language", "language", "de", "to", "/check").says(t, "Gerät prüfen")
	b.get("/help").says(t, "Hilfe")
}

func TestAChoiceOfLanguageLeadsBackToTheFormThatWasShownAgain(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	b := visit(t, s).signIn(s.Owner)
	b.register("new@example.org")
	for path, want := range map[string]string{
		"/account/password":            "/account",
		"/account/factors/app/add":     "/account/factors",
		"/account/delete":              "/account/delete",
		"/devices/" + d.ID + "/unlink": "/devices/" + d.ID,
		"/register/code":               "/register/next",
		"/recover/stop":                "/recover/stop",
	} {
		shown := b.post(path, "code", "x")
		to := regexp.MustCompile(`name="to" value="([^"]*)">\n<button>`).FindStringSubmatch(shown.body)
		if to == nil || to[1] != want {
			t.Errorf("from %s the choice leads to %q", path, to)
			continue
		}
		if got := b.post("/language", "language", "de", "to", to[1]); got.status != 200 || got.path != want {
			t.Errorf("from %s: %d at %s", path, got.status, got.path)
		}
	}
}

func TestWithoutPasskeysNobodyIsAskedForOne(t *testing.T) {
	s := apitest.Start(t)
	if got := visit(t, s).signIn(s.Owner).post("/account/passkey/ask"); got.status != 404 {
		t.Errorf("who has none: %d", got.status)
	}
}

func TestTheOwnersListHasWordsForEveryEvent(t *testing.T) {
	kinds := map[string]bool{}
	named := regexp.MustCompile(`(?:Change|DeviceEventKind) += "([a-z-]+)"|\.Tell\(ctx, tx, [\w.]+, "([a-z-]+)"`)
	for _, glob := range []string{"../*/*.go", "../../accountapi/api.gen.go"} {
		names, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range named.FindAllStringSubmatch(string(b), -1) {
				kinds[m[1]+m[2]] = true
			}
		}
	}
	if len(kinds) < 20 {
		t.Fatalf("only %d kinds were found", len(kinds))
	}
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	if err := s.DB.Tx(t.Context(), func(tx *sql.Tx) error {
		n := 1000
		for kind := range kinds {
			n++
			if _, err := tx.ExecContext(t.Context(), `INSERT INTO device_events (device_id, number, kind, detail, happened_at, noted_at, batch)
VALUES ($1, $2, $3, '', 1, 1, 'all')`, d.ID, n, kind); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	page := visit(t, s).signIn(s.Owner).get("/devices/"+d.ID).says(t, "An offline code was given out for it.", "A ticket was given out for it.")
	for kind := range kinds {
		if strings.Contains(page.body, "<span>"+kind+"</span>") {
			t.Errorf("the list says %q", kind)
		}
	}
}
