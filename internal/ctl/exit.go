// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"strings"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/fault"
)

// The exit codes. Scripts go by them, so none changes its meaning.
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitRefused     = 3
	ExitNotAllowed  = 4
	ExitUnavailable = 5
	ExitWrongState  = 6
	ExitWait        = 7
	ExitUntrusted   = 8
	ExitStorage     = 9
	// ExitLocked and ExitUnknown are those of `check` alone.
	ExitLocked  = 10
	ExitUnknown = 11
)

// exitCodes is the one table from a refusal to an exit code. It holds every
// code of the closed list; a test says so.
var exitCodes = map[fault.Code]int{
	fault.InvalidCredentials: ExitRefused,
	fault.WrongAccount:       ExitRefused,
	fault.AccountBlocked:     ExitRefused,
	fault.AccountDeleted:     ExitRefused,
	fault.CaptchaRequired:    ExitRefused,
	fault.InvalidCode:        ExitRefused,
	fault.CodeExpired:        ExitRefused,
	fault.WeakPassword:       ExitRefused,
	fault.Declined:           ExitRefused,
	fault.DeviceUnknown:      ExitRefused,
	fault.NotAuthorized:      ExitNotAllowed,
	fault.NetworkUnavailable: ExitUnavailable,
	fault.CaptivePortal:      ExitUnavailable,
	fault.ServiceUnavailable: ExitUnavailable,
	// The service cannot be checked until the clock is right: it is out of
	// reach, and nothing says that it is not to be trusted.
	fault.ClockWrong:       ExitUnavailable,
	fault.NotLocked:        ExitWrongState,
	fault.Locked:           ExitWrongState,
	fault.NotLinked:        ExitWrongState,
	fault.AlreadyLinked:    ExitWrongState,
	fault.WrongStep:        ExitWrongState,
	fault.RateLimited:      ExitWait,
	fault.RecoveryPending:  ExitWait,
	fault.TooManyFlows:     ExitWait,
	fault.ServiceUntrusted: ExitUntrusted,
	fault.GrantRefused:     ExitUntrusted,
	fault.StorageFailed:    ExitStorage,
	fault.InvalidArgument:  ExitUsage,
	fault.Timeout:          ExitFailed,
	fault.Internal:         ExitFailed,
}

// ExitCode returns the exit code for a refusal.
func ExitCode(c fault.Code) int {
	if code, ok := exitCodes[c]; ok {
		return code
	}
	return ExitFailed
}

// ExitCodeOf returns the exit code for a D-Bus error name.
func ExitCodeOf(name string) int {
	if code, ok := strings.CutPrefix(name, busclient.ErrorPrefix); ok {
		return ExitCode(fault.Code(code))
	}
	switch {
	case busclient.Denied(name):
		return ExitNotAllowed
	case busclient.Unreachable(name):
		return ExitUnavailable
	case name == busclient.BusErrorPrefix+"LimitsExceeded":
		return ExitWait
	case name == busclient.BusErrorPrefix+"NotSupported":
		return ExitWrongState
	}
	return ExitFailed
}

// Meaning says what an exit code means.
type Meaning struct {
	Code    int
	Meaning string
}

// ExitMeanings returns every exit code with its meaning, in order.
func ExitMeanings() []Meaning {
	return []Meaning{
		{ExitDone, "done"},
		{ExitFailed, "failed otherwise, or cancelled"},
		{ExitUsage, "usage: a flag, an argument or an answer that is not understood"},
		{ExitRefused, "refused by the account service: credentials, code, wrong account"},
		{ExitNotAllowed, "not authorised"},
		{ExitUnavailable, "network, account service or accountlockd unavailable"},
		{ExitWrongState, "not possible in this state of the device"},
		{ExitWait, "wait: rate limit, recovery hold, too many flows"},
		{ExitUntrusted, "the account service is not to be trusted"},
		{ExitStorage, "the device's storage failed"},
		{ExitLocked, "`check` alone: locked"},
		{ExitUnknown, "`check` alone: unknown; treat it as locked"},
	}
}
