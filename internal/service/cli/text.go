// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"time"
	"unicode"
)

// clock is the time of day.
func clock() time.Time { return time.Now() }

// printable returns what a device or a person wrote without what would steer a
// terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}
