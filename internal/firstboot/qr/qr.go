// SPDX-License-Identifier: Apache-2.0

// Package qr draws codes to scan, for terminals and for web pages.
package qr

import (
	"fmt"
	"strings"

	"rsc.io/qr"
)

// quiet is the light border that scanners need, in modules. ISO/IEC 18004 asks
// for 4; terminals' own background costs the rest.
const quiet = 2

// Text draws a code with half blocks, light on dark as terminals are; empty
// for no content, and where it does not fit into one.
func Text(content string) string {
	if content == "" {
		return ""
	}
	c, err := qr.Encode(content, qr.L)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for y := -quiet; y < c.Size+quiet; y += 2 {
		for x := -quiet; x < c.Size+quiet; x++ {
			// Blocks are the light modules: the terminal's background is dark.
			switch top, low := !c.Black(x, y), y+1 >= c.Size+quiet || !c.Black(x, y+1); {
			case top && low:
				b.WriteRune('█')
			case top:
				b.WriteRune('▀')
			case low:
				b.WriteRune('▄')
			default:
				b.WriteRune(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// SVG draws a code as a picture of its own colours; empty where the content
// does not fit into one.
func SVG(content string) string {
	c, err := qr.Encode(content, qr.M)
	if err != nil {
		return ""
	}
	const border = 4
	side := c.Size + 2*border
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges" aria-hidden="true"><rect width="%d" height="%d" fill="#fff"/><path fill="#000" d="`, side, side, side, side)
	for y := range c.Size {
		for x := 0; x < c.Size; x++ {
			run := 0
			for x+run < c.Size && c.Black(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x+border, y+border, run, run)
				x += run
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return b.String()
}
