// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/accountlock/accountlock/internal/fault"
)

// The exit codes of every command.
const (
	ExitDone          = 0
	ExitFailed        = 1 // otherwise
	ExitUsage         = 2
	ExitRefused       = 3 // by the account service: credentials, code, wrong account
	ExitNotAuthorized = 4
	ExitUnavailable   = 5 // network or service
	ExitState         = 6 // not possible in this state
	ExitWait          = 7 // rate limit, recovery hold
	ExitUntrusted     = 8
	ExitStorage       = 9
)

// exits maps each code of the closed list.
var exits = map[fault.Code]int{
	fault.InvalidCredentials: ExitRefused,
	fault.WrongAccount:       ExitRefused,
	fault.AccountBlocked:     ExitRefused,
	fault.AccountDeleted:     ExitRefused,
	fault.RateLimited:        ExitWait,
	fault.CaptchaRequired:    ExitRefused,
	fault.InvalidCode:        ExitRefused,
	fault.CodeExpired:        ExitRefused,
	fault.WeakPassword:       ExitRefused,
	fault.RecoveryPending:    ExitWait,
	fault.Declined:           ExitRefused,
	fault.NetworkUnavailable: ExitUnavailable,
	fault.CaptivePortal:      ExitUnavailable,
	fault.ClockWrong:         ExitUnavailable,
	fault.ServiceUnavailable: ExitUnavailable,
	fault.ServiceUntrusted:   ExitUntrusted,
	fault.GrantRefused:       ExitUntrusted,
	fault.DeviceUnknown:      ExitState,
	fault.StorageFailed:      ExitStorage,
	fault.NotLocked:          ExitState,
	fault.Locked:             ExitState,
	fault.NotLinked:          ExitState,
	fault.AlreadyLinked:      ExitState,
	fault.WrongStep:          ExitState,
	fault.TooManyFlows:       ExitState,
	fault.InvalidArgument:    ExitUsage,
	fault.NotAuthorized:      ExitNotAuthorized,
	fault.Timeout:            ExitFailed,
	fault.Internal:           ExitFailed,
}

// Exit returns the exit code of a command that ended with err: 0 for nil, 1
// for what is no fault.
func Exit(err error) int {
	if err == nil {
		return ExitDone
	}
	if code, ok := exits[fault.CodeOf(err)]; ok {
		return code
	}
	return ExitFailed
}

// WriteError tells the operator what err is, as sentences or, asJSON, as
// {"error": {"name", "message", "remedy", "counted"}}. The cause is told too, unlike to a
// person at a device: whoever runs these commands owns the service.
func WriteError(w io.Writer, err error, asJSON bool) error {
	f := fault.As(err)
	if f == nil {
		return nil
	}
	if asJSON {
		type body struct {
			Name    string `json:"name"`
			Message string `json:"message"`
			Remedy  string `json:"remedy"`
			Counted bool   `json:"counted"`
		}
		return writeJSON(w, map[string]body{"error": {string(f.Code), f.Message, f.Remedy, f.Counted}})
	}
	_, werr := fmt.Fprintf(w, "%s\n%s\n", f.Message, f.Remedy)
	if f.Err != nil {
		_, e := fmt.Fprintf(w, "Cause: %s\n", f.Err)
		werr = errors.Join(werr, e)
	}
	return werr
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// usage is the fault of a command that was called wrongly.
func usage(format string, args ...any) error {
	return fault.Newf(fault.InvalidArgument, format, args...)
}
