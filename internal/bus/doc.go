// SPDX-License-Identifier: Apache-2.0

// Package bus owns the D-Bus interface: it turns calls into calls of
// internal/flow, and what changes there into signals. Every call passes one
// choke point (router.go), which answers only what the one table (table.go)
// lists and authorises as that table says.
//
// It must not decide about the lock, and takes no file descriptor.
package bus

import (
	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
)

// The names of the contract.
const (
	Name        = "org.accountlock.AccountLock1"
	ManagerPath = dbus.ObjectPath("/org/accountlock/AccountLock1")
	ManagerFace = Name + ".Manager"
	FlowFace    = Name + ".Flow"
	ErrorPrefix = Name + ".Error."
	flowRoot    = ManagerPath + "/flow"
)

const (
	propsFace      = "org.freedesktop.DBus.Properties"
	introspectFace = "org.freedesktop.DBus.Introspectable"
	objectsFace    = "org.freedesktop.DBus.ObjectManager"
)

// ErrorName returns the D-Bus name of a fault.
func ErrorName(c fault.Code) string { return ErrorPrefix + string(c) }
