// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/accountlock/accountlock/internal/secret"
)

// maxInput is as long as the daemon takes an answer: a ticket may be pasted.
const maxInput = 4096

// input is one line to type into. It is no widget of a library: what is typed
// may be a password, and is kept in one place that can be wiped.
type input struct {
	runes [maxInput]rune
	n, at int
}

// key takes a key press and reports whether it was meant for it.
func (in *input) key(k tea.KeyPressMsg) bool {
	switch k.Keystroke() {
	case "backspace", "ctrl+h":
		if in.at > 0 {
			in.cut(in.at-1, in.at)
		}
	case "delete", "ctrl+d":
		if in.at < in.n {
			in.cut(in.at, in.at+1)
		}
	case "left":
		in.at = max(in.at-1, 0)
	case "right":
		in.at = min(in.at+1, in.n)
	case "home", "ctrl+a":
		in.at = 0
	case "end", "ctrl+e":
		in.at = in.n
	case "ctrl+u":
		in.wipe()
	default:
		if k.Text == "" {
			return false
		}
		in.insert(k.Text)
	}
	return true
}

// insert puts in what was typed or pasted; control characters are left out.
func (in *input) insert(text string) {
	for _, r := range text {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || in.n == maxInput {
			continue
		}
		copy(in.runes[in.at+1:in.n+1], in.runes[in.at:in.n])
		in.runes[in.at] = r
		in.at, in.n = in.at+1, in.n+1
	}
}

func (in *input) cut(from, to int) {
	copy(in.runes[from:], in.runes[to:in.n])
	clear(in.runes[in.n-(to-from) : in.n])
	in.n -= to - from
	in.at = from
}

func (in *input) wipe() {
	clear(in.runes[:])
	in.n, in.at = 0, 0
}

// bytes returns a copy to send, which its taker wipes.
func (in *input) bytes() secret.Bytes {
	out := make(secret.Bytes, 0, 4*in.n)
	for _, r := range in.runes[:in.n] {
		out = utf8.AppendRune(out, r)
	}
	return out
}

// draw returns the line as it is shown, with the cursor as a block.
func (in *input) draw(hidden, focused bool, width int) string {
	var b strings.Builder
	// The part around the cursor is shown where all of it does not fit.
	from := max(0, in.at-width+2)
	to := min(in.n, from+width-1)
	for i := from; i <= to; i++ {
		s := " "
		switch {
		case i < in.n && hidden:
			s = "*"
		case i < in.n:
			s = string(in.runes[i])
		}
		switch {
		case i == in.at && focused:
			b.WriteString(cursorStyle.Render(s))
		case i < in.n:
			b.WriteString(s)
		}
	}
	return b.String()
}
