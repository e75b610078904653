// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
)

// prove asks the owner once more, before what cannot be taken back, for the password and
// a second factor: one of the owner's own where there is one, or else, where the account
// asks for that, a code that is sent. Guesses count as at the sign-in.
func (p *Portal) prove(r *http.Request, s session) error {
	if p.Federation != nil {
		return p.proven(r, s)
	}
	a, err := p.provePassword(r, s)
	if err != nil {
		return err
	}
	ways, err := p.Factors.Ways(r.Context(), s.AccountID)
	switch {
	case err != nil:
		return err
	case ways.Any():
		return p.secondFactor(r, s.AccountID, "second")
	case a.SecondFactor:
		return p.sentFactor(r, s, a)
	}
	return nil
}

// provePassword is prove by the password alone, for what takes a code of its own next.
func (p *Portal) provePassword(r *http.Request, s session) (account.Account, error) {
	password := accountapi.Secret(r.PostForm.Get("password"))
	defer password.Wipe()
	if len(password) == 0 {
		return account.Account{}, fault.Newf(fault.InvalidArgument, "The password is missing.")
	}
	return p.Accounts.Authenticate(r.Context(), account.Attempt{AccountID: s.AccountID, Password: password, Address: p.Address(r)})
}

// codeSent is why nothing was done yet: a code is on its way, and the form waits for it.
type codeSent struct{ to string }

func (codeSent) Error() string { return "a code was sent" }

// sentFactor takes a code that was sent for this very act in this session, or, where the
// form brings none, sends it. Only who has the password has any sent, and no more than
// an account may have.
func (p *Portal) sentFactor(r *http.Request, s session, a account.Account) error {
	purpose := "portal-prove " + hashOf(r.URL.Path) // a path has any length
	code := accountapi.Secret(r.PostForm.Get("second"))
	defer code.Wipe()
	if len(code) > 0 {
		return p.Accounts.CheckCode(r.Context(), a.ID, s.ID, purpose, code)
	}
	to, _, err := p.Accounts.SendCode(r.Context(), a, s.ID, purpose, p.tongueOf(r).Lang())
	if err != nil {
		return err
	}
	return codeSent{to}
}
