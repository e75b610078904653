// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"

	"github.com/accountlock/accountlock/internal/accountapi/client"
	"github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

// service is everything that the daemon asks of the account service.
type service interface {
	flow.Conversation
	flow.Registry
	flow.Tickets
	flow.Cases
	flow.Trust
	bus.Supporter
	Close()
}

var (
	_ service = (*client.Client)(nil)
	_ service = absent{}
)

// newService returns the client of the configured account service. Where the
// configuration or its files are wrong it is a service that says so at each
// call, and err is the cause: the device stays as locked as it is, and the
// daemon stays there to tell why. on may be nil where nothing will be asked.
func newService(c config.Config, known lock.KeySet, on *around) (service, error) {
	if !c.Provisioned() {
		return absent{fault.Newf(fault.ServiceUnavailable, "No account service is configured on this device.")}, nil
	}
	api := client.Config{
		URL: c.AccountAPI.URL, CAFile: c.AccountAPI.CAFile, Pins: c.AccountAPI.Pins,
		KeySetFile: c.AccountAPI.KeySet, Known: known,
	}
	if on != nil {
		api.Around, api.Now = on, on.time.Now
	}
	cl, err := client.New(api)
	if err != nil {
		f := fault.New(fault.ServiceUntrusted, err)
		f.Message = "This device's configuration does not say rightly which account service to trust."
		f.Remedy = "This is not a password problem: ask support, or run 'accountlockctl doctor'."
		return absent{f}, err
	}
	return cl, nil
}

// absent is an account service that cannot be asked.
type absent struct{ why *fault.Error }

// refusal is a copy: who gets it may add to it.
func (a absent) refusal() error {
	f := *a.why
	return &f
}

func (a absent) Begin(context.Context, flow.Credentials, flow.Begin) (flow.Remote, error) {
	return flow.Remote{}, a.refusal()
}

func (a absent) Answer(context.Context, flow.Credentials, string, flow.Answer) (flow.Remote, error) {
	return flow.Remote{}, a.refusal()
}

func (a absent) Resend(context.Context, flow.Credentials, string) (flow.Remote, error) {
	return flow.Remote{}, a.refusal()
}

func (a absent) End(context.Context, flow.Credentials, string) error { return a.refusal() }

func (a absent) Challenge(context.Context, flow.Credentials, flow.Claim) (flow.Challenge, error) {
	return flow.Challenge{}, a.refusal()
}

func (a absent) Enrol(context.Context, flow.Credentials, flow.Enrolment) (string, bool, error) {
	return "", false, a.refusal()
}

func (a absent) State(context.Context, flow.Credentials, string, flow.Nonce) (lock.Statement, error) {
	return lock.Statement{}, a.refusal()
}

func (a absent) Report(context.Context, flow.Credentials, string, []flow.Event) error {
	return a.refusal()
}

func (a absent) Ticket(context.Context, string, string, string) (flow.Grant, error) {
	return flow.Grant{}, a.refusal()
}

func (a absent) OpenCase(context.Context, flow.Credentials, flow.Case) (string, error) {
	return "", a.refusal()
}

func (a absent) Support(context.Context, string) ([]flow.Contact, error) { return nil, a.refusal() }

func (a absent) KeySet() lock.KeySet { return lock.KeySet{} }

func (a absent) Close() {}
