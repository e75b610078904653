// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

func number(n int64) string { return strconv.FormatInt(n, 10) }

// rightlySigned tries both kinds of keys.
func rightlySigned(p *probe) {
	for what, d := range map[string]*device{"an Ed25519 key": p.machine(), "a P-256 key": p.tpm()} {
		a := d.post("/v1/devices", d.enrolment())
		p.want(a, http.StatusOK, "", "an enrolment signed by "+what)
		d.enrol()
		p.want(d.send(d.asks()), http.StatusOK, "", "a request signed by "+what)
	}
}

// unsigned wants a 401 that says with what to sign, and that it does.
func (d *device) unsigned(r *http.Request, what string) {
	a := d.send(r)
	d.p.want(a, http.StatusUnauthorized, fault.NotAuthorized, what)
}

func notSigned(p *probe) {
	d := p.device()
	for what, drop := range map[string][]string{
		"a request without Signature":       {accountapi.HeaderSignature},
		"a request without Signature-Input": {accountapi.HeaderSignatureInput},
		"a request without either":          {accountapi.HeaderSignature, accountapi.HeaderSignatureInput},
	} {
		r := d.asks()
		for _, h := range drop {
			r.Header.Del(h)
		}
		d.unsigned(r, what)
	}
	p.want(d.send(d.asks()), http.StatusOK, "", "a request signed with the nonce of a 401")
}

func wronglySigned(p *probe) {
	d, other := p.device(), p.device()
	r := d.asks()
	sig := []byte(r.Header.Get(accountapi.HeaderSignature))
	if i := len("device=:") + 10; sig[i] == 'A' {
		sig[i] = 'B'
	} else {
		sig[i] = 'A'
	}
	r.Header.Set(accountapi.HeaderSignature, string(sig))
	d.unsigned(r, "a request whose signature was changed")

	thief := *d
	thief.key = other.key
	r = d.asks()
	nonce := nonceOf(r)
	thief.nonce = nonce
	body := bodyOf(p, r)
	p.must(accountapi.SignRequest(r, body, other.key, d.keyID(), nonce), "signing a request")
	d.unsigned(r, "a request signed by another key under the device's keyid")

	r = d.asks()
	r.Header.Set(accountapi.HeaderSignature, "device=:"+base64.StdEncoding.EncodeToString(make([]byte, 64))+":")
	d.unsigned(r, "a request whose signature is 64 zeros")
}

func nonceOf(r *http.Request) string {
	_, n, _ := strings.Cut(r.Header.Get(accountapi.HeaderSignatureInput), `nonce="`)
	n, _, _ = strings.Cut(n, `"`)
	return n
}

func bodyOf(p *probe, r *http.Request) []byte {
	rc, err := r.GetBody()
	p.must(err, "reading a request's body")
	defer rc.Close()
	out := make([]byte, r.ContentLength)
	n, _ := rc.Read(out)
	return out[:n]
}

// anotherDigest changes what the signature covers by way of the digest.
func anotherDigest(p *probe) {
	d := p.device()
	other := []byte(`{"nonce":"` + newNonce() + `"}`)
	r := d.asks()
	swapped := p.plain(http.MethodPost, r.URL.Path, other)
	swapped.Header = r.Header
	d.unsigned(swapped, "a request whose body was changed after it was signed")

	r = d.asks()
	swapped = p.plain(http.MethodPost, r.URL.Path, other)
	swapped.Header = r.Header
	swapped.Header.Set(accountapi.HeaderContentDigest, accountapi.ContentDigest(other))
	d.unsigned(swapped, "a request whose body and Content-Digest were changed after it was signed")

	r = d.asks()
	r.Header.Del(accountapi.HeaderContentDigest)
	d.unsigned(r, "a request without Content-Digest")
}

// notCovered changes each of the other parts that a signature covers.
func notCovered(p *probe) {
	d, other := p.device(), p.device()
	r := d.asks()
	r.Header.Set(accountapi.HeaderIdempotencyKey, rand.Text())
	d.unsigned(r, "a request whose Idempotency-Key was changed after it was signed")

	r = d.asks()
	r.URL.Path = "/v1/devices/" + other.id + "/statement"
	a := d.send(r)
	p.refused(a, "a request whose path was changed after it was signed")

	flow := d.begin(accountapi.FlowKindRecover)
	d.fresh()
	r = d.request(http.MethodPost, "/v1/flows/"+flow.id+"/resend", rand.Text(), nil)
	r.Method, r.URL.Path = http.MethodDelete, "/v1/flows/"+flow.id
	d.unsigned(r, "a request whose method and path were changed after it was signed")

	r = d.asks()
	in := r.Header.Get(accountapi.HeaderSignatureInput)
	r.Header.Set(accountapi.HeaderSignatureInput, strings.Replace(in, `"content-digest" `, "", 1))
	d.unsigned(r, "a request whose signature leaves out content-digest")
}

func unknownNonce(p *probe) {
	d := p.device()
	for what, nonce := range map[string]string{"a nonce of nobody": newNonce(), "an empty nonce": "", "a nonce of a few letters": "nonce"} {
		r := d.asks()
		p.must(accountapi.SignRequest(r, bodyOf(p, r), d.key, d.keyID(), nonce), "signing a request")
		d.unsigned(r, "a request signed with "+what)
	}
}

// usedNonce sends a request again, as whoever captured it would, and another one
// with the same nonce.
func usedNonce(p *probe) {
	d := p.device()
	r := d.asks()
	nonce, body := nonceOf(r), bodyOf(p, r)
	p.want(d.send(r), http.StatusOK, "", "the question for a statement")
	again := p.plain(r.Method, r.URL.Path, body)
	again.Header = r.Header
	d.unsigned(again, "a request that was sent a second time, as it was")
	other := d.asks()
	p.must(accountapi.SignRequest(other, bodyOf(p, other), d.key, d.keyID(), nonce), "signing a request")
	d.unsigned(other, "another request with a nonce that was used")
}

// notItsOwn asks for what is another device's.
func notItsOwn(p *probe) {
	d, other := p.device(), p.device()
	d.fresh()
	a := d.send(d.request(http.MethodPost, "/v1/devices/"+other.id+"/statement", rand.Text(), []byte(`{"nonce":"`+newNonce()+`"}`)))
	p.refused(a, "the question of one device for the statement of another")
	d.fresh()
	a = d.send(d.request(http.MethodPost, "/v1/devices/"+other.id+"/events", rand.Text(), []byte(`{"events":[{"kind":"started","time":1}]}`)))
	p.refused(a, "the report of one device of events of another")
	d.fresh()
	body := []byte(`{"kind":"recover","device_id":"` + other.id + `","nonce":"` + newNonce() + `"}`)
	p.refused(d.send(d.request(http.MethodPost, "/v1/flows", rand.Text(), body)), "the beginning of a flow by one device for another")
	flow := other.begin(accountapi.FlowKindRecover)
	flow.device = d
	p.refused(flow.reply(identify("nobody@example.org")), "the answer of one device in the flow of another")
	p.refused(flow.end(), "the end of a flow by another device")
}
