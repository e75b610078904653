// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/approval"
)

// freshTime is how long after the sign-in an owner may approve without the password
// once more: who has just typed it to get here need not type it again.
const freshTime = 10 * time.Minute

// approveData is what the page shows: the form for a code, or the request that has it.
type approveData struct {
	// Code is what was typed.
	Code string
	// Asked is the request; nil before a code was typed.
	Asked *approval.Seen
	// Proves: the password is asked for.
	Proves bool
}

func (p *Portal) approver(r *http.Request, s session) approval.Owner {
	return approval.Owner{AccountID: s.AccountID, Address: p.Address(r)}
}

func (p *Portal) approveView(s session, code string, asked *approval.Seen) view {
	v := view{Title: i18n.Mark("Open a device"), SignedIn: true}
	if asked != nil {
		v.Title = i18n.Mark("Somebody asks to open this device")
	}
	// Of an identity provider's session the age says nothing: it may have let somebody in
	// whom it asked for the password days ago.
	v.Data = approveData{Code: code, Asked: asked, Proves: p.Federation != nil || p.Now().Sub(s.Created) > freshTime}
	return v
}

// approvePage shows who asks with the code that the owner types, or whose QR code
// was scanned. Seeing it changes nothing.
func (p *Portal) approvePage(w http.ResponseWriter, r *http.Request, s session) {
	code := r.URL.Query().Get("code")
	code = code[:min(len(code), 32)]
	// Another site's link fills the form in at most: it neither asks about codes nor
	// uses up the owner's guesses.
	if code == "" || r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		p.show(w, r, http.StatusOK, "approve", p.approveView(s, code, nil))
		return
	}
	asked, err := p.Approvals.Look(r.Context(), p.approver(r, s), code)
	if err != nil {
		p.approveRefused(w, r, s, code, err)
		return
	}
	p.show(w, r, http.StatusOK, "approve", p.approveView(s, code, &asked))
}

// approveWords say of a code what was wrong with it, and what to do.
var approveWords = map[fault.Code][2]string{
	fault.InvalidArgument: {i18n.Mark("A code has eight letters, such as BCDF-GHJK."), i18n.Mark("Compare it with the one on the device, and enter it again.")},
	fault.InvalidCode: {i18n.Mark("No device of yours asks with this code."),
		i18n.Mark("Compare it with the one on the device, or sign in with the account that the device belongs to.")},
	fault.CodeExpired: {i18n.Mark("This code is no longer good."), i18n.Mark("Have the device show a new code, and enter that one.")},
	fault.Declined:    {i18n.Mark("The device is marked as lost: nobody can approve that it is opened."), i18n.Mark("Sign in on the device itself, or say first that you have found it.")},
	fault.RateLimited: {i18n.Mark("Too many codes were wrong."), i18n.Mark("Wait until the time shown.")},
}

// approveRefused shows the form for a code again.
func (p *Portal) approveRefused(w http.ResponseWriter, r *http.Request, s session, code string, err error) {
	f := *fault.As(err)
	if words, ok := approveWords[f.Code]; ok {
		f.Message, f.Remedy = words[0], words[1]
	}
	p.again(w, r, "approve", p.approveView(s, code, nil), &f)
}

// approveDecide takes the owner's answer. Refusing costs nothing; approving opens a
// device, and so takes the owner's word that it is at hand, and, some time after the
// sign-in, the password.
func (p *Portal) approveDecide(w http.ResponseWriter, r *http.Request, s session) {
	code, who := r.PostForm.Get("code"), p.approver(r, s)
	asked, err := p.Approvals.Look(r.Context(), who, code)
	if err != nil {
		p.approveRefused(w, r, s, code[:min(len(code), 32)], err)
		return
	}
	approves := r.PostForm.Get("decision") == "approve"
	v := p.approveView(s, code, &asked)
	if approves {
		switch d, _ := v.Data.(approveData); {
		case r.PostForm.Get("hands") != "1":
			err = fault.Newf(fault.InvalidArgument, "%s", i18n.Mark("The box that says that the device is in your hands is not ticked."))
		case d.Proves:
			err = p.prove(r, s)
		}
	}
	if err != nil {
		p.again(w, r, "approve", v, err)
		return
	}
	if asked, err = p.Approvals.Decide(r.Context(), who, code, approves); err != nil {
		p.approveRefused(w, r, s, code, err)
		return
	}
	p.Sent()
	done := "device-refused"
	if approves {
		done = "device-approved"
	}
	redirect(w, r, "/devices/"+asked.DeviceID, done)
}
