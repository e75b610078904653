// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

// browser is a visitor without JavaScript: it keeps cookies, follows redirects
// and sends what the forms of a page hold.
type browser struct {
	t    testing.TB
	s    *apitest.Service
	http *http.Client
	// language is sent with each request.
	language string
}

func visit(t testing.TB, s *apitest.Service) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := apitest.Client(s.CA)
	c.Jar = jar
	return &browser{t: t, s: s, http: c}
}

// seen is a page as it came.
type seen struct {
	status int
	path   string
	header http.Header
	body   string
}

// says fails the test unless the page holds every text.
func (p seen) says(t testing.TB, texts ...string) seen {
	t.Helper()
	for _, s := range texts {
		if !strings.Contains(html.UnescapeString(p.body), s) {
			t.Errorf("%s (%d) does not say %q:\n%s", p.path, p.status, s, p.main())
		}
	}
	return p
}

// main is what stands between the page's head and foot.
func (p seen) main() string {
	_, after, _ := strings.Cut(p.body, "<main")
	m, _, _ := strings.Cut(after, "</main>")
	return m
}

func (b *browser) do(r *http.Request) seen {
	b.t.Helper()
	if b.language != "" {
		r.Header.Set("Accept-Language", b.language)
	}
	resp, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return seen{status: resp.StatusCode, path: resp.Request.URL.RequestURI(), header: resp.Header, body: string(body)}
}

func (b *browser) get(path string) seen {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.s.URL+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(r)
}

// post sends a form as a browser does from a page of the portal. fields are names and values in turn.
func (b *browser) post(path string, fields ...string) seen {
	b.t.Helper()
	return b.postFrom(b.s.URL, path, fields...)
}

func (b *browser) postFrom(origin, path string, fields ...string) seen {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.s.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	return b.do(r)
}

// signIn signs the owner in and fails the test unless that works.
func (b *browser) signIn(p apitest.Person) *browser {
	b.t.Helper()
	if got := b.post("/sign-in", "identifier", p.Email, "password", p.Password); got.path != "/devices" || got.status != 200 {
		b.t.Fatalf("signed in at %s: %d\n%s", got.path, got.status, got.main())
	}
	return b
}

var codePattern = regexp.MustCompile(`\b\d{6}\b`)

// code is the code in the newest message.
func (b *browser) code() string {
	b.t.Helper()
	all := b.s.Outbox(b.t)
	for i := len(all) - 1; i >= 0; i-- {
		if strings.Contains(all[i], "code") || strings.Contains(all[i], "代码") {
			if c := codePattern.FindString(all[i]); c != "" {
				return c
			}
		}
	}
	b.t.Fatal("no code was sent")
	return ""
}

func (b *browser) cookie() string {
	u, err := url.Parse(b.s.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.http.Jar.Cookies(u) {
		if c.Name == "__Host-accountlock" {
			return c.Value
		}
	}
	return ""
}

func (b *browser) setCookie(token string) {
	u, err := url.Parse(b.s.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	b.http.Jar.SetCookies(u, []*http.Cookie{{Name: "__Host-accountlock", Value: token, Path: "/", Secure: true}}) //nolint:gosec // a client's own
}

// state is what the device hears of its link; its status is never nil.
func state(t testing.TB, s *apitest.Service, d *apitest.Device) accountapi.Claims {
	t.Helper()
	a := d.Post(t, "/v1/devices/"+d.ID+"/statement", accountapi.StatementRequest{Nonce: apitest.NewNonce()})
	var out accountapi.StatementResponse
	if err := json.Unmarshal(a.Body, &out); err != nil {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	return apitest.Open(t, out.Statement, accountapi.TypeStatement, s.Set(t))
}
