// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

func approve() accountapi.FlowAnswer {
	nonce := newNonce()
	return accountapi.FlowAnswer{Step: accountapi.Approve, Nonce: &nonce}
}

// approves goes through an approval as far as it goes without the owner.
func approves(p *probe) {
	d := p.device()
	p.link(d, p.cfg.Owner)
	t := d.begin(accountapi.FlowKindUnlock)
	if t.at.Methods == nil || !slices.Contains(*t.at.Methods, string(accountapi.Approve)) {
		p.skipf("the first step of an unlock does not offer %q", accountapi.Approve)
	}
	t.next(approve(), accountapi.Approve)
	first := t.code()
	switch a := t.reply(approve()); {
	case a.status == http.StatusOK && (t.at.Step != accountapi.Approve || t.at.Grant != nil):
		p.failf("a question for approval that nobody has answered leads to %s", t.at.Step)
	case a.status != http.StatusOK:
		// It came too early, and the service may say so.
		p.want(a, http.StatusTooManyRequests, fault.RateLimited, "a question for approval right after the one before")
	}
	a := d.call(http.MethodPost, "/v1/flows/"+t.id+"/resend", rand.Text(), nil)
	p.want(a, http.StatusOK, "", "resend at approve")
	t.at = a.step
	if t.code() == first {
		p.failf("resend at approve does not make another code")
	}
	hint := true
	t.next(accountapi.FlowAnswer{Step: accountapi.Identify, UseHint: &hint}, accountapi.Password)
	t.end()
	d.states(accountapi.ClaimsStatusLinked, "after an approval that nobody has given")
	other := d.begin(accountapi.FlowKindUnlink)
	p.want(other.reply(approve()), http.StatusConflict, fault.WrongStep, "an approval in an unlink")
	other.end()
}

// code returns the code of the step, which has to have all that belongs to it.
func (t *talk) code() string {
	for name, s := range map[string]*string{"verification_uri": t.at.VerificationUri, "verification_uri_complete": t.at.VerificationUriComplete} {
		if s == nil {
			t.p.failf("the step approve comes without %s", name)
		}
		if u, err := url.Parse(*s); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			t.p.failf("%s of the step approve is no page by https: %q", name, *s)
		}
	}
	switch {
	case t.at.UserCode == nil || len(*t.at.UserCode) < 4:
		t.p.failf("the step approve comes without a user_code")
	case t.at.Interval != nil && (*t.at.Interval < 1 || *t.at.Interval > 60):
		t.p.failf("the interval of the step approve is out of bounds: %d", *t.at.Interval)
	case t.at.Expires == nil:
		t.p.failf("the step approve does not say when its code ends")
	}
	return *t.at.UserCode
}
