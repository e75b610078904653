// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/calendar"
	"github.com/accountlock/accountlock/internal/service/recovery"
)

// Recoveries is the way back to an account, as *recovery.Service has it; the errors of
// each method are told there.
type Recoveries interface {
	Ask(ctx context.Context, r recovery.Request) (recovery.Standing, error)
	Continue(ctx context.Context, ask string) (recovery.Standing, error)
	Resend(ctx context.Context, ask string) (recovery.Standing, error)
	Check(ctx context.Context, ask string, code accountapi.Secret) error
	SetPassword(ctx context.Context, ask string, password accountapi.Secret) error
	Remind(ctx context.Context, typed, region, locale string) error
	Stop(ctx context.Context, code string) error
}

var _ Recoveries = (*recovery.Service)(nil)

const (
	// recoverCookie holds what a recovery's conversation is found by.
	recoverCookie = "__Host-recovery"
	// recoverUse is what the checks before a recovery are for.
	recoverUse = "portal-recover"
	// recoverTime is how long the cookie stays without an answer, as the conversation does.
	recoverTime = 30 * time.Minute
)

// recoverData is what the pages of a recovery need: State is ask, sent, wait, code or
// password.
type recoverData struct {
	State      string
	Identifier string
	Captcha    string
	SentTo     string
	Until      time.Time
}

func recoverView(d recoverData) view {
	title := map[string]string{
		"ask": i18n.Mark("Forgotten password or account ID"), "sent": i18n.Mark("Look at your messages"),
		"wait": i18n.Mark("Come back later"), "code": i18n.Mark("Enter the code"), "password": i18n.Mark("Choose a new password"),
	}[d.State]
	return view{Title: title, Data: d}
}

// conversation is what the engine knows the browser's conversation by: of the cookie
// only the hash is in the database.
func conversation(r *http.Request) string {
	token := cookieOf(r, recoverCookie)
	if token == "" {
		return ""
	}
	return "portal-" + hashOf(token)
}

func (p *Portal) recoverForm(w http.ResponseWriter, r *http.Request) {
	p.recoverAsk(w, r, nil)
}

func (p *Portal) recoverAsk(w http.ResponseWriter, r *http.Request, refused error) {
	p.askFirst(w, r, "recover", recoverUse, refused, func(challenge, identifier string) view {
		return recoverView(recoverData{State: "ask", Identifier: identifier, Captcha: challenge})
	})
}

// askFirst shows the first form of a conversation, with a new check, and with what was
// refused there if anything was.
func (p *Portal) askFirst(w http.ResponseWriter, r *http.Request, page, use string, refused error, form func(challenge, identifier string) view) {
	challenge, err := p.Captcha.Challenge(use)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.shown(w, r, page, form(challenge, r.PostForm.Get("identifier")), refused)
}

// recoverBegin takes what was typed. It answers alike whether or not an account has it:
// the engine sees to that.
func (p *Portal) recoverBegin(w http.ResponseWriter, r *http.Request) {
	if err := p.Captcha.Verify(r.Context(), recoverUse, r.PostForm.Get("captcha")); err != nil {
		p.recoverAsk(w, r, err)
		return
	}
	t, typed := p.tongueOf(r), r.PostForm.Get("identifier")
	if r.PostForm.Get("what") == "id" {
		if err := p.Recoveries.Remind(r.Context(), typed, t.Region(), t.Lang()); err != nil {
			p.recoverAsk(w, r, err)
			return
		}
		p.show(w, r, http.StatusOK, "recover", recoverView(recoverData{State: "sent"}))
		return
	}
	known, err := p.knownTo(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	token := rand.Text() + rand.Text()
	_, err = p.Recoveries.Ask(r.Context(), recovery.Request{
		Ask: "portal-" + hashOf(token), Identifier: typed, Region: t.Region(), Locale: t.Lang(), KnownTo: known,
		Place: recovery.Place{Address: p.Address(r)},
	})
	if err != nil {
		p.recoverAsk(w, r, err)
		return
	}
	giveCookie(w, recoverCookie, token, recoverTime)
	redirect(w, r, "/recover/next", "")
}

// recoverNext shows where the conversation stands.
func (p *Portal) recoverNext(w http.ResponseWriter, r *http.Request) {
	p.recoverAt(w, r, nil)
}

// recoverAt shows where the conversation stands, with what was refused there.
func (p *Portal) recoverAt(w http.ResponseWriter, r *http.Request, refused error) {
	ask := conversation(r)
	if ask == "" {
		redirect(w, r, "/recover", "")
		return
	}
	at, err := p.Recoveries.Continue(r.Context(), ask)
	if err != nil {
		p.recoverOver(w, r, err)
		return
	}
	d := recoverData{State: "code", SentTo: at.SentTo, Until: at.Until}
	switch {
	case at.Proven:
		d.State = "password"
	case !at.Ready:
		d.State = "wait"
	}
	p.shown(w, r, "recover", recoverView(d), refused)
}

// recoverOver shows the first form after a conversation that cannot be gone on with.
func (p *Portal) recoverOver(w http.ResponseWriter, r *http.Request, err error) {
	switch fault.CodeOf(err) {
	case fault.Timeout, fault.Declined:
		takeCookie(w, recoverCookie)
		p.recoverAsk(w, r, err)
	case fault.RateLimited:
		p.recoverAsk(w, r, err)
	default:
		p.fail(w, r, err)
	}
}

func (p *Portal) recoverCode(w http.ResponseWriter, r *http.Request) {
	code := accountapi.Secret(r.PostForm.Get("code"))
	defer code.Wipe()
	p.recoverDone(w, r, p.Recoveries.Check(r.Context(), conversation(r), code), "/recover/next", "")
}

func (p *Portal) recoverAgain(w http.ResponseWriter, r *http.Request) {
	_, err := p.Recoveries.Resend(r.Context(), conversation(r))
	p.recoverDone(w, r, err, "/recover/next", "")
}

func (p *Portal) recoverPassword(w http.ResponseWriter, r *http.Request) {
	fresh := accountapi.Secret(r.PostForm.Get("new-password"))
	defer fresh.Wipe()
	if string(fresh) != r.PostForm.Get("repeat") {
		p.recoverAt(w, r, fault.Newf(fault.InvalidArgument, "The two new passwords are not the same."))
		return
	}
	err := p.Recoveries.SetPassword(r.Context(), conversation(r), fresh)
	if err == nil {
		takeCookie(w, recoverCookie)
		dropCookie(w)
	}
	p.recoverDone(w, r, err, "/sign-in", "recovered")
}

// recoverDone goes on, or shows what was refused where the conversation stands.
func (p *Portal) recoverDone(w http.ResponseWriter, r *http.Request, err error, to, done string) {
	switch {
	case err == nil:
		redirect(w, r, to, done)
	case fault.CodeOf(err) == fault.Internal:
		p.fail(w, r, err)
	default:
		p.recoverAt(w, r, err)
	}
}

// stopData is what the page needs that an owner's notice leads to, of a recovery or of a
// support case.
type stopData struct {
	ForCase    bool
	Case, Code string
	// Over says that there is nothing more to do.
	Over bool
}

func (p *Portal) recoverStopForm(w http.ResponseWriter, r *http.Request) {
	code := r.URL.Query().Get("code")
	p.show(w, r, http.StatusOK, "stop", view{Title: i18n.Mark("Stop a recovery"), Data: stopData{Code: code[:min(len(code), 64)]}})
}

// recoverStop stops on the push of a button alone: programs that look at the links in a
// mail must not have stopped anything by it. The code is the authority, without a
// session.
func (p *Portal) recoverStop(w http.ResponseWriter, r *http.Request) {
	code := r.PostForm.Get("code")
	v := view{Title: i18n.Mark("Stop a recovery"), Data: stopData{Code: code[:min(len(code), 64)]}}
	err := p.Recoveries.Stop(r.Context(), code)
	if fault.CodeOf(err) == fault.InvalidCode {
		err = fault.Newf(fault.InvalidCode, "No recovery that is under way has this code: it may be stopped or over already.")
	}
	if err != nil {
		p.again(w, r, "stop", v, err)
		return
	}
	v.Data = stopData{Over: true}
	p.show(w, r, http.StatusOK, "stop", v)
}

// Day writes a time by the clock of the visitor's region, with its weekday and date.
func (t tongue) Day(at time.Time) string {
	at = at.UTC()
	if c, err := calendar.For(t.region); err == nil {
		at = c.Local(at)
	}
	// As told from another day, so that the date is never left out.
	return t.p.Moment(at, at.AddDate(0, 0, -2)) + at.Format(" MST")
}
