// SPDX-License-Identifier: Apache-2.0

// Package letter says in an owner's language what mail and SMS tell them. The
// English text stands in the code of who sends it and is the key of every catalog;
// a text that a catalog lacks stays English, so that every owner is told. The
// catalogs are catalogs/*.toml, one a language, for translators to edit.
//
// It must not know what is told, nor to whom.
package letter

import (
	"embed"
	"fmt"
	"sync"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/accountlock/accountlock/internal/i18n"
)

//go:embed catalogs/*.toml
var files embed.FS

// Tongue says things in one language. It is safe for concurrent use.
type Tongue struct {
	p     *i18n.Printer
	texts map[string]string
}

// read are the catalogs by their tags.
var read = sync.OnceValue(func() map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, l := range i18n.Languages() {
		if l.Tag == "en" {
			continue
		}
		raw, err := files.ReadFile("catalogs/" + l.Tag + ".toml")
		if err != nil {
			panic(err) // a language without its file: no build that passed its tests
		}
		var c struct {
			Texts map[string]string `toml:"texts"`
		}
		if err := toml.Unmarshal(raw, &c); err != nil {
			panic(fmt.Errorf("cannot read the catalog %s: %w", l.Tag, err))
		}
		out[l.Tag] = c.Texts
	}
	return out
})

// For returns the tongue of the first of some wishes (BCP 47) that there is a
// catalog for; English where there is none.
func For(wishes ...string) Tongue {
	p := i18n.For(wishes...)
	return Tongue{p, read()[p.Tag()]}
}

// Mark marks a text that is translated elsewhere, for the catalogs' test.
func Mark(english string) string { return english }

// Tag is the language's, as BCP 47 writes it.
func (t Tongue) Tag() string { return t.p.Tag() }

// T says an English text in the language; values stand for {1}, {2}, ….
func (t Tongue) T(english string, values ...string) string {
	return i18n.Look(t.texts, english, values...)
}

// Moment writes a time with its day, whenever it is read, in the time's own zone,
// which is named.
func (t Tongue) Moment(at time.Time) string {
	return t.p.Moment(at, time.Time{}.In(at.Location())) + " " + at.Format("MST")
}
