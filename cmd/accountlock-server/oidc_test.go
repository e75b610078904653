// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"html"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/test/oidc"
)

// federated is an account service whose people a real identity provider signs in.
type federated struct {
	*program
	provider *oidc.Provider
	dir      string
	roots    *x509.CertPool
	// address is where the service that calls itself accounts.test listens.
	address string
}

var listening = regexp.MustCompile(`msg=serving address=(\S+)`)

func startFederated(t *testing.T) *federated {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	selfSigned(t, cert, key)
	f := &federated{dir: dir, provider: oidc.Start(t, cert, key), roots: x509.NewCertPool()}
	f.roots.AppendCertsFromPEM(read(t, cert))
	write(t, filepath.Join(dir, "client.secret"), "a secret of the client\n")
	config := filepath.Join(dir, "server.toml")
	write(t, config, `listen = "127.0.0.1:0"
public_url = "https://accounts.test"
secret_file = "service.secret"
tls = { certificate = "server.pem", key = "server.key" }
database = { path = "accounts.db" }
keys = { directory = "keys" }
mail = { outbox = "outbox" }
argon2 = { memory_kib = 64, passes = 1 }
[oidc]
issuer = "`+f.provider.Issuer+`"
name = "Example ID"
client_id = "accountlock"
client_secret_file = "client.secret"
ca_file = "server.pem"
`)
	if _, errs, code := runTo(t, "migrate", "--config", config); code != 0 {
		t.Fatal(errs)
	}
	f.program = start(t, "serve", "--config", config)
	eventually(t, "the address it listens on", func() bool { return listening.MatchString(f.out.String()) })
	f.address = listening.FindStringSubmatch(f.out.String())[1]
	f.provider.Serve(t, oidc.Client{
		ID: "accountlock", Secret: "a secret of the client", Redirects: []string{"https://accounts.test/sign-in/oidc/callback"},
		Logouts: []string{"https://accounts.test/"}, BackChannel: "https://" + f.address + "/sign-in/oidc/logout", Sessions: true,
	})
	return f
}

// client finds accounts.test where it listens.
func (f *federated) client() *http.Client {
	dial := &net.Dialer{}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS13},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "accounts.test:443" {
				address = f.address
			}
			return dial.DialContext(ctx, network, address)
		},
	}}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func selfSigned(t *testing.T, certPath, keyPath string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"accounts.test"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certPath, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, keyPath, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
}

// visitor is a person with a browser.
type visitor struct {
	t    *testing.T
	f    *federated
	http *http.Client
}

// visited is a page, after all that led to it.
type visited struct {
	url    *url.URL
	status int
	body   string
}

func (f *federated) visit(t *testing.T) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{t: t, f: f, http: f.client()}
	v.http.Jar = jar
	return v
}

func (v *visitor) do(r *http.Request) visited {
	v.t.Helper()
	resp, err := v.http.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return visited{resp.Request.URL, resp.StatusCode, html.UnescapeString(string(b))}
}

func (v *visitor) get(address string) visited {
	v.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = "https://accounts.test" + address
	}
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.do(r)
}

func (v *visitor) post(address string, fields ...string) visited {
	v.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = "https://accounts.test" + address
	}
	form := url.Values{}
	for pair := range slices.Chunk(fields, 2) {
		form.Add(pair[0], pair[1])
	}
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if r.URL.Host == "accounts.test" {
		r.Header.Set("Origin", "https://accounts.test")
	}
	return v.do(r)
}

var action = regexp.MustCompile(`action="(https://127[^"]+)"`)

// through goes on at the provider, by a name where it asks for one, until it comes back.
func (v *visitor) through(at visited, name string) visited {
	v.t.Helper()
	for range 4 {
		form := action.FindStringSubmatch(at.body)
		if at.url.Host == "accounts.test" || form == nil {
			return at
		}
		if strings.Contains(at.body, `name="login"`) {
			at = v.post(form[1], "prompt", "login", "login", name, "password", "any")
		} else {
			at = v.post(form[1], "prompt", "consent")
		}
	}
	return at
}

func (v *visitor) signIn(name, query string) visited {
	v.t.Helper()
	return v.through(v.get("/sign-in/oidc?to=%2Faccount"+query), name)
}

var (
	accountID = regexp.MustCompile(`id="account-id" readonly value="(\d+)"`)
	oneTime   = regexp.MustCompile(`One-time password</dt><dd><strong class="big">([^<]+)<`)
)

func (at visited) find(t *testing.T, pattern *regexp.Regexp) string {
	t.Helper()
	m := pattern.FindStringSubmatch(at.body)
	if m == nil {
		t.Fatalf("%s %d has no %s:\n%s", at.url, at.status, pattern, at.body)
	}
	return m[1]
}

func (at visited) says(t *testing.T, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(at.body, w) {
			t.Errorf("%s %d does not say %q:\n%s", at.url, at.status, w, at.body)
		}
	}
}

func TestPeopleOfAnIdentityProvider(t *testing.T) {
	f := startFederated(t)
	anna := f.visit(t)
	anna.get("/sign-in").says(t, "Sign in with Example ID", "never here, and never on a device")
	at := anna.signIn("anna", "")
	id := at.find(t, accountID)
	at.says(t, "anna@example.org", "Sign in on a device")

	t.Run("find their account again, and nobody else's", func(t *testing.T) {
		if again := f.visit(t).signIn("anna", "").find(t, accountID); again != id {
			t.Errorf("anna has the account %s, then %s", id, again)
		}
		if other := f.visit(t).signIn("berta", "").find(t, accountID); other == id {
			t.Error("berta has anna's account")
		}
	})
	t.Run("have no address that the provider has not verified", func(t *testing.T) {
		if at := f.visit(t).signIn("unverified-mallory", ""); strings.Contains(at.body, "mallory@example.org") {
			t.Error("an address that is not verified became an identifier")
		}
	})
	t.Run("are asked for no password of ours anywhere", func(t *testing.T) {
		for _, page := range []string{"/sign-in", "/account", "/account/delete", "/devices", "/approve", "/recover"} {
			if strings.Contains(anna.get(page).body, `type="password"`) {
				t.Errorf("%s asks for a password", page)
			}
		}
		if at := f.visit(t).post("/sign-in", "identifier", id, "password", "anything"); at.url.Path != "/sign-in" || at.status != 200 {
			t.Errorf("a password at the portal leads to %s %d", at.url, at.status)
		}
	})

	d := apitest.NewDevice("https://accounts.test", f.client())
	d.Enrol(t)
	t.Run("link a device by a password that is good once", func(t *testing.T) {
		password := anna.post("/account/one-time").find(t, oneTime)
		linkWith(t, d, id, password)
		begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
		d.Reply(t, begun.Step.FlowId, apitest.UseHint())
		if a := d.Reply(t, begun.Step.FlowId, apitest.Password(password)); a.Code() != "InvalidCredentials" {
			t.Errorf("the same password a second time: %d %s", a.Status, a.Body)
		}
		older := anna.post("/account/one-time").find(t, oneTime)
		newer := anna.post("/account/one-time").find(t, oneTime)
		if a := d.Reply(t, begun.Step.FlowId, apitest.Password(older)); a.Code() != "InvalidCredentials" {
			t.Errorf("a password that a newer one has replaced: %d %s", a.Status, a.Body)
		}
		if a := d.Reply(t, begun.Step.FlowId, apitest.Password(newer)); a.Step.Grant == nil {
			t.Errorf("the newest: %d %s", a.Status, a.Body)
		}
		anna.get("/devices/"+d.ID).says(t, "test device", "Unlink this device")
	})
	t.Run("approve an unlock in the portal", func(t *testing.T) {
		begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
		asked := d.Reply(t, begun.Step.FlowId, apitest.Approve(apitest.NewNonce()))
		if asked.Step.UserCode == nil {
			t.Fatalf("no code: %d %s", asked.Status, asked.Body)
		}
		anna.post("/approve", "code", *asked.Step.UserCode, "decision", "approve", "hands", "1").says(t, "You approved it.")
	})
	t.Run("approve nothing where the session is new and the provider's word is not", func(t *testing.T) {
		begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
		asked := d.Reply(t, begun.Step.FlowId, apitest.Approve(apitest.NewNonce()))
		if asked.Step.UserCode == nil {
			t.Fatalf("no code: %d %s", asked.Status, asked.Body)
		}
		f.exec(t, `UPDATE oidc_sessions SET proven_at = proven_at - 660000`)
		defer f.exec(t, `UPDATE oidc_sessions SET proven_at = proven_at + 660000`)
		anna.post("/approve", "code", *asked.Step.UserCode, "decision", "approve", "hands", "1").says(t, "within the last ten minutes", "Sign in once more")
	})
	t.Run("cannot recover on a device what the provider keeps", func(t *testing.T) {
		if a, _ := d.Begin(t, accountapi.FlowKindRecover); a.Code() != "ServiceUnavailable" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
	t.Run("sign out, and are signed out by the provider", func(t *testing.T) {
		other := f.visit(t)
		other.signIn("anna", "")
		at := anna.post("/sign-out")
		at.says(t, "Sign out of Example ID too")
		end := regexp.MustCompile(`href="(https://127[^"]+/session/end[^"]*)"`)
		page := anna.get(at.find(t, end))
		secret := regexp.MustCompile(`name="xsrf" value="([^"]+)"`)
		confirm := regexp.MustCompile(`action="([^"]+)"`)
		back := anna.post(page.find(t, confirm), "xsrf", page.find(t, secret), "logout", "yes")
		if back.url.Host != "accounts.test" {
			t.Errorf("it leads to %s", back.url)
		}
		if at := other.get("/account"); at.url.Path != "/account" {
			t.Error("another browser's session ended too")
		}
		page = other.get(regexp.MustCompile(`\?.*`).ReplaceAllString(at.find(t, end), ""))
		other.post(page.find(t, confirm), "xsrf", page.find(t, secret), "logout", "yes")
		eventually(t, "the end of the session that the provider has ended", func() bool { return other.get("/account").url.Path == "/sign-in" })
	})
	t.Run("are found by the provider's next try where its first could not end their session", func(t *testing.T) {
		v := f.visit(t)
		v.signIn("frida", "")
		leaving := f.visit(t)
		leaving.signIn("frida", "")
		page := v.get(leaving.post("/sign-out").find(t, regexp.MustCompile(`href="(https://127[^"?]+/session/end)[^"]*"`)))
		const known = `SELECT COUNT(*) FROM oidc_sessions`
		before := f.count(t, known)
		f.exec(t, `CREATE TRIGGER broken BEFORE DELETE ON portal_sessions BEGIN SELECT RAISE(ABORT, 'broken'); END`)
		v.post(page.find(t, regexp.MustCompile(`action="([^"]+)"`)), "xsrf", page.find(t, regexp.MustCompile(`name="xsrf" value="([^"]+)"`)), "logout", "yes")
		eventually(t, "a logout that cannot be done", func() bool {
			return strings.Contains(f.out.String(), "cannot end what the identity provider has ended")
		})
		f.exec(t, `DROP TRIGGER broken`)
		if after := f.count(t, known); after != before {
			t.Errorf("of %d sessions that the provider knows %d are left", before, after)
		}
	})
	t.Run("delete their account, and are somebody new afterwards", func(t *testing.T) {
		carla := f.visit(t)
		had := carla.signIn("carla", "").find(t, accountID)
		at := carla.post("/account/delete", "sure", "1")
		at.says(t, "A code was sent to")
		mails := apitest.ReadOutbox(t, filepath.Join(f.dir, "outbox"))
		code := regexp.MustCompile(`Your code is (\d{6})`).FindStringSubmatch(mails[len(mails)-1])
		if code == nil {
			t.Fatalf("no code in %s", mails[len(mails)-1])
		}
		carla.post("/account/delete/code", "code", code[1]).says(t, "Your account was deleted")
		if has := carla.signIn("carla", "").find(t, accountID); has == had {
			t.Error("the account ID was given again")
		}
	})
	if strings.Contains(f.out.String(), "a secret of the client") {
		t.Error("the client's secret is in the log")
	}
}

func TestAConsequenceTakesASignInOfTheLastMinutes(t *testing.T) {
	f := startFederated(t)
	v := f.visit(t)
	id := v.signIn("dora", "").find(t, accountID)
	f.exec(t, `UPDATE oidc_sessions SET proven_at = proven_at - 660000`)
	at := v.post("/account/one-time")
	at.says(t, "within the last ten minutes", "Sign in once more")
	if strings.Contains(at.body, "One-time password") {
		t.Error("it is shown all the same")
	}
	renew := at.find(t, regexp.MustCompile(`href="(/sign-in/oidc\?again=1[^"]+)"`))
	page := v.get(renew)
	if !strings.Contains(page.body, `name="login"`) {
		t.Fatalf("the provider does not ask again: %s %s", page.url, page.body)
	}
	if got := v.through(page, "dora").find(t, accountID); got != id {
		t.Errorf("it is the account %s, not %s", got, id)
	}
	v.post("/account/one-time").says(t, "One-time password")
}

func TestWhoComesBackFromTheProviderWithSomethingElseIsNotSignedIn(t *testing.T) {
	f := startFederated(t)
	// callback is where the provider would send the browser back to.
	callback := func(v *visitor) *url.URL {
		t.Helper()
		v.http.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if r.URL.Host == "accounts.test" {
				return http.ErrUseLastResponse
			}
			return nil
		}
		defer func() { v.http.CheckRedirect = nil }()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://accounts.test/sign-in/oidc", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := v.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		// The last page at the provider posts to one that sends back: follow by hand.
		at := v.get(resp.Request.URL.String())
		var last *url.URL
		v.http.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if r.URL.Host == "accounts.test" {
				last = r.URL
				return http.ErrUseLastResponse
			}
			return nil
		}
		v.through(at, "emil")
		if last == nil {
			t.Fatal("the provider does not send back")
		}
		return last
	}
	refused := func(t *testing.T, v *visitor, at string) {
		t.Helper()
		got := v.get(at)
		got.says(t, "The sign-in did not succeed.")
		if in := v.get("/account"); in.url.Path != "/sign-in" {
			t.Errorf("it is signed in: %s", in.url)
		}
	}
	change := func(u *url.URL, name, value string) string {
		out := *u
		q := out.Query()
		if q.Set(name, value); value == "" {
			q.Del(name)
		}
		out.RawQuery = q.Encode()
		return out.String()
	}
	for name, c := range map[string][2]string{
		"another state":         {"state", "something"},
		"no state":              {"state", ""},
		"another code":          {"code", "something"},
		"no code":               {"code", ""},
		"another provider":      {"iss", "https://evil.example"},
		"no name of a provider": {"iss", ""},
		"a refusal and a code":  {"error", "access_denied"},
	} {
		t.Run(name, func(t *testing.T) {
			v := f.visit(t)
			refused(t, v, change(callback(v), c[0], c[1]))
		})
	}
	t.Run("in another browser", func(t *testing.T) {
		refused(t, f.visit(t), callback(f.visit(t)).String())
	})
	t.Run("with the code of another's sign-in", func(t *testing.T) {
		v, attacker := f.visit(t), f.visit(t)
		stolen := callback(attacker).Query().Get("code")
		refused(t, v, change(callback(v), "code", stolen))
	})
	t.Run("a second time", func(t *testing.T) {
		v := f.visit(t)
		at := callback(v)
		if in := v.get(at.String()); in.status != 200 || in.url.Path != "/devices" {
			t.Fatalf("the first time: %s %d", in.url, in.status)
		}
		v.get(at.String()).says(t, "The sign-in did not succeed.")
	})
	t.Run("too late", func(t *testing.T) {
		v := f.visit(t)
		at := callback(v)
		f.exec(t, `UPDATE oidc_logins SET expires_at = 1`)
		refused(t, v, at.String())
	})
	t.Run("leads nowhere else", func(t *testing.T) {
		v := f.visit(t)
		if at := v.through(v.get("/sign-in/oidc?to="+url.QueryEscape("https://evil.example/")), "emil"); at.url.String() != "https://accounts.test/devices" {
			t.Errorf("it leads to %s", at.url)
		}
	})
	t.Run("a logout token of nobody", func(t *testing.T) {
		if at := f.visit(t).post("/sign-in/oidc/logout", "logout_token", "e30.e30.e30"); at.status != http.StatusBadRequest {
			t.Errorf("%d", at.status)
		}
	})
}

// exec changes the service's database beside it.
func (f *federated) exec(t *testing.T, query string) {
	t.Helper()
	f.tx(t, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), query)
		return err
	})
}

func (f *federated) count(t *testing.T, query string) (n int64) {
	t.Helper()
	f.tx(t, func(tx *sql.Tx) error { return tx.QueryRowContext(t.Context(), query).Scan(&n) })
	return n
}

func (f *federated) tx(t *testing.T, fn func(*sql.Tx) error) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(f.dir, "accounts.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Tx(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}
