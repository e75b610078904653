// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// links goes through a link, and looks at what every word on the way permits.
func links(p *probe) {
	d := p.device()
	t := d.begin(accountapi.FlowKindLink)
	t.signIn(p.cfg.Owner, accountapi.Confirm)
	if c := t.grant(accountapi.ClaimsPurposeRehearsal); c.Link != nil {
		p.failf("the rehearsal names a link, which is not made yet")
	}
	d.states(accountapi.ClaimsStatusUnlinked, "before the person has confirmed a link")
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	p.must(err, "making a key")
	public := base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes())
	yes := true
	t.next(accountapi.FlowAnswer{Step: accountapi.Confirm, Confirm: &yes, OfflineKey: &public}, accountapi.Commit)
	grant := t.grant(accountapi.ClaimsPurposeLink)
	p.linked = append(p.linked, d)
	switch {
	case grant.Link == nil || grant.Link.Id == "" || grant.Link.Generation < 1:
		p.failf("the grant of a link does not name link and generation")
	case grant.Link.AccountId == nil || *grant.Link.AccountId == "":
		p.failf("the grant of a link does not name the account")
	case grant.OfflineKey != nil && !isKey(*grant.OfflineKey):
		p.failf("the offline_key in the grant of a link is no public key of X25519")
	}
	d.states(accountapi.ClaimsStatusUnlinked, "before the device has committed a link")
	said := t.committed()
	if said.Link == nil || said.Link.Id != grant.Link.Id || said.Link.Generation < grant.Link.Generation {
		p.failf("the statement at the end of a link names another link than the grant, or a lower generation")
	}
	now := d.states(accountapi.ClaimsStatusLinked, "after a link")
	if now.Link == nil || *now.Link != *said.Link {
		p.failf("two statements about an unchanged link differ in link or generation")
	}
	a, _ := d.ask(accountapi.FlowKindLink)
	p.want(a, http.StatusConflict, fault.AlreadyLinked, "the beginning of a link on a linked device")
}

func isKey(s string) bool {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return false
	}
	_, err = ecdh.X25519().NewPublicKey(b)
	return err == nil
}

func unlocks(p *probe) {
	d := p.device()
	link := p.link(d, p.cfg.Owner)
	t := d.begin(accountapi.FlowKindUnlock)
	hint := true
	t.next(accountapi.FlowAnswer{Step: accountapi.Identify, UseHint: &hint}, accountapi.Password)
	t.signIn(p.cfg.Owner, accountapi.Done)
	c := t.grant(accountapi.ClaimsPurposeUnlock)
	switch {
	case c.Link == nil || c.Link.Id != link.Id:
		p.failf("the grant of an unlock does not name the device's link")
	case c.Link.Generation <= link.Generation:
		p.failf("an unlock changes the link, and its generation does not rise: %d after %d", c.Link.Generation, link.Generation)
	case c.Link.AccountId == nil:
		p.failf("the grant of an unlock does not name the account")
	}
	d.states(accountapi.ClaimsStatusLinked, "after an unlock")
}

// opensOnce tries to have a second grant of one flow.
func opensOnce(p *probe) {
	d := p.device()
	p.link(d, p.cfg.Owner)
	t := d.begin(accountapi.FlowKindUnlock)
	t.signIn(p.cfg.Owner, accountapi.Done)
	t.grant(accountapi.ClaimsPurposeUnlock)
	p.want(t.reply(password(p.cfg.Owner.Password)), http.StatusConflict, fault.WrongStep, "the password once more in a flow that is done")
	nonce := newNonce()
	p.want(t.reply(commit(nonce)), http.StatusConflict, fault.WrongStep, "a commit of an unlock, which has none")
}

// isBound looks at what a grant is bound to, where a wrong one could be had.
func isBound(p *probe) {
	d := p.device()
	p.link(d, p.cfg.Owner)
	t := d.begin(accountapi.FlowKindSignOut)
	newest := newNonce()
	with := password(p.cfg.Owner.Password)
	with.Nonce = &newest
	t.signInWith(p.cfg.Owner, with, accountapi.Commit)
	c := t.grant(accountapi.ClaimsPurposeSignOut) // over the newest nonce, not the one of the beginning
	if c.Link == nil {
		p.failf("the grant of a sign-out does not name the link")
	}
	t.end()
	other := d.begin(accountapi.FlowKindUnlink)
	other.signIn(p.cfg.Owner, accountapi.Commit)
	other.grant(accountapi.ClaimsPurposeUnlink)
	other.end()
	d.states(accountapi.ClaimsStatusLinked, "after a sign-out and an unlink that were not committed")
}

func signsOut(p *probe) {
	d := p.device()
	link := p.link(d, p.cfg.Owner)
	t := d.begin(accountapi.FlowKindSignOut)
	if t.at.Step != accountapi.Password {
		p.failf("a sign-out begins at %s, not at password", t.at.Step)
	}
	t.signIn(p.cfg.Owner, accountapi.Commit)
	t.grant(accountapi.ClaimsPurposeSignOut)
	d.states(accountapi.ClaimsStatusLinked, "before the device has committed a sign-out")
	c := t.committed()
	if *c.Status != accountapi.ClaimsStatusSignedOut || c.Link == nil || c.Link.Id != link.Id || c.Link.Generation <= link.Generation {
		p.failf("the statement at the end of a sign-out does not say signed-out, with the same link and a higher generation")
	}
	d.states(accountapi.ClaimsStatusSignedOut, "after a sign-out")
}

func unlinks(p *probe) {
	d := p.device()
	link := p.link(d, p.cfg.Owner)
	p.linked = nil
	t := p.unlink(d, p.cfg.Owner)
	r := d.word(t.at.Receipt, accountapi.TypeStatement, accountapi.ClaimsPurposeReceipt, "")
	if r.Link == nil || r.Link.Id != link.Id || r.Status == nil || *r.Status != accountapi.ClaimsStatusUnlinked {
		p.failf("the receipt does not say that this link has ended")
	}
	c := d.statement(link.Id)
	switch {
	case *c.Status != accountapi.ClaimsStatusUnlinked:
		p.failf("after an unlink the service states %s", *c.Status)
	case c.Ended == nil || *c.Ended != link.Id:
		p.failf("the statement after an unlink does not name the link asked about as `ended`")
	case c.Hint != nil:
		p.failf("the statement after an unlink still has the account's hint")
	}
	a, _ := d.ask(accountapi.FlowKindUnlock)
	p.want(a, http.StatusConflict, fault.NotLinked, "the beginning of an unlock after an unlink")
}

func resets(p *probe) {
	d := p.device()
	link := p.link(d, p.cfg.Owner)
	t := d.begin(accountapi.FlowKindReset)
	t.signIn(p.cfg.Owner, accountapi.Confirm)
	if t.at.Grant != nil {
		p.failf("a reset is granted before the person has confirmed it")
	}
	nonce, yes := newNonce(), true
	t.next(accountapi.FlowAnswer{Step: accountapi.Confirm, Confirm: &yes, Nonce: &nonce}, accountapi.Done)
	c := t.grant(accountapi.ClaimsPurposeReset)
	if c.Link == nil || c.Link.Id != link.Id {
		p.failf("the grant of a reset does not name the link")
	}
	d.states(accountapi.ClaimsStatusLinked, "after a reset was allowed")
	d.begin(accountapi.FlowKindLink).end()
}

// commitsOnce commits again, as a device does that has lost the answer.
func commitsOnce(p *probe) {
	d := p.device()
	t := d.begin(accountapi.FlowKindLink)
	t.signIn(p.cfg.Owner, accountapi.Confirm)
	t.next(confirm(), accountapi.Commit)
	p.linked = append(p.linked, d)
	first := t.committed()
	second := t.committed()
	if first.Link == nil || second.Link == nil || *first.Link != *second.Link {
		p.failf("committing again changes the link: %+v, then %+v", first.Link, second.Link)
	}
}

func dropsReservations(p *probe) {
	d := p.device()
	t := d.begin(accountapi.FlowKindLink)
	t.signIn(p.cfg.Owner, accountapi.Confirm)
	t.next(confirm(), accountapi.Commit)
	p.want(t.end(), http.StatusNoContent, "", "the end of a link that was reserved")
	d.states(accountapi.ClaimsStatusUnlinked, "after a reserved link was dropped")
	p.want(t.reply(commit(newNonce())), http.StatusGone, fault.Timeout, "the commit of a link that was dropped")
	p.link(d, p.cfg.Owner)
}

// tellsNoneFromWrong compares the answer to a wrong password with that to an
// identifier that nobody has, by two devices of which nothing else is known.
func tellsNoneFromWrong(p *probe) {
	try := func(identifier string) (answer, accountapi.FlowStep) {
		t := p.device().begin(accountapi.FlowKindLink)
		t.next(identify(identifier), accountapi.Password)
		step := t.at
		a := t.guess(identifier, wrongPassword())
		p.want(a, http.StatusForbidden, fault.InvalidCredentials, "a wrong password")
		return a, step
	}
	known, knownStep := try(p.cfg.Owner.Identifier)
	none, noneStep := try(nobody())
	if known.problem.Counted == nil || !*known.problem.Counted {
		p.failf("the refusal of a wrong password does not say that it counted")
	}
	knownStep.FlowId, noneStep.FlowId, knownStep.Expires, noneStep.Expires = "", "", nil, nil
	if !reflect.DeepEqual(knownStep, noneStep) {
		p.failf("the step password differs for an identifier that somebody has and one that nobody has")
	}
	if a, b := comparable(p, known), comparable(p, none); !bytes.Equal(a, b) {
		p.failf("a wrong password and an unknown identifier are told apart: %s and %s", a, b)
	}
}

// comparable is a problem without what is of the one request alone. What is left of
// free attempts counts the address too, and so falls from one to the next.
func comparable(p *probe, a answer) []byte {
	q := map[string]any{}
	p.decode(a, &q)
	delete(q, "instance")
	delete(q, "attempts_left")
	b, err := json.Marshal(q)
	p.must(err, "encoding a problem")
	return b
}

// stranger signs in to somebody else's device, with the right password.
func stranger(p *probe) {
	d := p.device()
	p.link(d, p.cfg.Owner)
	t := d.begin(accountapi.FlowKindUnlock)
	a := t.guess(p.cfg.Other.Identifier, p.cfg.Other.Password)
	p.want(a, http.StatusForbidden, fault.WrongAccount, "the right password of another account")
	if a.problem.Counted != nil && *a.problem.Counted {
		p.failf("the refusal says that the right password of another account counted as an attempt")
	}
	if a.problem.Hint == nil {
		p.failf("the refusal does not name, masked, the account that the device belongs to")
	}
	t.next(identify(p.cfg.Owner.Identifier), accountapi.Password)
	t.signIn(p.cfg.Owner, accountapi.Done)
	t.grant(accountapi.ClaimsPurposeUnlock)
}
