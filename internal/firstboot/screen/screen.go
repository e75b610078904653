// SPDX-License-Identifier: Apache-2.0

// Package screen is the first-boot screen on a whole terminal of 80 by 24
// characters and up, with 256 colours, 16 or none. Every page can be worked with
// the arrow keys, Enter and Escape; nothing depends on colour.
package screen

import (
	"context"
	"errors"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/firstboot/network"
	"github.com/accountlock/accountlock/internal/firstboot/page"
	"github.com/accountlock/accountlock/internal/firstboot/session"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/secret"
)

// Options are what one run works with.
type Options struct {
	Session  *session.Session
	Networks *network.Manager
	Lang     *i18n.Printer
	// Languages are those that the terminal can write.
	Languages []i18n.Language
	Region    string
	Now       func() time.Time
	// CapsLock reports whether caps lock is known to be on.
	CapsLock func() bool
	// Blocks: the terminal can draw block characters, and so codes to scan.
	Blocks bool
}

// Run draws until the device is open (nil), ctx ends or the terminal is gone.
// environ is the environment that the terminal is known by.
func Run(ctx context.Context, o Options, in io.Reader, out io.Writer, environ []string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	m := newModel(ctx, o)
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out),
		tea.WithEnvironment(environ), tea.WithoutSignalHandler(), tea.WithFPS(20))
	end, err := p.Run()
	if last, ok := end.(*model); ok && last.view.Open {
		return nil
	}
	if err == nil {
		err = errors.New("the screen ended")
	}
	return err
}

// The messages that the model gets from its commands.
type (
	// looked is what the session sees now.
	looked struct {
		view session.View
		err  error
	}
	// did is what came of something that the person chose.
	did struct {
		err  error
		note string
		// open is a page of the screen's own to show next; close leaves the one shown.
		open  *tool
		close bool
	}
	tick time.Time
)

// tool is a page of the screen's own, over the flow's.
type tool struct {
	page  page.Page
	items []item
	// input asks for a passphrase: what is typed goes to enter.
	label string
	enter func(context.Context, secret.Bytes) did
}

// model is what is on the screen.
type model struct {
	ctx context.Context //nolint:containedctx // bubbletea's commands take none
	o   Options

	view session.View
	err  error
	tool *tool

	w, h    int
	at      int // the item that is chosen
	top     int // the first line of the body that is seen
	inputs  map[string]*input
	shown   string // which step the inputs are for
	visible bool   // what is typed into a password field
	caps    bool
	busy    bool
	note    string
	refusal *page.Refusal
	ticking bool
}

func newModel(ctx context.Context, o Options) *model {
	return &model{ctx: ctx, o: o, w: 80, h: 24, inputs: map[string]*input{}}
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return m.look }

// look reads what there is to show.
func (m *model) look() tea.Msg {
	v, err := m.o.Session.Look(m.ctx)
	return looked{v, err}
}

const pollEvery = 3 * time.Second

// wait looks again once something may have changed.
func (m *model) wait() tea.Msg {
	if m.o.Session.Changed(m.ctx, pollEvery) != nil {
		return nil
	}
	return m.look()
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.w, m.h = max(msg.Width, 20), max(msg.Height, 8)
	case looked:
		return m, m.take(msg)
	case did:
		return m, m.done(msg)
	case tick:
		m.ticking = false
		return m, m.clock()
	case tea.PasteMsg:
		if in := m.focused(); in != nil && !m.busy {
			in.insert(msg.Content)
		}
	case tea.KeyPressMsg:
		return m, m.press(msg)
	}
	return m, nil
}

// take shows what the session sees.
func (m *model) take(l looked) tea.Cmd {
	m.view, m.err = l.view, l.err
	if m.view.Open && m.err == nil {
		return tea.Quit
	}
	if m.view.Trouble != nil {
		m.refusal = page.RefusalOf(m.o.Lang, m.view.Trouble)
	}
	if shown := m.where(); shown != m.shown {
		m.forget()
		m.shown, m.at, m.top, m.note = shown, 0, 0, ""
		m.visible = m.visible && !m.view.Home // the next person's is hidden again
	}
	m.at = min(m.at, max(len(m.items())-1, 0))
	return tea.Batch(m.wait, m.clock())
}

// where names the page, so that a new one begins with nothing typed.
func (m *model) where() string {
	switch {
	case m.err != nil:
		return "starting"
	case m.view.Home:
		return "home"
	}
	return "step " + m.view.Flow.Kind + " " + m.view.Flow.Step
}

func (m *model) forget() {
	for _, in := range m.inputs {
		in.wipe()
	}
	m.inputs = map[string]*input{}
}

// clock ticks while a wait is shown.
func (m *model) clock() tea.Cmd {
	if m.ticking || m.page().Until.IsZero() {
		return nil
	}
	m.ticking = true
	return tea.Tick(time.Second, func(t time.Time) tea.Msg { return tick(t) })
}

// done shows what came of a choice.
func (m *model) done(d did) tea.Cmd {
	m.busy, m.note, m.refusal = false, d.note, nil
	if d.open != nil || d.close {
		m.tool, m.at, m.top = d.open, 0, 0
		m.forget()
	}
	if d.err != nil {
		m.refusal = page.RefusalOf(m.o.Lang, busclient.AsFailure(d.err))
		// What was refused is typed anew; who it was for stays.
		for name, in := range m.inputs {
			if name != "identifier" {
				in.wipe()
			}
		}
		m.at, m.top = 0, 0
	}
	return func() tea.Msg { return m.look() }
}

// run does something that takes its time; until then no key counts.
func (m *model) run(f func(context.Context) did) tea.Cmd {
	m.busy, m.note, m.refusal = true, "", nil
	ctx := m.ctx
	return func() tea.Msg { return f(ctx) }
}

func (m *model) focused() *input {
	items := m.items()
	if m.at >= len(items) || items[m.at].field == nil {
		return nil
	}
	return m.input(items[m.at].field.Name)
}

func (m *model) input(name string) *input {
	in, ok := m.inputs[name]
	if !ok {
		in = &input{}
		m.inputs[name] = in
	}
	return in
}

// press takes a key. There is none that ends the program.
func (m *model) press(k tea.KeyPressMsg) tea.Cmd {
	m.caps = k.Mod.Contains(tea.ModCapsLock) || m.o.CapsLock()
	if m.busy {
		return nil
	}
	items := m.items()
	switch k.Keystroke() {
	case "up", "shift+tab":
		m.at = (m.at + max(len(items), 1) - 1) % max(len(items), 1)
		return nil
	case "down", "tab":
		m.at = (m.at + 1) % max(len(items), 1)
		return nil
	case "pgdown":
		m.top += m.h / 2
		return nil
	case "pgup":
		m.top = max(m.top-m.h/2, 0)
		return nil
	case "esc":
		return m.back()
	case "enter":
		if m.at < len(items) {
			return m.enter(items, m.at)
		}
		return nil
	}
	if in := m.focused(); in != nil && in.key(k) {
		return nil
	}
	// A digit chooses an item, as on the line mode's menus.
	if t := k.Text; m.focused() == nil && len(t) == 1 && t[0] >= '1' && int(t[0]-'1') < len(items) {
		m.at = int(t[0] - '1')
		return m.enter(items, m.at)
	}
	return nil
}

// back leaves a page of the screen's own, or the flow for the beginning.
func (m *model) back() tea.Cmd {
	switch {
	case m.tool != nil:
		m.forget()
		m.tool, m.at, m.top, m.note, m.refusal = nil, 0, 0, "", nil
		return nil
	case m.err != nil || m.view.Home:
		return nil
	}
	return m.run(func(ctx context.Context) did { return did{err: m.o.Session.GoHome(ctx)} })
}

func (m *model) enter(items []item, at int) tea.Cmd {
	it := items[at]
	switch {
	case it.field != nil && it.field.Type == "bool":
		m.input(it.field.Name).toggle()
		return nil
	case it.field != nil && at+1 < len(items) && items[at+1].field != nil:
		m.at++ // the next field
		return nil
	case it.field != nil && m.tool != nil:
		typed, enter := m.input(it.field.Name).bytes(), m.tool.enter
		return m.run(func(ctx context.Context) did { return enter(ctx, typed) })
	case it.field != nil:
		return m.submit()
	case it.do != nil:
		return it.do()
	}
	return nil
}
