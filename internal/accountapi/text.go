// SPDX-License-Identifier: Apache-2.0

package accountapi

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain returns a text of the other side as it may be kept and shown: at most n
// bytes of whole characters, without what a terminal or D-Bus takes for
// something else than text (control characters save the line feed, NUL above all)
// and without what turns the order of reading around.
func Plain(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if (unicode.IsControl(r) && r != '\n') || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
