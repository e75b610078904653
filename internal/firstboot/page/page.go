// SPDX-License-Identifier: Apache-2.0

// Package page owns what the first-boot screen says, in a person's language, and
// nothing of how it is drawn: the line mode, the full-screen terminal and the
// kiosk draw the same pages. It is pure; it knows no flow in advance and shows
// whatever step it is given.
package page

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
	"github.com/accountlock/accountlock/internal/i18n"
)

// Page is one thing to show. Everything in it is safe to print.
type Page struct {
	// Step is the flow's step; empty for a page that belongs to none.
	Step  string
	Title string
	Text  []string
	// Items are a list under the text: consequences.
	Items []string
	Facts []Fact
	// QR is what a code to scan holds.
	QR string
	// Keep is a recovery code to write down.
	Keep   string
	Fields []Field
	Ways   []Way
	// Ticket: a file may bring the answer.
	Ticket bool
	// Resend is what has a code sent, or sent again; empty where none can be.
	Resend string
	// Refusal is what went wrong last.
	Refusal *Refusal
	// Until is when a wait ends; Limited: it is that after too many attempts. Others: of
	// a way that is marked so, and no other.
	Until           time.Time
	Limited, Others bool
	// Progress of Working, 0 to 1; below 0 where unknown.
	Progress float64
	Working  bool
	// Over: the flow has ended, well or not; there is nothing more to answer.
	Over bool
}

// Fact is a line of a label and a value.
type Fact struct{ Label, Value string }

// Field is one thing to type.
type Field struct {
	Name, Label, Type string
	Required          bool
	// Secret is not shown unless the person wants it.
	Secret bool
	// Digits: a keyboard of digits does.
	Digits bool
}

// Way is something that can be chosen; ID goes back to the daemon.
type Way struct{ ID, Label string }

// Refusal says what happened, what to do, and whether it counted; Counted is
// empty where no attempt was made.
type Refusal struct{ Happened, Todo, Counted string }

// The ways that are not the daemon's own: they belong to the screen.
const (
	WayNetwork   = "network"
	WayLanguage  = "language"
	WayDiagnosis = "diagnosis"
	WaySupport   = "support"
	WayRecover   = "recover"
	WayPassword  = "password"
)

// wayLabels are the words for ways in. One that is not here is shown under its
// own name, so that a new one needs no new screen. Their order is the menu's.
var wayLabels = []Way{
	{WayPassword, i18n.Mark("Type the password of the account")},
	{"approve", i18n.Mark("Approve it from another device")},
	{"offline-code", i18n.Mark("Use an offline code, without a network")},
	{"recovery-code", i18n.Mark("Use the recovery code you wrote down")},
	{WayRecover, i18n.Mark("Recover a forgotten password or account ID")},
	{WaySupport, i18n.Mark("Ask support to help")},
}

// Ways words the ways that a flow offers, in the menu's order; one that takes no
// attempt yet is marked.
func Ways(p *i18n.Printer, f busclient.Snapshot, now time.Time) []Way {
	out := make([]Way, 0, len(f.Methods))
	waits := f.Waits()
	for _, m := range f.Methods {
		label := WayLabel(p, m)
		if until := waits[m]; until.After(now) {
			label = p.T("{way} (waits until {time})", "way", label, "time", p.Moment(until, now))
		}
		out = append(out, Way{m, label})
	}
	slices.SortStableFunc(out, func(a, b Way) int { return cmp.Compare(rank(a.ID), rank(b.ID)) })
	return out
}

func rank(id string) int {
	for i, w := range wayLabels {
		if w.ID == id {
			return i
		}
	}
	return len(wayLabels) - 1 // an unknown way stands before recovery
}

// WayLabel words one way.
func WayLabel(p *i18n.Printer, id string) string {
	for _, w := range wayLabels {
		if w.ID == id {
			return p.T(w.Label)
		}
	}
	return console.Clean(id)
}

// reasons say why the device asks.
var reasons = map[string]string{
	"factory-reset":  i18n.Mark("It was reset. It opens once its owner's account is verified."),
	"lost":           i18n.Mark("Its owner marked it lost. It opens once the owner's account is verified."),
	"record-missing": i18n.Mark("Its lock record is missing. It opens once the account service says that it is free, or its owner's account is verified."),
	"record-damaged": i18n.Mark("Its lock record is damaged. It opens once its owner's account is verified."),
}

var connections = map[string]string{
	"unknown":             i18n.Mark("not tried yet"),
	"online":              i18n.Mark("connected"),
	"offline":             i18n.Mark("no network"),
	"captive-portal":      i18n.Mark("the network wants you to sign in to it first"),
	"clock-wrong":         i18n.Mark("the device's clock is wrong"),
	"service-unreachable": i18n.Mark("the account service does not answer"),
	"service-untrusted":   i18n.Mark("what answers is not the account service"),
}

// Home is the first page: what is locked, why, and the ways in, which are those of the
// flow f. at is when both were read.
func Home(p *i18n.Printer, s busclient.State, f busclient.Snapshot, at time.Time) Page {
	out := Page{Title: p.T("This device is locked to its owner's account"), Ways: Ways(p, f, at)}
	if r, ok := reasons[s.LockReason]; ok {
		out.Text = append(out.Text, p.T(r))
	}
	if m := console.Clean(s.LostMessage["message"]); m != "" {
		out.Text = append(out.Text, p.T("Its owner says: {message}", "message", m))
	}
	add := func(label, value string) {
		if value = console.Clean(value); value != "" {
			out.Facts = append(out.Facts, Fact{label, value})
		}
	}
	add(p.T("Contact"), s.LostMessage["contact"])
	add(p.T("Account"), s.AccountHint)
	device := s.DeviceID
	if device == "" {
		device = p.T("none yet: the device has not reached the account service")
	}
	add(p.T("Device ID"), device)
	connection, ok := connections[s.Connectivity]
	if !ok {
		connection = s.Connectivity
	}
	add(p.T("Connection"), p.T(connection))
	for _, until := range f.Waits() {
		if until.After(at) && (out.Until.IsZero() || until.Before(out.Until)) {
			out.Until, out.Limited, out.Others = until, true, true
		}
	}
	return out
}

// fieldLabels are the words for fields; a name that is not here is shown as
// it is.
var fieldLabels = map[string]string{
	"identifier":    i18n.Mark("Account ID, e-mail or phone number"),
	"password":      i18n.Mark("Password"),
	"repeat":        i18n.Mark("The same password again"),
	"code":          i18n.Mark("Code"),
	"captcha":       i18n.Mark("Answer to the check"),
	"confirm":       i18n.Mark("I have read this; go on"),
	"recovery-code": i18n.Mark("Recovery code"),
}

// factLabels are the words for what a prompt holds; a key that is not here is
// shown under its own name.
var factLabels = map[string]string{
	"account-hint": i18n.Mark("Account"),
	"sent-to":      i18n.Mark("Sent to"),
	"uri":          i18n.Mark("Open"),
	"user-code":    i18n.Mark("Code"),
	"challenge":    i18n.Mark("Challenge"),
	"case-number":  i18n.Mark("Case number"),
	"until":        i18n.Mark("Wait until"),
	"expires":      i18n.Mark("Valid until"),
}

// order puts what is read out first.
var order = []string{"account-hint", "uri", "user-code", "challenge", "case-number", "sent-to", "until", "expires"}

// apart are drawn in a way of their own, or are nothing to read.
var apart = []string{"title", "text", "fields", "consequences", "captcha", "recovery-code", "recovery-groups", "waits"}

// Step is the page of a flow's step. device is the device ID, which belongs to a
// challenge: whoever is told the one asks for the other.
func Step(p *i18n.Printer, s busclient.Snapshot, device string, now time.Time) Page {
	out := Page{
		Step: s.Step, Title: p.Say(console.Clean(s.Text("title"))),
		Ways: Ways(p, s, now), Resend: resend(p, s),
		Progress: s.Progress, Working: s.Step == "working",
		Over: s.Step == "done" || s.Step == "failed",
		Keep: console.Clean(s.Text("recovery-code")), Ticket: s.Step == "offline-code",
	}
	out.Ways = slices.DeleteFunc(out.Ways, func(w Way) bool { return w.ID == s.Step }) // here already
	switch {
	case s.Step == "identify":
		out.Ways = slices.DeleteFunc(out.Ways, func(w Way) bool { return w.ID == WayPassword })
	case s.Step == "password" && slices.Contains(s.Methods, WayPassword):
		// Chosen here it leads back to who is meant.
		out.Ways = append([]Way{{WayPassword, p.T("Use another account")}}, out.Ways...)
	}
	if out.Title == "" {
		out.Title = console.Clean(s.Step)
	}
	if t := console.Clean(s.Text("text")); t != "" {
		out.Text = []string{p.Say(t)}
	}
	if list, ok := s.Prompt["consequences"].Value().([]string); ok {
		for _, c := range list {
			out.Items = append(out.Items, p.Say(console.Clean(c)))
		}
	}
	if s.Step == "wait" {
		out.Until = s.Time("until")
	}
	if until := s.Waits()[waysOf[s.Step]]; until.After(now) {
		out.Until, out.Limited = until, true
	}
	out.QR = qr(s)
	out.Facts = facts(p, s, now)
	if s.Text("challenge") != "" && device != "" {
		out.Facts = append(out.Facts, Fact{p.T("Device ID"), console.Clean(device)})
	}
	for _, f := range s.Fields {
		out.Fields = append(out.Fields, field(p, f, s))
	}
	if s.Error.Name != "" {
		out.Refusal = RefusalOf(p, s.Error.Failure())
		if !answeredStep(s) {
			out.Refusal.Counted = ""
		}
	}
	return out
}

// waysOf names the way whose attempts a step takes.
var waysOf = map[string]string{"password": WayPassword, "code": WayPassword, "offline-code": "offline-code", "recovery-code": "recovery-code"}

// resend is what has a code sent: again, or in place of an authenticator app's.
func resend(p *i18n.Printer, s busclient.Snapshot) string {
	switch {
	case s.Step != "code" || len(s.Fields) == 0:
		return ""
	case s.Text("sent-to") == "":
		return p.T("Send me a code instead")
	default:
		return p.T("Send the code again")
	}
}

// answeredStep reports whether the refusal at a step is that of an answer, and
// not of work that goes on by itself.
func answeredStep(s busclient.Snapshot) bool { return len(s.Fields) > 0 || s.Step == "failed" }

// qr is what a code to scan on this step holds: the address to open, or else
// the challenge.
func qr(s busclient.Snapshot) string {
	if full := s.Text("uri-complete"); full != "" {
		return full
	}
	if uri := s.Text("uri"); uri != "" {
		return uri
	}
	return s.Text("challenge")
}

func facts(p *i18n.Printer, s busclient.Snapshot, now time.Time) []Fact {
	keys := make([]string, 0, len(s.Prompt))
	for key := range s.Prompt {
		if !slices.Contains(apart, key) && key != "uri-complete" && (key != "until" || s.Step != "wait" && s.Step != "offline-code") {
			keys = append(keys, key)
		}
	}
	at := func(key string) int {
		if i := slices.Index(order, key); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(at(a), at(b)), cmp.Compare(a, b)) })
	var out []Fact
	for _, key := range keys {
		label := console.Clean(key)
		if l, ok := factLabels[key]; ok {
			label = p.T(l)
		}
		if v := value(p, s, key, now); v != "" {
			out = append(out, Fact{label, v})
		}
	}
	return out
}

func value(p *i18n.Printer, s busclient.Snapshot, key string, now time.Time) string {
	switch v := s.Prompt[key].Value().(type) {
	case string:
		return console.Clean(v)
	case uint64:
		if t := s.Time(key); !t.IsZero() {
			return p.Moment(t, now)
		}
	case []string:
		return console.Clean(strings.Join(v, ", "))
	case uint32:
		return strconv.FormatUint(uint64(v), 10)
	case dbus.ObjectPath, []byte:
	}
	return ""
}

func field(p *i18n.Printer, f busclient.Field, s busclient.Snapshot) Field {
	out := Field{
		Name: f.Name, Type: f.Type, Required: f.Required, Label: console.Clean(f.Name),
		Secret: f.Type == "password",
		Digits: s.Step == "code" && s.Text("sent-to") != "" || s.Step == "offline-code",
	}
	if l, ok := fieldLabels[f.Name]; ok {
		out.Label = p.T(l)
	}
	if f.Name == "recovery-code" {
		if groups, ok := s.Prompt["recovery-groups"].Value().([]uint32); ok && len(groups) > 0 {
			words := make([]string, len(groups))
			for i, g := range groups {
				words[i] = strconv.FormatUint(uint64(g), 10)
			}
			out.Label = p.T("These groups of the recovery code: {groups}", "groups", strings.Join(words, ", "))
		}
	}
	return out
}

// RefusalOf words a failure.
func RefusalOf(p *i18n.Printer, f *busclient.Failure) *Refusal {
	r := &Refusal{Happened: p.Say(console.Clean(f.Message)), Todo: p.Say(console.Clean(f.Remedy))}
	switch {
	case !f.Answered:
	case f.Counted:
		r.Counted = p.T("This counted as an attempt.")
	default:
		r.Counted = p.T("This did not count as an attempt.")
	}
	return r
}
