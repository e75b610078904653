// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// diagnose says what kept a call from being answered, from the evidence in the
// error and never from a guess.
func (c *Client) diagnose(ctx context.Context, err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	code := causeOf(err)
	if unconnected(err) && code != fault.NetworkUnavailable && code != fault.CaptivePortal && c.portal.between(ctx) {
		code = fault.CaptivePortal
	}
	return fault.New(code, quoteless(err))
}

// quoteless returns err if its text is our side's. What net/http and encoding/json
// say of an answer quotes it, and the answer may quote what was sent.
func quoteless(err error) error {
	var (
		op    *net.OpError
		shake *handshakeError
	)
	if errors.As(err, &op) || errors.As(err, &shake) {
		return err
	}
	for _, own := range []error{
		io.EOF, io.ErrUnexpectedEOF, context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded,
		errTooLarge, errUnsigned, accountapi.ErrUntrusted, accountapi.ErrUnknownKey,
	} {
		if errors.Is(err, own) {
			return err
		}
	}
	inner := err
	for next := err; next != nil; next = errors.Unwrap(next) {
		inner = next
	}
	return fmt.Errorf("cannot read what the account service answered (%T)", inner)
}

func causeOf(err error) fault.Code {
	var (
		shake *handshakeError
		dns   *net.DNSError
	)
	switch {
	case errors.As(err, &shake):
		return shake.cause()
	case errors.Is(err, accountapi.ErrUntrusted), errors.Is(err, accountapi.ErrUnknownKey):
		return fault.ServiceUntrusted
	case errors.As(err, &dns), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH),
		errors.Is(err, syscall.ENETDOWN), errors.Is(err, syscall.EHOSTDOWN), errors.Is(err, syscall.EADDRNOTAVAIL):
		return fault.NetworkUnavailable
	case errors.Is(err, context.Canceled):
		return fault.Timeout
	case errors.Is(err, errUnsigned):
		return fault.Internal
	default:
		// Refused, reset, silent, cut short, or not what the API promises.
		return fault.ServiceUnavailable
	}
}

// unconnected reports whether the call did not even get as far as a trusted
// connection.
func unconnected(err error) bool {
	var shake *handshakeError
	var op *net.OpError
	return errors.As(err, &shake) || (errors.As(err, &op) && op.Op == "dial")
}

// handshakeError is the error of a connection that was made and then failed to
// become TLS with the account service.
type handshakeError struct {
	err error
	// datesAlone: everything but the dates of the certificates holds.
	datesAlone bool
}

// Error implements error.
func (e *handshakeError) Error() string { return "cannot agree on TLS: " + e.err.Error() }

// Unwrap returns the cause.
func (e *handshakeError) Unwrap() error { return e.err }

func (e *handshakeError) cause() fault.Code {
	var (
		record tls.RecordHeaderError
		slow   net.Error
	)
	switch {
	case e.datesAlone:
		// With a service that is looked after, the clock is what is wrong.
		return fault.ClockWrong
	case errors.As(e.err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		// A page where the account service should be, in plain text.
		return fault.CaptivePortal
	case errors.Is(e.err, context.Canceled):
		return fault.Timeout
	case errors.As(e.err, &slow) && slow.Timeout(), errors.Is(e.err, context.DeadlineExceeded),
		errors.Is(e.err, io.EOF), errors.Is(e.err, io.ErrUnexpectedEOF),
		errors.Is(e.err, syscall.ECONNRESET), errors.Is(e.err, syscall.EPIPE):
		// Cut or silent: it has said nothing that could be distrusted.
		return fault.ServiceUnavailable
	default:
		return fault.ServiceUntrusted
	}
}
