// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/account"
)

// codePurpose is what the code of a sign-in is for.
const codePurpose = "portal-sign-in"

// signInData is what the page of a sign-in needs.
type signInData struct {
	Identifier string
	To         string
	// Captcha is a challenge to be solved with the next try (JSON); empty for none.
	Captcha string
}

// codeData is what the page that asks for a code needs.
type codeData struct {
	SentTo  string
	Expires time.Time
	To      string
}

func (p *Portal) home(w http.ResponseWriter, r *http.Request) {
	if _, err := p.sessions.find(r.Context(), tokenOf(r), stageIn); err == nil {
		redirect(w, r, "/devices", "")
		return
	}
	p.show(w, r, http.StatusOK, "home", view{Title: i18n.Mark("Your account and your devices")})
}

func (p *Portal) signInForm(w http.ResponseWriter, r *http.Request) {
	p.show(w, r, http.StatusOK, "sign-in", view{Title: i18n.Mark("Sign in"), Data: signInData{To: local(r.URL.Query().Get("to"))}})
}

// signIn takes identifier and password. It answers alike whether the identifier
// or the password was wrong: Authenticate sees to that.
func (p *Portal) signIn(w http.ResponseWriter, r *http.Request) {
	to := local(r.PostForm.Get("to"))
	again := view{Title: i18n.Mark("Sign in"), Data: signInData{Identifier: r.PostForm.Get("identifier"), To: to}}
	password := accountapi.Secret(r.PostForm.Get("password"))
	defer password.Wipe()
	a, err := p.authenticate(r, account.Attempt{
		Identifier: r.PostForm.Get("identifier"), Password: password, Locale: p.tongueOf(r).Lang(),
	})
	if err != nil {
		p.signInAgainWith(w, r, again, err)
		return
	}
	if !a.SecondFactor {
		p.enter(w, r, a.ID, to, "")
		return
	}
	s, err := p.begin(w, r, a.ID, stageCode)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if _, _, err := p.Accounts.SendCode(r.Context(), a, s.ID, codePurpose, p.tongueOf(r).Lang()); err != nil {
		p.again(w, r, "sign-in", again, err)
		return
	}
	redirect(w, r, "/sign-in/code?to="+url.QueryEscape(to), "")
}

// captchaUse is what the checks of the portal's sign-in are for.
const captchaUse = "portal-sign-in"

// authenticate tries a password, with the check that the form brought if one is
// asked for.
func (p *Portal) authenticate(r *http.Request, a account.Attempt) (account.Account, error) {
	a.Address, a.AsksCaptcha = p.Address(r), true
	who, err := p.Accounts.Authenticate(r.Context(), a)
	answer := r.PostForm.Get("captcha")
	if fault.CodeOf(err) != fault.CaptchaRequired || answer == "" {
		return who, err
	}
	if err := p.Captcha.Verify(r.Context(), captchaUse, answer); err != nil {
		return account.Account{}, err
	}
	a.Human = true
	return p.Accounts.Authenticate(r.Context(), a)
}

// signInAgainWith shows the form again, with a new check if one is asked for.
func (p *Portal) signInAgainWith(w http.ResponseWriter, r *http.Request, v view, err error) {
	if fault.CodeOf(err) == fault.CaptchaRequired {
		challenge, cerr := p.Captcha.Challenge(captchaUse)
		if cerr != nil {
			p.fail(w, r, cerr)
			return
		}
		d, _ := v.Data.(signInData)
		d.Captcha = challenge
		v.Data = d
	}
	p.again(w, r, "sign-in", v, err)
}

// dropSession ends the session that a browser had before it signs in again.
func (p *Portal) dropSession(r *http.Request) {
	if t := tokenOf(r); t != "" {
		if err := p.sessions.end(r.Context(), session{hash: hashOf(t)}); err != nil {
			p.Log.WarnContext(r.Context(), "cannot end a session", "error", err)
		}
	}
}

// half returns the session that waits for its code, or sends the visitor back.
func (p *Portal) half(w http.ResponseWriter, r *http.Request) (session, account.Account, bool) {
	s, err := p.sessions.find(r.Context(), tokenOf(r), stageCode)
	if errors.Is(err, errNoSession) {
		redirect(w, r, "/sign-in", "")
		return session{}, account.Account{}, false
	}
	var a account.Account
	if err == nil {
		a, err = p.Accounts.Get(r.Context(), s.AccountID)
	}
	if err != nil {
		p.fail(w, r, err)
		return session{}, account.Account{}, false
	}
	return s, a, true
}

func codeView(s session, a account.Account, to string) view {
	return view{Title: i18n.Mark("Enter the code"), Data: codeData{SentTo: sentTo(a), Expires: s.Created.Add(10 * time.Minute), To: to}}
}

// sentTo is where SendCode sends the codes of an account, masked.
func sentTo(a account.Account) string { return a.Hint() }

func (p *Portal) signInCodeForm(w http.ResponseWriter, r *http.Request) {
	if s, a, ok := p.half(w, r); ok {
		p.show(w, r, http.StatusOK, "code", codeView(s, a, local(r.URL.Query().Get("to"))))
	}
}

func (p *Portal) signInCode(w http.ResponseWriter, r *http.Request) {
	s, a, ok := p.half(w, r)
	if !ok {
		return
	}
	to := local(r.PostForm.Get("to"))
	code := accountapi.Secret(r.PostForm.Get("code"))
	defer code.Wipe()
	if err := p.Accounts.CheckCode(r.Context(), s.ID, codePurpose, code); err != nil {
		p.again(w, r, "code", codeView(s, a, to), err)
		return
	}
	p.enter(w, r, s.AccountID, to, "")
}

// begin begins a session under a new token: what the browser held until now opens
// nothing more.
func (p *Portal) begin(w http.ResponseWriter, r *http.Request, accountID string, at stage) (session, error) {
	p.dropSession(r)
	s, token, err := p.sessions.begin(r.Context(), accountID, at, r.UserAgent(), place(p.Address(r)))
	if err == nil {
		setCookie(w, token)
	}
	return s, err
}

// enter signs in whoever has proven to be the owner of an account.
func (p *Portal) enter(w http.ResponseWriter, r *http.Request, accountID, to, done string) {
	_, err := p.begin(w, r, accountID, stageIn)
	if err == nil {
		err = p.remember(w, r, accountID)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	redirect(w, r, to, done)
}

// signInAgain sends the code again.
func (p *Portal) signInAgain(w http.ResponseWriter, r *http.Request) {
	s, a, ok := p.half(w, r)
	if !ok {
		return
	}
	to := local(r.PostForm.Get("to"))
	if _, _, err := p.Accounts.SendCode(r.Context(), a, s.ID, codePurpose, p.tongueOf(r).Lang()); err != nil {
		p.again(w, r, "code", codeView(s, a, to), err)
		return
	}
	redirect(w, r, "/sign-in/code?to="+url.QueryEscape(to), "")
}

func (p *Portal) signOut(w http.ResponseWriter, r *http.Request, s session) {
	if err := errors.Join(p.sessions.end(r.Context(), s), p.forget(w, r)); err != nil {
		p.fail(w, r, err)
		return
	}
	dropCookie(w)
	redirect(w, r, "/", "signed-out")
}

// toSignIn sends a visitor to sign in and back to the page asked for.
func (p *Portal) toSignIn(w http.ResponseWriter, r *http.Request) {
	to := "/devices"
	if r.Method == http.MethodGet {
		to = r.URL.RequestURI()
	}
	redirect(w, r, "/sign-in?to="+url.QueryEscape(to), "")
}

// local returns where to go on: a path of ours, whatever a link asks for.
func local(to string) string {
	u, err := url.Parse(to)
	if err != nil || to == "" || u.IsAbs() || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/") ||
		strings.ContainsAny(to, "\\\r\n\t") || strings.HasPrefix(to, "//") || path.Clean(u.Path) != u.Path {
		return "/devices"
	}
	return u.RequestURI()
}

// prove asks the owner's password once more before what cannot be taken back.
// The guess counts against the account and the address as at the sign-in.
func (p *Portal) prove(r *http.Request, s session) error {
	password := accountapi.Secret(r.PostForm.Get("password"))
	defer password.Wipe()
	if len(password) == 0 {
		return fault.Newf(fault.InvalidArgument, "The password is missing.")
	}
	_, err := p.Accounts.Authenticate(r.Context(), account.Attempt{AccountID: s.AccountID, Password: password, Address: p.Address(r)})
	return err
}

// place is what the owner's list says of where a session is: the network, not
// the very address.
func place(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	bits := 24
	if a.Is6() {
		bits = 48
	}
	pre, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return pre.String()
}
