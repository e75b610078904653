// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"crypto/rand"
	"net/http"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/proofofwork"
)

// talk is one flow at work.
type talk struct {
	*device
	kind accountapi.FlowKind
	id   string
	// nonce is the newest that was sent: what comes signed must answer it.
	nonce string
	at    accountapi.FlowStep
}

// ask begins a flow, whatever comes of it.
func (d *device) ask(kind accountapi.FlowKind) (answer, string) {
	nonce := newNonce()
	return d.post("/v1/flows", accountapi.BeginRequest{Kind: kind, DeviceId: d.id, Nonce: nonce}), nonce
}

// begin begins a flow, and ends the check where that is refused.
func (d *device) begin(kind accountapi.FlowKind) *talk {
	a, nonce := d.ask(kind)
	d.p.want(a, http.StatusOK, "", "the beginning of a flow of kind "+string(kind))
	if a.step.FlowId == "" || !a.step.Step.Valid() {
		d.p.failf("the answer to the beginning of a %s has no flow_id, or no step that the document knows", kind)
	}
	return &talk{device: d, kind: kind, id: a.step.FlowId, nonce: nonce, at: a.step}
}

// reply answers the flow's step, whatever comes of it.
func (t *talk) reply(with accountapi.FlowAnswer) answer {
	a := t.post("/v1/flows/"+t.id, with)
	if a.status == http.StatusOK {
		if a.step.FlowId != t.id {
			t.p.failf("the answer in a %s names flow %q, not %q", t.kind, a.step.FlowId, t.id)
		}
		t.at = a.step
		if with.Nonce != nil {
			t.nonce = *with.Nonce
		}
	}
	return a
}

// next answers the step and ends the check unless one of those steps follows.
func (t *talk) next(with accountapi.FlowAnswer, want ...accountapi.StepName) {
	a := t.reply(with)
	t.p.want(a, http.StatusOK, "", "the answer to "+string(with.Step)+" in a "+string(t.kind))
	for _, w := range want {
		if t.at.Step == w {
			return
		}
	}
	t.p.failf("in a %s, %s is followed by %s, not by %v", t.kind, with.Step, t.at.Step, want)
}

func identify(identifier string) accountapi.FlowAnswer {
	return accountapi.FlowAnswer{Step: accountapi.Identify, Identifier: &identifier}
}

func password(p accountapi.Secret) accountapi.FlowAnswer {
	copied := append(accountapi.Secret{}, p...)
	return accountapi.FlowAnswer{Step: accountapi.Password, Password: &copied}
}

func confirm() accountapi.FlowAnswer {
	yes := true
	return accountapi.FlowAnswer{Step: accountapi.Confirm, Confirm: &yes}
}

func commit(nonce string) accountapi.FlowAnswer {
	return accountapi.FlowAnswer{Step: accountapi.Commit, Nonce: &nonce}
}

// solve answers a captcha, and ends the check where it cannot be solved.
func (t *talk) solve(want ...accountapi.StepName) {
	if t.at.Captcha == nil {
		t.p.failf("the step captcha comes without a challenge")
	}
	solved, err := proofofwork.Solve(t.p.ctx, *t.at.Captcha)
	t.p.must(err, "the challenge of the step captcha")
	t.next(accountapi.FlowAnswer{Step: accountapi.Captcha, Captcha: &solved}, want...)
}

// guess answers 'identify', where it is asked, and 'password', by way of a
// captcha where the service wants one, and returns the answer to the password.
func (t *talk) guess(identifier string, secret accountapi.Secret) answer {
	return t.prove(identifier, password(secret))
}

// prove is guess with the whole answer to 'password'.
func (t *talk) prove(identifier string, with accountapi.FlowAnswer) answer {
	if t.at.Step == accountapi.Identify {
		t.next(identify(identifier), accountapi.Password)
	}
	a := t.reply(with)
	if a.status == http.StatusOK && t.at.Step == accountapi.Captcha {
		t.solve(accountapi.Password)
		a = t.reply(with)
	}
	return a
}

// signIn proves the account and ends the check unless that step follows.
func (t *talk) signIn(who *Account, want accountapi.StepName) {
	t.signInWith(who, password(who.Password), want)
}

// signInWith is signIn with the whole answer to 'password'.
func (t *talk) signInWith(who *Account, with accountapi.FlowAnswer, want accountapi.StepName) {
	a := t.prove(who.Identifier, with)
	if a.status == http.StatusOK && t.at.Step == accountapi.Code {
		t.p.skipf("the test account asks for a code, which only its owner gets: use one without a second factor")
	}
	if a.code() == fault.InvalidCredentials {
		t.p.failf("the test account's password was refused with InvalidCredentials in a %s", t.kind)
	}
	t.p.want(a, http.StatusOK, "", "the right password in a "+string(t.kind))
	if t.at.Step != want {
		t.p.failf("in a %s, the right password is followed by %s, not by %s", t.kind, t.at.Step, want)
	}
}

// grant verifies the grant of the step that the flow is at.
func (t *talk) grant(purpose accountapi.ClaimsPurpose) accountapi.Claims {
	return t.word(t.at.Grant, accountapi.TypeGrant, purpose, t.nonce)
}

// committed answers 'commit' with a new nonce and returns the statement over it.
func (t *talk) committed() accountapi.Claims {
	t.next(commit(newNonce()), accountapi.Done)
	return t.word(t.at.Statement, accountapi.TypeStatement, accountapi.ClaimsPurposeStatement, t.nonce)
}

// link links the device to the account, verifies each word on the way, and returns
// the link.
func (p *probe) link(d *device, who *Account) accountapi.LinkClaim {
	t := d.begin(accountapi.FlowKindLink)
	t.signIn(who, accountapi.Confirm)
	t.grant(accountapi.ClaimsPurposeRehearsal)
	t.next(confirm(), accountapi.Commit)
	t.grant(accountapi.ClaimsPurposeLink)
	p.linked = append(p.linked, d)
	said := t.committed()
	if said.Link == nil || said.Status == nil || *said.Status != accountapi.ClaimsStatusLinked {
		p.failf("the statement at the end of a link does not say that the device is linked")
	}
	return *said.Link
}

// unlink ends the device's link.
func (p *probe) unlink(d *device, who *Account) *talk {
	t := d.begin(accountapi.FlowKindUnlink)
	t.signIn(who, accountapi.Commit)
	t.grant(accountapi.ClaimsPurposeUnlink)
	t.committed()
	return t
}

// end deletes the flow.
func (t *talk) end() answer {
	return t.call(http.MethodDelete, "/v1/flows/"+t.id, rand.Text(), nil)
}
