// SPDX-License-Identifier: Apache-2.0

// Package busclient is a client of the lock's D-Bus interface: one connection,
// the Manager's properties, and flows as their owner sees them. It knows the
// interface and nothing of the daemon's inside, draws nothing and asks nobody:
// accountlockctl and the first-boot screen do, each in its own way.
package busclient

import (
	"context"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// The names of the interface, and those of the bus that a client needs.
const (
	Name         = "org.accountlock.AccountLock1"
	ManagerPath  = dbus.ObjectPath("/org/accountlock/AccountLock1")
	ManagerIface = Name + ".Manager"
	FlowIface    = Name + ".Flow"
	PropsIface   = "org.freedesktop.DBus.Properties"
	BusIface     = "org.freedesktop.DBus"
	busPath      = dbus.ObjectPath("/org/freedesktop/DBus")

	// SystemBus is where the bus is unless DBUS_SYSTEM_BUS_ADDRESS says otherwise.
	SystemBus = "unix:path=/run/dbus/system_bus_socket"
)

// No call waits for ever. The daemon answers a Submit within 30 s; where polkit
// may be asking a person, that person gets time to answer.
const (
	dialTimeout = 10 * time.Second
	callTimeout = 35 * time.Second
	askTimeout  = 5 * time.Minute
)

// Client is one connection to the bus. Its calls may run side by side; their
// errors are *Failure, or ctx's.
type Client struct {
	conn *dbus.Conn
	// Signals gets everything that is sent to this connection, by anyone: each
	// reader compares the sender.
	Signals chan *dbus.Signal
	// ask lets polkit ask the person who is at the terminal.
	ask bool
}

// Dial connects to the bus at an address. ask lets polkit ask the person who is
// at the terminal; every call may then take minutes.
func Dial(ctx context.Context, address string, ask bool) (*Client, error) {
	// The connection outlives ctx: a flow is cancelled over it after Ctrl-C.
	connCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	late := time.AfterFunc(dialTimeout, stop)
	unhook := context.AfterFunc(ctx, stop)
	conn, err := dbus.Connect(address,
		dbus.WithContext(connCtx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if !late.Stop() || !unhook() || err != nil {
		stop()
		if conn != nil {
			_ = conn.Close()
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, Unavailable(BusErrorPrefix+"NoServer", "The system bus cannot be reached.")
	}
	c := &Client{conn: conn, Signals: make(chan *dbus.Signal, 64), ask: ask}
	conn.Signal(c.Signals)
	return c, nil
}

// Close ends the connection, and with it its flows.
func (c *Client) Close() { _ = c.conn.Close() }

// Call calls a method and stores the reply in out. The library's own call
// drops the flag that lets polkit ask, so the message is made here.
func (c *Client) Call(ctx context.Context, dest string, path dbus.ObjectPath, method string, out []any, args ...any) error {
	i := strings.LastIndexByte(method, '.')
	msg := &dbus.Message{Type: dbus.TypeMethodCall, Body: args, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath:        dbus.MakeVariant(path),
		dbus.FieldDestination: dbus.MakeVariant(dest),
		dbus.FieldInterface:   dbus.MakeVariant(method[:i]),
		dbus.FieldMember:      dbus.MakeVariant(method[i+1:]),
	}}
	if len(args) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(args...))
	}
	limit := callTimeout
	if c.ask {
		msg.Flags |= dbus.FlagAllowInteractiveAuthorization
		limit = askTimeout
	}
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	call := <-c.conn.SendWithContext(ctx, msg, make(chan *dbus.Call, 1)).Done
	if call.Err != nil {
		return AsFailure(call.Err)
	}
	if len(out) == 0 {
		return nil
	}
	return stored(call.Store(out...), method)
}

// Manager calls a method of the Manager.
func (c *Client) Manager(ctx context.Context, method string, out []any, args ...any) error {
	return c.Call(ctx, Name, ManagerPath, ManagerIface+"."+method, out, args...)
}

// Owner returns the connection that has the daemon's name; empty for none.
func (c *Client) Owner(ctx context.Context) (string, error) {
	var name string
	err := c.Call(ctx, BusIface, busPath, BusIface+".GetNameOwner", []any{&name}, Name)
	if err != nil && AsFailure(err).Name == BusErrorPrefix+"NameHasNoOwner" {
		return "", nil
	}
	return name, err
}

// Watch subscribes to signals, on this connection's own list.
func (c *Client) Watch(ctx context.Context, options ...dbus.MatchOption) error {
	ctx, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	if err := c.conn.AddMatchSignalContext(ctx, options...); err != nil {
		return AsFailure(err)
	}
	return nil
}

// State is what the Manager's properties say.
type State struct {
	Version      string            `json:"version"`
	DeviceID     string            `json:"device_id"`
	State        string            `json:"state"`
	LockReason   string            `json:"lock_reason"`
	AccountHint  string            `json:"account_hint"`
	LostMessage  map[string]string `json:"lost_message"`
	RetryAfter   uint32            `json:"retry_after"`
	Connectivity string            `json:"connectivity"`
	LastCheckIn  uint64            `json:"last_check_in"`
}

// targets names where each property goes.
func (s *State) targets() map[string]any {
	return map[string]any{
		"Version": &s.Version, "DeviceId": &s.DeviceID, "State": &s.State,
		"LockReason": &s.LockReason, "AccountHint": &s.AccountHint, "LostMessage": &s.LostMessage,
		"RetryAfter": &s.RetryAfter, "Connectivity": &s.Connectivity, "LastCheckIn": &s.LastCheckIn,
	}
}

// State reads the Manager's properties.
func (c *Client) State(ctx context.Context) (State, error) {
	s := State{LostMessage: map[string]string{}}
	props, err := c.Properties(ctx, Name, ManagerPath, ManagerIface)
	if err != nil {
		return s, err
	}
	return s, StoreAll(props, s.targets())
}

// Properties reads every property of an interface.
func (c *Client) Properties(ctx context.Context, dest string, path dbus.ObjectPath, iface string) (map[string]dbus.Variant, error) {
	var props map[string]dbus.Variant
	err := c.Call(ctx, dest, path, PropsIface+".GetAll", []any{&props}, iface)
	return props, err
}

// StoreAll stores every property in its target. All have to be there: a
// missing one would be read as empty, and an empty state as an open one.
func StoreAll(props map[string]dbus.Variant, targets map[string]any) error {
	for name, target := range targets {
		v, ok := props[name]
		if !ok {
			return Strange("the property " + name + " is missing")
		}
		if err := stored(v.Store(target), name); err != nil {
			return err
		}
	}
	return nil
}

func stored(err error, what string) error {
	if err == nil {
		return nil
	}
	return Strange(what + " has another type than expected")
}
