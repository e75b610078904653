// SPDX-License-Identifier: Apache-2.0

// Package i18n says things in a person's language. The English sentence stands
// in the code and is the key of every catalog, as in gettext; a sentence that a
// catalog lacks stays English, so that nobody ever faces an empty screen. The
// catalogs are catalogs/*.toml, one a language, for translators to edit.
//
// A sentence holds its values in braces: "Wait until {time}." Sentences that
// reach the edge with their values filled in already, such as a refusal's, are
// found again by their fixed parts (Say). So code that makes a sentence needs to
// know nothing of languages; the catalogs' test reads the code and holds every
// sentence of it translated.
package i18n

import (
	"cmp"
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"
)

//go:embed catalogs/*.toml
var files embed.FS

// Language is one that there is a catalog for.
type Language struct {
	// Tag is BCP 47's.
	Tag string
	// Name is what its speakers call it.
	Name string
}

// Languages returns all of them, English first, then by their tags.
func Languages() []Language {
	return []Language{
		{"en", "English"}, {"de", "Deutsch"}, {"es", "Español"}, {"hi", "हिन्दी"},
		{"id", "Bahasa Indonesia"}, {"ru", "Русский"}, {"zh-Hans", "简体中文"},
	}
}

// catalog is one file.
type catalog struct {
	Dates Dates             `toml:"dates"`
	Texts map[string]string `toml:"texts"`
}

// Printer says things in one language. It is safe for concurrent use.
type Printer struct {
	tag       string
	dates     Dates
	texts     map[string]string
	templates []template
	glue      string // between sentences
}

// template is a text with values in it.
type template struct {
	parts []string // len(names)+1 fixed parts
	names []string
	to    string
}

// Match returns the tag of the first wish, in BCP 47's or POSIX's form, that
// there is a catalog for; English where there is none.
func Match(wishes ...string) string {
	for _, w := range wishes {
		w = strings.ToLower(w)
		if i := strings.IndexAny(w, "-_.@"); i >= 0 {
			w = w[:i]
		}
		for _, l := range Languages() {
			if short, _, _ := strings.Cut(l.Tag, "-"); short == w {
				return l.Tag
			}
		}
	}
	return "en"
}

var printers sync.Map // tag → *Printer

// For returns the printer of the first wish that there is a catalog for.
func For(wishes ...string) *Printer {
	tag := Match(wishes...)
	if p, ok := printers.Load(tag); ok {
		return p.(*Printer)
	}
	raw, err := files.ReadFile("catalogs/" + tag + ".toml")
	if err != nil {
		panic(err) // a language without its file: no build that passed its tests
	}
	p, err := parse(tag, raw)
	if err != nil {
		panic(err)
	}
	actual, _ := printers.LoadOrStore(tag, p)
	return actual.(*Printer)
}

func parse(tag string, raw []byte) (*Printer, error) {
	var c catalog
	if err := toml.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("cannot read the catalog %s: %w", tag, err)
	}
	p := &Printer{tag: tag, dates: c.Dates, texts: c.Texts, glue: " "}
	if tag == "zh-Hans" {
		p.glue = "" // no spaces between sentences
	}
	for from, to := range c.Texts {
		if parts, names := split(from); len(names) > 0 {
			p.templates = append(p.templates, template{parts, names, to})
		}
	}
	// The one that fixes most is tried first: it is the most likely to be meant.
	slices.SortFunc(p.templates, func(a, b template) int {
		return cmp.Or(cmp.Compare(fixed(b), fixed(a)), cmp.Compare(a.parts[0], b.parts[0]))
	})
	return p, nil
}

func fixed(t template) int {
	n := 0
	for _, p := range t.parts {
		n += len(p)
	}
	return n
}

// split takes a text apart at its values.
func split(text string) (parts, names []string) {
	for {
		i := strings.IndexByte(text, '{')
		j := strings.IndexByte(text, '}')
		if i < 0 || j < i {
			return append(parts, text), names
		}
		parts, names = append(parts, text[:i]), append(names, text[i+1:j])
		text = text[j+1:]
	}
}

// Tag is the language's, as BCP 47 writes it.
func (p *Printer) Tag() string { return p.tag }

// Mark marks a text that is translated elsewhere, for the catalogs' test.
func Mark(english string) string { return english }

// T says an English text in the language. values are names and values, in
// turn: T("Wait until {time}.", "time", "12:00").
func (p *Printer) T(english string, values ...string) string {
	return fill(p.bySentence(english, p.exact), values)
}

func (p *Printer) exact(text string) (string, bool) {
	to, ok := p.texts[text]
	return to, ok
}

func fill(text string, values []string) string {
	if len(values) == 0 {
		return text
	}
	pairs := make([]string, 0, len(values))
	for i := 0; i+1 < len(values); i += 2 {
		pairs = append(pairs, "{"+values[i]+"}", values[i+1])
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// Look says an English text in the language that texts are in, for catalogs that are
// not this package's; values stand for {1}, {2}, …. A text that is not there stays
// English.
func Look(texts map[string]string, english string, values ...string) string {
	text, ok := texts[english]
	if !ok {
		text = english
	}
	named := make([]string, 0, 2*len(values))
	for i, v := range values {
		named = append(named, strconv.Itoa(i+1), v)
	}
	return fill(text, named)
}

// Say translates an English text whose values are filled in: as a whole, or
// else sentence by sentence. What is not known stays as it is.
func (p *Printer) Say(text string) string {
	if p.tag == "en" {
		return text
	}
	return p.bySentence(text, p.find)
}

// bySentence translates a text as a whole, or else each sentence of it that is
// known: catalogs hold sentences, which texts share.
func (p *Printer) bySentence(text string, find func(string) (string, bool)) string {
	if to, ok := find(text); ok {
		return to
	}
	sentences := sentencesOf(text)
	known := false
	for i, s := range sentences {
		if to, ok := find(s); ok {
			sentences[i], known = to, true
		}
	}
	if !known {
		return text
	}
	return strings.Join(sentences, p.glue)
}

func (p *Printer) find(text string) (string, bool) {
	if to, ok := p.texts[text]; ok {
		return to, true
	}
	for _, t := range p.templates {
		if values, ok := t.match(text); ok {
			return fill(t.to, values), true
		}
	}
	return "", false
}

// match finds the values of a filled-in text by the fixed parts around them.
func (t template) match(text string) ([]string, bool) {
	last := len(t.parts) - 1
	if !strings.HasPrefix(text, t.parts[0]) {
		return nil, false
	}
	text = text[len(t.parts[0]):]
	if !strings.HasSuffix(text, t.parts[last]) {
		return nil, false
	}
	text = text[:len(text)-len(t.parts[last])]
	values := make([]string, 0, 2*len(t.names))
	for i, name := range t.names {
		value := text
		if i+1 < last {
			at := strings.Index(text, t.parts[i+1])
			if at < 0 {
				return nil, false
			}
			value, text = text[:at], text[at+len(t.parts[i+1]):]
		}
		if value == "" || strings.Contains(value, ". ") {
			return nil, false // a value is not another sentence
		}
		values = append(values, name, value)
	}
	return values, true
}

// sentencesOf splits at the ends of sentences: a mark, a space, a capital or a digit.
func sentencesOf(text string) []string {
	var out []string
	start := 0
	for i := 0; i+2 < len(text); i++ {
		if !strings.ContainsRune(".!?", rune(text[i])) || text[i+1] != ' ' {
			continue
		}
		if c := text[i+2]; c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '\'' || c == '{' {
			out = append(out, text[start:i+1])
			start = i + 2
		}
	}
	return append(out, text[start:])
}
