// SPDX-License-Identifier: Apache-2.0

package line

import (
	"context"

	"github.com/accountlock/accountlock/internal/console"
	"github.com/accountlock/accountlock/internal/firstboot/network"
	"github.com/accountlock/accountlock/internal/firstboot/page"
	"github.com/accountlock/accountlock/internal/firstboot/ticket"
	"github.com/accountlock/accountlock/internal/i18n"
)

func (m *Mode) diagnosis(ctx context.Context) error {
	m.printf("%s\n", m.Lang.T("This takes up to ten seconds."))
	checks, err := m.Session.Diagnose(ctx)
	if err != nil {
		return err
	}
	return m.read(ctx, page.Diagnosis(m.Lang, checks))
}

func (m *Mode) support(ctx context.Context) error {
	contacts, err := m.Session.Support(ctx, m.Region)
	if err != nil {
		return err
	}
	return m.read(ctx, page.Support(m.Lang, contacts, m.at.State.DeviceID, m.at.Flow.Text("challenge")))
}

// read shows a page of the screen's own until the person goes on.
func (m *Mode) read(ctx context.Context, p page.Page) error {
	m.show(p)
	_, err := m.ask(ctx, m.Lang.T("Enter goes back to the beginning"), false)
	m.shown = ""
	return err
}

func (m *Mode) language(ctx context.Context) error {
	var menu []choice
	for _, l := range m.Languages {
		menu = append(menu, choice{l.Name, func(ctx context.Context) error {
			m.Lang = i18n.For(l.Tag)
			return m.Session.Speak(ctx, l.Tag)
		}})
	}
	return m.choose(ctx, menu)
}

func (m *Mode) networks(ctx context.Context) error {
	m.printf("%s\n", m.Lang.T("Looking for networks."))
	list, err := m.Networks.List(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		m.printf("%s\n", m.Lang.T("No wireless network is in reach. A cable needs no choice: plug it in."))
	}
	var menu []choice
	for _, n := range list {
		menu = append(menu, choice{network.Describe(m.Lang, n), func(ctx context.Context) error { return m.join(ctx, n) }})
	}
	menu = append(menu, choice{m.Lang.T("Back to the beginning"), func(context.Context) error { return nil }})
	return m.choose(ctx, menu)
}

func (m *Mode) join(ctx context.Context, n network.Network) error {
	if !n.Usable() {
		return network.ErrUnsupported()
	}
	var pass []byte
	if n.NeedsPassphrase() {
		line, err := m.ask(ctx, m.Lang.T("Passphrase of {network}", "network", n.Name()), !m.visible)
		if err != nil || len(line) == 0 {
			return err
		}
		defer line.Wipe()
		pass = line
	}
	m.printf("%s\n", m.Lang.T("Connecting; this takes up to half a minute."))
	if err := m.Networks.Join(ctx, n, pass); err != nil {
		return err
	}
	m.printf("%s\n", m.Lang.T("The device is connected to {network}.", "network", n.Name()))
	return nil
}

func (m *Mode) tickets(ctx context.Context) error {
	found := ticket.Find(ticket.Places())
	if len(found) == 0 {
		return ticket.ErrNone()
	}
	m.printf("%s\n", m.Lang.T("Choose the ticket"))
	var menu []choice
	for _, t := range found {
		menu = append(menu, choice{console.Clean(t.Name), func(ctx context.Context) error { return m.Session.Bring(ctx, t) }})
	}
	menu = append(menu, choice{m.Lang.T("Back"), func(context.Context) error { return nil }})
	return m.choose(ctx, menu)
}
