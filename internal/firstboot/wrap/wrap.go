// SPDX-License-Identifier: Apache-2.0

// Package wrap breaks text into lines as terminals measure it.
package wrap

import "github.com/charmbracelet/x/ansi"

// Text breaks text into lines of a width in terminal cells. Words that are
// longer stay whole, since they may be an address to copy, save in scripts that
// are written without spaces.
func Text(text string, width int) string {
	if ansi.StringWidth(text) > len([]rune(text)) {
		return ansi.Wrap(text, width, "。，；：！？")
	}
	return ansi.Wordwrap(text, width, "")
}
