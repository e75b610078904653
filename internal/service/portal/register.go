// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"crypto/rand"
	"net/http"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
)

const (
	// registerCookie holds what a registration's conversation is found by.
	registerCookie = "__Host-register"
	// registerUse is what the checks before a registration are for.
	registerUse = "portal-register"
)

// registerData is what the pages of a registration need: State is ask, code or password.
type registerData struct {
	State      string
	Identifier string
	Captcha    string
	SentTo     string
}

// registering is what the conversation is known by: of the cookie only the hash is in
// the database.
func registering(r *http.Request) string {
	token := cookieOf(r, registerCookie)
	if token == "" {
		return ""
	}
	return hashOf(token)
}

func registerView(d registerData) view {
	title := map[string]string{
		"ask": i18n.Mark("Make an account"), "code": i18n.Mark("Enter the code"), "password": i18n.Mark("Choose a password"),
	}[d.State]
	return view{Title: title, Data: d}
}

func (p *Portal) registerForm(w http.ResponseWriter, r *http.Request) {
	p.registerAsk(w, r, nil)
}

func (p *Portal) registerAsk(w http.ResponseWriter, r *http.Request, refused error) {
	p.askFirst(w, r, "register", registerUse, refused, func(challenge, identifier string) view {
		return registerView(registerData{State: "ask", Identifier: identifier, Captcha: challenge})
	})
}

// registerBegin sends a code. It answers alike whether or not somebody has the address.
func (p *Portal) registerBegin(w http.ResponseWriter, r *http.Request) {
	err := p.Captcha.Verify(r.Context(), registerUse, r.PostForm.Get("captcha"))
	token := rand.Text() + rand.Text()
	if err == nil {
		t := p.tongueOf(r)
		err = p.Accounts.BeginRegistration(r.Context(), hashOf(token), r.PostForm.Get("identifier"), t.Region(), t.Lang(), p.Address(r))
	}
	if err != nil {
		p.registerAsk(w, r, err)
		return
	}
	giveCookie(w, registerCookie, token, recoverTime)
	redirect(w, r, "/register/next", "")
}

func (p *Portal) registerNext(w http.ResponseWriter, r *http.Request) {
	p.registerAt(w, r, nil)
}

// registerAt shows where the conversation stands, with what was refused there.
func (p *Portal) registerAt(w http.ResponseWriter, r *http.Request, refused error) {
	id := registering(r)
	if id == "" {
		redirect(w, r, "/register", "")
		return
	}
	at, err := p.Accounts.Registration(r.Context(), id)
	if fault.CodeOf(err) == fault.Timeout {
		takeCookie(w, registerCookie)
		p.registerAsk(w, r, err)
		return
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	d := registerData{State: "code", SentTo: at.Address.Address, Identifier: at.Address.Address}
	if at.Proven {
		d.State = "password"
	}
	p.shown(w, r, "register", registerView(d), refused)
}

func (p *Portal) registerCode(w http.ResponseWriter, r *http.Request) {
	code := accountapi.Secret(r.PostForm.Get("code"))
	defer code.Wipe()
	p.registerDone(w, r, p.Accounts.CheckRegistration(r.Context(), registering(r), code))
}

func (p *Portal) registerAgain(w http.ResponseWriter, r *http.Request) {
	p.registerDone(w, r, p.Accounts.ResendRegistration(r.Context(), registering(r), p.tongueOf(r).Lang(), p.Address(r)))
}

func (p *Portal) registerDone(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		p.registerAt(w, r, err)
		return
	}
	redirect(w, r, "/register/next", "")
}

// registerPassword makes the account, signs in to it and shows its ID.
func (p *Portal) registerPassword(w http.ResponseWriter, r *http.Request) {
	password := accountapi.Secret(r.PostForm.Get("new-password"))
	defer password.Wipe()
	if string(password) != r.PostForm.Get("repeat") {
		p.registerAt(w, r, fault.Newf(fault.InvalidArgument, "The two new passwords are not the same."))
		return
	}
	a, err := p.Accounts.FinishRegistration(r.Context(), registering(r), password, p.tongueOf(r).Lang())
	if err != nil {
		p.registerAt(w, r, err)
		return
	}
	takeCookie(w, registerCookie)
	p.enter(w, r, a.ID, "/account", "registered")
}
