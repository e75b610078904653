// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
	"github.com/accountlock/accountlock/internal/firstboot/qr"
)

const indent = "  "

// drawer draws the steps of a flow, whatever they are.
type drawer struct {
	w     io.Writer
	tty   bool
	width int
	now   func() time.Time

	last  string // what was drawn last, so that nothing is drawn twice
	tenth int    // the last progress that was drawn, in tenths
	open  bool   // a progress line waits for its end
	wrong busclient.Refusal
}

func newDrawer(env Env, json bool) *drawer {
	d := &drawer{w: env.Stderr, width: 78, now: env.Now, tenth: -1}
	if json {
		d.w = io.Discard
	}
	if env.Terminal != nil {
		d.tty = true
		d.width = min(max(env.Terminal.Width()-2, 30), 100)
	}
	return d
}

// labels are the words for what a prompt may hold. A key that is not here is
// drawn under its own name, so that a new step needs no new client.
var labels = map[string]string{
	"account-hint": "Account",
	"sent-to":      "Sent to",
	"uri":          "Open",
	"user-code":    "Code",
	"challenge":    "Challenge",
	"device-id":    "Device ID",
	"case-number":  "Case number",
	"until":        "Wait until",
	"expires":      "Valid until",
}

// apart are drawn in a way of their own, or, like the captcha's challenge, are
// nothing to read.
var apart = []string{"title", "text", "fields", "consequences", "captcha", "recovery-code", "recovery-groups", "uri-complete", "waits"}

// step draws the current step once.
func (d *drawer) step(s busclient.Snapshot) {
	out := d.render(s)
	if out == d.last {
		return
	}
	d.endLine()
	d.last = out
	fmt.Fprint(d.w, out)
}

func (d *drawer) render(s busclient.Snapshot) string {
	var b strings.Builder
	title := console.Clean(s.Text("title"))
	if title == "" {
		title = console.Clean(s.Step)
	}
	if d.tty {
		title = "\x1b[1m" + title + "\x1b[0m"
	}
	fmt.Fprintf(&b, "\n%s\n", title)
	if t := s.Text("text"); t != "" {
		fmt.Fprintf(&b, "%s\n", console.Wrap(t, indent, d.width))
	}
	if list, ok := s.Prompt["consequences"].Value().([]string); ok {
		for _, c := range list {
			fmt.Fprintf(&b, "%s- %s\n", indent, strings.TrimLeft(console.Wrap(c, indent+"  ", d.width), " "))
		}
	}
	d.facts(&b, s)
	d.code(&b, s.Text("uri-complete"))
	if code := s.Text("recovery-code"); code != "" {
		fmt.Fprintf(&b, "%sRecovery code, to write down and keep away from this device:\n\n%s\n", indent, recoveryCode(code))
	}
	return b.String()
}

// code draws a code to scan, light on dark whatever the terminal's own colours.
func (d *drawer) code(b *strings.Builder, content string) {
	on, off := "", ""
	if d.tty {
		on, off = "\x1b[97;40m", "\x1b[0m"
	}
	for line := range strings.Lines(qr.Text(content)) {
		fmt.Fprintf(b, "%s%s%s%s\n", indent, on, strings.TrimSuffix(line, "\n"), off)
	}
}

// facts draws what the prompt holds besides its words.
func (d *drawer) facts(b *strings.Builder, s busclient.Snapshot) {
	keys := make([]string, 0, len(s.Prompt))
	width := 0
	for key := range s.Prompt {
		if slices.Contains(apart, key) || d.value(s, key) == "" {
			continue
		}
		keys = append(keys, key)
		width = max(width, len([]rune(label(key))))
	}
	slices.Sort(keys)
	for _, key := range keys {
		fmt.Fprintf(b, "%s%-*s  %s\n", indent, width+1, label(key)+":", d.value(s, key))
	}
}

func label(key string) string {
	if l, ok := labels[key]; ok {
		return l
	}
	return console.Clean(key)
}

func (d *drawer) value(s busclient.Snapshot, key string) string {
	switch v := s.Prompt[key].Value().(type) {
	case string:
		return console.Clean(v)
	case uint64:
		return d.moment(s.Time(key))
	case []string:
		return console.Clean(strings.Join(v, ", "))
	case dbus.ObjectPath, nil, []byte:
		return ""
	default:
		return console.Clean(fmt.Sprint(v))
	}
}

// moment shows a time as short as it can be told from now.
func (d *drawer) moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	now := d.now()
	t = t.In(now.Location())
	if t.Sub(now).Abs() < 20*time.Hour && t.Day() == now.Day() {
		return t.Format("15:04")
	}
	return t.Format("Monday 2006-01-02 15:04")
}

// recoveryCode draws the code in one line, to be copied whole, with the groups
// counted below it.
func recoveryCode(code string) string {
	var numbers strings.Builder
	for i, g := range strings.Split(code, "-") {
		n := fmt.Sprint(i + 1)
		left := (len(g) - len(n)) / 2
		fmt.Fprintf(&numbers, "%s%s%s", strings.Repeat(" ", max(left, 0)), n, strings.Repeat(" ", max(len(g)-left-len(n)+1, 0)))
	}
	return indent + console.Clean(code) + "\n" + indent + strings.TrimRight(numbers.String(), " ") + "\n"
}

const barWidth = 30

// progress draws how far the work is; below 0 is unknown.
func (d *drawer) progress(p float64) {
	p = min(p, 1)
	tenth := int(p * 10)
	if p < 0 || (!d.tty && tenth == d.tenth) {
		return
	}
	d.tenth = tenth
	if !d.tty {
		fmt.Fprintf(d.w, "%s%3.0f %%\n", indent, p*100)
		return
	}
	full := int(p * barWidth)
	fmt.Fprintf(d.w, "\r%s[%s%s] %3.0f %%", indent, strings.Repeat("#", full), strings.Repeat("-", barWidth-full), p*100)
	d.open = true
}

// endLine ends a progress line.
func (d *drawer) endLine() {
	if d.open {
		fmt.Fprintln(d.w)
		d.open = false
	}
}

// busclient.Refusal draws what happened, what to do now and whether it counted.
func (d *drawer) refusal(f *failure) {
	d.endLine()
	what := strings.TrimLeft(console.Wrap(f.Message, indent+"  ", d.width), " ")
	fmt.Fprintf(d.w, "\n%s! %s\n%s\n", indent, what, console.Wrap(f.Remedy, indent+"  ", d.width))
	if f.Answered {
		fmt.Fprintf(d.w, "%s  %s\n", indent, countedText(f.Counted))
	}
}

// trouble draws once what keeps a step from going on; the daemon retries it by
// itself.
func (d *drawer) trouble(r busclient.Refusal) {
	if r == d.wrong {
		return
	}
	d.wrong = r
	if r.Name != "" {
		f := r.Failure()
		f.Answered = false
		d.refusal(f)
	}
}

// say prints one line among the steps.
func (d *drawer) say(format string, args ...any) {
	d.endLine()
	fmt.Fprintf(d.w, indent+format+"\n", args...)
}

func countedText(counted bool) string {
	if counted {
		return "This counted as an attempt."
	}
	return "This did not count as an attempt."
}
