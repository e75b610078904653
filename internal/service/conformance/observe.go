// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
)

// The checks whose rule holds for every answer, whatever was asked.
const (
	everyProblem    = "problems"
	everyRetryAfter = "retry-after"
	everyNonce      = "nonces"
	everyMediaType  = "media-types"
)

// observe holds an answer to the rules for all of them. Metrics and the pages for
// people are not of JSON.
func (p *probe) observe(r *http.Request, a answer) {
	broken := func(check, format string, args ...any) {
		p.broken = append(p.broken, violation{check, fmt.Sprintf("%s was answered with %d, and ", a.to, a.status) + fmt.Sprintf(format, args...)})
	}
	media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	switch {
	case a.status >= 300 && a.status < 400:
		broken(everyProblem, "leads elsewhere: this API has no redirects")
	case a.status >= 400 && strings.HasPrefix(r.URL.Path, "/v"):
		observeProblem(a, media, broken)
	case a.status == http.StatusOK && strings.HasPrefix(r.URL.Path, "/v1/") && media != "application/json":
		broken(everyMediaType, "its Content-Type is %q, not application/json", a.header.Get("Content-Type"))
	}
	if a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable {
		p.limited++
		p.observeWait(a, broken)
	}
	if a.status == http.StatusUnauthorized && a.problem.Time != nil {
		p.offset = time.Unix(*a.problem.Time, 0).Sub(p.cfg.Now())
	}
	if strings.HasPrefix(r.URL.Path, "/v1/") && slices.Contains([]string{http.MethodPost, http.MethodDelete}, r.Method) {
		nonce := a.header.Get(accountapi.HeaderNonce)
		switch {
		case nonce == "":
			broken(everyNonce, "there is no %s", accountapi.HeaderNonce)
		case p.nonces[nonce]:
			broken(everyNonce, "its %s was given before", accountapi.HeaderNonce)
		}
		p.nonces[nonce] = true
	}
}

func observeProblem(a answer, media string, broken func(check, format string, args ...any)) {
	if media != accountapi.ProblemMediaType {
		broken(everyProblem, "its Content-Type is %q, not %s", a.header.Get("Content-Type"), accountapi.ProblemMediaType)
		return
	}
	var q accountapi.Problem
	if err := json.Unmarshal(a.body, &q); err != nil {
		broken(everyProblem, "its body is no problem: %s", err)
		return
	}
	switch {
	case q.Fault() == nil:
		broken(everyProblem, "its type %q is not %s and the name of an error", q.Type, accountapi.ProblemType)
	case q.Status != a.status:
		broken(everyProblem, "its problem says %d", q.Status)
	case q.Title == "":
		broken(everyProblem, "its problem has no title")
	case a.status == http.StatusUnauthorized && (q.Nonce == nil || q.Time == nil):
		broken(everyNonce, "its problem does not name nonce and time")
	case a.status == http.StatusUnauthorized && *q.Nonce != a.header.Get(accountapi.HeaderNonce):
		broken(everyNonce, "its problem names another nonce than %s", accountapi.HeaderNonce)
	}
}

// observeWait holds a 429 or 503 to its Retry-After. That a date is allowed there
// by RFC 9110 is of no use to a device without a clock.
func (p *probe) observeWait(a answer, broken func(check, format string, args ...any)) {
	field := a.header.Get("Retry-After")
	seconds, err := strconv.Atoi(field)
	switch {
	case field == "":
		broken(everyRetryAfter, "there is no Retry-After")
	case err != nil || seconds < 1:
		broken(everyRetryAfter, "its Retry-After is %q, not a number of seconds", field)
	case a.problem.RetryAfter != nil && *a.problem.RetryAfter != seconds:
		broken(everyRetryAfter, "its problem says %d seconds and Retry-After %d", *a.problem.RetryAfter, seconds)
	}
}
