// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/diagnose"
)

// portalTime bounds the questions whether a login page is in between, all
// together.
const portalTime = 1200 * time.Millisecond

// nobody is an address that belongs to nobody (TEST-NET-1, RFC 5737): what answers
// there answers for everybody.
const nobody = "http://192.0.2.1/"

// portal finds out whether the network wants a login first. Such networks let
// a certificate fail or drop the connection, and answer plain HTTP with a
// redirect to their page, with status 511 (RFC 6585, section 6), or with the page
// itself, whatever was asked for and whoever was asked.
type portal struct {
	url    string
	nobody string
	host   string
	http   *http.Client
}

func newPortal(ask, nobodyURL string, service *url.URL) *portal {
	if ask == "" {
		ask = (&url.URL{Scheme: "http", Host: strings.TrimSuffix(service.Host, ":"+service.Port()), Path: "/"}).String()
	}
	if nobodyURL == "" {
		nobodyURL = nobody
	}
	return &portal{url: ask, nobody: nobodyURL, host: service.Hostname(), http: &http.Client{
		Timeout:       portalTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10, Protocols: http1(),
		},
	}}
}

// ask asks in plain text, with nothing in it that anyone could use, and believes
// the answers in nothing but this.
func (p *portal) ask(ctx context.Context) diagnose.Portal {
	// Whoever waits for the verdict has waited long enough to be told it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), portalTime)
	defer cancel()
	made := "accountlock-" + random()
	out := diagnose.Portal{Asked: true, URL: p.url}
	var asks sync.WaitGroup
	// A path that nobody has: a site answers it with 404, or leads to its own https.
	asks.Go(func() {
		out.Host = p.get(ctx, strings.TrimSuffix(p.url, "/")+"/"+made)
		if h := out.Host; h.Location != "" || h.Proxy || h.Status == http.StatusNetworkAuthenticationRequired {
			cancel() // that is proof enough
		}
	})
	asks.Go(func() {
		if out.Nobody = p.get(ctx, p.nobody+made); out.Nobody.Status != 0 {
			cancel()
		}
	})
	asks.Go(func() {
		found, err := net.DefaultResolver.LookupHost(ctx, made+".invalid.")
		if out.MadeUp = err == nil && len(found) > 0; out.MadeUp {
			cancel()
		}
	})
	asks.Wait()
	return out
}

func random() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails (Go 1.24)
	return hex.EncodeToString(b)
}

func (p *portal) get(ctx context.Context, address string) diagnose.Plain {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return diagnose.Plain{}
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return diagnose.Plain{}
	}
	_ = resp.Body.Close()
	return plain(resp, p.host)
}

// plain reads the head of an answer over HTTP. A redirect to the service's own host
// is what such a host does.
func plain(resp *http.Response, host string) diagnose.Plain {
	h := resp.Header
	out := diagnose.Plain{
		Status: resp.StatusCode,
		Proxy: resp.StatusCode == http.StatusProxyAuthRequired || h.Get("Proxy-Authenticate") != "" ||
			h.Get("Proxy-Connection") != "" || h.Get("Proxy-Agent") != "" || h.Get("X-Squid-Error") != "",
		Page: resp.StatusCode == http.StatusOK && strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "text/html"),
	}
	if resp.StatusCode < 300 || resp.StatusCode > 399 {
		return out
	}
	to, err := resp.Location()
	if err == nil && to.Host != "" && !strings.EqualFold(to.Hostname(), host) {
		out.Location = to.String()
	}
	return out
}
