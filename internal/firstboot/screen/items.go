// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"context"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/accountlock/accountlock/internal/console"
	"github.com/accountlock/accountlock/internal/firstboot/network"
	"github.com/accountlock/accountlock/internal/firstboot/page"
	"github.com/accountlock/accountlock/internal/firstboot/ticket"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/secret"
)

// item is something on a page that can be chosen: a field, or a thing to do.
type item struct {
	label string
	field *page.Field
	do    func() tea.Cmd
}

// page returns what is shown now.
func (m *model) page() page.Page {
	switch {
	case m.tool != nil:
		return m.tool.page
	case m.err != nil:
		return page.Starting(m.o.Lang, nil)
	case m.view.Home:
		return page.Home(m.o.Lang, m.view.State, m.view.Flow, m.view.At)
	}
	p := page.Step(m.o.Lang, m.view.Flow, m.view.State.DeviceID, m.o.Now())
	if m.view.Proving {
		p = page.Proving(m.o.Lang, p)
	}
	return p
}

// items returns what can be chosen on the page that is shown.
func (m *model) items() []item {
	switch {
	case m.tool != nil:
		items := m.tool.items
		if m.tool.enter != nil {
			items = append([]item{{field: &page.Field{Name: "passphrase", Label: m.tool.label, Type: "password", Secret: true}}}, items...)
			items = append(items, m.showItem())
		}
		return append(items, item{label: m.o.Lang.T("Back"), do: m.back})
	case m.err != nil:
		return nil
	}
	p := m.page()
	if m.view.Home {
		return m.homeItems(p)
	}
	return m.stepItems(p)
}

func (m *model) homeItems(p page.Page) []item {
	var out []item
	recover := false
	for _, w := range p.Ways {
		recover = recover || w.ID == page.WayRecover
		out = append(out, m.wayItem(w))
	}
	if !recover {
		out = append(out, m.wayItem(page.Way{ID: page.WayRecover, Label: page.WayLabel(m.o.Lang, page.WayRecover)}))
	}
	if m.view.Networks {
		out = append(out, m.doItem(m.o.Lang.T("Choose a network"), m.networks))
	}
	out = append(out, m.doItem(m.o.Lang.T("What works and what does not"), m.diagnosis),
		m.doItem(m.o.Lang.T("Support"), m.support(m.view.State.DeviceID, m.view.Flow.Text("challenge"))))
	if len(m.o.Languages) > 1 {
		// The word in English too, for whoever cannot read this language.
		word := m.o.Lang.T("Language")
		if word != "Language" {
			word += " / Language"
		}
		out = append(out, item{label: word, do: m.languages})
	}
	return out
}

func (m *model) stepItems(p page.Page) []item {
	var out []item
	secret := false
	for i := range p.Fields {
		out = append(out, item{field: &p.Fields[i]})
		secret = secret || p.Fields[i].Secret
	}
	if len(p.Fields) > 0 {
		out = append(out, item{label: m.o.Lang.T("Go on"), do: m.submit})
	}
	if secret {
		out = append(out, m.showItem())
	}
	if p.Ticket {
		out = append(out, m.doItem(m.o.Lang.T("Look for a ticket on a USB stick"), m.tickets))
	}
	if p.Resend != "" {
		out = append(out, m.doItem(p.Resend, func(ctx context.Context) did {
			if err := m.o.Session.Resend(ctx); err != nil {
				return did{err: err}
			}
			return did{note: m.o.Lang.T("It was sent again.")}
		}))
	}
	for _, w := range p.Ways {
		out = append(out, m.wayItem(w))
	}
	if !p.Working {
		out = append(out, item{label: m.o.Lang.T("Back to the beginning"), do: m.back})
	}
	return out
}

func (m *model) wayItem(w page.Way) item {
	return m.doItem(w.Label, func(ctx context.Context) did { return did{err: m.o.Session.Take(ctx, w.ID)} })
}

func (m *model) doItem(label string, f func(context.Context) did) item {
	return item{label: label, do: func() tea.Cmd { return m.run(f) }}
}

func (m *model) showItem() item {
	label := m.o.Lang.T("Show what I type")
	if m.visible {
		label = m.o.Lang.T("Hide what I type")
	}
	return item{label: label, do: func() tea.Cmd { m.visible = !m.visible; return nil }}
}

// toggle turns a field that is ticked or not; an empty one is not.
func (in *input) toggle() {
	if in.n > 0 {
		in.wipe()
		return
	}
	in.insert("x")
}

// submit hands in what was typed. A field that nothing was typed into is left
// out: the daemon says where that does not do.
func (m *model) submit() tea.Cmd {
	answer := map[string]any{}
	for _, f := range m.page().Fields {
		in := m.input(f.Name)
		switch {
		case f.Type == "bool":
			answer[f.Name] = in.n > 0
		case in.n == 0 && !f.Required:
		case f.Type == "password" || f.Type == "code":
			answer[f.Name] = in.bytes()
		default:
			answer[f.Name] = string(in.bytes())
		}
	}
	return m.run(func(ctx context.Context) did { return did{err: m.o.Session.Submit(ctx, answer)} })
}

func (m *model) diagnosis(ctx context.Context) did {
	checks, err := m.o.Session.Diagnose(ctx)
	if err != nil {
		return did{err: err}
	}
	return did{open: &tool{page: page.Diagnosis(m.o.Lang, checks)}}
}

func (m *model) support(device, challenge string) func(context.Context) did {
	return func(ctx context.Context) did {
		contacts, err := m.o.Session.Support(ctx, m.o.Region)
		if err != nil {
			return did{err: err}
		}
		return did{open: &tool{page: page.Support(m.o.Lang, contacts, device, challenge)}}
	}
}

func (m *model) tickets(context.Context) did {
	found := ticket.Find(ticket.Places())
	if len(found) == 0 {
		return did{err: ticket.ErrNone()}
	}
	t := &tool{page: page.Page{Title: m.o.Lang.T("Choose the ticket")}}
	for _, f := range found {
		t.items = append(t.items, m.doItem(console.Clean(f.Name), func(ctx context.Context) did {
			return did{err: m.o.Session.Bring(ctx, f), close: true}
		}))
	}
	return did{open: t}
}

func (m *model) languages() tea.Cmd {
	t := &tool{page: page.Page{Title: "Language"}}
	for _, l := range m.o.Languages {
		t.items = append(t.items, item{label: l.Name, do: func() tea.Cmd {
			m.o.Lang, m.tool = i18n.For(l.Tag), nil
			return m.run(func(ctx context.Context) did { return did{err: m.o.Session.Speak(ctx, l.Tag)} })
		}})
	}
	m.tool, m.at, m.top = t, 0, 0
	return nil
}

func (m *model) networks(ctx context.Context) did {
	list, err := m.o.Networks.List(ctx)
	if err != nil {
		return did{err: err}
	}
	t := &tool{page: page.Page{Title: m.o.Lang.T("Choose a network")}}
	if len(list) == 0 {
		t.page.Text = []string{m.o.Lang.T("No wireless network is in reach. A cable needs no choice: plug it in.")}
	}
	for _, n := range list {
		t.items = append(t.items, item{label: network.Describe(m.o.Lang, n), do: func() tea.Cmd { return m.join(n) }})
	}
	return did{open: t}
}

func (m *model) join(n network.Network) tea.Cmd {
	connect := func(ctx context.Context, pass secret.Bytes) did {
		defer pass.Wipe()
		if err := m.o.Networks.Join(ctx, n, pass); err != nil {
			return did{err: err}
		}
		return did{close: true, note: m.o.Lang.T("The device is connected to {network}.", "network", n.Name())}
	}
	switch {
	case !n.Usable():
		return m.run(func(context.Context) did { return did{err: network.ErrUnsupported()} })
	case !n.NeedsPassphrase():
		return m.run(func(ctx context.Context) did { return connect(ctx, nil) })
	}
	m.forget()
	m.tool, m.at, m.top = &tool{
		page:  page.Page{Title: n.Name(), Text: []string{m.o.Lang.T("Connecting takes up to half a minute.")}},
		label: m.o.Lang.T("Passphrase of {network}", "network", n.Name()), enter: connect,
	}, 0, 0
	return nil
}

// passwordAt reports whether a secret is being typed.
func passwordAt(items []item, at int) bool {
	return at < len(items) && items[at].field != nil && items[at].field.Secret
}

func isURL(s string) bool { return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") }
