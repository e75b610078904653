// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"net/http"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/account"
)

// accountData is what the account's page shows.
type accountData struct {
	Account  account.Account
	Sessions []sessionLine
	// Offered is the address or number that waits for the code sent to it.
	Offered string
	Expires time.Time
}

type sessionLine struct {
	session

	Here bool
}

func (p *Portal) accountView(r *http.Request, s session) (view, error) {
	a, err := p.Accounts.Get(r.Context(), s.AccountID)
	if err != nil {
		return view{}, err
	}
	all, err := p.sessions.of(r.Context(), s.AccountID)
	if err != nil {
		return view{}, err
	}
	d := accountData{Account: a}
	for _, one := range all {
		d.Sessions = append(d.Sessions, sessionLine{one, one.ID == s.ID})
	}
	return view{Title: i18n.Mark("Account"), SignedIn: true, Data: d}, nil
}

func (p *Portal) accountPage(w http.ResponseWriter, r *http.Request, s session) {
	p.accountWith(w, r, s, nil, nil)
}

// accountWith shows the account's page with a refusal, or changed by with.
func (p *Portal) accountWith(w http.ResponseWriter, r *http.Request, s session, refused error, with func(*accountData)) {
	v, err := p.accountView(r, s)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if with != nil {
		d, _ := v.Data.(accountData)
		with(&d)
		v.Data = d
	}
	p.shown(w, r, "account", v, refused)
}

func (p *Portal) changePassword(w http.ResponseWriter, r *http.Request, s session) {
	fresh, repeat := accountapi.Secret(r.PostForm.Get("new-password")), r.PostForm.Get("repeat")
	defer fresh.Wipe()
	err := p.Accounts.MayHave(r.Context(), s.AccountID, fresh)
	if err == nil && string(fresh) != repeat {
		err = fault.Newf(fault.InvalidArgument, "The two new passwords are not the same.")
	}
	if err == nil {
		err = p.prove(r, s)
	}
	if err == nil {
		err = p.Accounts.SetPassword(r.Context(), s.AccountID, fresh)
	}
	if err == nil {
		// Whoever knew the old one is out.
		err = p.endElsewhere(r, s)
	}
	p.accountDone(w, r, s, err, "password")
}

func (p *Portal) changeSecondFactor(w http.ResponseWriter, r *http.Request, s session) {
	err := p.prove(r, s)
	if err == nil {
		_, err = p.Accounts.SetSecondFactor(r.Context(), s.AccountID, r.PostForm.Get("on") == "1")
	}
	p.accountDone(w, r, s, err, "second-factor")
}

// offerIdentifier sends a code to the address or number that the owner wants to
// add. Whether another account has it already does not show.
func (p *Portal) offerIdentifier(w http.ResponseWriter, r *http.Request, s session) {
	typed := r.PostForm.Get("identifier")
	// Whoever has an address of the account recovers it.
	if err := p.prove(r, s); err != nil {
		p.accountWith(w, r, s, err, nil)
		return
	}
	id, expires, err := p.Accounts.OfferIdentifier(r.Context(), s.AccountID, typed, s.ID, p.tongueOf(r).Lang())
	if err != nil {
		p.accountWith(w, r, s, err, nil)
		return
	}
	p.accountWith(w, r, s, nil, func(d *accountData) { d.Offered, d.Expires = id.Address, expires })
}

func (p *Portal) addIdentifier(w http.ResponseWriter, r *http.Request, s session) {
	typed := r.PostForm.Get("identifier")
	code := accountapi.Secret(r.PostForm.Get("code"))
	defer code.Wipe()
	if _, err := p.Accounts.AddIdentifier(r.Context(), s.AccountID, typed, s.ID, code); err != nil {
		p.accountWith(w, r, s, err, func(d *accountData) { d.Offered = typed })
		return
	}
	redirect(w, r, "/account", "identifier-added")
}

func (p *Portal) dropIdentifier(w http.ResponseWriter, r *http.Request, s session) {
	err := p.prove(r, s)
	if err == nil {
		_, err = p.Accounts.RemoveIdentifier(r.Context(), s.AccountID, r.PostForm.Get("identifier"))
	}
	p.accountDone(w, r, s, err, "identifier-dropped")
}

func (p *Portal) endSessions(w http.ResponseWriter, r *http.Request, s session) {
	p.accountDone(w, r, s, p.endElsewhere(r, s), "sessions")
}

// endElsewhere signs out every other browser, and none of them is known any more.
func (p *Portal) endElsewhere(r *http.Request, s session) error {
	return errors.Join(p.sessions.endOthers(r.Context(), s), p.forgetOthers(r.Context(), r, s.AccountID))
}

func (p *Portal) accountDone(w http.ResponseWriter, r *http.Request, s session, err error, done string) {
	if err != nil {
		p.accountWith(w, r, s, err, nil)
		return
	}
	redirect(w, r, "/account", done)
}
