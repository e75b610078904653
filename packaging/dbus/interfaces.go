// SPDX-License-Identifier: Apache-2.0

// Package dbus holds the introspection XML, the one source of the D-Bus
// interface: the daemon serves it, its method table is checked against it, and
// docs/dbus.md is made from it.
package dbus

import _ "embed" // for the XML

// ManagerXML describes org.accountlock.AccountLock1.Manager.
//
//go:embed org.accountlock.AccountLock1.Manager.xml
var ManagerXML string

// FlowXML describes org.accountlock.AccountLock1.Flow.
//
//go:embed org.accountlock.AccountLock1.Flow.xml
var FlowXML string
