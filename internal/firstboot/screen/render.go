// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"fmt"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/accountlock/accountlock/internal/firstboot/page"
	"github.com/accountlock/accountlock/internal/firstboot/qr"
	"github.com/accountlock/accountlock/internal/firstboot/wrap"
)

// The styles. Bold and reverse carry what must be seen where there is no colour.
var (
	titleStyle   = lipgloss.NewStyle().Bold(true)
	labelStyle   = lipgloss.NewStyle().Foreground(lipgloss.Color("6"))
	chosenStyle  = lipgloss.NewStyle().Reverse(true)
	refusalStyle = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Color("9"))
	noteStyle    = lipgloss.NewStyle().Foreground(lipgloss.Color("10"))
	footStyle    = lipgloss.NewStyle().Foreground(lipgloss.Color("8"))
	cursorStyle  = lipgloss.NewStyle().Reverse(true)
)

// maxWidth keeps lines short enough to read.
const maxWidth = 100

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView(m.render())
	v.AltScreen = true
	return v
}

// render draws the page within w by h characters.
func (m *model) render() string {
	p := m.page()
	if p.Refusal == nil {
		p.Refusal = m.refusal
	}
	width := min(m.w-2, maxWidth)
	body, at := m.body(p, width)
	room := m.h - 4 // title, line, line, keys
	top := m.scroll(len(body), at, room)
	lines := []string{titleStyle.Render(ansi.Truncate(p.Title, width, "…")), footStyle.Render(strings.Repeat("─", width))}
	if !m.o.Blocks {
		lines[1] = strings.Repeat("-", width)
	}
	lines = append(lines, body[top:min(top+room, len(body))]...)
	for len(lines) < m.h-2 {
		lines = append(lines, "")
	}
	more := ""
	if top+room < len(body) || top > 0 {
		more = "  " + m.o.Lang.T("Page down, page up: there is more")
	}
	lines = append(lines, lines[1], footStyle.Render(ansi.Truncate(m.keys()+more, width, "")))
	for i := range lines {
		lines[i] = " " + lines[i]
	}
	return strings.Join(lines, "\n")
}

func (m *model) keys() string {
	if m.busy {
		return m.o.Lang.T("One moment")
	}
	if m.err != nil {
		return ""
	}
	keys := m.o.Lang.T("Arrow keys: choose   Enter: go on")
	if m.tool != nil || !m.view.Home {
		keys += "   " + m.o.Lang.T("Escape: back")
	}
	return keys
}

// scroll returns the first line to show, so that the chosen item is seen.
func (m *model) scroll(lines, at, room int) int {
	top := min(m.top, max(lines-room, 0))
	if m.top == 0 && at >= room {
		top = at - room + 1
	}
	return min(max(top, 0), max(lines-room, 0))
}

// body returns the lines of the page, and where the chosen item is.
func (m *model) body(p page.Page, width int) (lines []string, at int) {
	code := ""
	if p.QR != "" && m.o.Blocks {
		code = qr.Text(p.QR)
	}
	left := width
	codeWidth := lipgloss.Width(code)
	if code != "" {
		if left = width - codeWidth - 2; left < 34 {
			left, code = width, "" // no room: the address stands in the text
		}
	}
	lines = m.words(p, left)
	at = len(lines)
	for i, it := range m.items() {
		if i == m.at {
			at = len(lines)
		}
		lines = append(lines, m.item(i, it, left)...)
	}
	if code != "" {
		lines = beside(lines, strings.Split(strings.TrimRight(code, "\n"), "\n"), left)
	}
	return lines, at
}

// beside puts a code to scan to the right of the text.
func beside(lines, code []string, left int) []string {
	for len(lines) < len(code) {
		lines = append(lines, "")
	}
	for i, c := range code {
		lines[i] += strings.Repeat(" ", max(left-ansi.StringWidth(lines[i]), 0)+2) + c
	}
	return lines
}

func (m *model) words(p page.Page, width int) []string {
	var out []string
	para := func(style lipgloss.Style, text string) {
		if text == "" {
			return
		}
		for line := range strings.SplitSeq(wrap.Text(text, width), "\n") {
			out = append(out, style.Render(line))
		}
	}
	plain := lipgloss.NewStyle()
	if r := p.Refusal; r != nil {
		para(refusalStyle, "! "+r.Happened)
		para(plain, r.Todo)
		para(plain, r.Counted)
		out = append(out, "")
	}
	para(noteStyle, m.note)
	for _, t := range p.Text {
		para(plain, t)
	}
	for _, t := range p.Items {
		para(plain, "- "+t)
	}
	out = append(out, m.facts(p, width)...)
	para(titleStyle, p.Waiting(m.o.Lang, m.o.Now()))
	if p.Working {
		out = append(out, bar(p.Progress, min(width, 40), m.o.Blocks))
	}
	if p.Keep != "" {
		para(plain, m.o.Lang.T("Recovery code, to write down and keep away from this device:"))
		out = append(out, groups(p.Keep)...)
	}
	if m.caps && passwordAt(m.items(), m.at) {
		para(refusalStyle, "! "+m.o.Lang.T("Caps lock is on."))
	}
	return append(out, "")
}

func (m *model) facts(p page.Page, width int) []string {
	widest := 0
	for _, f := range p.Facts {
		widest = max(widest, ansi.StringWidth(f.Label))
	}
	widest = min(widest, 24)
	var out []string
	for _, f := range p.Facts {
		label := f.Label + strings.Repeat(" ", max(widest-ansi.StringWidth(f.Label), 0))
		room := width - widest - 2
		if ansi.StringWidth(f.Value) > room && isURL(f.Value) {
			// An address is copied by eye: it gets the whole width, whole.
			out = append(out, labelStyle.Render(label), f.Value)
			continue
		}
		for i, line := range strings.Split(wrap.Text(f.Value, max(room, 10)), "\n") {
			if i > 0 {
				label = strings.Repeat(" ", widest)
			}
			out = append(out, labelStyle.Render(label)+"  "+line)
		}
	}
	return out
}

// groups lays a recovery code out as four columns of numbered groups.
func groups(code string) []string {
	var out []string
	var line strings.Builder
	for i, g := range strings.Split(code, "-") {
		fmt.Fprintf(&line, "%2d %-9s", i+1, g)
		if i%4 == 3 {
			out = append(out, strings.TrimRight(line.String(), " "))
			line.Reset()
		}
	}
	if line.Len() > 0 {
		out = append(out, line.String())
	}
	return out
}

func bar(progress float64, width int, blocks bool) string {
	if progress < 0 {
		return "..."
	}
	full := int(min(progress, 1) * float64(width))
	on, off := "#", "-"
	if blocks {
		on, off = "█", "░"
	}
	return strings.Repeat(on, full) + strings.Repeat(off, width-full) + fmt.Sprintf(" %3.0f %%", min(progress, 1)*100)
}

// item draws one that can be chosen.
func (m *model) item(i int, it item, width int) []string {
	chosen := i == m.at && !m.busy
	mark := "  "
	if chosen {
		mark = "> "
	}
	if f := it.field; f != nil {
		in := m.input(f.Name)
		if f.Type == "bool" {
			box := "[ ] "
			if in.n > 0 {
				box = "[x] "
			}
			return m.choice(mark, box+f.Label, chosen, width)
		}
		room := max(width-4, 10)
		return []string{
			mark + labelStyle.Render(ansi.Truncate(f.Label, width-2, "…")),
			"  " + in.draw(f.Secret && !m.visible, chosen, room),
		}
	}
	number := ""
	if !m.typing() && i < 9 {
		number = strconv.Itoa(i+1) + "  "
	}
	return m.choice(mark, number+it.label, chosen, width)
}

// typing reports whether the page has a field, where digits are typed.
func (m *model) typing() bool {
	items := m.items()
	return len(items) > 0 && items[0].field != nil
}

func (m *model) choice(mark, text string, chosen bool, width int) []string {
	lines := strings.Split(wrap.Text(text, width-4), "\n")
	for i := range lines {
		if chosen {
			lines[i] = chosenStyle.Render(lines[i])
		}
		if i == 0 {
			lines[i] = mark + lines[i]
		} else {
			lines[i] = "  " + lines[i]
		}
	}
	return lines
}
