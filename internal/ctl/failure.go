// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
)

// cancelledName stands where other failures have a D-Bus error name.
const cancelledName = "Cancelled"

// failure is what a command ends with that did not do what it is for. It is
// what a person reads, and what --json prints.
type failure struct {
	Name    string `json:"name"`
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
	Counted bool   `json:"counted"`

	// answered: an answer was refused, so that 'counted' says something.
	answered bool
	exit     int
}

// Error implements error.
func (f *failure) Error() string { return f.Name + ": " + f.Message }

// short is the name as it stands behind the message, to look it up by.
func (f *failure) short() string {
	if f.Name == cancelledName {
		return ""
	}
	return " (" + clean(f.Name[strings.LastIndexByte(f.Name, '.')+1:]) + ")"
}

// exitStatus is the error of a command that has printed its answer and ends
// with a code other than 0.
type exitStatus int

// Error implements error.
func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// failed makes a failure of the code with sentences of its own; an empty
// remedy leaves the code's.
func failed(code fault.Code, message, remedy string) *failure {
	f := fault.New(code, nil)
	if remedy == "" {
		remedy = f.Remedy
	}
	return &failure{Name: errorPrefix + string(f.Code), Message: message, Remedy: remedy, exit: ExitCode(f.Code)}
}

func usage(format string, args ...any) *failure {
	return failed(fault.InvalidArgument, fmt.Sprintf(format, args...), "See accountlockctl --help.")
}

func cancelled(message, remedy string) *failure {
	return &failure{Name: cancelledName, Message: message, Remedy: remedy, exit: ExitFailed}
}

// unavailable is for a daemon that cannot be reached or did not answer.
func unavailable(name, message string) *failure {
	return &failure{
		Name: name, Message: message, exit: ExitUnavailable,
		Remedy: "Try again; if it comes back, see 'systemctl status accountlockd'.",
	}
}

// asFailure turns whatever a call returned into what a person can read. The
// text of an error of ours is the daemon's; of any other error no raw text is
// shown but the bus's own, which names objects and not secrets.
func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var e dbus.Error
	if errors.As(err, &e) {
		return fromBus(e)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return cancelled("It was cancelled.", "Begin again when you are ready.")
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable(busErrorPrefix+"NoReply", "accountlockd did not answer in time.")
	case errors.Is(err, dbus.ErrClosed):
		return unavailable(busErrorPrefix+"Disconnected", "The system bus closed the connection.")
	}
	return failed(fault.Internal, "Something went wrong in accountlockctl: "+err.Error()+".", "")
}

// fromBus reads an error reply, whose body is one text: what happened and what
// to do now. Whether it counted is for the flow's property Error to say.
func fromBus(e dbus.Error) *failure {
	f := &failure{Name: e.Name, exit: ExitCodeOf(e.Name)}
	if len(e.Body) > 0 {
		f.Message, _ = e.Body[0].(string)
	}
	short, ours := strings.CutPrefix(e.Name, errorPrefix)
	if !ours {
		return fromElsewhere(f)
	}
	known := fault.New(fault.Code(short), nil)
	f.Remedy = known.Remedy
	// The remedy is told apart from what happened, not twice.
	f.Message = strings.Join(strings.Fields(strings.Replace(f.Message, known.Remedy, "", 1)), " ")
	if f.Message == "" {
		f.Message = known.Message
	}
	return f
}

// fromElsewhere is for D-Bus's own errors. Those of the bus name connections
// and rules, which is true and of no use to a person.
func fromElsewhere(f *failure) *failure {
	text := f.Message
	switch {
	case f.Name == busErrorPrefix+"NotSupported":
		f.Remedy = "Check for a newer version of accountlock."
	case f.Name == busErrorPrefix+"LimitsExceeded":
		f.Remedy = "Wait a little, and try again."
	case f.exit == ExitNotAllowed:
		f.Message = "The system bus does not let you do this."
		f.Remedy = fault.New(fault.NotAuthorized, nil).Remedy
	case f.exit == ExitUnavailable:
		f.Message = "accountlockd does not run, and could not be started."
		if strings.HasSuffix(f.Name, ".NoReply") || strings.HasSuffix(f.Name, ".Disconnected") {
			f.Message = "accountlockd stopped before it answered."
		}
		f.Remedy = unavailable("", "").Remedy
	default:
		f.Message, f.Remedy = strange(text).Message, strange(text).Remedy
	}
	return f
}

// strange is for an answer that is not as the interface says.
func strange(what string) *failure {
	return &failure{
		Name: busErrorPrefix + "InvalidArgs", exit: ExitFailed,
		Message: "accountlockd and accountlockctl do not understand each other: " + strings.TrimSuffix(what, ".") + ".",
		Remedy:  "Check that both are of the same version, and restart accountlockd.",
	}
}
