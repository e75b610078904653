// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// maxBody is what the document bounds bodies by, in bytes.
const maxBody = 64 << 10

// older tries TLS 1.2, which must not be spoken.
func older(p *probe) {
	by := p.client(&tls.Config{RootCAs: p.cfg.Roots, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}) //nolint:gosec // to see it refused
	defer by.CloseIdleConnections()
	if a, err := p.exchange(by, p.plain(http.MethodGet, "/livez", nil)); err == nil {
		p.failf("a client that speaks TLS 1.2 at most was answered with %d", a.status)
	}
}

// inTheClear tries the same port without TLS.
func inTheClear(p *probe) {
	u := url.URL{Scheme: "http", Host: p.host, Path: "/v1/keys"}
	if _, port, err := net.SplitHostPort(p.host); err != nil || port == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "443")
	}
	r, err := http.NewRequestWithContext(p.ctx, http.MethodGet, u.String(), http.NoBody)
	p.must(err, "making a request")
	a, err := p.exchange(p.http, r)
	if err == nil && a.status < 400 {
		p.failf("a request without TLS was answered with %d", a.status)
	}
}

func lives(p *probe) {
	p.want(p.get("/livez"), http.StatusOK, "", "GET /livez")
}

func isReady(p *probe) {
	a := p.get("/readyz")
	p.want(a, http.StatusOK, "", "GET /readyz")
}

// otherVersions asks for versions of the API that nobody has written yet.
func otherVersions(p *probe) {
	d := p.device()
	for _, path := range []string{"/v2/devices", "/v99/flows"} {
		d.fresh()
		a := d.send(d.request(http.MethodPost, path, newNonce(), []byte("{}")))
		p.want(a, http.StatusNotFound, fault.ServiceUnavailable, "a request for "+path)
		if a.problem.Versions == nil || !slices.Contains(*a.problem.Versions, accountapi.Version) {
			p.failf("the refusal of %s does not list version %d among `versions`", path, accountapi.Version)
		}
	}
}

func noSuchPlace(p *probe) {
	p.want(p.get("/v1/nothing-at-all"), http.StatusNotFound, "", "a path that the document does not have")
	p.want(p.get("/v1/devices"), http.StatusMethodNotAllowed, "", "GET of a path that takes POST alone")
}

// tooLarge sends a body over the bound, told beforehand and not.
func tooLarge(p *probe) {
	d := p.device()
	path := "/v1/devices/" + d.id + "/statement"
	body := []byte(`{"nonce":"` + newNonce() + `","link_id":"` + strings.Repeat("x", maxBody) + `"}`)
	d.fresh()
	p.want(d.send(d.request(http.MethodPost, path, newNonce(), body)), http.StatusRequestEntityTooLarge, fault.InvalidArgument, "a body of more than 64 KiB")
	d.fresh()
	r := d.request(http.MethodPost, path, newNonce(), body)
	r.ContentLength, r.GetBody = -1, nil
	p.want(d.send(r), http.StatusRequestEntityTooLarge, fault.InvalidArgument, "a body of more than 64 KiB whose length was not told")
}

func otherMedia(p *probe) {
	d := p.device()
	for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded"} {
		r := d.asks()
		r.Header.Set("Content-Type", media)
		p.want(d.send(r), http.StatusUnsupportedMediaType, fault.InvalidArgument, "a body of type '"+media+"'")
	}
}

// badBodies tries bodies that are not as the document says.
func badBodies(p *probe) {
	d := p.device()
	nonce := newNonce()
	long := strings.Repeat("x", 65)
	for _, c := range []struct{ what, path, body string }{
		{"a body that is no JSON", "/statement", `{"nonce":`},
		{"a body of two JSON values", "/statement", `{"nonce":"` + nonce + `"} {}`},
		{"a body that is a list", "/statement", `[]`},
		{"a body without a member that is required", "/statement", `{}`},
		{"a nonce that is not 32 bytes", "/statement", `{"nonce":"short"}`},
		{"a member of the wrong type", "/statement", `{"nonce":17}`},
		{"a link_id of 65 characters", "/statement", `{"nonce":"` + nonce + `","link_id":"` + long + `"}`},
		{"a list of no events", "/events", `{"events":[]}`},
		{"an event of an unknown kind", "/events", `{"events":[{"kind":"nonsense","time":1}]}`},
	} {
		d.fresh()
		a := d.send(d.request(http.MethodPost, "/v1/devices/"+d.id+c.path, newNonce(), []byte(c.body)))
		p.want(a, http.StatusBadRequest, fault.InvalidArgument, c.what)
	}
}

func unknownMembers(p *probe) {
	d := p.device()
	for path, body := range map[string]string{
		"/v1/devices/" + d.id + "/statement": `{"nonce":"` + newNonce() + `","colour":"blue"}`,
		"/v1/flows":                          `{"kind":"recover","device_id":"` + d.id + `","nonce":"` + newNonce() + `","is_admin":true}`,
	} {
		d.fresh()
		p.want(d.send(d.request(http.MethodPost, path, newNonce(), []byte(body))), http.StatusBadRequest, fault.InvalidArgument,
			"a body with a member that the document does not name, to "+path)
	}
}

func contacts(p *probe) {
	for _, path := range []string{"/v1/support", "/v1/support?region=", "/v1/support?region=DE", "/v1/support?region=ZZ"} {
		a := p.get(path)
		p.want(a, http.StatusOK, "", "GET "+path)
		var out struct {
			Contacts *[]accountapi.SupportContact `json:"contacts"`
		}
		p.decode(a, &out)
		if out.Contacts == nil {
			p.failf("the answer to GET %s has no `contacts`", path)
		}
		for _, c := range *out.Contacts {
			if !c.Kind.Valid() || c.Address == "" || c.Label == "" {
				p.failf("GET %s names a contact of kind %q without label or address, or of a kind that the document does not know", path, c.Kind)
			}
		}
	}
	p.want(p.get("/v1/support?region=nowhere"), http.StatusBadRequest, fault.InvalidArgument, "a region that is not ISO 3166-1 alpha-2")
}

// keySets goes from the first set to the newest.
func keySets(p *probe) {
	newest, rooted, err := p.follow(0)
	p.must(err, "the key sets")
	if set := p.cfg.KeySet; set != nil {
		if !rooted {
			p.failf("no key set is signed by the root key of the file that was given")
		}
		if set.Number > newest.number {
			p.failf("the newest key set is number %d, older than the image's %d", newest.number, set.Number)
		}
	}
	a := p.get("/v1/keys")
	p.want(a, http.StatusOK, "", "GET /v1/keys")
	var all, none accountapi.KeysResponse
	p.decode(a, &all)
	if len(all.KeySets) == 0 {
		p.failf("GET /v1/keys without `after` answers no key set")
	}
	a = p.get("/v1/keys?after=" + number(newest.number))
	p.want(a, http.StatusOK, "", "the question for what comes after the newest key set")
	if !bytes.Contains(a.body, []byte("key_sets")) {
		p.failf("the answer to what comes after the newest key set has no `key_sets`")
	}
	p.decode(a, &none)
	if len(none.KeySets) > 0 {
		p.failf("GET /v1/keys?after=%d answers sets whose number is not higher", newest.number)
	}
	p.want(p.get("/v1/keys?after=-1"), http.StatusBadRequest, fault.InvalidArgument, "`after` below 0")
}

// everywhere is a check whose rule every answer was held to; it asks for nothing
// more.
func everywhere(*probe) {}

// everyWait is one too, of the refusals that were provoked.
func everyWait(p *probe) {
	if p.limited == 0 {
		p.skipf("the service answered nothing with 429 or 503")
	}
}
