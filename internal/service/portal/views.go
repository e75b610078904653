// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/factor"
	"github.com/accountlock/accountlock/internal/service/staff"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed static
var staticFiles embed.FS

// views are the pages' templates, each with the layout around it.
type views struct {
	pages map[string]*template.Template
}

func newViews() (*views, error) {
	parts := template.FuncMap{
		"form":  func(v view, id string) form { return form{v, id} },
		"check": func(v view, challenge, without string) check { return check{v, challenge, without} },
	}
	layout, err := template.New("layout").Funcs(parts).ParseFS(pageFiles, "pages/layout.html")
	if err != nil {
		return nil, fmt.Errorf("cannot read the layout of the pages: %w", err)
	}
	names, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		return nil, err
	}
	v := &views{pages: map[string]*template.Template{}}
	for _, name := range names {
		base := strings.TrimSuffix(strings.TrimPrefix(name, "pages/"), ".html")
		if base == "layout" {
			continue
		}
		t, err := layout.Clone()
		if err != nil {
			return nil, err
		}
		if v.pages[base], err = t.ParseFS(pageFiles, name); err != nil {
			return nil, fmt.Errorf("cannot read the page %q: %w", base, err)
		}
	}
	return v, nil
}

// view is what a template is given.
type view struct {
	tongue

	// Title is the page's title in English.
	Title string
	// Registration: there are pages to make an account.
	Registration bool
	// SignedIn: the visitor has a session.
	SignedIn bool
	// factors reads what who is signed in is asked for beside the password, once a page,
	// where a form on it asks; nil for nobody.
	factors func() (ownFactors, error)
	// Staff is the member of staff who has a session; nil for none.
	Staff *staff.Member
	// Cases is how many open cases support has about the owner's account.
	Cases int
	// Done says, in English, what has just been done; empty is nothing.
	Done string
	// Refusal is what was refused in the form that is shown again.
	Refusal *refusal
	// SentTo is where the code went that the form shown again waits for.
	SentTo string
	// Form is the one on the page that was sent, by its ID, and sent what was in it.
	Form string
	sent url.Values
	// Renew is where to sign in once more, where that was refused.
	Renew string
	// Provider is what people call who signs them in; empty where our own passwords do.
	Provider string
	// Path is where the visitor is, for the choice of language.
	Path string
	Data any
}

// ownFactors are the second factors of an owner: those set up, or else a code that is sent.
type ownFactors struct {
	ways factor.Ways
	sent bool
}

func (v view) own() (ownFactors, error) {
	if v.factors == nil {
		return ownFactors{}, nil
	}
	return v.factors()
}

// Ways are the second factors that who is signed in has set up.
func (v view) Ways() (factor.Ways, error) {
	f, err := v.own()
	return f.ways, err
}

// SendsCode says that a code is sent in their place.
func (v view) SendsCode() (bool, error) {
	f, err := v.own()
	return f.sent, err
}

// Typed is what a field held in the form that is shown again: nobody ticks or chooses
// once more, least of all something else. No page asks for a secret's.
func (v view) Typed(name string) string { return v.sent.Get(name) }

// form is what the part of a form needs in which an owner proves to be that: ID begins the
// names of its fields on the page.
type form struct {
	view

	ID string
}

// check is what the part of a form needs in which a browser solves a captcha. Without is
// what a visitor reads whose browser runs no script.
type check struct {
	view

	Challenge, Without string
}

// refusal is a fault in the visitor's words.
type refusal struct {
	Message, Remedy string
	// RetryAt is when the next try is taken; zero is now.
	RetryAt time.Time
}

// show answers with a page. status is not 200 where a form is shown again.
func (p *Portal) show(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	v.tongue = p.tongueOf(r)
	v.Path, v.Registration = p.whence(r), p.Registration
	if code := r.URL.Query().Get("code"); r.Method == http.MethodGet && code != "" {
		// A code that was scanned outlives the choice of a language.
		v.Path += "?code=" + url.QueryEscape(code)
	}
	if p.Federation != nil {
		v.Provider = p.Federation.Name
	}
	if owner, _ := r.Context().Value(ownerKey{}).(string); owner != "" && v.SignedIn {
		v.factors = sync.OnceValues(func() (ownFactors, error) { return p.factorsOf(r, owner) })
	}
	if r.Method == http.MethodGet {
		v.Done = dones[r.URL.Query().Get("done")]
	}
	var b bytes.Buffer
	if err := p.views.pages[name].ExecuteTemplate(&b, "layout", v); err != nil {
		if name != "message" {
			p.fail(w, r, err) // such as of a database that does not answer
			return
		}
		p.Log.ErrorContext(r.Context(), "cannot make a page", "page", name, "error", err)
		http.Error(w, "Internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", v.Lang())
	w.WriteHeader(status)
	_, _ = b.WriteTo(w)
}

// factorsOf returns what an owner is asked for beside the password.
func (p *Portal) factorsOf(r *http.Request, owner string) (f ownFactors, err error) {
	if f.ways, err = p.Factors.Ways(r.Context(), owner); err != nil || f.ways.Any() {
		return f, err
	}
	a, err := p.Accounts.Get(r.Context(), owner)
	f.sent = a.SecondFactor
	return f, err
}

// whence is the page to come back to after a choice of language: for a form that is shown
// again, the one that it stands on.
func (p *Portal) whence(r *http.Request) string {
	at := r.URL.Path
	if r.Method != http.MethodPost {
		return at
	}
	for ; at != "/" && at != "."; at = path.Dir(at) {
		if _, pattern := p.gets.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: at}}); pattern != "" {
			return at
		}
		if up := path.Dir(at); up == "/recover" || up == "/register" {
			return up + "/next"
		}
	}
	return "/"
}

// dones are the sentences that a redirect may ask for: a closed list, so that a
// link shows no words of its author.
var dones = map[string]string{
	"signed-out":         i18n.Mark("You are signed out."),
	"password":           i18n.Mark("The password was changed, and every other browser signed out."),
	"recovered":          i18n.Mark("Your new password is set, and every browser signed out. Sign in with it."),
	"second-factor":      i18n.Mark("The second factor was changed."),
	"registered":         i18n.Mark("Your account is made. Copy its account ID, or keep the message that it was sent in."),
	"factor-added":       i18n.Mark("It is set up, and asked for from now on."),
	"factor-removed":     i18n.Mark("The second factor was removed."),
	"identifier-added":   i18n.Mark("It was added."),
	"identifier-dropped": i18n.Mark("It was removed."),
	"sessions":           i18n.Mark("Every other browser was signed out."),
	"device-signed-out":  i18n.Mark("The device is signed out. It opens at its next contact."),
	"device-unlinked":    i18n.Mark("The device no longer belongs to you. It opens at its next contact."),
	"device-lost":        i18n.Mark("The device is marked as lost. It locks at its next contact."),
	"device-found":       i18n.Mark("The device is no longer marked as lost."),
	"device-approved":    i18n.Mark("You approved it. The device opens within seconds."),
	"device-refused":     i18n.Mark("You refused it. The device stays locked."),
	"case-noted":         i18n.Mark("The note was written down."),
	"answer-right":       i18n.Mark("The answer was right."),
	"answer-wrong":       i18n.Mark("The answer was wrong."),
	"case-approved":      i18n.Mark("Your approval was noted, and the owner is told."),
	"case-acted":         i18n.Mark("It is done, and the owner is told."),
	"case-closed":        i18n.Mark("The case is closed."),
	"case-stopped":       i18n.Mark("The case is stopped."),
	"deleted":            i18n.Mark("Your account was deleted, and every device of it released."),
}

// redirect sends the visitor on after a change (303, so that it is not made again).
func redirect(w http.ResponseWriter, r *http.Request, to, done string) {
	if done != "" {
		to += "?done=" + done
	}
	http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // a path of ours: what a visitor asks for goes through local
}

// again shows a form once more with what was refused, or with where the code went that it
// waits for.
func (p *Portal) again(w http.ResponseWriter, r *http.Request, name string, v view, err error) {
	v.Form, v.sent = r.PostForm.Get("form"), r.PostForm
	var sent codeSent
	if errors.As(err, &sent) {
		v.SentTo = sent.to
		p.show(w, r, http.StatusOK, name, v)
		return
	}
	f := fault.As(err)
	if f.Code == fault.Internal {
		p.fail(w, r, err)
		return
	}
	v.Refusal, v.Renew = p.refusalOf(r, f), renewal(r, err)
	status := http.StatusUnprocessableEntity
	if f.RetryAfter > 0 && f.Code == fault.RateLimited {
		status = http.StatusTooManyRequests
	}
	p.show(w, r, status, name, v)
}

// shown shows a page, with what was refused on it if anything was.
func (p *Portal) shown(w http.ResponseWriter, r *http.Request, page string, v view, refused error) {
	if refused != nil {
		p.again(w, r, page, v, refused)
		return
	}
	p.show(w, r, http.StatusOK, page, v)
}

func (p *Portal) refusalOf(r *http.Request, f *fault.Error) *refusal {
	t := p.tongueOf(r)
	out := &refusal{Message: t.fault(f), Remedy: t.remedy(f)}
	if f.RetryAfter > 0 {
		out.RetryAt = p.Now().Add(f.RetryAfter)
	}
	if f.Code == fault.AccountBlocked && f.Until > 0 {
		out.Message = t.T(i18n.Mark("The account service has blocked this account until {1}."), t.Time(time.Unix(f.Until, 0)))
	}
	return out
}

// saying is a page of nothing but words.
type saying struct{ title, text string }

// sayings are those pages.
var sayings = struct{ foreign, form, missing, internal, busy, gone saying }{
	foreign:  saying{i18n.Mark("This form came from another page"), i18n.Mark("Nothing was changed. Open the page here and try again.")},
	form:     saying{i18n.Mark("The form cannot be read"), i18n.Mark("Nothing was changed. It is too large or damaged: go back and try again.")},
	missing:  saying{i18n.Mark("There is nothing here"), i18n.Mark("The address is wrong, or what was here is gone.")},
	internal: saying{i18n.Mark("Something went wrong"), i18n.Mark("It is our fault, not yours. Try again in a few minutes.")},
	busy:     saying{i18n.Mark("Too busy just now"), i18n.Mark("Nothing was lost. Try again in a few moments.")},
	gone:     saying{i18n.Mark("This account was deleted"), i18n.Mark("Every device of it was released.")},
}

// refuse answers with nothing but words.
func (p *Portal) refuse(w http.ResponseWriter, r *http.Request, status int, s saying) {
	p.show(w, r, status, "message", view{Title: s.title, Data: s.text})
}

// fail answers a request that an error of ours has ended. What it was is in the
// log alone.
func (p *Portal) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, words := http.StatusInternalServerError, sayings.internal
	switch fault.CodeOf(err) {
	case fault.ServiceUnavailable:
		status, words = http.StatusServiceUnavailable, sayings.busy
	case fault.DeviceUnknown, fault.NotLinked:
		status, words = http.StatusNotFound, sayings.missing
	case fault.AccountDeleted:
		status, words = http.StatusGone, sayings.gone
	case fault.Internal:
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			status, words = http.StatusRequestEntityTooLarge, sayings.form
			break
		}
		p.Log.ErrorContext(r.Context(), "a page failed", "error", err)
	}
	p.refuse(w, r, status, words)
}

// static serves styles, scripts and the licence of those that are not ours.
func (p *Portal) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	b, err := staticFiles.ReadFile("static/" + name)
	if err != nil {
		p.refuse(w, r, http.StatusNotFound, sayings.missing)
		return
	}
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8"}
	w.Header().Set("Content-Type", types[name[strings.LastIndexByte(name, '.'):]])
	w.Header().Set("Cache-Control", "public, max-age=3600")
	_, _ = w.Write(b)
}
