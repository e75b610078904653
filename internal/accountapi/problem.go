// SPDX-License-Identifier: Apache-2.0

package accountapi

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
)

// ProblemType is what the type of each problem begins with (RFC 9457, 3.1.1);
// the fault's code follows.
const ProblemType = "https://accountlock.org/problems/"

// ProblemMediaType is the media type of problem details in JSON.
const ProblemMediaType = "application/problem+json"

// statuses maps each fault onto the one HTTP status that goes with it.
var statuses = map[fault.Code]int{
	fault.InvalidCredentials: http.StatusForbidden,
	fault.WrongAccount:       http.StatusForbidden,
	fault.AccountBlocked:     http.StatusForbidden,
	fault.AccountDeleted:     http.StatusGone,
	fault.RateLimited:        http.StatusTooManyRequests,
	fault.CaptchaRequired:    http.StatusForbidden,
	fault.InvalidCode:        http.StatusForbidden,
	fault.CodeExpired:        http.StatusGone,
	fault.WeakPassword:       http.StatusUnprocessableEntity,
	fault.RecoveryPending:    http.StatusConflict,
	fault.Declined:           http.StatusForbidden,
	fault.NetworkUnavailable: http.StatusBadGateway,
	fault.CaptivePortal:      http.StatusNetworkAuthenticationRequired,
	fault.ClockWrong:         http.StatusBadGateway,
	fault.ServiceUnavailable: http.StatusServiceUnavailable,
	fault.ServiceUntrusted:   http.StatusBadGateway,
	fault.GrantRefused:       http.StatusConflict,
	fault.DeviceUnknown:      http.StatusNotFound,
	fault.StorageFailed:      http.StatusInternalServerError,
	fault.NotLocked:          http.StatusConflict,
	fault.Locked:             http.StatusConflict,
	fault.NotLinked:          http.StatusConflict,
	fault.AlreadyLinked:      http.StatusConflict,
	fault.WrongStep:          http.StatusConflict,
	fault.TooManyFlows:       http.StatusTooManyRequests,
	fault.InvalidArgument:    http.StatusBadRequest,
	fault.NotAuthorized:      http.StatusUnauthorized,
	fault.Timeout:            http.StatusGone,
	fault.Internal:           http.StatusInternalServerError,
}

// NewProblem returns f as problem details. Its cause (f.Err) is left out. The
// status may be narrowed afterwards by who knows more (413, 415, 422).
func NewProblem(f *fault.Error) Problem {
	p := Problem{
		Type:    ProblemType + string(f.Code),
		Title:   fault.New(f.Code, nil).Message,
		Status:  statuses[f.Code],
		Detail:  nonEmpty(f.Message),
		Remedy:  nonEmpty(f.Remedy),
		Counted: &f.Counted,
		Hint:    nonEmpty(f.Hint),
	}
	if f.AttemptsLeft >= 0 {
		p.AttemptsLeft = &f.AttemptsLeft
	}
	if f.Until > 0 {
		p.Until = &f.Until
	}
	if f.RetryAfter > 0 {
		s := int(math.Ceil(f.RetryAfter.Seconds()))
		p.RetryAfter = &s
	}
	return p
}

// Fault returns p as a fault: what the service said, with the code's own
// sentences, so that no text of the network reaches a person as ours. A type
// that is not in the closed list is no problem of this API: nil.
func (p Problem) Fault() *fault.Error {
	name, ok := strings.CutPrefix(p.Type, ProblemType)
	if _, known := statuses[fault.Code(name)]; !ok || !known {
		return nil
	}
	f := fault.New(fault.Code(name), nil)
	if p.Counted != nil {
		f.Counted = *p.Counted
	}
	if p.AttemptsLeft != nil && *p.AttemptsLeft >= 0 && *p.AttemptsLeft < 1000 {
		f.AttemptsLeft = *p.AttemptsLeft
	}
	if p.RetryAfter != nil && *p.RetryAfter > 0 {
		f.RetryAfter = time.Duration(min(*p.RetryAfter, maxRetryAfter)) * time.Second
	}
	if p.Until != nil && *p.Until > 0 && *p.Until <= maxTime {
		f.Until = *p.Until
	}
	if p.Hint != nil && len(*p.Hint) <= 254 {
		f.Hint = Plain(*p.Hint, 254)
	}
	return f
}

// maxRetryAfter bounds, in seconds, what a service may ask a device to wait.
const maxRetryAfter = 72 * 3600

// maxTime is the end of the year 9999, in seconds since the epoch.
const maxTime = 253402300799

// Version is the version of the account API that this program speaks.
const Version = 1

// ServesUs reports whether a service that lists the versions it serves is one
// that this program can speak to. One that lists none has not said.
func (p Problem) ServesUs() bool {
	return p.Versions == nil || slices.Contains(*p.Versions, Version)
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
