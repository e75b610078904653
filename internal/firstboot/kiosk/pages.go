// SPDX-License-Identifier: Apache-2.0

package kiosk

import (
	"bytes"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"github.com/accountlock/accountlock/internal/firstboot/network"
	"github.com/accountlock/accountlock/internal/firstboot/page"
	"github.com/accountlock/accountlock/internal/firstboot/qr"
	"github.com/accountlock/accountlock/internal/firstboot/session"
	"github.com/accountlock/accountlock/internal/firstboot/ticket"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/secret"
)

// view is what a template draws.
type view struct {
	page.Page
	P     *i18n.Printer
	Title string
	// Where names the page for the browser's question whether it still stands.
	Where string
	Note  string
	Code  template.HTML
	// Home: the ways begin here.
	Home      bool
	Recover   *page.Way
	Network   bool
	Languages []i18n.Language
	Networks  []network.Network
	Tickets   []ticket.Ticket
	// Tool: a page of the screen's own.
	Tool bool
	// Again: without JavaScript the page asks again by itself.
	Again bool
	Wait  string // how long it takes still, in words; Left in milliseconds
	Left  int64
	// Percent of the work; below 0 where unknown.
	Percent int
	Groups  []string
}

// T translates, for the templates.
func (v view) T(english string) string { return v.P.T(english) }

// Describe words a network, for the templates.
func (v view) Describe(n network.Network) string { return network.Describe(v.P, n) }

// Label words the passphrase of a network, for the templates.
func (v view) Label(n network.Network) string {
	return v.P.T("Passphrase of {network}", "network", n.Name())
}

// where names what is shown, so that a change is noticed.
func where(v session.View, err error) string {
	switch {
	case err != nil:
		return "starting"
	case v.Open:
		return "open"
	case v.Home:
		return "home/" + strconv.FormatBool(v.Networks) + "/" + v.State.LockReason + "/" + v.State.Connectivity + "/" + v.State.DeviceID + "/" + v.State.LostMessage["message"] + "/" + strconv.Itoa(len(v.Flow.Waits()))
	}
	return strconv.FormatBool(v.Proving) + v.Flow.Kind + "/" + v.Flow.Step + "/" + v.Flow.Error.Name + "/" + strconv.Itoa(int(v.Flow.Progress*100)) + "/" + v.Flow.Text("user-code") + v.Flow.Text("challenge")
}

func (k *Kiosk) state(w http.ResponseWriter, r *http.Request) {
	v, err := k.o.Session.Look(r.Context())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(where(v, err)))
}

func (k *Kiosk) show(w http.ResponseWriter, r *http.Request) {
	s, err := k.o.Session.Look(r.Context())
	p := k.tongue()
	out := view{Where: where(s, err)}
	switch {
	case err != nil:
		out.Page, out.Again = page.Starting(p, nil), true
	case s.Open:
		out.Page = page.Open(p)
		defer k.once.Do(func() { close(k.opened) })
	case s.Home:
		out.Page, out.Home, out.Network = page.Home(p, s.State, s.Flow, s.At), true, s.Networks
		out.Recover = &page.Way{ID: page.WayRecover, Label: page.WayLabel(p, page.WayRecover)}
		for _, way := range out.Ways {
			if way.ID == page.WayRecover {
				out.Recover = nil
			}
		}
		if s.Trouble != nil {
			out.Refusal = page.RefusalOf(p, s.Trouble)
		}
	default:
		out.Page = page.Step(p, s.Flow, s.State.DeviceID, k.o.Now())
		if s.Proving {
			out.Page = page.Proving(p, out.Page)
		}
		out.Again = len(out.Fields) == 0 && !out.Over
	}
	k.render(w, out)
}

// render draws a page of the flow, or one of the screen's own.
func (k *Kiosk) render(w http.ResponseWriter, v view) {
	k.mu.Lock()
	v.P = k.lang
	if v.Refusal == nil {
		v.Refusal = k.refusal
	}
	v.Note = k.note
	k.refusal, k.note = nil, ""
	k.mu.Unlock()
	if v.Title == "" {
		v.Title = v.Page.Title
	}
	if v.QR != "" {
		v.Code = template.HTML(qr.SVG(v.QR)) //nolint:gosec // made of numbers alone
	}
	v.Wait = v.Waiting(v.P, k.o.Now())
	if !v.Until.IsZero() {
		v.Left = v.Until.Sub(k.o.Now()).Milliseconds()
	}
	v.Percent = int(v.Progress * 100)
	v.Groups = splitGroups(v.Keep)
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, "screen.html", v); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

func splitGroups(code string) []string {
	var out []string
	for g := range bytes.SplitSeq([]byte(code), []byte("-")) {
		if len(g) > 0 {
			out = append(out, string(g))
		}
	}
	return out
}

// submit hands in an answer to the fields that the flow has now. What a browser
// sends was a string in it before, so wiping this side's copy is all there is.
func (k *Kiosk) submit(w http.ResponseWriter, r *http.Request) {
	s, err := k.o.Session.Look(r.Context())
	if err != nil {
		k.act(w, r, err)
		return
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, "no form", http.StatusBadRequest)
		return
	}
	answer := map[string]any{}
	for _, f := range s.Flow.Fields {
		typed := r.PostForm.Get(f.Name)
		switch {
		case f.Type == "bool":
			answer[f.Name] = typed != ""
		case typed == "" && !f.Required:
		case f.Secret():
			answer[f.Name] = secret.Bytes(typed)
		default:
			answer[f.Name] = typed
		}
	}
	if r.PostForm.Get("step") != s.Flow.Step {
		k.act(w, r, nil) // the page is an old one: show what there is now
		return
	}
	_ = k.o.Session.Submit(r.Context(), answer) // the flow keeps its refusal
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (k *Kiosk) diagnosis(w http.ResponseWriter, r *http.Request) {
	checks, err := k.o.Session.Diagnose(r.Context())
	if err != nil {
		k.act(w, r, err)
		return
	}
	k.render(w, view{Page: page.Diagnosis(k.tongue(), checks), Tool: true})
}

func (k *Kiosk) support(w http.ResponseWriter, r *http.Request) {
	contacts, err := k.o.Session.Support(r.Context(), k.o.Region)
	if err != nil {
		k.act(w, r, err)
		return
	}
	s, _ := k.o.Session.Look(r.Context())
	k.render(w, view{Page: page.Support(k.tongue(), contacts, s.State.DeviceID, s.Flow.Text("challenge")), Tool: true})
}

func (k *Kiosk) speak(w http.ResponseWriter, r *http.Request) {
	tag := i18n.Match(r.PostFormValue("language"))
	k.mu.Lock()
	k.lang = i18n.For(tag)
	k.mu.Unlock()
	k.act(w, r, k.o.Session.Speak(r.Context(), tag))
}

func (k *Kiosk) tickets(w http.ResponseWriter, r *http.Request) {
	found := ticket.Find(ticket.Places())
	if len(found) == 0 {
		k.act(w, r, ticket.ErrNone())
		return
	}
	k.mu.Lock()
	k.found = found
	k.mu.Unlock()
	k.render(w, view{Page: page.Page{Title: k.tongue().T("Choose the ticket")}, Tickets: found, Tool: true})
}

// bring hands in a ticket of the list that was shown last.
func (k *Kiosk) bring(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PostFormValue("ticket"))
	k.mu.Lock()
	found := k.found
	k.mu.Unlock()
	if err != nil || n < 0 || n >= len(found) {
		http.Error(w, "no such ticket", http.StatusBadRequest)
		return
	}
	_ = k.o.Session.Bring(r.Context(), found[n]) // the flow keeps its refusal
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (k *Kiosk) networks(w http.ResponseWriter, r *http.Request) {
	list, err := k.o.Networks.List(r.Context())
	if err != nil {
		k.act(w, r, err)
		return
	}
	k.mu.Lock()
	k.list = list
	k.mu.Unlock()
	p := k.tongue()
	v := view{Page: page.Page{Title: p.T("Choose a network")}, Networks: list, Tool: true}
	if len(list) == 0 {
		v.Text = []string{p.T("No wireless network is in reach. A cable needs no choice: plug it in.")}
	}
	k.render(w, v)
}

// join connects to a network of the list that was shown last.
func (k *Kiosk) join(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PostFormValue("network"))
	k.mu.Lock()
	list := k.list
	k.mu.Unlock()
	if err != nil || n < 0 || n >= len(list) {
		http.Error(w, "no such network", http.StatusBadRequest)
		return
	}
	if !list[n].Usable() {
		k.act(w, r, network.ErrUnsupported())
		return
	}
	pass := secret.Bytes(r.PostFormValue("passphrase"))
	defer pass.Wipe()
	err = k.o.Networks.Join(r.Context(), list[n], pass)
	if err == nil {
		k.say(k.tongue().T("The device is connected to {network}.", "network", list[n].Name()))
	}
	k.act(w, r, err)
}

// pause is how long a page without fields stands before it asks again by itself.
const pause = 5 * time.Second

// Pause is it in seconds, for the templates.
func (v view) Pause() int { return int(pause / time.Second) }
