// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/secret"
)

// offlineKey is the device's half of an agreement on the key of a link's offline
// codes. Its private part lives for one call.
type offlineKey struct {
	private *ecdh.PrivateKey
	public  string
}

func newOfflineKey() (*offlineKey, error) {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	return &offlineKey{private: k, public: accountapi.OfflinePublic(k)}, nil
}

// agree returns the key that k and a verified grant lead to; nil where the service
// gives no offline codes, or none were asked for.
func (k *offlineKey) agree(c accountapi.Claims) (secret.Bytes, error) {
	if k == nil || c.OfflineKey == nil || c.Link == nil {
		return nil, nil
	}
	a := accountapi.Agreement{DeviceID: c.Aud, LinkID: c.Link.Id, Device: k.public, Service: *c.OfflineKey}
	key, err := a.Key(k.private)
	if err != nil {
		return nil, fault.New(fault.GrantRefused, err)
	}
	return key, nil
}

// Ticket implements flow.Tickets. It needs the network only where the ticket is
// signed under a key that is newer than the key sets known.
func (c *Client) Ticket(ctx context.Context, deviceID, ticket, challenge string) (flow.Grant, error) {
	var claims accountapi.Claims
	err := accountapi.Open(ticket, accountapi.TypeGrant, c.trust.keys(), &claims)
	if errors.Is(err, accountapi.ErrUntrusted) {
		return flow.Grant{}, broughtInVain(c.diagnose(ctx, err), "The account service has not signed this ticket, or it was damaged on its way.")
	}
	n := accountapi.TicketNonce(deviceID, challenge)
	claims, err = c.claims(ctx, ticket, accountapi.TypeGrant, deviceID, flow.Nonce(n))
	switch {
	case fault.CodeOf(err) == fault.GrantRefused && (claims.Aud != deviceID || value(claims.Nonce) != n):
		return flow.Grant{}, broughtInVain(err, "This ticket is for another device or another challenge.")
	case err != nil:
		return flow.Grant{}, err
	}
	return *grant(claims), nil
}

// broughtInVain is a refusal of a ticket in words of its own: those of an answer over
// the network would have people change the network, which had no part in it.
func broughtInVain(err error, what string) error {
	f := fault.As(err)
	f.Message, f.Remedy = what, "Fetch a ticket for the challenge that is shown now, and bring it within a day."
	return f
}
