// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/factor"
)

// deletePurpose is what the code before a deletion is for.
const deletePurpose = "portal-delete"

type deleteData struct {
	Account account.Account
	Devices []device.Details
	// SentTo is where the code went; empty before it was sent.
	SentTo  string
	Expires time.Time
}

func (p *Portal) deleteView(r *http.Request, s session) (view, deleteData, error) {
	a, err := p.Accounts.Get(r.Context(), s.AccountID)
	if err != nil {
		return view{}, deleteData{}, err
	}
	all, err := p.Devices.Owned(s.AccountID).List(r.Context())
	if err != nil {
		return view{}, deleteData{}, err
	}
	d := deleteData{Account: a, Devices: all}
	return view{Title: i18n.Mark("Delete the account"), SignedIn: true, Data: d}, d, nil
}

func (p *Portal) deleteForm(w http.ResponseWriter, r *http.Request, s session) {
	v, _, err := p.deleteView(r, s)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "delete", v)
}

// deleteBegin takes the box and the password and sends the code. An account that
// has nowhere to send one to is deleted by its password alone.
func (p *Portal) deleteBegin(w http.ResponseWriter, r *http.Request, s session) {
	v, d, err := p.deleteView(r, s)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if r.PostForm.Get("sure") != "1" {
		err = fault.Newf(fault.InvalidArgument, "The box that says that you are sure is not ticked.")
	}
	var ways factor.Ways
	if err == nil {
		ways, err = p.Factors.Ways(r.Context(), s.AccountID)
	}
	switch {
	case err != nil:
	case p.Federation != nil || ways.Any():
		err = p.prove(r, s)
	default:
		_, err = p.provePassword(r, s) // the code comes next, whether or not the account asks for one elsewhere
	}
	if err != nil {
		p.again(w, r, "delete", v, err)
		return
	}
	// A code was given with the password, or can be sent nowhere.
	if ways.Any() || len(d.Account.Identifiers) == 0 {
		p.deleteNow(w, r, s)
		return
	}
	if d.SentTo, d.Expires, err = p.Accounts.SendCode(r.Context(), d.Account, s.ID, deletePurpose, p.tongueOf(r).Lang()); err != nil {
		p.again(w, r, "delete", v, err)
		return
	}
	v.Data = d
	p.show(w, r, http.StatusOK, "delete", v)
}

func (p *Portal) deleteFinish(w http.ResponseWriter, r *http.Request, s session) {
	code := accountapi.Secret(r.PostForm.Get("code"))
	defer code.Wipe()
	if err := p.Accounts.CheckCode(r.Context(), s.AccountID, s.ID, deletePurpose, code); err != nil {
		v, d, verr := p.deleteView(r, s)
		if verr != nil {
			p.fail(w, r, verr)
			return
		}
		d.SentTo = sentTo(d.Account)
		v.Data = d
		p.again(w, r, "delete", v, err)
		return
	}
	p.deleteNow(w, r, s)
}

func (p *Portal) deleteNow(w http.ResponseWriter, r *http.Request, s session) {
	if err := p.Accounts.Delete(r.Context(), s.AccountID); err != nil {
		p.fail(w, r, err)
		return
	}
	dropCookie(w)
	redirect(w, r, "/", "deleted")
}
