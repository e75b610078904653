// SPDX-License-Identifier: Apache-2.0

// Package client speaks the account API for the daemon: it signs requests with
// the device's key, tells each way in which the service can fail to answer
// apart, and verifies every signed word before anyone sees it.
//
// It must not act on what it verified: what a grant or a statement changes is
// for internal/flow and internal/lock.
package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

// Config says where the account service is and what it is trusted by.
type Config struct {
	// URL is https://HOST, and a path where the API lies below one.
	URL string
	// CAFile holds the authorities in PEM; empty is the system's.
	CAFile string
	// Pins are SHA-256 of public keys (SPKI, RFC 7469), as `sha256/BASE64`;
	// empty pins nothing.
	Pins []string
	// KeySetFile is the key set in the device's image.
	KeySetFile string
	// Known is the key set that the record holds; the newer one counts.
	Known lock.KeySet
	// PortalURL is asked, without any secret, whether a login page is in between,
	// once the service cannot be reached or trusted; empty is http:// and its host.
	// NobodyURL is asked besides, and is nobody's; empty is an address of RFC 5737.
	// Where neither is set, nothing is asked about a service on this machine itself.
	PortalURL, NobodyURL string
	// Now is the time that certificates are checked by; nil is time.Now.
	Now func() time.Time
	// Around is what the device knows besides a call's own error; nil is nothing.
	Around Surroundings
}

// Client is the account service as a device sees it. It is safe for concurrent
// use.
type Client struct {
	api  *accountapi.ClientWithResponses
	http *http.Client
	// undated takes certificates that are wrong in their dates alone: for
	// statements, with which nothing secret is sent.
	undated *http.Client
	trust   *trust
	portal  *portal
	around  Surroundings
	now     func() time.Time
	// askAlways asks for a login page even where the service is this machine.
	askAlways bool
	// callTime is the constant, and shorter in tests.
	callTime time.Duration

	mu sync.Mutex
	// nonce is the server's newest, for the next signature.
	nonce string
}

var (
	_ flow.Conversation = (*Client)(nil)
	_ flow.Registry     = (*Client)(nil)
	_ flow.Trust        = (*Client)(nil)
)

const (
	// dialTime bounds the way to a connection, and shakeTime that and TLS on top.
	dialTime  = 4 * time.Second
	shakeTime = 5 * time.Second
	// callTime bounds one call with all its repetitions, on top of the caller's
	// own bound.
	callTime = 7 * time.Second
	// maxBody bounds an answer, in bytes.
	maxBody = 256 << 10
)

// New returns a client. It reads the CA and key set files and asks nothing of the
// network. Errors name the file or the setting that is wrong.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err == nil && u.User != nil {
		return nil, errors.New("cannot use an account service's address with a user name or a password in it")
	}
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("cannot use %q as the account service's address: it must be https://HOST", c.URL)
	}
	d, err := newDialer(c)
	if err != nil {
		return nil, err
	}
	t, err := newTrust(c.KeySetFile, c.Known)
	if err != nil {
		return nil, err
	}
	cl := &Client{
		trust: t, portal: newPortal(c.PortalURL, c.NobodyURL, u), callTime: callTime,
		around: c.Around, now: c.Now, askAlways: c.PortalURL != "" || c.NobodyURL != "",
	}
	if cl.now == nil {
		cl.now = time.Now
	}
	cl.http, cl.undated = newHTTP(d), newHTTP(d.undated())
	cl.api, err = accountapi.NewClientWithResponses(c.URL, accountapi.WithHTTPClient(cl))
	if err != nil {
		return nil, fmt.Errorf("cannot use %q as the account service's address: %w", c.URL, err)
	}
	return cl, nil
}

// newHTTP returns HTTP over d's connections.
func newHTTP(d *dialer) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialTLSContext:         d.dial,
			ResponseHeaderTimeout:  callTime,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConns:           2,
			IdleConnTimeout:        30 * time.Second,
			DisableCompression:     true,
			// HTTP/1.1 alone: a device makes one call at a time.
			Protocols: http1(),
		},
		// A signed request is for this address and no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func http1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// KeySet implements flow.Trust: the newest set that was verified.
func (c *Client) KeySet() lock.KeySet { return c.trust.current() }

// Close lets go of idle connections.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	c.undated.CloseIdleConnections()
}

// maxContacts bounds how many contacts for support are shown.
const maxContacts = 32

// Support returns the contacts for a region.
func (c *Client) Support(ctx context.Context, region string) ([]flow.Contact, error) {
	r, err := c.api.GetSupportWithResponse(ctx, &accountapi.GetSupportParams{Region: &region})
	if err != nil {
		return nil, c.diagnose(ctx, err)
	}
	if r.JSON200 == nil {
		return nil, c.problem(r.HTTPResponse, r.Body, r.ApplicationproblemJSONDefault)
	}
	var out []flow.Contact
	for _, s := range r.JSON200.Contacts {
		if len(out) == maxContacts {
			break
		}
		if s.Kind.Valid() {
			out = append(out, flow.Contact{Kind: string(s.Kind), Label: accountapi.Plain(s.Label, 200), Address: accountapi.Plain(s.Address, 500)})
		}
	}
	return out, nil
}

// problem returns what an answer that is not the expected one means.
func (c *Client) problem(resp *http.Response, body []byte, p *accountapi.Problem) error {
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	var f *fault.Error
	if p != nil {
		f = p.Fault()
	}
	switch {
	case f == nil:
		f = c.unpromised(&statusError{status: status, size: len(body), failure: diagnose.Status})
	case f.Code == fault.ServiceUnavailable && !p.ServesUs():
		f = c.unpromised(&statusError{status: status, failure: diagnose.OtherVersions})
	case f.Code == fault.ServiceUnavailable, !serviceMaySay(f.Code):
		v := c.unpromised(&statusError{status: max(status, 500), failure: diagnose.Status})
		v.RetryAfter = f.RetryAfter
		f = v
	case f.Code == fault.NotAuthorized && (resp == nil || nonceOf(resp) == ""):
		// There is nothing to sign with: that is no word on whether this device is known,
		// and enrolling again would be refused as well.
		f = c.unpromised(&statusError{status: status, size: len(body), failure: diagnose.Garbled})
	case f.Code == fault.NotAuthorized:
		f = fault.New(fault.DeviceUnknown, errors.New("the account service does not take this device's signature"))
	}
	if f.RetryAfter == 0 && resp != nil {
		f.RetryAfter = retryAfter(resp.Header)
	}
	return f
}

// unpromised is the verdict on an answer that is not of this API.
func (c *Client) unpromised(err *statusError) *fault.Error {
	return diagnose.Of(diagnose.Findings{Attempt: attempt(err, c.portal.host)}).Fault(err)
}

// serviceMaySay lists what the service can know. That the network is down, or
// that the service itself is not to be trusted, is not for it to say.
func serviceMaySay(c fault.Code) bool {
	switch c {
	case fault.NetworkUnavailable, fault.CaptivePortal, fault.ClockWrong, fault.ServiceUntrusted,
		fault.StorageFailed, fault.Internal, fault.Locked:
		return false
	default:
		return true
	}
}
