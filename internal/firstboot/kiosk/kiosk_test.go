// SPDX-License-Identifier: Apache-2.0

package kiosk_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/firstboot/kiosk"
	"github.com/accountlock/accountlock/internal/firstboot/pagetest"
	"github.com/accountlock/accountlock/internal/firstboot/session"
	"github.com/accountlock/accountlock/internal/i18n"
)

const host = "127.0.0.1:4711"

// newKiosk has no daemon: it shows that it waits for one.
func newKiosk(t *testing.T) *kiosk.Kiosk {
	t.Helper()
	return kiosk.New(kiosk.Options{
		Session: session.New("unix:path="+filepath.Join(t.TempDir(), "none"), "en", pagetest.Now),
		Lang:    i18n.For("en"), Now: pagetest.Now,
	}, host)
}

type request struct {
	method, target, host, origin, cookie, body string
}

func ask(t *testing.T, k http.Handler, r request) *http.Response {
	t.Helper()
	in := httptest.NewRequestWithContext(t.Context(), r.method, r.target, strings.NewReader(r.body))
	in.Host = host
	if r.host != "" {
		in.Host = r.host
	}
	if r.origin != "" {
		in.Header.Set("Origin", r.origin)
	}
	if r.cookie != "" {
		in.Header.Set("Cookie", "accountlock="+r.cookie)
	}
	in.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	k.ServeHTTP(w, in)
	return w.Result()
}

// enter follows an address and returns the cookie.
func enter(t *testing.T, k *kiosk.Kiosk, address string) (cookie string, status int) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	resp := ask(t, k, request{method: "GET", target: u.RequestURI()})
	for _, c := range resp.Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
			t.Error("the cookie can be read or sent from elsewhere")
		}
		cookie = c.Value
	}
	return cookie, resp.StatusCode
}

func TestAnAddressWorksOnce(t *testing.T) {
	k := newKiosk(t)
	address := k.Address()
	cookie, status := enter(t, k, address)
	if status != http.StatusSeeOther || len(cookie) < 40 {
		t.Fatalf("status %d, cookie %q", status, cookie)
	}
	if resp := ask(t, k, request{method: "GET", target: "/", cookie: cookie}); resp.StatusCode != http.StatusOK {
		t.Errorf("with the cookie: %d", resp.StatusCode)
	}
	if again, status := enter(t, k, address); status != http.StatusForbidden || again != "" {
		t.Errorf("the second time: %d %q", status, again)
	}
	second := k.Address()
	if resp := ask(t, k, request{method: "GET", target: "/", cookie: cookie}); resp.StatusCode != http.StatusForbidden {
		t.Errorf("the visit before goes on beside a new address: %d", resp.StatusCode)
	}
	if _, status := enter(t, k, second); status != http.StatusSeeOther {
		t.Errorf("the next address: %d", status)
	}
}

func TestNobodyElseIsAnswered(t *testing.T) {
	k := newKiosk(t)
	cookie, _ := enter(t, k, k.Address())
	own := "http://" + host
	for name, r := range map[string]request{
		"without a cookie":                   {method: "GET", target: "/"},
		"with an empty cookie":               {method: "GET", target: "/", cookie: " "},
		"with another cookie":                {method: "GET", target: "/", cookie: strings.Repeat("A", 43)},
		"with an empty token":                {method: "GET", target: "/enter?token="},
		"with no token":                      {method: "GET", target: "/enter"},
		"under another name (DNS rebinding)": {method: "GET", target: "/", cookie: cookie, host: "evil.example:4711"},
		"under localhost":                    {method: "GET", target: "/", cookie: cookie, host: "localhost:4711"},
		"a form of another site":             {method: "POST", target: "/home", cookie: cookie, origin: "https://evil.example"},
		"a form of another port":             {method: "POST", target: "/home", cookie: cookie, origin: "http://127.0.0.1:80"},
		"a form of nowhere":                  {method: "POST", target: "/home", cookie: cookie},
		"a form of a file":                   {method: "POST", target: "/home", cookie: cookie, origin: "null"},
		"a form without the cookie":          {method: "POST", target: "/take", origin: own, body: "way=password"},
	} {
		if resp := ask(t, k, r); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
	if resp := ask(t, k, request{method: "POST", target: "/home", cookie: cookie, origin: own}); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("its own form: %d", resp.StatusCode)
	}
}

func TestPagesBringNothingFromElsewhere(t *testing.T) {
	k := newKiosk(t)
	cookie, _ := enter(t, k, k.Address())
	resp := ask(t, k, request{method: "GET", target: "/", cookie: cookie})
	policy := resp.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers: %v", resp.Header)
	}
}

func TestWhatIsTooMuchIsRefused(t *testing.T) {
	k := newKiosk(t)
	cookie, _ := enter(t, k, k.Address())
	own := "http://" + host
	for name, r := range map[string]request{
		"a page that is none": {method: "GET", target: "/etc/passwd", cookie: cookie},
		"a way up":            {method: "GET", target: "/../kiosk.go", cookie: cookie},
		"another method":      {method: "DELETE", target: "/", cookie: cookie},
		"a network unseen":    {method: "POST", target: "/networks", cookie: cookie, origin: own, body: "network=0"},
	} {
		if resp := ask(t, k, r); resp.StatusCode < 400 {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
	big := request{method: "POST", target: "/take", cookie: cookie, origin: own, body: "way=" + strings.Repeat("x", 1<<20)}
	if resp := ask(t, k, big); resp.StatusCode >= 500 {
		t.Errorf("a megabyte: %d", resp.StatusCode)
	}
}

func TestTheAddressIsLeftForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "address")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- kiosk.File(path)(ctx, "http://127.0.0.1:1/enter?token=x") }()
	var info os.FileInfo
	for end := time.Now().Add(30 * time.Second); info == nil && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		info, _ = os.Stat(path)
	}
	if info == nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file: %v", info)
	}
	stop()
	<-done
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is still there")
	}
}

func TestABrowsersCommandGetsTheAddress(t *testing.T) {
	dir := t.TempDir()
	for i, words := range [][]string{{"/bin/sh", "-c", "echo $0 >" + dir + "/out"}, {"/bin/sh", "-c", "echo $1 >" + dir + "/out", "x", "{url}"}} {
		if err := kiosk.Command(words)(t.Context(), "http://address"); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, "out")); string(got) != "http://address\n" {
			t.Errorf("%d: %q", i, got)
		}
	}
}
