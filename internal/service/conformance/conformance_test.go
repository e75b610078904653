// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/conformance"
)

// server is what answers, in the tests' own words.
type server struct {
	url string
	ca  *x509.CertPool
}

// serve answers by a handler, over what TLS is given.
func serve(t *testing.T, s *apitest.Service, h http.Handler, change func(*httptest.Server)) server {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Clock.Advance(10 * time.Millisecond) // what comes later is later
		h.ServeHTTP(w, r)
	}))
	srv.EnableHTTP2 = true
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{apitest.Certificate(t)}, MinVersion: tls.VersionTLS13}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if change != nil {
		change(srv)
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	return server{srv.URL, pool}
}

func accountOf(p apitest.Person) *conformance.Account {
	return &conformance.Account{Identifier: p.Email, Password: accountapi.Secret(p.Password)}
}

// check runs the suite against what answers, with all that it can be given.
func check(t *testing.T, s *apitest.Service, at server, only ...string) conformance.Report {
	t.Helper()
	file, err := s.Keys.DeviceFile()
	if err != nil {
		t.Fatal(err)
	}
	r, err := conformance.Run(t.Context(), conformance.Config{
		URL: at.url, Roots: at.ca, KeySet: &conformance.KeySet{Root: file.Root, Number: file.Number, Keys: file.Keys},
		Owner: accountOf(s.Owner), Other: accountOf(s.Stranger), Only: only, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheReferenceServicePassesEveryCheck(t *testing.T) {
	s := apitest.Start(t)
	if _, err := s.Keys.Rotate(); err != nil {
		t.Fatal(err)
	}
	at := serve(t, s, s.API, nil)
	for range 2 { // it leaves nothing behind that a second run would stumble on
		r := check(t, s, at)
		for _, c := range r.Checks {
			if c.Outcome != conformance.Passed {
				t.Errorf("%s %s: %s", c.Outcome, c.Name, c.Found)
			}
		}
		if r.Passed != len(r.Checks) || r.Failed+r.Skipped != 0 {
			t.Errorf("of %d checks it counts %d passed, %d failed, %d skipped", len(r.Checks), r.Passed, r.Failed, r.Skipped)
		}
	}
}

func TestWithoutAnAccountItSaysWhatItSkips(t *testing.T) {
	s := apitest.Start(t)
	at := serve(t, s, s.API, nil)
	r, err := conformance.Run(t.Context(), conformance.Config{URL: at.url, Roots: at.ca, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed != 0 || r.Skipped < 10 || r.Passed < 30 {
		t.Errorf("%d passed, %d failed, %d skipped", r.Passed, r.Failed, r.Skipped)
	}
	for _, c := range r.Checks {
		if c.Outcome == conformance.Skipped && !strings.Contains(c.Found, "test account") {
			t.Errorf("%s is skipped: %q", c.Name, c.Found)
		}
	}
}

func TestAnAccountWithASecondFactorIsOfNoUse(t *testing.T) {
	s := apitest.Start(t)
	at := serve(t, s, s.API, nil)
	r, err := conformance.Run(t.Context(), conformance.Config{
		URL: at.url, Roots: at.ca, Owner: accountOf(s.Careful), Only: []string{"link"}, Now: time.Now,
	})
	if err != nil || r.Skipped != 1 || !strings.Contains(r.Checks[0].Found, "second factor") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestEachCheckNamesAPartOfTheDocument(t *testing.T) {
	b, err := os.ReadFile("../../../docs/account-api.yaml")
	if err != nil {
		t.Fatal(err)
	}
	document := string(b)
	s := apitest.Start(t)
	for _, c := range check(t, s, serve(t, s, s.API, nil)).Checks {
		method, path, isCall := strings.Cut(c.Section, " /")
		if !isCall {
			if !strings.Contains(document, "**"+c.Section) {
				t.Errorf("%s: the document has no part %q", c.Name, c.Section)
			}
			continue
		}
		_, after, ok := strings.Cut(document, "\n  /"+path+":\n")
		after, _, _ = strings.Cut(after, "\n  /")
		if !ok || !strings.Contains("\n"+after, "\n    "+strings.ToLower(method)+":") {
			t.Errorf("%s: the document has no %s", c.Name, c.Section)
		}
	}
}

func TestWhatCannotBeAskedIsOneError(t *testing.T) {
	s := apitest.Start(t)
	at := serve(t, s, s.API, nil)
	gone := httptest.NewTLSServer(http.NotFoundHandler())
	gone.Close()
	run := func(cfg conformance.Config) error {
		cfg.Now = time.Now
		_, err := conformance.Run(t.Context(), cfg)
		return err
	}
	for _, c := range []struct {
		what string
		cfg  conformance.Config
		want fault.Code
	}{
		{"an address without https", conformance.Config{URL: "http://127.0.0.1:1"}, fault.InvalidArgument},
		{"an address with a path", conformance.Config{URL: "https://127.0.0.1:1/api"}, fault.InvalidArgument},
		{"nobody there", conformance.Config{URL: gone.URL, Roots: at.ca}, fault.NetworkUnavailable},
		{"another authority", conformance.Config{URL: at.url, Roots: x509.NewCertPool()}, fault.ServiceUntrusted},
		{"a check that is none", conformance.Config{URL: at.url, Roots: at.ca, Only: []string{"nonsense"}}, fault.InvalidArgument},
	} {
		if err := run(c.cfg); fault.CodeOf(err) != c.want {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := conformance.Run(ctx, conformance.Config{URL: at.url, Roots: at.ca, Now: time.Now}); err == nil {
		t.Error("a run whose context has ended says nothing")
	}
}

// failed returns the names of the checks that failed.
func failed(r conformance.Report) []string {
	var out []string
	for _, c := range r.Checks {
		if c.Outcome == conformance.Failed {
			out = append(out, c.Name)
		}
	}
	slices.Sort(out)
	return out
}
