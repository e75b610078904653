// SPDX-License-Identifier: Apache-2.0

package device

import "github.com/accountlock/accountlock/internal/accountapi"

// State returns what the account service says of the device's newest link l, the
// zero Link for none, to a device that has the link asked on record, empty for
// none. A caller that the service does not trust yet (a pending key) gets no
// hint. Time, nonce and number of the word are the signer's to add.
func State(deviceID string, l Link, asked string, trusted bool) accountapi.Claims {
	status := accountapi.ClaimsStatusUnlinked
	if l.Status != None && l.Status != Pending {
		status = accountapi.ClaimsStatus(l.Status)
	}
	c := accountapi.Claims{Aud: deviceID, Purpose: accountapi.ClaimsPurposeStatement, Status: &status}
	if l.ID != "" {
		c.Link = &accountapi.LinkClaim{Id: l.ID, Generation: l.Generation}
	}
	if asked != "" && (asked != l.ID || !l.Status.InForce()) {
		c.Ended = &asked
	}
	if trusted && l.Hint != "" {
		c.Hint = &l.Hint
	}
	if l.Status == Lost {
		c.Lost = &accountapi.LostClaim{Message: optional(l.LostMessage), Contact: optional(l.LostContact)}
	}
	return c
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
