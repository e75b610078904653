// SPDX-License-Identifier: Apache-2.0

package screen_test

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The README's pictures are the screen itself, drawn as SVG.
func TestThePicturesShowTheScreenAsItIs(t *testing.T) {
	for file, name := range map[string]string{"firstboot-terminal": "refused", "firstboot-approve": "approve"} {
		got := picture(draw(t, "en", name, 80, 24).Draw(), 80, 24)
		path := filepath.Join("..", "..", "..", "docs", "images", file+".svg")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(path); err != nil || string(want) != got {
			t.Errorf("%s is not what the screen shows (go test ./internal/firstboot/screen -update): %v", path, err)
		}
	}
}

const (
	cellW, cellH = 8.4, 18.0
	ink, paper   = "#d8dee4", "#14181d"
)

var sgr = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// colours are those of the styles in use; anything else is ink.
var colours = map[string]string{"36": "#5cc5d6", "91": "#ff8a80", "90": "#8b949e", "92": "#8fd694"}

// picture draws a terminal's lines.
func picture(screen string, w, h int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="ui-monospace, DejaVu Sans Mono, monospace" font-size="14" shape-rendering="crispEdges">`+"\n", float64(w)*cellW+16, float64(h)*cellH+16)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="6" fill="%s"/>`+"\n", paper)
	for y, line := range strings.Split(screen, "\n") {
		x := 0
		style := ""
		for line != "" {
			at := sgr.FindStringSubmatchIndex(line)
			text := line
			if at != nil {
				text = line[:at[0]]
			}
			x = run(&b, x, y, strings.TrimRight(text, "\r"), style)
			if at == nil {
				break
			}
			if style = line[at[2]:at[3]]; style == "0" {
				style = ""
			}
			line = line[at[1]:]
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// run draws some text in one style and returns where it ends.
func run(b *strings.Builder, x, y int, text, style string) int {
	fill, weight := ink, ""
	reverse := false
	for code := range strings.SplitSeq(style, ";") {
		switch {
		case code == "1":
			weight = ` font-weight="bold"`
		case code == "7":
			reverse = true
		case colours[code] != "":
			fill = colours[code]
		}
	}
	left, top := float64(x)*cellW+8, float64(y)*cellH+8
	n := len([]rune(text))
	if reverse {
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, left, top, float64(n)*cellW, cellH, fill)
		fill = paper
	}
	words := []rune(text)
	for i, r := range words {
		var from, high float64
		switch r {
		case '█':
			high = cellH
		case '▀':
			high = cellH / 2
		case '▄':
			from, high = cellH/2, cellH/2
		default:
			continue
		}
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, left+float64(i)*cellW, top+from, cellW+0.1, high+0.1, fill)
		words[i] = ' '
	}
	if s := string(words); strings.TrimSpace(s) != "" {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" textLength="%.1f" xml:space="preserve" fill="%s"%s>%s</text>`+"\n", left, top+13, float64(n)*cellW, fill, weight, html.EscapeString(s))
	}
	return x + n
}
