// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"crypto/rand"
	"net/http"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// nobody returns an identifier that no account has.
func nobody() string { return rand.Text() + "@nobody.example" }

func wrongPassword() accountapi.Secret { return accountapi.Secret("wrong " + rand.Text()) }

func statesUnlinked(p *probe) {
	d := p.device()
	c := d.states(accountapi.ClaimsStatusUnlinked, "of a device that was never linked")
	switch {
	case c.Link != nil:
		p.failf("the statement about a device that was never linked names a link")
	case c.Hint != nil:
		p.failf("the statement about a device that was never linked has a hint")
	}
	again := d.statement("a-link-of-long-ago-0001")
	if again.Ended == nil || *again.Ended != "a-link-of-long-ago-0001" {
		p.failf("a statement does not name as `ended` the link that was asked about and is not in force")
	}
}

// beginsOnlyWhatFits tries every kind that an unlinked device may not begin.
func beginsOnlyWhatFits(p *probe) {
	d := p.device()
	for _, kind := range []accountapi.FlowKind{accountapi.FlowKindUnlock, accountapi.FlowKindSignOut, accountapi.FlowKindUnlink, accountapi.FlowKindReset} {
		a, _ := d.ask(kind)
		p.want(a, http.StatusConflict, fault.NotLinked, "the beginning of a flow of kind "+string(kind)+" on a device that was never linked")
	}
	a := d.post("/v1/flows", map[string]string{"kind": "seize", "device_id": d.id, "nonce": newNonce()})
	p.want(a, http.StatusBadRequest, fault.InvalidArgument, "the beginning of a flow of an unknown kind")
	if at := d.begin(accountapi.FlowKindLink).at; at.Step != accountapi.Identify {
		p.failf("a link begins at %s, not at identify", at.Step)
	}
}

func saysNothingOfIdentifiers(p *probe) {
	d := p.device()
	t := d.begin(accountapi.FlowKindLink)
	t.next(identify(nobody()), accountapi.Password)
	t.next(identify(nobody()), accountapi.Password)
	p.want(t.reply(accountapi.FlowAnswer{Step: accountapi.Identify}), http.StatusBadRequest, fault.InvalidArgument, "an answer to identify without an identifier")
}

func inOrder(p *probe) {
	d := p.device()
	for _, step := range []accountapi.FlowAnswer{password(wrongPassword()), confirm(), commit(newNonce())} {
		t := d.begin(accountapi.FlowKindLink)
		p.want(t.reply(step), http.StatusConflict, fault.WrongStep, "an answer to "+string(step.Step)+" at identify")
		if t.at.Step != accountapi.Identify {
			p.failf("an answer to another step than the current one moves the flow")
		}
		p.want(t.end(), http.StatusNoContent, "", "the end of a flow")
	}
}

func ends(p *probe) {
	d := p.device()
	t := d.begin(accountapi.FlowKindLink)
	p.want(t.end(), http.StatusNoContent, "", "the end of a flow")
	p.want(t.reply(identify(nobody())), http.StatusGone, fault.Timeout, "an answer in a flow that was ended")
	gone := d.call(http.MethodDelete, "/v1/flows/"+t.id, rand.Text(), nil)
	if gone.status != http.StatusNoContent && gone.code() != fault.Timeout {
		p.failf("ending a flow twice was answered with %s", gone.said())
	}
	p.want(d.call(http.MethodPost, "/v1/flows/no-such-flow-0001", rand.Text(), identify(nobody())), http.StatusGone, fault.Timeout, "an answer in a flow that never was")
}

// onlyEight begins more flows than one device may have.
func onlyEight(p *probe) {
	d := p.device()
	first := d.begin(accountapi.FlowKindLink)
	for range 7 {
		d.begin(accountapi.FlowKindLink)
	}
	first.next(identify(nobody()), accountapi.Password)
	d.begin(accountapi.FlowKindLink)
	p.want(first.reply(identify(nobody())), http.StatusGone, fault.Timeout, "an answer in the oldest flow of nine")
}

func resends(p *probe) {
	d := p.device()
	t := d.begin(accountapi.FlowKindLink)
	a := d.call(http.MethodPost, "/v1/flows/"+t.id+"/resend", rand.Text(), nil)
	p.want(a, http.StatusConflict, fault.WrongStep, "resend at identify")
	r := p.recovery(d, nobody())
	first := r.at.Captcha
	a = d.call(http.MethodPost, "/v1/flows/"+r.id+"/resend", rand.Text(), nil)
	p.want(a, http.StatusOK, "", "resend at captcha")
	if a.step.Step != accountapi.Captcha || a.step.Captcha == nil || first == nil || *a.step.Captcha == *first {
		p.failf("resend at captcha does not make another challenge")
	}
}

// recovery begins a recover, and skips the check where none is served.
func (p *probe) recovery(d *device, identifier string) *talk {
	a, _ := d.ask(accountapi.FlowKindRecover)
	if a.code() == fault.ServiceUnavailable {
		p.skipf("the service serves no recovery")
	}
	p.want(a, http.StatusOK, "", "the beginning of a recover")
	t := &talk{device: d, kind: accountapi.FlowKindRecover, id: a.step.FlowId, at: a.step}
	t.next(identify(identifier), accountapi.Captcha)
	return t
}

// recovers tries to recover an account that is not there, which is answered as for one
// that is: no owner is troubled.
func recovers(p *probe) {
	d := p.device()
	t := p.recovery(d, nobody())
	bad := "bm90IGEgc29sdXRpb24"
	p.want(t.reply(accountapi.FlowAnswer{Step: accountapi.Captcha, Captcha: &bad}), http.StatusForbidden, fault.CaptchaRequired, "an answer to captcha that is none")
	t.solve(accountapi.Wait, accountapi.Code)
	if t.at.Step == accountapi.Code {
		p.failf("a device that nobody has signed in on gets a code at once, without a wait")
	}
	if t.at.Until == nil || *t.at.Until <= p.now().Unix() {
		p.failf("the step wait does not say until when, or names a time that is over")
	}
	if t.at.SentTo != nil || t.at.Grant != nil || t.at.Statement != nil {
		p.failf("the step wait says where a code goes, or brings a signed word")
	}
	a := t.reply(accountapi.FlowAnswer{Step: accountapi.Wait})
	p.want(a, http.StatusConflict, fault.RecoveryPending, "an answer to wait before it is over")
	code, secret := accountapi.Secret("123456"), wrongPassword()
	p.want(t.reply(accountapi.FlowAnswer{Step: accountapi.Code, Code: &code}), http.StatusConflict, fault.WrongStep, "a code during the wait")
	p.want(t.reply(accountapi.FlowAnswer{Step: accountapi.NewPassword, Password: &secret}), http.StatusConflict, fault.WrongStep, "a new password during the wait")
}

func givesTheFirstAnswerAgain(p *probe) {
	d := p.device()
	key := rand.Text()
	begin := accountapi.BeginRequest{Kind: accountapi.FlowKindLink, DeviceId: d.id, Nonce: newNonce()}
	first := d.call(http.MethodPost, "/v1/flows", key, begin)
	p.want(first, http.StatusOK, "", "the beginning of a link")
	second := d.call(http.MethodPost, "/v1/flows", key, begin)
	if second.status != first.status || !bytes.Equal(second.body, first.body) {
		p.failf("the same request with the same Idempotency-Key was answered with %s and another body: it was done twice", second.said())
	}
}

func refusesAKeyForSomethingElse(p *probe) {
	d := p.device()
	key := rand.Text()
	ask := func() answer {
		return d.call(http.MethodPost, "/v1/flows", key, accountapi.BeginRequest{Kind: accountapi.FlowKindLink, DeviceId: d.id, Nonce: newNonce()})
	}
	p.want(ask(), http.StatusOK, "", "the beginning of a link")
	p.want(ask(), http.StatusUnprocessableEntity, fault.InvalidArgument, "another body under the same Idempotency-Key")
	events := accountapi.EventsRequest{Events: []accountapi.DeviceEvent{{Kind: accountapi.DeviceEventKindStarted, Time: 1}}}
	a := d.call(http.MethodPost, "/v1/devices/"+d.id+"/events", key, events)
	p.want(a, http.StatusUnprocessableEntity, fault.InvalidArgument, "another path under the same Idempotency-Key")
	other := p.device()
	begin := accountapi.BeginRequest{Kind: accountapi.FlowKindLink, DeviceId: other.id, Nonce: newNonce()}
	p.want(other.call(http.MethodPost, "/v1/flows", key, begin), http.StatusOK, "", "the same Idempotency-Key of another device")
}

func wantsAKey(p *probe) {
	d := p.device()
	r := d.asks()
	r.Header.Del(accountapi.HeaderIdempotencyKey)
	d.sign(r, bodyOf(p, r))
	p.refused(d.send(r), "a request without Idempotency-Key")
	for _, key := range []string{"short", "with spaces, and 16", string(bytes.Repeat([]byte("x"), 65))} {
		d.fresh()
		a := d.send(d.request(http.MethodPost, "/v1/devices/"+d.id+"/statement", key, []byte(`{"nonce":"`+newNonce()+`"}`)))
		p.want(a, http.StatusBadRequest, fault.InvalidArgument, "the Idempotency-Key '"+key+"'")
	}
}

// slowsGuesses guesses from one device at an account that is not there: it is treated
// as one that is.
func slowsGuesses(p *probe) {
	const most = 12
	d := p.device()
	identifier := nobody()
	t := d.begin(accountapi.FlowKindLink)
	for n := 1; n <= most; n++ {
		a := t.guess(identifier, wrongPassword())
		switch a.code() {
		case fault.InvalidCredentials:
		case fault.RateLimited, fault.AccountBlocked:
			if a.code() == fault.RateLimited && a.status != http.StatusTooManyRequests {
				p.failf("RateLimited came with the status %d, not 429", a.status)
			}
			if n <= 4 {
				p.failf("guess number %d was refused with %s, Retry-After %s: the first four of a device cost no wait (if this address has guessed much lately, try again after that)",
					n, a.code(), a.header.Get("Retry-After"))
			}
			return
		default:
			p.failf("guess number %d was answered with %s", n, a.said())
		}
	}
	p.failf("%d wrong passwords in a row from one device were each looked at: nothing slows a guesser", most)
}
