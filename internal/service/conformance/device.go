// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// maxAnswer bounds, in bytes, what is read of an answer.
const maxAnswer = 1 << 20

// device is a device of our own making.
type device struct {
	p      *probe
	key    crypto.Signer
	id     string
	serial string
	// nonce is the service's, to sign the next request with.
	nonce string
}

// answer is what the service answered.
type answer struct {
	// to names the request.
	to      string
	status  int
	header  http.Header
	body    []byte
	problem accountapi.Problem
	step    accountapi.FlowStep
}

// code is that of the answer's problem; empty for none that the document knows.
func (a answer) code() fault.Code {
	if f := a.problem.Fault(); f != nil {
		return f.Code
	}
	return ""
}

// said is the answer in a few words.
func (a answer) said() string {
	if code := a.code(); code != "" {
		return fmt.Sprintf("%d %s", a.status, code)
	}
	return strconv.Itoa(a.status)
}

func newNonce() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails (Go 1.24)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// machine returns a device that nobody has heard of.
func (p *probe) machine() *device {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	p.must(err, "making a key")
	return &device{p: p, key: key, serial: rand.Text()}
}

// tpm returns one whose key is on P-256.
func (p *probe) tpm() *device {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.must(err, "making a key")
	return &device{p: p, key: key, serial: rand.Text()}
}

// device returns a device that is enrolled.
func (p *probe) device() *device {
	d := p.machine()
	d.enrol()
	return d
}

// rekeyed returns the same hardware with a new key.
func (d *device) rekeyed() *device {
	other := d.p.machine()
	other.serial = d.serial
	return other
}

func (d *device) keyID() string { return accountapi.Thumbprint(d.key.Public()) }

// identity is a name that the hardware gives itself.
func identity(source accountapi.IdentitySource, value string) accountapi.Identity {
	sum := sha256.Sum256([]byte("accountlock-identity-v1\x00" + string(source) + "\x00" + value))
	return accountapi.Identity{Source: source, Digest: base64.RawURLEncoding.EncodeToString(sum[:])}
}

func (d *device) enrolment(more ...accountapi.Identity) accountapi.EnrolRequest {
	model := "conformance"
	return accountapi.EnrolRequest{
		Key: accountapi.NewJWK(d.key.Public()), Model: &model,
		Identities: append([]accountapi.Identity{identity(accountapi.Dmi, d.serial)}, more...),
	}
}

// enrol enrols the device, by its serial and what else is given.
func (d *device) enrol(more ...accountapi.Identity) accountapi.EnrolResponse {
	a := d.post("/v1/devices", d.enrolment(more...))
	d.p.want(a, http.StatusOK, "", "an enrolment")
	var out accountapi.EnrolResponse
	d.p.decode(a, &out)
	if !deviceName.MatchString(out.DeviceId) {
		d.p.failf("device_id is %q: no twelve characters of Crockford's base 32 in three groups", out.DeviceId)
	}
	d.id = out.DeviceId
	return out
}

// request returns a request that is signed with the nonce that the device has.
func (d *device) request(method, path, key string, body []byte) *http.Request {
	r := d.p.plain(method, path, body)
	r.Header.Set(accountapi.HeaderIdempotencyKey, key)
	d.sign(r, body)
	return r
}

func (d *device) sign(r *http.Request, body []byte) {
	d.p.must(accountapi.SignRequest(r, body, d.key, d.keyID(), d.nonce), "signing a request")
}

// plain returns a request that is not signed.
func (p *probe) plain(method, path string, body []byte) *http.Request {
	r, err := http.NewRequestWithContext(p.ctx, method, p.base+path, bytes.NewReader(body))
	p.must(err, "making a request")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// fresh gives the device a nonce that nobody has used.
func (d *device) fresh() {
	if d.nonce != "" {
		return
	}
	a := d.send(d.request(http.MethodPost, "/v1/flows", rand.Text(), []byte("{}")))
	if a.status != http.StatusUnauthorized || d.nonce == "" {
		d.p.failf("a request without a nonce was answered with %s and the nonce %q: a 401 brings one", a.said(), d.nonce)
	}
}

// send sends a request, and takes in the nonce of its answer.
func (d *device) send(r *http.Request) answer {
	d.nonce = ""
	a := d.p.send(r)
	d.nonce = a.header.Get(accountapi.HeaderNonce)
	return a
}

// call sends a signed request under a key of its own. A nil body is none.
func (d *device) call(method, path, key string, body any) answer {
	var b []byte
	if body != nil {
		var err error
		b, err = json.Marshal(body)
		d.p.must(err, "encoding a request")
	}
	d.fresh()
	return d.send(d.request(method, path, key, b))
}

func (d *device) post(path string, body any) answer {
	return d.call(http.MethodPost, path, rand.Text(), body)
}

// asks is a request for a statement, signed and not sent.
func (d *device) asks() *http.Request {
	d.fresh()
	return d.request(http.MethodPost, "/v1/devices/"+d.id+"/statement", rand.Text(), []byte(`{"nonce":"`+newNonce()+`"}`))
}

// send sends a request and holds its answer to the rules for all of them.
func (p *probe) send(r *http.Request) answer {
	a, err := p.exchange(p.http, r)
	p.must(err, r.Method+" "+r.URL.Path)
	p.observe(r, a)
	return a
}

func (p *probe) exchange(by *http.Client, r *http.Request) (answer, error) {
	resp, err := by.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{to: r.Method + " " + r.URL.Path, status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return answer{}, err
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media == accountapi.ProblemMediaType {
		_ = json.Unmarshal(a.body, &a.problem) // what is none is found by observe
	} else if media == "application/json" {
		_ = json.Unmarshal(a.body, &a.step)
	}
	return a, nil
}

// get asks without a signature, as anybody may.
func (p *probe) get(path string) answer { return p.send(p.plain(http.MethodGet, path, nil)) }

// now is the time by the service's clock.
func (s *suite) now() time.Time { return s.cfg.Now().Add(s.offset) }

// want ends the check unless the answer has that status and that problem.
func (p *probe) want(a answer, status int, code fault.Code, what string) {
	if a.status == status && (code == "" || a.code() == code) {
		return
	}
	if a.code() == fault.RateLimited && code != fault.RateLimited {
		p.failf("%s was refused with RateLimited, Retry-After %s: this address has asked too much lately; try again after that", what, a.header.Get("Retry-After"))
	}
	should := strings.TrimSpace(strconv.Itoa(status) + " " + string(code))
	p.failf("%s was answered with %s, not %s", what, a.said(), should)
}

// refused ends the check unless the answer is a refusal of a client's request.
func (p *probe) refused(a answer, what string) {
	if a.status < 400 || a.status >= 500 {
		p.failf("%s was answered with %s, not refused", what, a.said())
	}
}

// decode ends the check unless the answer is such a JSON value.
func (p *probe) decode(a answer, v any) {
	p.must(json.Unmarshal(a.body, v), "the body of the answer to "+a.to)
}
