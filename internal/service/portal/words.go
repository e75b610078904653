// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"embed"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// catalogFiles are what the pages say, one file a language, for translators to
// edit; English stands in the pages. They are apart from those of internal/i18n,
// which devices carry too.
//
//go:embed catalogs/*.toml
var catalogFiles embed.FS

// words are the translations of a language's tag.
type words map[string]map[string]string

func readWords() (words, error) {
	names, err := catalogFiles.ReadDir("catalogs")
	if err != nil {
		return nil, err
	}
	out := words{}
	for _, n := range names {
		b, err := catalogFiles.ReadFile("catalogs/" + n.Name())
		if err != nil {
			return nil, err
		}
		var c struct {
			Texts map[string]string `toml:"texts"`
		}
		if err := toml.Unmarshal(b, &c); err != nil {
			return nil, fmt.Errorf("cannot read the catalog %s: %w", n.Name(), err)
		}
		out[strings.TrimSuffix(n.Name(), ".toml")] = c.Texts
	}
	return out, nil
}
