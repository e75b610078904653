// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"crypto/rand"
	"encoding/json"
	"net/http"

	"github.com/accountlock/accountlock/internal/fault"
)

// downChecks are those of a service whose database its operator has stopped: nobody else
// can bring a 503 about without harm.
func downChecks() []check {
	return []check{
		{"down-livez", livePath, "The process lives: 200, whatever the database does.", nothing, lives},
		{"down-readyz", readyPath, "The database does not answer: 503.", nothing, isNotReady},
		{"down-refused", problems, "What cannot be answered now is 503 ServiceUnavailable and counts as no attempt; a device tries again.", nothing, refusesForNow},
		{everyProblem, problems, "Every refusal is application/problem+json of a known type with its own status.", nothing, everywhere},
		{everyRetryAfter, problems, "429 and 503 have Retry-After in seconds.", nothing, everyWait},
	}
}

func isNotReady(p *probe) {
	if a := p.get("/readyz"); a.status != http.StatusServiceUnavailable {
		p.failf("/readyz was answered with %d, not 503: is the database stopped?", a.status)
	}
}

// refusesForNow enrols a device, which no service can do without its database.
func refusesForNow(p *probe) {
	d := p.machine()
	b, err := json.Marshal(d.enrolment())
	p.must(err, "encoding an enrolment")
	a := d.send(d.request(http.MethodPost, "/v1/devices", rand.Text(), b))
	if a.status == http.StatusUnauthorized && d.nonce != "" { // a nonce may be had without it
		a = d.send(d.request(http.MethodPost, "/v1/devices", rand.Text(), b))
	}
	p.want(a, http.StatusServiceUnavailable, fault.ServiceUnavailable, "an enrolment without a database")
	if a.problem.Counted != nil && *a.problem.Counted {
		p.failf("the refusal for want of a database says that it counted as an attempt")
	}
}
