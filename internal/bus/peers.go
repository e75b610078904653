// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"

	"github.com/godbus/dbus/v5"
)

// AskProperty reads a property of another service. It returns false where the
// name has no owner, which is looked at first, and where there is no answer: no
// service is started by being asked.
func (s *Server) AskProperty(ctx context.Context, name, path, face, property string) (any, bool) {
	owned := false
	if err := s.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, name).Store(&owned); err != nil || !owned {
		return nil, false
	}
	var v dbus.Variant
	call := s.conn.Object(name, dbus.ObjectPath(path)).CallWithContext(ctx, propsFace+".Get", dbus.FlagNoAutoStart, face, property)
	if err := call.Store(&v); err != nil {
		return nil, false
	}
	return v.Value(), true
}
