// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/factor"
)

// codePurpose is what the code of a sign-in is for.
const codePurpose = "portal-sign-in"

// signInData is what the page of a sign-in needs.
type signInData struct {
	Identifier string
	To         string
	// Captcha is a challenge to be solved with the next try (JSON); empty for none.
	Captcha string
	// Passkeys says that there can be any.
	Passkeys bool
}

// codeData is what the page that asks for a code needs.
type codeData struct {
	// SentTo is where a code was sent; empty where none was.
	SentTo string
	// Ways are those of the account's own; MaySend says that a code may be sent instead.
	Ways    factor.Ways
	MaySend bool
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
	p.show(w, r, http.StatusOK, "sign-in", view{Title: i18n.Mark("Sign in"), Data: signInData{To: local(r.URL.Query().Get("to")), Passkeys: p.Factors.Passkeys()}})
}

// signIn takes identifier and password. It answers alike whether the identifier
// or the password was wrong: Authenticate sees to that.
func (p *Portal) signIn(w http.ResponseWriter, r *http.Request) {
	to := local(r.PostForm.Get("to"))
	again := view{Title: i18n.Mark("Sign in"), Data: signInData{Identifier: r.PostForm.Get("identifier"), To: to, Passkeys: p.Factors.Passkeys()}}
	password := accountapi.Secret(r.PostForm.Get("password"))
	defer password.Wipe()
	a, err := p.authenticate(r, account.Attempt{
		Identifier: r.PostForm.Get("identifier"), Password: password, Locale: p.tongueOf(r).Lang(),
	})
	if err != nil {
		p.signInAgainWith(w, r, again, err)
		return
	}
	ways, err := p.Factors.Ways(r.Context(), a.ID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if !a.SecondFactor && !ways.Any() {
		p.enter(w, r, a.ID, to, "")
		return
	}
	s, err := p.begin(w, r, a.ID, stageCode)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if ways.Any() {
		redirect(w, r, "/sign-in/code?to="+url.QueryEscape(to), "")
		return
	}
	if _, _, err := p.Accounts.SendCode(r.Context(), a, s.ID, codePurpose, p.tongueOf(r).Lang()); err != nil {
		p.again(w, r, "sign-in", again, err)
		return
	}
	redirect(w, r, "/sign-in/code?by=sent&to="+url.QueryEscape(to), "")
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

// half is a sign-in whose password was right.
type half struct {
	session session
	account account.Account
	ways    factor.Ways
}

// maySend reports whether a code that is sent does. Who has set up a factor of their own
// has to allow it besides, or whoever reads their mail would be as good.
func (h half) maySend() bool { return h.account.SecondFactor || !h.ways.Any() }

// view is the page for a code that was sent, or for one of the owner's own.
func (h half) view(sent bool, to string) view {
	d := codeData{Ways: h.ways, MaySend: h.maySend(), To: to}
	if sent && d.MaySend {
		d.SentTo = sentTo(h.account)
	}
	return view{Title: i18n.Mark("Enter the code"), Data: d}
}

// half returns the sign-in that waits for its second factor, or sends the visitor back.
func (p *Portal) half(w http.ResponseWriter, r *http.Request) (h half, ok bool) {
	var err error
	h.session, err = p.sessions.find(r.Context(), tokenOf(r), stageCode)
	if errors.Is(err, errNoSession) {
		redirect(w, r, "/sign-in", "")
		return half{}, false
	}
	if err == nil {
		h.account, err = p.Accounts.Get(r.Context(), h.session.AccountID)
	}
	if err == nil {
		h.ways, err = p.Factors.Ways(r.Context(), h.session.AccountID)
	}
	if err != nil {
		p.fail(w, r, err)
		return half{}, false
	}
	return h, true
}

// sentTo is where SendCode sends the codes of an account, masked.
func sentTo(a account.Account) string { return a.Hint() }

func (p *Portal) signInCodeForm(w http.ResponseWriter, r *http.Request) {
	if h, ok := p.half(w, r); ok {
		q := r.URL.Query()
		p.show(w, r, http.StatusOK, "code", h.view(q.Get("by") == "sent", local(q.Get("to"))))
	}
}

func (p *Portal) signInCode(w http.ResponseWriter, r *http.Request) {
	h, ok := p.half(w, r)
	if !ok {
		return
	}
	to, sent := local(r.PostForm.Get("to")), r.PostForm.Get("by") == "sent" || !h.ways.Any()
	var err error
	switch {
	case !sent:
		err = p.secondFactor(r, h.account.ID, "code")
	case !h.maySend():
		err = fault.New(fault.InvalidCode, nil)
	default:
		code := accountapi.Secret(r.PostForm.Get("code"))
		defer code.Wipe()
		err = p.Accounts.CheckCode(r.Context(), h.account.ID, h.session.ID, codePurpose, code)
	}
	if err != nil {
		p.again(w, r, "code", h.view(sent, to), err)
		return
	}
	p.enter(w, r, h.account.ID, to, "")
}

// signInCodePasskey asks for a passkey of whose password was right.
func (p *Portal) signInCodePasskey(w http.ResponseWriter, r *http.Request) {
	if h, ok := p.half(w, r); ok {
		p.askPasskey(w, r, h.account.ID)
	}
}

// signInAgain sends a code, or sends it again.
func (p *Portal) signInAgain(w http.ResponseWriter, r *http.Request) {
	h, ok := p.half(w, r)
	if !ok {
		return
	}
	to := local(r.PostForm.Get("to"))
	if !h.maySend() {
		redirect(w, r, "/sign-in/code?to="+url.QueryEscape(to), "")
		return
	}
	if _, _, err := p.Accounts.SendCode(r.Context(), h.account, h.session.ID, codePurpose, p.tongueOf(r).Lang()); err != nil {
		p.again(w, r, "code", h.view(true, to), err)
		return
	}
	redirect(w, r, "/sign-in/code?by=sent&to="+url.QueryEscape(to), "")
}

// signInPasskeyAsk asks a browser for any passkey that it has for the portal.
func (p *Portal) signInPasskeyAsk(w http.ResponseWriter, r *http.Request) {
	p.askPasskey(w, r, "")
}

// signInPasskey signs in by a passkey alone: it was opened by a finger, a face or a PIN, so
// it is two factors.
func (p *Portal) signInPasskey(w http.ResponseWriter, r *http.Request) {
	to := local(r.PostForm.Get("to"))
	id, err := p.Factors.CheckPasskey(r.Context(), "", r.PostForm.Get("offer"), []byte(r.PostForm.Get("answer")))
	var a account.Account
	if err == nil {
		a, err = p.Accounts.Get(r.Context(), id)
	}
	if err == nil {
		err = a.Refusal(p.Now())
	}
	if err != nil {
		p.again(w, r, "sign-in", view{Title: i18n.Mark("Sign in"), Data: signInData{To: to, Passkeys: true}}, err)
		return
	}
	p.enter(w, r, id, to, "")
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
