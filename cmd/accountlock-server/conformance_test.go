// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConformanceOfTheServerItself(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "dev", "--data", dir, "--listen", "127.0.0.1:0")
	who := demo(t, dir)
	ca := filepath.Join(dir, "ca.pem")
	t.Run("with the demo accounts beside the CA file", func(t *testing.T) {
		out, errs, code := runTo(t, "conformance", "--url", p.url, "--ca", ca)
		if code != 0 || strings.Contains(out, "FAIL") || !strings.Contains(out, " 0 failed, 0 skipped.") {
			t.Errorf("%d\n%s%s", code, out, errs)
		}
	})
	// Elsewhere there is nothing beside it.
	alone := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(alone, read(t, ca), 0o600); err != nil {
		t.Fatal(err)
	}
	type report struct {
		Passed, Failed, Skipped int
		Checks                  []struct{ Name, Section, Rule, Outcome, Found string }
	}
	asJSON := func(t *testing.T, args ...string) (r report, code int) {
		t.Helper()
		out, errs, code := runTo(t, append([]string{"conformance", "--json", "--url", p.url, "--ca", alone}, args...)...)
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %s%s", err, out, errs)
		}
		return r, code
	}
	t.Run("without an account it says what it skips", func(t *testing.T) {
		r, code := asJSON(t, "--check", "keys", "--check", "link")
		if code != 0 || r.Passed != 1 || r.Skipped != 1 || r.Checks[1].Outcome != "skipped" || !strings.Contains(r.Checks[1].Found, "--identifier") {
			t.Errorf("%d: %+v", code, r)
		}
	})
	t.Run("with one account by its phone number", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte(who.Password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r, code := asJSON(t, "--identifier", who.Phone, "--password-file", file, "--check", "unlink", "--check", "wrong-account")
		if code != 0 || r.Passed != 1 || r.Skipped != 1 {
			t.Errorf("%d: %+v", code, r)
		}
	})
	t.Run("said to be down, and it is not", func(t *testing.T) {
		r, code := asJSON(t, "--down")
		if code != 1 || r.Passed != 2 || r.Failed != 2 || !strings.Contains(r.Checks[1].Found, "is the database stopped?") {
			t.Errorf("%d: %+v", code, r)
		}
	})
}

func TestConformanceOfAnythingElse(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("<html>welcome to the network</html>"))
	}))
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := runTo(t, "conformance", "--url", srv.URL, "--ca", ca)
	if code != 1 || errs != "" || !strings.Contains(out, "FAIL  enrol ") || !strings.Contains(out, "See account-api.yaml, POST /v1/devices.") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
}

func TestConformanceCalledWrongly(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"without an address":             {nil, "--url"},
		"with one that is not https":     {[]string{"--url", "http://127.0.0.1"}, "http://127.0.0.1"},
		"with a CA file that is absent":  {[]string{"--url", "https://127.0.0.1", "--ca", none}, none},
		"with a CA file of nothing":      {[]string{"--url", "https://127.0.0.1", "--ca", empty}, "PEM"},
		"with an identifier alone":       {[]string{"--url", "https://127.0.0.1", "--identifier", "a@example.org"}, "--password-file"},
		"with accounts in no JSON":       {[]string{"--url", "https://127.0.0.1", "--accounts", empty}, "JSON"},
		"with a key set that is absent":  {[]string{"--url", "https://127.0.0.1", "--key-set", none}, none},
		"with accounts and an account":   {[]string{"--url", "https://127.0.0.1", "--accounts", empty, "--identifier", "a", "--password-file", empty}, "not both"},
		"with a check that there is not": {[]string{"--url", "https://127.0.0.1", "--check", "nonsense"}, "nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			out, errs, code := runTo(t, append([]string{"conformance"}, c.args...)...)
			if code != 2 || out != "" || !strings.Contains(errs, c.says) {
				t.Errorf("%d: %s%s", code, out, errs)
			}
		})
	}
}
