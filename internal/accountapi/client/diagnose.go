// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"syscall"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// errPin is the error of a chain in which no key is pinned.
var errPin = errors.New("none of the certificate's keys is pinned")

// diagnose says what kept a call from being answered, from the evidence in the
// error and never from a guess.
func diagnose(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	return fault.New(causeOf(err), err)
}

func causeOf(err error) fault.Code {
	var (
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		dns     *net.DNSError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		// Expired or not yet valid: with a service that is looked after, the
		// clock is what is wrong.
		return fault.ClockWrong
	case errors.Is(err, errPin), errors.Is(err, accountapi.ErrUntrusted), errors.Is(err, accountapi.ErrUnknownKey),
		errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid),
		errors.As(err, &record), errors.As(err, &alert):
		return fault.ServiceUntrusted
	case errors.As(err, &dns):
		return fault.NetworkUnavailable
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETDOWN),
		errors.Is(err, syscall.EADDRNOTAVAIL):
		return fault.NetworkUnavailable
	case errors.Is(err, context.Canceled):
		return fault.Timeout
	default:
		// Refused, reset, silent, cut short, or not what the API promises.
		return fault.ServiceUnavailable
	}
}
