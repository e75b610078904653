// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"crypto/rand"
	"database/sql"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/device"
)

// TicketTime is how long a ticket is good for: it is carried to the device by hand.
const TicketTime = 24 * time.Hour

// Signer signs grants, as *keys.Ring does.
type Signer interface {
	Sign(v any, typ string) (string, error)
}

// Ticket returns a grant (JWS) that opens the device which shows the challenge,
// notes it in the device's list of events and tells the owner. Nothing of the
// link changes: whether the ticket is used is not known here. Faults: as Respond.
func (s *Service) Ticket(ctx context.Context, deviceID, challenge string) (string, error) {
	return s.alone(ctx, s.TicketIn, deviceID, challenge)
}

// TicketIn is Ticket within a transaction.
func (s *Service) TicketIn(ctx context.Context, tx *sql.Tx, deviceID, challenge string) (string, error) {
	question, err := Challenge(challenge)
	if err != nil {
		return "", err
	}
	l, err := s.opened(ctx, tx, deviceID)
	if err != nil {
		return "", err
	}
	nonce, now := accountapi.TicketNonce(deviceID, question), s.now()
	c := accountapi.Claims{
		Aud: deviceID, Purpose: accountapi.ClaimsPurposeUnlock, Nonce: &nonce,
		Iat: now.Unix(), Exp: now.Add(TicketTime).Unix(), Jti: rand.Text(),
		Link: &accountapi.LinkClaim{Id: l.ID, Generation: l.Generation, AccountId: &l.AccountID},
	}
	if l.Hint != "" {
		c.Hint = &l.Hint
	}
	ticket, err := s.signer.Sign(c, accountapi.TypeGrant)
	if err != nil {
		return "", err
	}
	return ticket, s.devices.Tell(ctx, tx, l, "ticket", device.NoticeTicket)
}
