// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"

	"rsc.io/qr"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/factor"
)

// Factors are the second factors that owners set up for themselves, as *factor.Service
// has them; the errors of each method are told there.
type Factors interface {
	List(ctx context.Context, owner string) (all []factor.Factor, backupCodes int, err error)
	Ways(ctx context.Context, owner string) (factor.Ways, error)
	Remove(ctx context.Context, owner, id string) error
	OfferApp(owner, issuer, name string) (factor.NewApp, error)
	SameApp(owner, issuer, name, offer string) (factor.NewApp, error)
	AddApp(ctx context.Context, owner, offer, name string, code accountapi.Secret) ([]string, error)
	NewBackupCodes(ctx context.Context, owner string) ([]string, error)
	Check(ctx context.Context, owner string, code accountapi.Secret) error
	Passkeys() bool
	OfferPasskey(ctx context.Context, owner, name string) (factor.Ceremony, error)
	AddPasskey(ctx context.Context, owner, offer, name string, answer []byte) ([]string, error)
	AskPasskey(ctx context.Context, owner string) (factor.Ceremony, error)
	CheckPasskey(ctx context.Context, owner, offer string, answer []byte) (string, error)
}

var _ Factors = (*factor.Service)(nil)

// factorsData is what the page of second factors shows: State is list, app, passkey or
// codes.
type factorsData struct {
	State  string
	List   []factor.Factor
	Backup int
	// Passkeys says that there can be any.
	Passkeys bool
	// App is the one that is being set up, with its key as a picture.
	App  factor.NewApp
	Code template.URL
	// Ceremony is what a browser is asked for a new passkey (JSON).
	Ceremony string
	// Codes are new backup codes, shown once.
	Codes []string
	Name  string
}

func (p *Portal) factorsPage(w http.ResponseWriter, r *http.Request, s session) {
	p.factorsWith(w, r, s, nil)
}

// factorsWith shows the list, with a refusal if there is one.
func (p *Portal) factorsWith(w http.ResponseWriter, r *http.Request, s session, refused error) {
	list, backup, err := p.Factors.List(r.Context(), s.AccountID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	d := factorsData{State: "list", List: list, Backup: backup, Passkeys: p.Factors.Passkeys()}
	p.showFactors(w, r, d, refused)
}

func (p *Portal) showFactors(w http.ResponseWriter, r *http.Request, d factorsData, refused error) {
	title := map[string]string{
		"list": i18n.Mark("Second factors"), "app": i18n.Mark("Set up an authenticator app"),
		"passkey": i18n.Mark("Set up a passkey"), "codes": i18n.Mark("Your backup codes"),
	}[d.State]
	v := view{Title: title, SignedIn: true, Data: d}
	p.shown(w, r, "factors", v, refused)
}

// codesOr shows new backup codes, if there are any, or else goes back to the list.
func (p *Portal) codesOr(w http.ResponseWriter, r *http.Request, codes []string, done string) {
	if codes == nil {
		redirect(w, r, "/account/factors", done)
		return
	}
	p.showFactors(w, r, factorsData{State: "codes", Codes: codes}, nil)
}

// issuer is what an app calls the service.
func (p *Portal) issuer() string {
	u, err := url.Parse(p.PublicURL)
	if err != nil {
		return p.PublicURL
	}
	return u.Hostname()
}

func (p *Portal) appBegin(w http.ResponseWriter, r *http.Request, s session) {
	if err := p.prove(r, s); err != nil {
		p.factorsWith(w, r, s, err)
		return
	}
	app, err := p.Factors.OfferApp(s.AccountID, p.issuer(), s.AccountID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.showApp(w, r, app, nil)
}

func (p *Portal) showApp(w http.ResponseWriter, r *http.Request, app factor.NewApp, refused error) {
	code, err := qr.Encode(app.URI, qr.M)
	if err != nil {
		p.fail(w, r, fmt.Errorf("cannot draw a QR code: %w", err))
		return
	}
	code.Scale = 5
	picture := template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(code.PNG())) //nolint:gosec // a picture made here
	p.showFactors(w, r, factorsData{State: "app", App: app, Code: picture, Name: r.PostForm.Get("name")}, refused)
}

func (p *Portal) appAdd(w http.ResponseWriter, r *http.Request, s session) {
	code := accountapi.Secret(r.PostForm.Get("code"))
	defer code.Wipe()
	offer := r.PostForm.Get("offer")
	codes, err := p.Factors.AddApp(r.Context(), s.AccountID, offer, r.PostForm.Get("name"), code)
	if err == nil {
		p.codesOr(w, r, codes, "factor-added")
		return
	}
	// The same key once more: it may be in the app by now.
	app, gone := p.Factors.SameApp(s.AccountID, p.issuer(), s.AccountID, offer)
	if gone != nil || fault.CodeOf(err) == fault.Timeout {
		p.factorsWith(w, r, s, err)
		return
	}
	p.showApp(w, r, app, err)
}

func (p *Portal) passkeyBegin(w http.ResponseWriter, r *http.Request, s session) {
	err := p.prove(r, s)
	var c factor.Ceremony
	if err == nil {
		c, err = p.Factors.OfferPasskey(r.Context(), s.AccountID, s.AccountID)
	}
	if err != nil {
		p.factorsWith(w, r, s, err)
		return
	}
	b, err := json.Marshal(c)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.showFactors(w, r, factorsData{State: "passkey", Ceremony: string(b)}, nil)
}

func (p *Portal) passkeyAdd(w http.ResponseWriter, r *http.Request, s session) {
	codes, err := p.Factors.AddPasskey(r.Context(), s.AccountID, r.PostForm.Get("offer"), r.PostForm.Get("name"), []byte(r.PostForm.Get("answer")))
	if err != nil {
		p.factorsWith(w, r, s, err)
		return
	}
	p.codesOr(w, r, codes, "factor-added")
}

func (p *Portal) factorRemove(w http.ResponseWriter, r *http.Request, s session) {
	err := p.prove(r, s)
	if err == nil {
		err = p.Factors.Remove(r.Context(), s.AccountID, r.PostForm.Get("factor"))
	}
	if err != nil {
		p.factorsWith(w, r, s, err)
		return
	}
	redirect(w, r, "/account/factors", "factor-removed")
}

func (p *Portal) backupCodes(w http.ResponseWriter, r *http.Request, s session) {
	err := p.prove(r, s)
	var codes []string
	if err == nil {
		codes, err = p.Factors.NewBackupCodes(r.Context(), s.AccountID)
	}
	if err != nil {
		p.factorsWith(w, r, s, err)
		return
	}
	p.codesOr(w, r, codes, "")
}

// askPasskey answers the script of a page with what a passkey is to sign.
func (p *Portal) askPasskey(w http.ResponseWriter, r *http.Request, owner string) {
	c, err := p.Factors.AskPasskey(r.Context(), owner)
	if fault.CodeOf(err) == fault.InvalidArgument {
		p.refuse(w, r, http.StatusNotFound, sayings.missing)
		return
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	b, err := json.Marshal(c)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

// provePasskeyAsk asks for a passkey of who is signed in.
func (p *Portal) provePasskeyAsk(w http.ResponseWriter, r *http.Request, s session) {
	p.askPasskey(w, r, s.AccountID)
}

// secondFactor checks what a form brought besides the password: a passkey's answer or a
// code.
func (p *Portal) secondFactor(r *http.Request, owner, field string) error {
	if answer := r.PostForm.Get("answer"); answer != "" {
		_, err := p.Factors.CheckPasskey(r.Context(), owner, r.PostForm.Get("offer"), []byte(answer))
		return err
	}
	code := accountapi.Secret(r.PostForm.Get(field))
	defer code.Wipe()
	return p.Factors.Check(r.Context(), owner, code)
}
