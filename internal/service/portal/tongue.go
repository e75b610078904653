// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/text/language"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/device"
)

// languageCookie keeps the language that a visitor has chosen.
const languageCookie = "__Host-language"

// tongue is the visitor's language, for templates and handlers.
type tongue struct {
	p      *i18n.Printer
	texts  map[string]string
	region string
	now    time.Time
}

// tongueOf returns the language that the visitor chose, or else the browser's.
func (p *Portal) tongueOf(r *http.Request) tongue {
	t := tongue{now: p.Now().UTC()}
	var wishes []string
	if c, err := r.Cookie(languageCookie); err == nil {
		wishes = append(wishes, c.Value)
	}
	tags, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err == nil {
		for _, tag := range tags {
			wishes = append(wishes, tag.String())
			if region, sure := tag.Region(); t.region == "" && sure >= language.High {
				t.region = region.String()
			}
		}
	}
	t.p = i18n.For(wishes...)
	t.texts = p.words[t.p.Tag()]
	return t
}

// T says an English text in the visitor's language; values stand for {1}, {2}, ….
func (t tongue) T(english string, values ...string) string {
	return i18n.Look(t.texts, english, values...)
}

// Lang is the language's tag (BCP 47).
func (t tongue) Lang() string { return t.p.Tag() }

// Region is where the browser says its user is; empty where it does not say.
func (t tongue) Region() string { return t.region }

// Languages are those to choose from.
func (t tongue) Languages() []i18n.Language { return i18n.Languages() }

// Time writes a time, in UTC: the service does not know the visitor's zone.
func (t tongue) Time(at time.Time) string {
	if at.IsZero() || at.Unix() <= 0 {
		return t.T("never")
	}
	return t.p.Moment(at.UTC(), t.now) + " UTC"
}

// Status says what a link is.
func (t tongue) Status(s device.Status) string {
	switch s {
	case device.Lost:
		return t.T(i18n.Mark("lost"))
	case device.SignedOut:
		return t.T(i18n.Mark("signed out"))
	default:
		return t.T(i18n.Mark("linked"))
	}
}

// events are what the list of events calls them.
var events = map[string]string{
	"approval-asked": i18n.Mark("Somebody asked for your approval to open it."), "approval-given": i18n.Mark("You approved that it is opened."),
	"approval-refused": i18n.Mark("You refused to have it opened."),
	"locked":           i18n.Mark("It locked itself."), "unlocked": i18n.Mark("It was unlocked."), "unlock": i18n.Mark("It was unlocked."),
	"linked": i18n.Mark("It was linked to your account."), "link": i18n.Mark("It was linked to your account."),
	"signed-out": i18n.Mark("It was signed out."), "sign-out": i18n.Mark("It was signed out."),
	"unlinked": i18n.Mark("It was unlinked."), "unlink": i18n.Mark("It was unlinked."), "release": i18n.Mark("It was unlinked."),
	"lose": i18n.Mark("It was marked as lost."), "find": i18n.Mark("It was marked as found."),
	"offline-code": i18n.Mark("An offline code was given out for it."), "ticket": i18n.Mark("A ticket was given out for it."),
	"allow-reset": i18n.Mark("Its reset was allowed."), "supersede": i18n.Mark("The link before was replaced by a new one."),
	"delete-account":  i18n.Mark("It was unlinked."),
	"attempt-refused": i18n.Mark("An attempt to open it was refused."), "started": i18n.Mark("It was started."),
}

// Event says what happened on a device.
func (t tongue) Event(e device.Event) string {
	if s, ok := events[e.Kind]; ok {
		return t.T(s)
	}
	return e.Kind
}

func (t tongue) fault(f *fault.Error) string  { return t.say(f.Message) }
func (t tongue) remedy(f *fault.Error) string { return t.say(f.Remedy) }

var number = regexp.MustCompile(`\d+`)

// say says a whole English sentence with its numbers filled in: one of the account
// service's own, or else one that devices say too.
func (t tongue) say(sentence string) string {
	values, n := number.FindAllString(sentence, -1), 0
	key := number.ReplaceAllStringFunc(sentence, func(string) string { n++; return "{" + strconv.Itoa(n) + "}" })
	for _, k := range []string{sentence, key} {
		if _, ok := t.texts[k]; ok {
			return t.T(k, values...)
		}
	}
	return t.p.Say(sentence)
}

// chooseLanguage keeps the visitor's choice and goes back to where they were.
func (p *Portal) chooseLanguage(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{
		Name: languageCookie, Value: i18n.Match(r.PostForm.Get("language")), Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, MaxAge: 365 * 24 * 3600,
	})
	to := r.PostForm.Get("to")
	if u, err := url.Parse(to); err != nil || to == "/" || u.Path == "/" {
		redirect(w, r, "/", "")
		return
	}
	redirect(w, r, local(to), "")
}
