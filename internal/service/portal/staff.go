// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"net/http"
	"strconv"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/staff"
)

// The pages of staff are apart from the owners': another cookie, which browsers
// send to nothing but /staff, other sessions, and a second factor at each sign-in.
const (
	staffPath   = "/staff"
	staffCookie = "__Secure-accountlock-staff"
)

// Trail is the audit trail, as *audit.Log keeps it.
type Trail interface {
	List(ctx context.Context, f audit.Filter) ([]audit.Entry, error)
}

// staffPage answers a request of a member of staff who is signed in.
type staffPage func(w http.ResponseWriter, r *http.Request, m staff.Member)

// staffPages are the pages of who is signed in as one of staff.
func (p *Portal) staffPages() map[string]staffPage {
	return map[string]staffPage{
		"POST /staff/sign-out":               p.staffSignOut,
		"GET /staff/cases":                   p.staffCases,
		"POST /staff/cases":                  p.staffOpen,
		"GET /staff/cases/{number}":          p.staffCase,
		"POST /staff/cases/{number}/note":    p.staffNote,
		"POST /staff/cases/{number}/answer":  p.staffAnswer,
		"POST /staff/cases/{number}/approve": p.staffApprove,
		"POST /staff/cases/{number}/act":     p.staffAct,
		"POST /staff/cases/{number}/close":   p.staffClose,
		"GET /staff/audit":                   p.staffAudit,
		"POST /staff/audit":                  p.staffVerify,
	}
}

// staffed lets in who of staff is signed in, and sends others to sign in.
func (p *Portal) staffed(h staffPage) page {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		m, err := p.Staff.Find(r.Context(), staffToken(r))
		switch {
		case fault.CodeOf(err) == fault.NotAuthorized:
			redirect(w, r, staffPath, "")
		case err != nil:
			p.fail(w, r, err)
		default:
			h(w, r, m)
		}
	}
}

func staffToken(r *http.Request) string {
	c, err := r.Cookie(staffCookie)
	if err != nil {
		return ""
	}
	return c.Value
}

func setStaffCookie(w http.ResponseWriter, token string, age int) {
	http.SetCookie(w, &http.Cookie{
		Name: staffCookie, Value: token, Path: staffPath, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: age,
	})
}

func staffView() view { return view{Title: i18n.Mark("Sign in as staff"), Data: ""} }

func (p *Portal) staffForm(w http.ResponseWriter, r *http.Request) {
	if _, err := p.Staff.Find(r.Context(), staffToken(r)); err == nil {
		redirect(w, r, "/staff/cases", "")
		return
	}
	p.show(w, r, http.StatusOK, "staff", staffView())
}

// staffSignIn takes name, password and code at once: nobody learns which of them
// was wrong.
func (p *Portal) staffSignIn(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	password, code := accountapi.Secret(r.PostForm.Get("password")), accountapi.Secret(r.PostForm.Get("code"))
	defer password.Wipe()
	defer code.Wipe()
	m, err := p.Staff.Authenticate(r.Context(), staff.Proof{Name: r.PostForm.Get("name"), Password: password, Code: code, Address: p.Address(r)})
	if err != nil {
		if f := fault.As(err); f.Code == fault.InvalidCredentials {
			f.Message, f.Remedy = i18n.Mark("The name, the password or the code is wrong."), i18n.Mark("A code is good once: wait for the next one.")
		}
		v := staffView()
		v.Data = r.PostForm.Get("name")
		p.again(w, r, "staff", v, err)
		return
	}
	token, err := p.Staff.Begin(r.Context(), m)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	setStaffCookie(w, token, int(staff.SessionTime.Seconds()))
	redirect(w, r, "/staff/cases", "")
}

func (p *Portal) staffSignOut(w http.ResponseWriter, r *http.Request, m staff.Member) {
	if err := p.Staff.End(r.Context(), m, staffToken(r)); err != nil {
		p.fail(w, r, err)
		return
	}
	setStaffCookie(w, "", -1)
	redirect(w, r, staffPath, "signed-out")
}

// confirmed asks a member for the password once more.
func (p *Portal) confirmed(r *http.Request, m staff.Member) error {
	password := accountapi.Secret(r.PostForm.Get("password"))
	defer password.Wipe()
	if len(password) == 0 {
		return fault.Newf(fault.InvalidArgument, "The password is missing.")
	}
	return p.Staff.Confirm(r.Context(), m, password, p.Address(r))
}

// auditShown is how many entries a page shows.
const auditShown = 100

// auditData is what the page of the audit trail shows.
type auditData struct {
	Case    string
	Entries []audit.Entry
	// Before is the number from which an earlier page goes on; 0 is none.
	Before int64
	// Report is what was found when somebody asked; nil before.
	Report *audit.Report
}

func (p *Portal) staffAudit(w http.ResponseWriter, r *http.Request, m staff.Member) {
	p.auditWith(w, r, m, nil)
}

func (p *Portal) staffVerify(w http.ResponseWriter, r *http.Request, m staff.Member) {
	report, err := p.VerifyTrail(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.auditWith(w, r, m, &report)
}

func (p *Portal) auditWith(w http.ResponseWriter, r *http.Request, m staff.Member, report *audit.Report) {
	q := r.URL.Query()
	d := auditData{Case: q.Get("case"), Report: report}
	f := audit.Filter{Case: d.Case, Limit: auditShown}
	var err error
	if f.Before, err = strconv.ParseInt(q.Get("before"), 10, 64); err != nil || f.Before < 0 {
		f.Before = 0 // a link that is none of ours: from the end
	}
	if d.Entries, err = p.Trail.List(r.Context(), f); err != nil {
		p.fail(w, r, err)
		return
	}
	if len(d.Entries) == auditShown {
		d.Before = d.Entries[auditShown-1].Number
	}
	p.show(w, r, http.StatusOK, "staff-audit", view{Title: i18n.Mark("Audit trail"), Staff: &m, Data: d})
}
