// SPDX-License-Identifier: Apache-2.0

package page

import (
	"fmt"
	"time"

	"github.com/accountlock/accountlock/internal/console"
	"github.com/accountlock/accountlock/internal/i18n"
)

// Check is one line of a diagnosis.
type Check struct {
	Name, Result, Message string
	// URL is where a network's own sign-in page is; empty for none.
	URL string
}

var results = map[string]string{
	"ok":      i18n.Mark("works"),
	"warning": i18n.Mark("look at this"),
	"failed":  i18n.Mark("does not work"),
	"skipped": i18n.Mark("not looked at"),
}

// Diagnosis shows what works and what does not.
func Diagnosis(p *i18n.Printer, checks []Check) Page {
	out := Page{Title: p.T("What works and what does not")}
	for _, c := range checks {
		if c.Name == "tier" {
			continue // for whoever built the device; an owner can do nothing about it
		}
		word, ok := results[c.Result]
		if !ok {
			word = console.Clean(c.Result)
		}
		out.Facts = append(out.Facts, Fact{p.Say(console.Clean(c.Name)), p.T(word) + ": " + p.Say(console.Clean(c.Message))})
		if c.URL != "" && out.QR == "" {
			out.QR = console.Clean(c.URL)
			out.Text = append(out.Text, p.T("This network has a sign-in page of its own: {url}. It knows this device by its network card: open it on a phone only where one sign-in is good for all your devices. Otherwise choose another network, such as a phone's own hotspot, or an offline code.", "url", out.QR))
		}
	}
	return out
}

// Contact is one way to reach support.
type Contact struct{ Kind, Label, Address string }

// Support shows how to reach support, and what to tell them.
func Support(p *i18n.Printer, contacts []Contact, device, challenge string) Page {
	out := Page{
		Title: p.T("Support"),
		Text:  []string{p.T("Tell them the device ID. They open a case, and ask you about the account; nobody at support may ask for your password.")},
	}
	if device != "" {
		out.Facts = append(out.Facts, Fact{p.T("Device ID"), console.Clean(device)})
	}
	if challenge != "" {
		out.Facts = append(out.Facts, Fact{p.T("Challenge"), console.Clean(challenge)})
	} else {
		out.Text = append(out.Text, p.T("If they ask for a challenge: the way with an offline code shows one."))
	}
	for _, c := range contacts {
		out.Facts = append(out.Facts, Fact{console.Clean(c.Label), console.Clean(c.Address)})
	}
	if len(contacts) == 0 {
		out.Text = append(out.Text, p.T("No contact is known yet: the device has not reached the account service."))
	}
	return out
}

// Left writes a wait as a clock that counts down: 1:02:03, 4:05. Days are
// whole hours; 0:00 is over.
func Left(d time.Duration) string {
	s := max(int64((d+time.Second-1)/time.Second), 0)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// Waiting says how long is left of a page's wait, and until when in the wall
// clock; empty where there is none.
func (pg Page) Waiting(p *i18n.Printer, now time.Time) string {
	left, at := Left(pg.Until.Sub(now)), p.Moment(pg.Until, now)
	switch {
	case pg.Until.IsZero():
		return ""
	case pg.Others:
		return p.T("A way that waits takes its next attempt in {left} (at {time}); the others do not wait.", "left", left, "time", at)
	case pg.Limited:
		return p.T("The next attempt is taken in {left} (at {time}).", "left", left, "time", at)
	}
	return p.T("It goes on in {left} (at {time}).", "left", left, "time", at)
}

// Proving is a check's page while it is being solved.
func Proving(p *i18n.Printer, pg Page) Page {
	pg.Fields, pg.Working, pg.Progress = nil, true, -1
	pg.Text = []string{p.T("The account service asks for a check; the device is doing it.")}
	return pg
}

// Open is what is shown once the device is.
func Open(p *i18n.Printer) Page {
	return Page{Title: p.T("This device is open"), Text: []string{p.T("It goes on starting now.")}, Over: true}
}

// Starting is what is shown while the daemon has not said anything yet.
func Starting(p *i18n.Printer, f *Refusal) Page {
	return Page{
		Title:   p.T("One moment"),
		Text:    []string{p.T("The device is finding out whether it is locked. Until then it stays shut.")},
		Refusal: f,
	}
}
