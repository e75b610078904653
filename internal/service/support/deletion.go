// SPDX-License-Identifier: Apache-2.0

package support

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/device"
)

// MayDelete returns, within a transaction, why nobody but its owner deletes an account: the
// devices that are locked to it, which a deletion would release past the two members and
// past 'lost'. Without any there is no refusal. fails locked: one person at the console
// frees no device.
func (s *Service) MayDelete(ctx context.Context, tx *sql.Tx, accountID string) (devices string, refusal, err error) {
	bound, err := s.Devices.BoundTo(ctx, tx, accountID)
	if err != nil || len(bound) == 0 {
		return "", nil, wrap("read an account's devices", err)
	}
	devices = named(bound)
	f := fault.Newf(fault.NotAuthorized, "Devices are locked to this account, and its deletion would release them: %s.", devices)
	f.Remedy = "Its owner deletes it in the portal. Or two members of staff release each device first, in a case; one that is lost after they have approved of 'found'."
	return devices, f, nil
}

// maxListed bounds how many devices are named.
const maxListed = 20

func named(links []device.Link) string {
	var out []string
	for _, l := range links[:min(len(links), maxListed)] {
		out = append(out, fmt.Sprintf("%s (%s)", l.DeviceID, l.Status))
	}
	if n := len(links) - maxListed; n > 0 {
		out = append(out, fmt.Sprintf("%d more", n))
	}
	return strings.Join(out, ", ")
}
