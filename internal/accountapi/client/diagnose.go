// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
)

// Surroundings are what the device knows besides a call's own error. Both answer
// within a second and send nothing to any network.
type Surroundings interface {
	Network(context.Context) diagnose.Network
	Clock(context.Context) diagnose.Clock
}

// diagnose says what kept a call from being answered, from the evidence in the
// error and what the device finds around it, never from a guess.
func (c *Client) diagnose(ctx context.Context, err error) error {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, errUnsigned):
		return fault.New(fault.Internal, err)
	case errors.Is(err, context.Canceled):
		return fault.New(fault.Timeout, err)
	}
	found := diagnose.Findings{Attempt: attempt(err, c.portal.host)}
	c.lookAround(ctx, &found)
	return diagnose.Of(found).Fault(quoteless(err))
}

// lookAround gathers what bears on the call's failure: the network where there was no
// connection, a login page where the connection was with nobody that could be
// trusted, the clock where dates did not fit.
func (c *Client) lookAround(ctx context.Context, f *diagnose.Findings) {
	ctx = context.WithoutCancel(ctx) // bounded by its own
	a := f.Attempt
	if a.Stage == diagnose.Answer {
		return
	}
	if a.Failure == diagnose.Dates {
		f.Clock = c.clock(ctx)
		return
	}
	if c.around != nil && a.Stage != diagnose.Handshake {
		f.Network = c.around.Network(ctx)
	}
	// Without a network there is nobody to ask, and nothing stands between the
	// device and itself.
	if diagnose.Local(f.Network) == "" && !onLoopback(a.Addresses) || c.askAlways {
		f.Portal = c.portal.ask(ctx)
	}
}

func (c *Client) clock(ctx context.Context) diagnose.Clock {
	if c.around != nil {
		return c.around.Clock(ctx)
	}
	return diagnose.Clock{System: c.now()}
}

func onLoopback(in []netip.Addr) bool {
	return len(in) > 0 && !slices.ContainsFunc(in, func(a netip.Addr) bool { return !a.IsLoopback() })
}

// quoteless returns err if its text is our side's. What net/http and encoding/json
// say of an answer quotes it, and the answer may quote what was sent.
func quoteless(err error) error {
	var (
		op     *net.OpError
		shake  *handshakeError
		status *statusError
	)
	if errors.As(err, &op) || errors.As(err, &shake) || errors.As(err, &status) {
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
