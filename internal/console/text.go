// SPDX-License-Identifier: Apache-2.0

package console

import (
	"strings"
	"unicode"
)

// Clean makes text from outside safe to print. An owner's message, or an
// account service, must not move a terminal's cursor, rename its window or
// turn the direction of what stands beside it.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029', r == unicode.ReplacementChar:
			return '\uFFFD'
		default:
			return r
		}
	}, s)
}

// Wrap breaks text into lines of at most width characters, each behind indent.
// A word that is longer stays whole: it may be an address to copy.
func Wrap(s, indent string, width int) string {
	var b strings.Builder
	col := 0
	for _, word := range strings.Fields(Clean(s)) {
		n := len([]rune(word))
		switch {
		case col == 0:
			b.WriteString(indent)
			col = len(indent)
		case col+1+n > width:
			b.WriteString("\n" + indent)
			col = len(indent)
		default:
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += n
	}
	return b.String()
}
