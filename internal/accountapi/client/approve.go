// SPDX-License-Identifier: Apache-2.0

package client

import (
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/flow"
)

const (
	maxURI      = 512
	maxMethods  = 16
	maxInterval = 60 // seconds
)

var userCode = regexp.MustCompile(`^[A-Za-z0-9-]{4,32}$`)

// approval takes over what a step says of an approval, and reports whether that is
// within the API's bounds: it is shown to people, who open what they see.
func approval(s *accountapi.FlowStep, into *flow.Remote) bool {
	if s.Methods != nil {
		if len(*s.Methods) > maxMethods {
			return false
		}
		into.Approves = slices.Contains(*s.Methods, string(accountapi.Approve))
	}
	if s.Interval != nil {
		if *s.Interval < 1 || *s.Interval > maxInterval {
			return false
		}
		into.Interval = time.Duration(*s.Interval) * time.Second
	}
	into.URI, into.URIComplete, into.UserCode = value(s.VerificationUri), value(s.VerificationUriComplete), value(s.UserCode)
	return (into.UserCode == "" || userCode.MatchString(into.UserCode)) &&
		(into.URI == "" || webAddress(into.URI)) && (into.URIComplete == "" || webAddress(into.URIComplete))
}

// webAddress reports whether s is a page by https, in plain ASCII, that names no
// user.
func webAddress(s string) bool {
	for _, b := range []byte(s) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxURI && u.Scheme == "https" && u.Host != "" && u.User == nil && u.Opaque == ""
}
