// SPDX-License-Identifier: Apache-2.0

package busclient

import (
	"context"
	"errors"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
)

// How the names of errors begin: those of the interface, and the bus's own.
const (
	ErrorPrefix    = Name + ".Error."
	BusErrorPrefix = "org.freedesktop.DBus.Error."

	// CancelledName stands where other failures have a D-Bus error name.
	CancelledName = "Cancelled"
)

// Failure is what a person reads when something did not work, and what
// accountlockctl prints with --json.
type Failure struct {
	Name    string `json:"name"`
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
	Counted bool   `json:"counted"`

	// Answered: an answer was refused, so that Counted says something.
	Answered bool `json:"-"`
}

// Error implements error.
func (f *Failure) Error() string { return f.Name + ": " + f.Message }

// Code is the refusal's code; empty for what is none of the interface's.
func (f *Failure) Code() fault.Code {
	code, ours := strings.CutPrefix(f.Name, ErrorPrefix)
	if !ours {
		return ""
	}
	return fault.Code(code)
}

// Denied reports whether the bus did not let a call pass, by the error's name.
func Denied(name string) bool {
	switch strings.TrimPrefix(name, BusErrorPrefix) {
	case "AccessDenied", "AuthFailed", "InteractiveAuthorizationRequired":
		return true
	}
	return false
}

// Unreachable reports whether the daemon, or the bus itself, did not answer, by
// the error's name.
func Unreachable(name string) bool {
	short := strings.TrimPrefix(name, BusErrorPrefix)
	switch short {
	case "Disconnected", "NameHasNoOwner", "NoReply", "NoServer", "ServiceUnknown", "TimedOut", "Timeout":
		return true
	}
	return strings.HasPrefix(short, "Spawn.")
}

// Failed makes a failure of the code with sentences of its own; an empty
// remedy leaves the code's.
func Failed(code fault.Code, message, remedy string) *Failure {
	f := fault.New(code, nil)
	if remedy == "" {
		remedy = f.Remedy
	}
	return &Failure{Name: ErrorPrefix + string(f.Code), Message: message, Remedy: remedy}
}

// Cancelled is for what the person ended.
func Cancelled(message, remedy string) *Failure {
	return &Failure{Name: CancelledName, Message: message, Remedy: remedy}
}

// Unavailable is for a daemon that cannot be reached or did not answer.
func Unavailable(name, message string) *Failure {
	return &Failure{
		Name: name, Message: message,
		Remedy: "Try again; if it comes back, see 'systemctl status accountlockd'.",
	}
}

// AsFailure turns whatever a call returned into what a person can read. The
// text of an error of ours is the daemon's; of any other error no raw text is
// shown but the bus's own, which names objects and not secrets.
func AsFailure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	var e dbus.Error
	if errors.As(err, &e) {
		return fromBus(e)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Cancelled("It was cancelled.", "Begin again when you are ready.")
	case errors.Is(err, context.DeadlineExceeded):
		return Unavailable(BusErrorPrefix+"NoReply", "The device's account check (accountlockd) did not answer in time.")
	case errors.Is(err, dbus.ErrClosed):
		return Unavailable(BusErrorPrefix+"Disconnected", "The system bus closed the connection.")
	}
	return Failed(fault.Internal, "Something went wrong in this program: "+err.Error()+".", "")
}

// fromBus reads an error reply, whose body is one text: what happened and what
// to do now. Whether it counted is for the flow's property Error to say.
func fromBus(e dbus.Error) *Failure {
	f := &Failure{Name: e.Name}
	if len(e.Body) > 0 {
		f.Message, _ = e.Body[0].(string)
	}
	short, ours := strings.CutPrefix(e.Name, ErrorPrefix)
	if !ours {
		return fromElsewhere(f)
	}
	known := fault.New(fault.Code(short), nil)
	f.Remedy = remedyIn(f.Message, known)
	// The remedy is told apart from what happened, not twice.
	f.Message = strings.Join(strings.Fields(strings.Replace(f.Message, f.Remedy, "", 1)), " ")
	if f.Message == "" {
		f.Message = known.Message
	}
	return f
}

// remedyIn finds the remedy in the text of an error: the code's own, or that of a cause
// which the daemon has found out.
func remedyIn(text string, f *fault.Error) string {
	if !strings.Contains(text, f.Remedy) {
		for _, c := range diagnose.Causes() {
			if c.Code == f.Code && strings.HasSuffix(text, c.Remedy) {
				return c.Remedy
			}
		}
	}
	return f.Remedy
}

// fromElsewhere is for D-Bus's own errors. Those of the bus name connections
// and rules, which is true and of no use to a person.
func fromElsewhere(f *Failure) *Failure {
	text := f.Message
	switch {
	case f.Name == BusErrorPrefix+"NotSupported":
		// Reset alone says so.
		f.Remedy = "Ask its vendor. After a reset begun in any other way the device asks for the account."
	case f.Name == BusErrorPrefix+"LimitsExceeded":
		f.Remedy = "Wait a little, and try again."
	case Denied(f.Name):
		f.Message = "The system bus does not let you do this."
		f.Remedy = fault.New(fault.NotAuthorized, nil).Remedy
	case Unreachable(f.Name):
		f.Message = "The device's account check (accountlockd) does not run, and could not be started."
		if strings.HasSuffix(f.Name, ".NoReply") || strings.HasSuffix(f.Name, ".Disconnected") {
			f.Message = "The device's account check (accountlockd) stopped before it answered."
		}
		f.Remedy = Unavailable("", "").Remedy
	default:
		f.Message, f.Remedy = Strange(text).Message, Strange(text).Remedy
	}
	return f
}

// Strange is for an answer that is not as the interface says.
func Strange(what string) *Failure {
	return &Failure{
		Name:    BusErrorPrefix + "InvalidArgs",
		Message: "accountlockd and this program do not understand each other: " + strings.TrimSuffix(what, ".") + ".",
		Remedy:  "Check that both are of the same version, and restart accountlockd.",
	}
}
