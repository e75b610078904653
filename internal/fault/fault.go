// SPDX-License-Identifier: Apache-2.0

// Package fault owns the closed list of refusals that accountlock tells a
// person about, and the one error type that carries them. The same list is
// spoken on D-Bus (internal/bus maps it to error names), over HTTP
// (internal/accountapi maps it to RFC 9457 problem types) and by the exit
// codes of accountlockctl; each mapping is total and tested.
//
// It must not know who raises a fault or how one is shown.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Code names one cause. The value is the last part of the D-Bus error name
// `org.accountlock.AccountLock1.Error.<Code>` and of the HTTP problem type.
type Code string

// The closed list. dbus.md of the design fixes the names.
const (
	InvalidCredentials Code = "InvalidCredentials"
	WrongAccount       Code = "WrongAccount"
	AccountBlocked     Code = "AccountBlocked"
	AccountDeleted     Code = "AccountDeleted"
	RateLimited        Code = "RateLimited"
	CaptchaRequired    Code = "CaptchaRequired"
	InvalidCode        Code = "InvalidCode"
	CodeExpired        Code = "CodeExpired"
	WeakPassword       Code = "WeakPassword"
	RecoveryPending    Code = "RecoveryPending"
	Declined           Code = "Declined"
	NetworkUnavailable Code = "NetworkUnavailable"
	CaptivePortal      Code = "CaptivePortal"
	ClockWrong         Code = "ClockWrong"
	ServiceUnavailable Code = "ServiceUnavailable"
	ServiceUntrusted   Code = "ServiceUntrusted"
	GrantRefused       Code = "GrantRefused"
	DeviceUnknown      Code = "DeviceUnknown"
	StorageFailed      Code = "StorageFailed"
	NotLocked          Code = "NotLocked"
	Locked             Code = "Locked"
	NotLinked          Code = "NotLinked"
	AlreadyLinked      Code = "AlreadyLinked"
	WrongStep          Code = "WrongStep"
	TooManyFlows       Code = "TooManyFlows"
	InvalidArgument    Code = "InvalidArgument"
	NotAuthorized      Code = "NotAuthorized"
	Timeout            Code = "Timeout"
	Internal           Code = "Internal"
)

// Error is a refusal with its cause and its way out.
type Error struct {
	// Code is the cause, out of the closed list.
	Code Code
	// Message is one sentence for a person: what happened.
	Message string
	// Remedy is one sentence for a person: what to do now.
	Remedy string
	// Counted tells whether this counted as an attempt.
	Counted bool
	// AttemptsLeft is how many free attempts remain; -1 when unknown.
	AttemptsLeft int
	// RetryAfter is how long to wait before the next attempt; 0 is now.
	RetryAfter time.Duration
	// Until is when the cause ends, by the account service's clock and in seconds since
	// the epoch; 0 when unknown.
	Until int64
	// Hint is the masked name of the account that the refusal speaks of.
	Hint string
	// Cause names the cause more closely than Code, and Details are its evidence;
	// see internal/diagnose. Neither holds a secret.
	Cause   string
	Details map[string]string
	// Err is the cause for the journal; it is never shown to a person.
	Err error
}

// New returns a fault with the code's own sentences. err, which may be nil, is
// kept for the journal.
func New(code Code, err error) *Error {
	t, ok := texts[code]
	if !ok {
		code, t = Internal, texts[Internal]
	}
	return &Error{Code: code, Message: t.message, Remedy: t.remedy, AttemptsLeft: -1, Err: err}
}

// Newf is New with a sentence of its own for what happened; the code's remedy stands.
func Newf(code Code, format string, args ...any) *Error {
	e := New(code, nil)
	e.Message = fmt.Sprintf(format, args...)
	return e
}

// Error implements error. It is for logs: code, sentence and cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return string(e.Code) + ": " + e.Message + ": " + e.Err.Error()
	}
	return string(e.Code) + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is a fault of the same code, so that
// errors.Is(err, fault.New(fault.Timeout, nil)) reads as expected.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code
}

// CodeOf returns err's code: the zero Code for nil, Internal for anything
// foreign.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

// As returns err as a fault; anything foreign becomes Internal with err as its
// cause, so that a raw text never reaches a person. It returns nil for nil.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return New(Internal, err)
}

// Codes returns the closed list in the order of the design.
func Codes() []Code {
	out := make([]Code, 0, len(order))
	return append(out, order...)
}
