// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	busName      = "org.accountlock.AccountLock1"
	managerPath  = dbus.ObjectPath("/org/accountlock/AccountLock1")
	managerIface = busName + ".Manager"
	flowIface    = busName + ".Flow"
	propsIface   = "org.freedesktop.DBus.Properties"
	busIface     = "org.freedesktop.DBus"
	busPath      = dbus.ObjectPath("/org/freedesktop/DBus")
)

// No call waits for ever. The daemon answers a Submit within 30 s; where polkit
// may be asking a person, that person gets time to answer.
const (
	dialTimeout = 10 * time.Second
	callTimeout = 35 * time.Second
	askTimeout  = 5 * time.Minute
)

// client is one connection to the bus.
type client struct {
	conn *dbus.Conn
	// signals gets everything that is sent to this connection, by anyone: each
	// reader compares the sender.
	signals chan *dbus.Signal
	// ask lets polkit ask the person who is at the terminal.
	ask bool
}

func dial(ctx context.Context, env Env) (*client, error) {
	// The connection outlives ctx: a flow is cancelled over it after Ctrl-C.
	connCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	late := time.AfterFunc(dialTimeout, stop)
	unhook := context.AfterFunc(ctx, stop)
	conn, err := dbus.Connect(env.busAddress(),
		dbus.WithContext(connCtx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if !late.Stop() || !unhook() || err != nil {
		stop()
		if conn != nil {
			_ = conn.Close()
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, unavailable(busErrorPrefix+"NoServer", "The system bus cannot be reached.")
	}
	c := &client{conn: conn, signals: make(chan *dbus.Signal, 64), ask: env.Terminal != nil}
	conn.Signal(c.signals)
	return c, nil
}

func (c *client) close() { _ = c.conn.Close() }

// call calls a method and stores the reply in out. The library's own call
// drops the flag that lets polkit ask, so the message is made here.
func (c *client) call(ctx context.Context, dest string, path dbus.ObjectPath, method string, out []any, args ...any) error {
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
		return asFailure(call.Err)
	}
	if len(out) == 0 {
		return nil
	}
	return stored(call.Store(out...), method)
}

// manager calls a method of the Manager.
func (c *client) manager(ctx context.Context, method string, out []any, args ...any) error {
	return c.call(ctx, busName, managerPath, managerIface+"."+method, out, args...)
}

// owner returns the connection that has the daemon's name; empty for none.
func (c *client) owner(ctx context.Context) (string, error) {
	var name string
	err := c.call(ctx, busIface, busPath, busIface+".GetNameOwner", []any{&name}, busName)
	if err != nil && asFailure(err).Name == busErrorPrefix+"NameHasNoOwner" {
		return "", nil
	}
	return name, err
}

// watch subscribes to signals, on this connection's own list.
func (c *client) watch(ctx context.Context, options ...dbus.MatchOption) error {
	ctx, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	if err := c.conn.AddMatchSignalContext(ctx, options...); err != nil {
		return asFailure(err)
	}
	return nil
}

// state is what the Manager's properties say.
type state struct {
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
func (s *state) targets() map[string]any {
	return map[string]any{
		"Version": &s.Version, "DeviceId": &s.DeviceID, "State": &s.State,
		"LockReason": &s.LockReason, "AccountHint": &s.AccountHint, "LostMessage": &s.LostMessage,
		"RetryAfter": &s.RetryAfter, "Connectivity": &s.Connectivity, "LastCheckIn": &s.LastCheckIn,
	}
}

func (c *client) state(ctx context.Context) (state, error) {
	s := state{LostMessage: map[string]string{}}
	props, err := c.properties(ctx, busName, managerPath, managerIface)
	if err != nil {
		return s, err
	}
	return s, storeAll(props, s.targets())
}

func (c *client) properties(ctx context.Context, dest string, path dbus.ObjectPath, iface string) (map[string]dbus.Variant, error) {
	var props map[string]dbus.Variant
	err := c.call(ctx, dest, path, propsIface+".GetAll", []any{&props}, iface)
	return props, err
}

// storeAll stores every property in its target. All have to be there: a
// missing one would be read as empty, and an empty state as an open one.
func storeAll(props map[string]dbus.Variant, targets map[string]any) error {
	for name, target := range targets {
		v, ok := props[name]
		if !ok {
			return strange("the property " + name + " is missing")
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
	return strange(what + " has another type than expected")
}
