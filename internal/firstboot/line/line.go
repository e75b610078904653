// SPDX-License-Identifier: Apache-2.0

// Package line is the first-boot screen as lines of text, one question after the
// other: for serial consoles, for terminals that cannot do more, and for screen
// readers. Nothing moves, nothing is drawn over, nothing depends on colour.
package line

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
	"github.com/accountlock/accountlock/internal/firstboot/network"
	"github.com/accountlock/accountlock/internal/firstboot/page"
	"github.com/accountlock/accountlock/internal/firstboot/qr"
	"github.com/accountlock/accountlock/internal/firstboot/session"
	"github.com/accountlock/accountlock/internal/firstboot/wrap"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/secret"
)

// Terminal is where the person sits. ReadLine and ReadSecret return io.EOF at
// the end of the input and ctx's error once it ends; Gone reports that nobody
// can ever type again.
type Terminal interface {
	ReadLine(ctx context.Context, prompt string) (secret.Bytes, error)
	ReadSecret(ctx context.Context, prompt string) (secret.Bytes, error)
	CapsLock() bool
	Width() int
	Gone() bool
}

var _ Terminal = (*console.Terminal)(nil)

// Mode is one run of the line mode.
type Mode struct {
	Session  *session.Session
	Networks *network.Manager
	Term     Terminal
	Out      io.Writer
	Lang     *i18n.Printer
	Now      func() time.Time
	// Languages are those that the terminal can write.
	Languages []i18n.Language
	// Region is where support is asked for.
	Region string
	// QR draws codes to scan; a screen reader has no use for one.
	QR bool

	shown   string
	visible bool // what is typed into a password field
	at      session.View
}

// ErrGone is for a terminal that was hung up.
var ErrGone = errors.New("the terminal is gone")

// errMoved: something else is to be shown than what was being asked.
var errMoved = errors.New("there is something new to show")

// pollEvery is how long a change may go without a signal.
const pollEvery = 3 * time.Second

// Run goes on until the device is open (nil), ctx ends or the terminal is gone.
func (m *Mode) Run(ctx context.Context) error {
	for {
		v, err := m.Session.Look(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.at = v
		switch {
		case err != nil:
			m.show(page.Starting(m.Lang, page.RefusalOf(m.Lang, busclient.AsFailure(err))))
			err = m.Session.Changed(ctx, pollEvery)
		case v.Open:
			m.show(page.Open(m.Lang))
			return nil
		case v.Home:
			err = m.home(ctx, v)
		default:
			err = m.step(ctx, v)
		}
		switch {
		case errors.Is(err, errMoved), err == nil:
		case errors.Is(err, ErrGone), ctx.Err() != nil:
			return err
		default:
			m.refuse(err)
		}
	}
}

// choice is one line of a menu.
type choice struct {
	text string
	do   func(context.Context) error
}

func (m *Mode) home(ctx context.Context, v session.View) error {
	p := page.Home(m.Lang, v.State, v.Flow, v.At)
	if v.Trouble != nil {
		p.Refusal = page.RefusalOf(m.Lang, v.Trouble)
	}
	m.show(p)
	m.visible = false // the next person's is hidden again
	var menu []choice
	recover := false
	for _, w := range p.Ways {
		recover = recover || w.ID == page.WayRecover
		menu = append(menu, m.way(w))
	}
	if !recover {
		menu = append(menu, m.way(page.Way{ID: page.WayRecover, Label: page.WayLabel(m.Lang, page.WayRecover)}))
	}
	menu = append(menu, m.tools()...)
	return m.choose(ctx, menu)
}

func (m *Mode) way(w page.Way) choice {
	return choice{w.Label, func(ctx context.Context) error { return m.Session.Take(ctx, w.ID) }}
}

// tools are the screen's own pages.
func (m *Mode) tools() []choice {
	var out []choice
	if m.at.Networks {
		out = append(out, choice{m.Lang.T("Choose a network"), m.networks})
	}
	out = append(out, choice{m.Lang.T("What works and what does not"), m.diagnosis},
		choice{m.Lang.T("Support"), m.support})
	if len(m.Languages) > 1 {
		// The word in English too, for whoever cannot read this language.
		word := m.Lang.T("Language")
		if word != "Language" {
			word += " / Language"
		}
		out = append(out, choice{word, m.language})
	}
	return out
}

// choose reads a number and does what it stands for. Enter alone shows the
// page again.
func (m *Mode) choose(ctx context.Context, menu []choice) error {
	for i, c := range menu {
		m.printf("  %d  %s\n", i+1, c.text)
	}
	for {
		line, err := m.ask(ctx, m.Lang.T("Type a number from 1 to {last}, and Enter", "last", strconv.Itoa(len(menu))), false)
		if err != nil {
			return err
		}
		typed := strings.TrimSpace(string(line))
		if n, err := strconv.Atoi(typed); err == nil && n >= 1 && n <= len(menu) {
			m.shown = ""
			return menu[n-1].do(ctx)
		}
		if typed == "" {
			m.shown = ""
			return errMoved
		}
		m.printf("%s\n", m.Lang.T("There is no such number here."))
	}
}

func (m *Mode) step(ctx context.Context, v session.View) error {
	p := page.Step(m.Lang, v.Flow, v.State.DeviceID, m.Now())
	if v.Proving {
		p = page.Proving(m.Lang, p)
	}
	refusal := p.Refusal
	p.Refusal = nil // it was shown when it came
	if p.Over || len(p.Fields) == 0 {
		p.Refusal = refusal
	}
	m.show(p)
	switch {
	case p.Over:
		return m.over(ctx)
	case p.Working:
		m.printf("%s\n", progress(p.Progress))
		return m.Session.Changed(ctx, pollEvery)
	case len(p.Fields) == 0:
		return m.choose(ctx, m.around(p))
	}
	answer := map[string]any{}
	for _, f := range p.Fields {
		v, err := m.field(ctx, p, f)
		if err != nil {
			wipe(answer)
			return err
		}
		if v != nil {
			answer[f.Name] = v
		}
	}
	m.printf("%s\n", m.Lang.T("One moment"))
	return m.Session.Submit(ctx, answer)
}

func wipe(answer map[string]any) {
	for _, v := range answer {
		if b, ok := v.(secret.Bytes); ok {
			b.Wipe()
		}
	}
}

// over waits until the person has read how a flow ended.
func (m *Mode) over(ctx context.Context) error {
	_, err := m.ask(ctx, m.Lang.T("Enter goes back to the beginning"), false)
	if err != nil && !errors.Is(err, errMoved) {
		return err
	}
	m.shown = ""
	return m.Session.GoHome(ctx)
}

// around is what else can be done at a step.
func (m *Mode) around(p page.Page) []choice {
	var out []choice
	for _, w := range p.Ways {
		out = append(out, m.way(w))
	}
	if p.Resend != "" {
		out = append(out, choice{p.Resend, func(ctx context.Context) error {
			err := m.Session.Resend(ctx)
			if err == nil {
				m.printf("%s\n", m.Lang.T("It was sent again."))
			}
			return err
		}})
	}
	if p.Ticket {
		out = append(out, choice{m.Lang.T("Look for a ticket on a USB stick"), m.tickets})
	}
	for _, f := range p.Fields {
		if f.Secret {
			label := m.Lang.T("Show what I type")
			if m.visible {
				label = m.Lang.T("Hide what I type")
			}
			out = append(out, choice{label, func(context.Context) error { m.visible = !m.visible; return nil }})
			break
		}
	}
	return append(out, choice{m.Lang.T("Back to the beginning"), m.Session.GoHome})
}

// field asks for one field; nil is one that is left out.
func (m *Mode) field(ctx context.Context, p page.Page, f page.Field) (any, error) {
	if f.Type == "bool" {
		m.printf("%s\n", f.Label)
		yes := false
		err := m.choose(ctx, []choice{
			{m.Lang.T("Yes"), func(context.Context) error { yes = true; return nil }},
			{m.Lang.T("No"), m.Session.GoHome},
		})
		if err == nil && !yes {
			err = errMoved
		}
		return yes, err
	}
	label := f.Label
	if f.Required {
		label += " (" + m.Lang.T("Enter alone: other ways") + ")"
	}
	if f.Secret && m.Term.CapsLock() {
		m.printf("%s\n", m.Lang.T("Caps lock is on."))
	}
	line, err := m.ask(ctx, label, f.Secret && !m.visible)
	switch {
	case err != nil:
		return nil, err
	case len(line) == 0 && !f.Required:
		return nil, nil
	case len(line) == 0:
		if err := m.choose(ctx, m.around(p)); err != nil {
			return nil, err
		}
		return nil, errMoved
	case f.Type == "password" || f.Type == "code":
		return line, nil
	}
	return string(line), nil
}

// ask reads a line, unless something else is to be shown meanwhile. Keys that
// would leave another program mean nothing here.
func (m *Mode) ask(ctx context.Context, question string, hidden bool) (secret.Bytes, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan bool, 1)
	go func() { watched <- m.watch(ctx, stop) }()
	read := m.Term.ReadLine
	if hidden {
		read = m.Term.ReadSecret
	}
	line, err := read(ctx, question+": ")
	stop()
	moved := <-watched
	switch {
	case err == nil:
		return withoutControls(line), nil
	case moved:
		return nil, errMoved
	case errors.Is(err, io.EOF) && !m.Term.Gone():
		return nil, nil // Ctrl-D is not a way out
	case errors.Is(err, io.EOF):
		return nil, ErrGone
	}
	return nil, err
}

// watch looks until there is something else to show than is shown.
func (m *Mode) watch(ctx context.Context, stop func()) bool {
	for m.Session.Changed(ctx, pollEvery) == nil {
		v, err := m.Session.Look(ctx)
		if ctx.Err() != nil {
			return false
		}
		if err != nil || differ(v, m.at) {
			stop()
			return true
		}
	}
	return false
}

func differ(a, b session.View) bool {
	return a.Open != b.Open || a.Home != b.Home || a.State.LockReason != b.State.LockReason ||
		!reflect.DeepEqual(a.State.LostMessage, b.State.LostMessage) ||
		a.Home && (a.Networks != b.Networks || a.State.Connectivity != b.State.Connectivity || a.State.DeviceID != b.State.DeviceID) ||
		!a.Home && (a.Flow.Step != b.Flow.Step || a.Flow.Error != b.Flow.Error)
}

// withoutControls drops what a terminal without signals hands over for Ctrl-C
// and its like.
func withoutControls(line secret.Bytes) secret.Bytes {
	out := line[:0]
	for _, c := range line {
		if c >= ' ' && c != 0x7f {
			out = append(out, c)
		}
	}
	return out
}

func (m *Mode) refuse(err error) {
	m.show(page.Page{Refusal: page.RefusalOf(m.Lang, busclient.AsFailure(err))})
	m.shown = ""
}

func (m *Mode) printf(format string, args ...any) { fmt.Fprintf(m.Out, format, args...) }

// show prints a page, once.
func (m *Mode) show(p page.Page) {
	out := m.render(p)
	if out != m.shown {
		m.printf("%s", out)
		m.shown = out
	}
}

func (m *Mode) render(p page.Page) string {
	width := min(max(m.Term.Width()-1, 30), 100)
	var b strings.Builder
	para := func(text string) {
		if text != "" {
			b.WriteString(wrap.Text(text, width) + "\n")
		}
	}
	if p.Title != "" {
		b.WriteString("\n")
		para("== " + p.Title + " ==")
	}
	for _, t := range p.Text {
		para(t)
	}
	for _, t := range p.Items {
		para("- " + t)
	}
	for _, f := range p.Facts {
		para(f.Label + ": " + f.Value)
	}
	para(p.Waiting(m.Lang, m.Now()))
	if p.QR != "" && m.QR {
		b.WriteString(qr.Text(p.QR))
	}
	if p.Keep != "" {
		para(m.Lang.T("Recovery code, to write down and keep away from this device:"))
		for i, g := range strings.Split(p.Keep, "-") {
			para(fmt.Sprintf("%d: %s", i+1, g))
		}
	}
	if r := p.Refusal; r != nil {
		b.WriteString("\n")
		para("! " + r.Happened)
		para(r.Todo)
		para(r.Counted)
	}
	return b.String()
}

func progress(p float64) string {
	if p < 0 {
		return "..."
	}
	return fmt.Sprintf("%.0f %%", min(p, 1)*100)
}
