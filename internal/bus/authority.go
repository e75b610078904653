// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
)

// authorizer says whether a connection may do what an action names. Its error
// is a NotAuthorized.
type authorizer interface {
	authorize(ctx context.Context, sender string, action access, interactive bool) error
}

const busTime = 5 * time.Second

// polkit asks the polkit authority. The subject is the sender's bus name,
// never a process ID, which could be another process by the time it is looked
// at. fails denied: polkit absent, silent or broken is no.
type polkit struct{ conn *dbus.Conn }

type polkitSubject struct {
	Kind    string
	Details map[string]dbus.Variant
}

func (p polkit) authorize(ctx context.Context, sender string, action access, interactive bool) error {
	const allowInteraction = 1
	var flags uint32
	cancelID := ""
	if interactive {
		flags, cancelID = allowInteraction, "accountlock-"+newIncident()
	} else {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, busTime)
		defer cancel()
	}
	var result struct {
		Authorized bool
		Challenge  bool
		Details    map[string]string
	}
	authority := p.conn.Object("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority")
	err := authority.CallWithContext(ctx, "org.freedesktop.PolicyKit1.Authority.CheckAuthorization", 0,
		polkitSubject{"system-bus-name", map[string]dbus.Variant{"name": dbus.MakeVariant(sender)}},
		Name+"."+string(action), map[string]string{}, flags, cancelID).Store(&result)
	switch {
	case err != nil:
		if cancelID != "" && ctx.Err() != nil {
			authority.Go("org.freedesktop.PolicyKit1.Authority.CancelCheckAuthorization", dbus.FlagNoReplyExpected, nil, cancelID)
		}
		return fault.New(fault.NotAuthorized, fmt.Errorf("cannot ask polkit: %w", err))
	case !result.Authorized:
		return fault.New(fault.NotAuthorized, fmt.Errorf("polkit denies %s", action))
	}
	return nil
}

// uids allows a list of users everything, for devices without polkit.
type uids struct {
	conn *dbus.Conn
	list []uint32
}

func (u uids) authorize(ctx context.Context, sender string, _ access, _ bool) error {
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	var uid uint32
	err := u.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixUser", 0, sender).Store(&uid)
	if err != nil {
		return fault.New(fault.NotAuthorized, fmt.Errorf("cannot ask the bus who calls: %w", err))
	}
	if !slices.Contains(u.list, uid) {
		return fault.New(fault.NotAuthorized, errors.New("the caller's user is not in [authorization] uids"))
	}
	return nil
}

// allow authorises one method of the Manager by the table.
func (s *Server) allow(c *call, member string) error {
	action, ok := authority[member]
	switch {
	case !ok:
		// fails denied: what is not listed is not allowed.
		return fault.New(fault.NotAuthorized, fmt.Errorf("%s is not in the table", member))
	case action == free:
		return nil
	case action == actCheckIn && !s.keeper().Snapshot().Status.Open():
		return nil
	}
	return s.auth.authorize(c.ctx, c.sender, action, c.interactive)
}
