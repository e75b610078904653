// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"database/sql"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/federation"
)

// federationCookie is what a browser brings back from the identity provider.
const federationCookie = "__Host-accountlock-oidc"

// passData is what the page with a one-time password needs.
type passData struct {
	Account  account.Account
	Password string
	Expires  time.Time
}

// federate puts the identity provider in the place of everything that is about our
// own passwords.
func (p *Portal) federate(public map[string]page, private map[string]ownPage) {
	gone := func(w http.ResponseWriter, r *http.Request) { redirect(w, r, "/sign-in", "") }
	for pattern := range public {
		if path := pattern[strings.Index(pattern, " ")+1:]; strings.HasPrefix(path, "/sign-in") || strings.HasPrefix(path, "/recover") {
			public[pattern] = gone
		}
	}
	public["GET /sign-in"] = p.federatedForm
	public["GET /sign-in/oidc"] = p.federatedBegin
	public["GET "+federation.CallbackPath] = p.federatedFinish
	public["POST "+federation.LogoutPath] = p.federatedLogout
	for pattern := range private {
		for _, own := range []string{"/account/password", "/account/second-factor", "/account/identifiers", "/account/factors", "/account/passkey"} {
			if strings.Contains(pattern, own) {
				private[pattern] = func(w http.ResponseWriter, r *http.Request, _ session) { redirect(w, r, "/account", "") }
			}
		}
	}
	private["POST /sign-out"] = p.federatedSignOut
	private["POST /account/one-time"] = p.oneTime
}

func (p *Portal) federatedForm(w http.ResponseWriter, r *http.Request) {
	p.show(w, r, http.StatusOK, "federated", view{Title: i18n.Mark("Sign in"), Data: signInData{To: local(r.URL.Query().Get("to"))}})
}

// federatedBegin sends the browser to the provider. It is a link, and no form: a page's
// form may lead nowhere else.
func (p *Portal) federatedBegin(w http.ResponseWriter, r *http.Request) {
	to := local(r.URL.Query().Get("to"))
	address, token, err := p.Federation.Begin(r.Context(), to, r.URL.Query().Get("again") == "1")
	if err != nil {
		p.federatedAgain(w, r, to, err)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: federationCookie, Value: token, Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // it comes back from another site
	})
	http.Redirect(w, r, address, http.StatusSeeOther) //nolint:gosec // the provider's own address, with our parameters
}

func (p *Portal) federatedAgain(w http.ResponseWriter, r *http.Request, to string, err error) {
	if code := fault.CodeOf(err); code == fault.Declined || code == fault.ServiceUnavailable {
		p.Log.WarnContext(r.Context(), "a sign-in at the identity provider did not succeed", "error", err)
		f := *fault.As(err)
		f.Message, f.Remedy = i18n.Mark("The sign-in did not succeed."), i18n.Mark("Try again. If that does not help, ask whoever keeps your account.")
		err = &f
	}
	p.again(w, r, "federated", view{Title: i18n.Mark("Sign in"), Data: signInData{To: local(to)}}, err)
}

// federatedFinish takes in whom the provider sends back.
func (p *Portal) federatedFinish(w http.ResponseWriter, r *http.Request) {
	c, err := r.Cookie(federationCookie)
	if err != nil {
		p.federatedAgain(w, r, "", fault.New(fault.Declined, err))
		return
	}
	http.SetCookie(w, &http.Cookie{Name: federationCookie, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: -1})
	who, to, err := p.Federation.Finish(r.Context(), c.Value, r.URL.Query())
	if err != nil {
		p.federatedAgain(w, r, to, err)
		return
	}
	a, err := p.Accounts.SignInFederated(r.Context(), account.Federated{Issuer: who.Issuer, Subject: who.Subject, Emails: who.Emails, Phones: who.Phones})
	if err != nil {
		p.federatedAgain(w, r, to, err)
		return
	}
	p.dropSession(r)
	s, token, err := p.sessions.begin(r.Context(), a.ID, stageIn, r.UserAgent(), place(p.Address(r)))
	if err == nil {
		err = p.Federation.Begun(r.Context(), s.ID, a.ID, who)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	setCookie(w, token)
	redirect(w, r, local(to), "")
}

// federatedLogout ends the sessions that the provider says have ended.
func (p *Portal) federatedLogout(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	err := p.Federation.Ended(r.Context(), r.PostForm.Get("logout_token"), func(tx *sql.Tx, ids []string) error {
		return endAll(r.Context(), tx, ids)
	})
	switch code := fault.CodeOf(err); {
	case err == nil:
		w.WriteHeader(http.StatusOK)
	case code == fault.Declined:
		p.Log.WarnContext(r.Context(), "a logout token was refused", "error", err)
		w.WriteHeader(http.StatusBadRequest)
	default:
		p.Log.WarnContext(r.Context(), "cannot end what the identity provider has ended", "error", err)
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// federatedSignOut ends the session here, and offers to end the provider's.
func (p *Portal) federatedSignOut(w http.ResponseWriter, r *http.Request, s session) {
	if err := p.sessions.end(r.Context(), s); err != nil {
		p.fail(w, r, err)
		return
	}
	dropCookie(w)
	p.show(w, r, http.StatusOK, "signed-out", view{Title: i18n.Mark("You are signed out."), Data: p.Federation.EndURL(r.Context())})
}

// oneTime shows a password that a device takes once, to whom the provider has asked for
// theirs lately.
func (p *Portal) oneTime(w http.ResponseWriter, r *http.Request, s session) {
	a, err := p.Accounts.Get(r.Context(), s.AccountID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := view{Title: i18n.Mark("Sign in on a device"), SignedIn: true, Data: passData{Account: a}}
	if err := p.prove(r, s); err != nil {
		p.again(w, r, "one-time", v, err)
		return
	}
	password, until, err := p.Accounts.OneTimePassword(r.Context(), a.ID)
	if err != nil {
		p.again(w, r, "one-time", v, err)
		return
	}
	defer password.Wipe()
	v.Data = passData{Account: a, Password: string(password), Expires: until}
	p.show(w, r, http.StatusOK, "one-time", v)
}

// errStale: the provider has not asked for the password lately.
var errStale = errors.New("the sign-in is too long ago")

// proven is prove where an identity provider has the password: it must have asked for
// it within the last minutes.
func (p *Portal) proven(r *http.Request, s session) error {
	fresh, err := p.Federation.Proven(r.Context(), s.ID)
	if err == nil && !fresh {
		f := fault.Newf(fault.InvalidArgument, "%s", i18n.Mark("For this you must have signed in within the last ten minutes."))
		f.Remedy, f.Err = i18n.Mark("Nothing was changed. Sign in once more, then try again."), errStale
		err = f
	}
	return err
}

// renewal is where to sign in once more and come back; empty where that was not what
// was refused.
func renewal(r *http.Request, err error) string {
	if !errors.Is(err, errStale) {
		return ""
	}
	back := "/account"
	if strings.HasPrefix(r.URL.Path, "/devices/") {
		back, _, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/devices/"), "/")
		back = "/devices/" + back
	} else if strings.HasPrefix(r.URL.Path, "/approve") {
		back = "/approve?code=" + url.QueryEscape(r.PostForm.Get("code"))
	}
	return "/sign-in/oidc?again=1&to=" + url.QueryEscape(back)
}
