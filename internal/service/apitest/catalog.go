// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/accountlock/accountlock/internal/i18n"
)

var values = regexp.MustCompile(`\{\d\}`)

// WantCatalogs fails the test unless each language's file in a folder says every text
// with its values, and no other one.
func WantCatalogs(t *testing.T, dir string, texts map[string]bool) {
	t.Helper()
	for _, l := range i18n.Languages() {
		if l.Tag == "en" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, l.Tag+".toml"))
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
		for text := range texts {
			to := c.Texts[text]
			a, b := values.FindAllString(text, -1), values.FindAllString(to, -1)
			slices.Sort(a)
			slices.Sort(b)
			if to == "" || !slices.Equal(a, b) || strings.HasSuffix(text, "\n") != strings.HasSuffix(to, "\n") {
				t.Errorf("%s says %q for %q", l.Tag, to, text)
			}
		}
		for text := range c.Texts {
			if !texts[text] {
				t.Errorf("%s says %q, which nobody does", l.Tag, text)
			}
		}
	}
}
