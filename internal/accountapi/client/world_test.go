// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/accountapi/client"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	deviceID = "ABCD-EFGH-JKMN"
	flowID   = "flow-0123456789abcdef"
	nonce    = flow.Nonce("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE")
	password = "correct horse battery staple"
)

// authority is a certificate authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().AddDate(-5, 0, 0), NotAfter: time.Now().AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &authority{cert, key}
}

// leaf returns a server's certificate for 127.0.0.1, as change leaves it.
func (a *authority) leaf(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "service"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) file(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600))
	return path
}

// world is a device and the account service that it asks.
type world struct {
	*testing.T
	ca     *authority
	server *httptest.Server
	client *client.Client
	creds  flow.Credentials
	// root is in the image; key is the first set's.
	root, key ed25519.PrivateKey
	config    client.Config

	mu sync.Mutex
	// handle answers what is not a catch-up; sets answers one.
	handle http.HandlerFunc
	sets   http.HandlerFunc
	seen   []seen
}

// seen is one request as it came.
type seen struct {
	path, key, nonce string
	body             []byte
}

type setup struct {
	tls    func(*tls.Config)
	leaf   func(*x509.Certificate)
	signer *authority // of the leaf, where it is not the device's authority
	change func(*client.Config)
}

func newWorld(t *testing.T, s setup) *world {
	t.Helper()
	w := &world{T: t, ca: newAuthority(t), root: newKey(t), key: newKey(t)}
	w.creds = flow.Credentials{ID: deviceID, Key: newKey(t)}
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	w.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	signer := w.ca
	if s.signer != nil {
		signer = s.signer
	}
	w.server.TLS = &tls.Config{Certificates: []tls.Certificate{signer.leaf(t, s.leaf)}}
	if s.tls != nil {
		s.tls(w.server.TLS)
	}
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	w.config = client.Config{
		URL: w.server.URL, CAFile: w.ca.file(t), KeySetFile: w.keySetFile(1, w.key),
		PortalURL: "http://127.0.0.1:1/",
	}
	if s.change != nil {
		s.change(&w.config)
	}
	w.client = w.connect(w.config)
	return w
}

func (w *world) connect(c client.Config) *client.Client {
	w.Helper()
	cl, err := client.New(c)
	must(w, err)
	w.Cleanup(cl.Close)
	return cl
}

func (w *world) keySetFile(number int, keys ...ed25519.PrivateKey) string {
	w.Helper()
	root := jwk(w.root)
	raw, err := json.Marshal(map[string]any{"root": root, "number": number, "keys": jwks(keys...)})
	must(w, err)
	path := filepath.Join(w.TempDir(), "keys.json")
	must(w, os.WriteFile(path, raw, 0o600))
	return path
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	s := seen{path: r.URL.Path, key: r.Header.Get(accountapi.HeaderIdempotencyKey), body: body}
	if r.Method != http.MethodGet {
		if sig, err := accountapi.ParseSignature(r, body); err != nil || sig.Verify(w.creds.Key.Public().(ed25519.PublicKey)) != nil {
			w.Errorf("%s %s is not signed by the device: %v", r.Method, r.URL.Path, err)
		} else {
			s.nonce = sig.Nonce
		}
	}
	w.mu.Lock()
	w.seen = append(w.seen, s)
	handle, sets := w.handle, w.sets
	w.mu.Unlock()
	if r.URL.Path == "/v1/keys" && sets != nil {
		sets(rw, r)
		return
	}
	handle(rw, r)
}

// requests returns what came, in order.
func (w *world) requests() []seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]seen(nil), w.seen...)
}

// begin asks the service to begin a flow and returns the code of the refusal.
func (w *world) begin() error {
	_, err := w.client.Begin(w.Context(), w.creds, flow.Begin{Kind: "unlock", Nonce: nonce})
	return err
}

// step answers with a step.
func step(s map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		out := map[string]any{"flow_id": flowID, "step": "password"}
		for k, v := range s {
			out[k] = v
		}
		answer(w, http.StatusOK, "application/json", out)
	}
}

func answer(w http.ResponseWriter, status int, media string, v any) {
	raw, ok := v.([]byte)
	if !ok {
		raw, _ = json.Marshal(v)
	}
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}

func problem(status int, code fault.Code, more map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		out := map[string]any{"type": accountapi.ProblemType + string(code), "title": "x", "status": status}
		for k, v := range more {
			out[k] = v
		}
		answer(w, status, accountapi.ProblemMediaType, out)
	}
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return key
}

func jwk(k ed25519.PrivateKey) accountapi.JWK {
	return accountapi.NewJWK(k.Public().(ed25519.PublicKey))
}

func jwks(keys ...ed25519.PrivateKey) []accountapi.JWK {
	var out []accountapi.JWK
	for _, k := range keys {
		out = append(out, jwk(k))
	}
	return out
}

func pin(cert *x509.Certificate) string {
	h := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(h[:])
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
