// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// portalTime bounds the question whether a login page is in between.
const portalTime = 1500 * time.Millisecond

// portal finds out whether the network wants a login first. Such networks let
// a certificate fail or drop the connection, and answer plain HTTP with a
// redirect to their page, or with status 511 (RFC 6585, section 6).
type portal struct {
	url  string
	host string
	http *http.Client
}

func newPortal(ask string, service *url.URL) *portal {
	if ask == "" {
		ask = (&url.URL{Scheme: "http", Host: strings.TrimSuffix(service.Host, ":"+service.Port()), Path: "/"}).String()
	}
	return &portal{url: ask, host: service.Hostname(), http: &http.Client{
		Timeout:       portalTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10, Protocols: http1(),
		},
	}}
}

// between asks over plain HTTP, with nothing in it that anyone could use, and
// believes the answer in nothing but this. A page of any other kind proves
// nothing, since the account service's host may have one.
func (p *portal) between(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return false
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusNetworkAuthenticationRequired {
		return true
	}
	if resp.StatusCode < 300 || resp.StatusCode > 399 {
		return false
	}
	to, err := resp.Location()
	return err == nil && !strings.EqualFold(to.Hostname(), p.host)
}
