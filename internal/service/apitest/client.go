// SPDX-License-Identifier: Apache-2.0

// Package apitest owns what the account service's tests share: a device that
// signs its requests, and a whole service to ask. It is for tests alone, and
// knows the account API from its document, not from the daemon's client.
package apitest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
)

// Device is a device that asks the account service. It is for one goroutine;
// Clone gives another its own.
type Device struct {
	// URL is the service's, without a slash at the end.
	URL  string
	HTTP *http.Client
	Key  crypto.Signer
	// Name is what the key is known by, if it is not its thumbprint.
	Name string
	// ID is the device ID, once enrolled.
	ID string
	// Nonce is the server's, to sign the next request with.
	Nonce string
	// Serial is what the hardware calls itself.
	Serial string
}

// NewDevice returns a device with a new key and serial.
func NewDevice(url string, client *http.Client) *Device {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return &Device{URL: url, HTTP: client, Key: key, Serial: rand.Text()}
}

// Client returns an HTTP client that trusts the authority (PEM) alone.
func Client(ca []byte) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13},
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 64,
		},
	}
}

// Clone returns the same device without its nonce.
func (d *Device) Clone() *Device {
	out := *d
	out.Nonce = ""
	return &out
}

// KeyID is the thumbprint of the device's key, or its Name.
func (d *Device) KeyID() string {
	if d.Name != "" {
		return d.Name
	}
	return accountapi.Thumbprint(d.Key.Public())
}

// Answer is what the service answered.
type Answer struct {
	Status  int
	Header  http.Header
	Body    []byte
	Problem accountapi.Problem
	Step    accountapi.FlowStep
}

// Code is the last part of the problem's type; empty if it is none.
func (a Answer) Code() string {
	if f := a.Problem.Fault(); f != nil {
		return string(f.Code)
	}
	return a.Problem.Type
}

// NewKey returns a fresh idempotency key.
func NewKey() string { return rand.Text() }

// NewNonce returns a nonce as devices make them.
func NewNonce() string {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Request returns a request signed with the nonce that the device has.
func (d *Device) Request(ctx context.Context, method, path, key string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, d.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set(accountapi.HeaderIdempotencyKey, key)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, accountapi.SignRequest(r, body, d.Key, d.KeyID(), d.Nonce)
}

// Send sends a request and takes in the nonce of the answer.
func (d *Device) Send(r *http.Request) (Answer, error) {
	resp, err := d.HTTP.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, err
	}
	if n := resp.Header.Get(accountapi.HeaderNonce); n != "" {
		d.Nonce = n
	}
	a := Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}
	switch resp.Header.Get("Content-Type") {
	case accountapi.ProblemMediaType:
		err = json.Unmarshal(body, &a.Problem)
	case "application/json":
		err = json.Unmarshal(body, &a.Step)
	}
	return a, err
}

// Call sends a signed request, a second time with the nonce of a 401 where the
// device had none or an old one. A nil body is none.
func (d *Device) Call(ctx context.Context, method, path, key string, body any) (Answer, error) {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return Answer{}, err
		}
	}
	for try := 0; ; try++ {
		r, err := d.Request(ctx, method, path, key, b)
		if err != nil {
			return Answer{}, err
		}
		a, err := d.Send(r)
		if err != nil || a.Status != http.StatusUnauthorized || try == 1 {
			return a, err
		}
	}
}

// Post is Call with a fresh idempotency key that fails the test if there is no
// answer.
func (d *Device) Post(t testing.TB, path string, body any) Answer {
	t.Helper()
	a, err := d.Call(t.Context(), http.MethodPost, path, NewKey(), body)
	if err != nil {
		t.Fatalf("POST %s: %v", path, err)
	}
	return a
}

// Identity returns the digest of a name that the hardware gives itself.
func Identity(source accountapi.IdentitySource, value string) accountapi.Identity {
	sum := sha256.Sum256([]byte("accountlock-identity-v1\x00" + string(source) + "\x00" + value))
	return accountapi.Identity{Source: source, Digest: base64.RawURLEncoding.EncodeToString(sum[:])}
}

// Enrol enrols the device under its serial, and by whatever else is given.
func (d *Device) Enrol(t testing.TB, more ...accountapi.Identity) accountapi.EnrolResponse {
	t.Helper()
	ids := append([]accountapi.Identity{Identity(accountapi.Dmi, d.Serial)}, more...)
	model := "test device"
	a := d.Post(t, "/v1/devices", accountapi.EnrolRequest{Key: accountapi.NewJWK(d.Key.Public()), Identities: ids, Model: &model})
	if a.Status != http.StatusOK {
		t.Fatalf("enrol: %d %s", a.Status, a.Body)
	}
	var out accountapi.EnrolResponse
	if err := json.Unmarshal(a.Body, &out); err != nil {
		t.Fatal(err)
	}
	d.ID = out.DeviceId
	return out
}

// Begin begins a flow.
func (d *Device) Begin(t testing.TB, kind accountapi.FlowKind) (Answer, string) {
	t.Helper()
	nonce := NewNonce()
	return d.Post(t, "/v1/flows", accountapi.BeginRequest{Kind: kind, DeviceId: d.ID, Nonce: nonce}), nonce
}

// Reply answers a flow's step.
func (d *Device) Reply(t testing.TB, flowID string, a accountapi.FlowAnswer) Answer {
	t.Helper()
	return d.Post(t, "/v1/flows/"+flowID, a)
}

// AskApproval has a linked device ask to be opened from another one.
func (d *Device) AskApproval(t testing.TB) (flowID, userCode string) {
	t.Helper()
	begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
	a := d.Reply(t, begun.Step.FlowId, Approve(NewNonce()))
	if a.Step.UserCode == nil {
		t.Fatalf("ask for approval: %d %s", a.Status, a.Body)
	}
	return begun.Step.FlowId, *a.Step.UserCode
}

// Identify answers the step of that name.
func Identify(identifier string) accountapi.FlowAnswer {
	return accountapi.FlowAnswer{Step: accountapi.Identify, Identifier: &identifier}
}

// UseHint answers 'identify' with the account that the device is linked to.
func UseHint() accountapi.FlowAnswer {
	yes := true
	return accountapi.FlowAnswer{Step: accountapi.Identify, UseHint: &yes}
}

// Password answers the step of that name.
func Password(p string) accountapi.FlowAnswer {
	s := accountapi.Secret(p)
	return accountapi.FlowAnswer{Step: accountapi.Password, Password: &s}
}

// Code answers the step of that name.
func Code(c string) accountapi.FlowAnswer {
	s := accountapi.Secret(c)
	return accountapi.FlowAnswer{Step: accountapi.Code, Code: &s}
}

// Confirm answers the step of that name.
func Confirm() accountapi.FlowAnswer {
	yes := true
	return accountapi.FlowAnswer{Step: accountapi.Confirm, Confirm: &yes}
}

// Approve answers the step of that name, or asks for it.
func Approve(nonce string) accountapi.FlowAnswer {
	return accountapi.FlowAnswer{Step: accountapi.Approve, Nonce: &nonce}
}

// Commit answers the step of that name.
func Commit(nonce string) accountapi.FlowAnswer {
	return accountapi.FlowAnswer{Step: accountapi.Commit, Nonce: &nonce}
}

// Open verifies a signed word against a device's key set.
func Open(t testing.TB, token, typ string, set []accountapi.JWK) accountapi.Claims {
	t.Helper()
	keys := map[string]crypto.PublicKey{}
	for _, k := range set {
		pub, err := k.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		keys[accountapi.Thumbprint(pub)] = pub
	}
	var c accountapi.Claims
	if err := accountapi.Open(token, typ, keys, &c); err != nil {
		t.Fatalf("a signed word of type %s does not verify: %v", typ, err)
	}
	return c
}
