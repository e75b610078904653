// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

var (
	inPages = regexp.MustCompile(`\.T "([^"]+)"`)
	inCode  = regexp.MustCompile(`(?:Mark|\.T)\("([^"]+)"`)
	values  = regexp.MustCompile(`\{\d\}`)
)

// said are the English texts of pages and code.
func said(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for glob, pattern := range map[string]*regexp.Regexp{"pages/*.html": inPages, "*.go": inCode} {
		names, err := filepath.Glob(glob)
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
			for _, m := range pattern.FindAllStringSubmatch(string(b), -1) {
				out[m[1]] = true
			}
		}
	}
	if len(out) < 100 {
		t.Fatalf("only %d texts were found", len(out))
	}
	return out
}

func TestEveryLanguageSaysEveryText(t *testing.T) {
	want := said(t)
	for _, l := range i18n.Languages() {
		if l.Tag == "en" {
			continue
		}
		b, err := os.ReadFile("catalogs/" + l.Tag + ".toml")
		if err != nil {
			t.Error(err)
			continue
		}
		var c struct {
			Texts map[string]string `toml:"texts"`
		}
		if err := toml.Unmarshal(b, &c); err != nil {
			t.Errorf("%s: %v", l.Tag, err)
		}
		for text := range want {
			to, ok := c.Texts[text]
			if !ok || to == "" {
				t.Errorf("%s does not say %q", l.Tag, text)
				continue
			}
			a, b := values.FindAllString(text, -1), values.FindAllString(to, -1)
			slices.Sort(a)
			slices.Sort(b)
			if !slices.Equal(a, b) {
				t.Errorf("%s: %q has other values than %q", l.Tag, to, text)
			}
		}
		for text := range c.Texts {
			if !want[text] {
				t.Errorf("%s says %q, which nobody does", l.Tag, text)
			}
		}
	}
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
