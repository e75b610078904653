// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Passwords says which nobody may choose, beside those that are guessed first.
type Passwords struct {
	// BreachedFile is a list of passwords that became known in thefts of data, by SHA-1, as
	// package breached reads it; empty is none.
	BreachedFile string `toml:"breached_file"`
	// Words are guessed first at this very service: names of the vendor and its products.
	Words []string `toml:"words"`
}

// The bounds of Passwords.Words: how many, and the characters of one.
const maxWords, minWord, maxWord = 1000, 3, 64

func (p Passwords) check() error {
	if len(p.Words) > maxWords {
		return bad(fmt.Sprintf("passwords.words has more than %d words", maxWords))
	}
	for _, w := range p.Words {
		if n := utf8.RuneCountInString(w); n < minWord || n > maxWord {
			return bad(fmt.Sprintf("passwords.words: %q must have %d to %d characters", w, minWord, maxWord))
		}
	}
	return nil
}

// OwnWords are Passwords.Words and the names in the public URL.
func (c Config) OwnWords() []string {
	out := slices.Clone(c.Passwords.Words)
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		return out
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return out
	}
	names := strings.Split(host, ".")
	for _, name := range names[:max(len(names)-1, 1)] { // without org, com and the like
		if len(name) >= minWord {
			out = append(out, name)
		}
	}
	return out
}
