// SPDX-License-Identifier: Apache-2.0

package i18n_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"

	"github.com/accountlock/accountlock/internal/i18n"
)

type file struct {
	Dates i18n.Dates        `toml:"dates"`
	Texts map[string]string `toml:"texts"`
}

func read(t *testing.T, tag string) file {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("catalogs", tag+".toml"))
	if err != nil {
		t.Fatal(err)
	}
	var f file
	if err := toml.Unmarshal(raw, &f); err != nil {
		t.Fatalf("%s: %v", tag, err)
	}
	return f
}

// forMachines begin sentences that only another program's author reads: what a
// call was that is no call. They stay English, as names of members do.
var forMachines = []string{
	"The step ", "The answer ", "The option ", "There is no such option",
	"The region must be", "The way ", "Something went wrong in this program",
	"accountlockd and this program", "See accountlockctl", "Check that both",
}

// alsoSaid are sentences that the code puts together from parts, as one of them
// reads in the end (internal/bus, errors.go).
var alsoSaid = []string{
	"The next attempt is taken in 4m35s.", "3 more tries are free of a wait.", "One more try is free of a wait.",
	"The next wrong try brings a wait.", "It belongs to j•••@example.org.", "Incident 0a1b2c3d.",
}

func TestWhateverTheCodeSaysIsTranslated(t *testing.T) {
	all := sources(t)
	for _, s := range alsoSaid {
		all = append(all, source{s, "internal/bus/errors.go", true})
	}
	if len(all) < 250 {
		t.Fatalf("only %d texts were found: the reading of the code is broken", len(all))
	}
	for _, l := range i18n.Languages()[1:] {
		known := read(t, l.Tag).Texts
		p := i18n.For(l.Tag)
		for _, s := range all {
			for _, sentence := range i18n.SentencesOf(s.text) {
				// A value in front is a sentence of its own.
				sentence = strings.TrimPrefix(strings.TrimSpace(sentence), "{} ")
				if slices.ContainsFunc(forMachines, func(m string) bool { return strings.HasPrefix(sentence, m) }) || strings.Trim(sentence, "{} ") == "" {
					continue
				}
				if !s.filled {
					if _, ok := known[sentence]; !ok {
						t.Errorf("%s lacks %q (%s)", l.Tag, sentence, s.where)
					}
					continue
				}
				filled := strings.ReplaceAll(sentence, "{}", "x1")
				if p.Say(filled) == filled {
					t.Errorf("%s does not know %q (%s)", l.Tag, filled, s.where)
				}
			}
		}
	}
}

var braces = regexp.MustCompile(`\{[a-z]*\}`)

func TestEveryCatalogHasTheSameTextsAndValues(t *testing.T) {
	first := read(t, "de").Texts
	for _, l := range i18n.Languages()[1:] {
		f := read(t, l.Tag)
		for english, to := range f.Texts {
			if _, ok := first[english]; !ok {
				t.Errorf("%s has %q, and de has not", l.Tag, english)
			}
			a, b := braces.FindAllString(english, -1), braces.FindAllString(to, -1)
			slices.Sort(a)
			slices.Sort(b)
			if !slices.Equal(a, b) {
				t.Errorf("%s: %q has other values than %q", l.Tag, to, english)
			}
			if strings.TrimSpace(to) != to || to == "" || !utf8.ValidString(to) {
				t.Errorf("%s: %q is empty or has spaces around it", l.Tag, to)
			}
			if strings.HasSuffix(english, ".") != strings.ContainsAny(to[len(to)-1:], ".") && !strings.HasSuffix(to, "。") && !strings.HasSuffix(to, "।") {
				t.Errorf("%s: %q ends in another way than %q", l.Tag, to, english)
			}
		}
		for english := range first {
			if _, ok := f.Texts[english]; !ok {
				t.Errorf("%s lacks %q", l.Tag, english)
			}
		}
	}
}

// synonyms are words that one of our translations used for what the others call by the key.
var synonyms = map[string][]string{
	"账号": {"帐户", "账户", "帐号"}, "所有者": {"机主", "拥有者"}, "离线代码": {"离线码"}, "找回账号": {"恢复账号", "恢复您的账号"},
}

// People read device, portal and mails side by side, in the middle of a fright.
func TestOneThingHasOneNameInChinese(t *testing.T) {
	for _, name := range []string{"catalogs", "../service/portal/catalogs", "../service/letter/catalogs"} {
		raw, err := os.ReadFile(filepath.Join(name, "zh-Hans.toml"))
		if err != nil {
			t.Fatal(err)
		}
		for word, others := range synonyms {
			for _, other := range others {
				if strings.Contains(string(raw), other) {
					t.Errorf("%s says %q, elsewhere it is %q", name, other, word)
				}
			}
		}
	}
}

func TestDaysAndMonthsAreComplete(t *testing.T) {
	for _, l := range i18n.Languages() {
		d := read(t, l.Tag).Dates
		if len(d.Days) != 7 || len(d.Months) != 12 {
			t.Fatalf("%s: %d days, %d months", l.Tag, len(d.Days), len(d.Months))
		}
		for _, v := range []string{"{day}", "{month}", "{year}"} {
			if !strings.Contains(d.Day, v) {
				t.Errorf("%s: a day lacks %s", l.Tag, v)
			}
		}
	}
	now := time.Date(2027, time.March, 3, 9, 30, 0, 0, time.UTC)
	for tag, want := range map[string]string{
		"en": "Friday, 5 March 2027, 10:05", "de": "Freitag, 5. März 2027, 10:05 Uhr", "es": "viernes, 5 de marzo de 2027, 10:05",
		"hi": "शुक्रवार, 5 मार्च 2027, 10:05", "id": "Jumat, 5 Maret 2027 pukul 10:05", "ru": "пятница, 5 марта 2027 г., 10:05", "zh-Hans": "2027年3月5日 星期五 10:05",
	} {
		if got := i18n.For(tag).Moment(now.Add(48*time.Hour+35*time.Minute), now); got != want {
			t.Errorf("%s: %q, want %q", tag, got, want)
		}
	}
	if got := i18n.For("de").Moment(now.Add(time.Hour), now); got != "10:30" {
		t.Errorf("today: %q", got)
	}
}

func TestTheLanguageIsTheFirstWishThatThereIs(t *testing.T) {
	for want, wishes := range map[string][]string{
		"de":      {"de_DE.UTF-8"},
		"zh-Hans": {"zh-CN"},
		"es":      {"", "C", "es-419", "de"},
		"en":      {"tlh", "", "POSIX"},
		"hi":      {"HI"},
	} {
		if got := i18n.Match(wishes...); got != want {
			t.Errorf("%q: %s, want %s", wishes, got, want)
		}
	}
}

func TestAValueIsFoundAgainAndNotASentence(t *testing.T) {
	p := i18n.For("de")
	for english, want := range map[string]string{
		"Type the code that was sent to +49 ••• ••42.":                        "Geben Sie den Code ein, der an +49 ••• ••42 gesendet wurde.",
		"The code is wrong. 3 more tries are free of a wait.":                 "Der Code ist falsch. 3 weitere Versuche sind ohne Wartezeit.",
		"Type the code that was sent to x. Something else that nobody knows.": "Geben Sie den Code ein, der an x gesendet wurde. Something else that nobody knows.",
		"nobody knows this": "nobody knows this",
		"":                  "",
		"Type your account ID, e-mail address or phone number. Leave it empty for j•••@example.org.": "Geben Sie Ihre Konto-ID, E-Mail-Adresse oder Telefonnummer ein. Lassen Sie das Feld leer für j•••@example.org.",
		"The account service at account.example.org does not answer.":                                "Der Kontodienst auf account.example.org antwortet nicht.",
	} {
		if got := p.Say(english); got != want {
			t.Errorf("%q:\n got %q\nwant %q", english, got, want)
		}
	}
	if got := i18n.For("zh-Hans").Say("The code is wrong. Done."); got != "代码错误。完成。" {
		t.Errorf("Chinese sentences: %q", got)
	}
}

func FuzzSayingNeverFails(f *testing.F) {
	f.Add("Type the code that was sent to x. 3 more tries are free of a wait.")
	f.Add("{host} shows. {")
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range i18n.Languages() {
			_ = i18n.For(l.Tag).Say(text)
		}
	})
}
