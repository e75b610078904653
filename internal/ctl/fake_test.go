// SPDX-License-Identifier: Apache-2.0

package ctl_test

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/test/bus"
)

const (
	fakeName    = "org.accountlock.AccountLock1"
	fakeManager = dbus.ObjectPath("/org/accountlock/AccountLock1")
	fakeErrors  = fakeName + ".Error."
)

// kinds are the flows by the methods that begin them.
var kinds = map[string]string{
	"Unlock": "unlock", "Link": "link", "SignOut": "sign-out", "Unlink": "unlink", "Recover": "recover", "Reset": "reset",
}

type values = map[string]dbus.Variant

// fakeDaemon is a Manager with one flow that goes through the given steps.
type fakeDaemon struct {
	t    testing.TB
	conn *dbus.Conn

	mu    sync.Mutex
	props map[string]any
	// refuse answers a Manager's method with an error.
	refuse map[string]*dbus.Error
	// account, facts, checks and contacts answer the reading methods.
	account  values
	facts    []fakeFact
	checks   []fakeCheck
	contacts []fakeContact
	checkIn  func(*fakeDaemon)

	flow  *fakeFlow
	calls []fakeCall
}

type fakeFact struct {
	Fact, Source string
	Details      values
}

type fakeCheck struct {
	Check, Result, Message string
	Details                values
}

type fakeContact struct{ Kind, Label, Address string }

// fakeCall is a call as the daemon saw it.
type fakeCall struct {
	Method      string
	Args        values
	Interactive bool
}

func newFake(t testing.TB, b *bus.Bus) *fakeDaemon {
	t.Helper()
	d := &fakeDaemon{t: t, conn: b.Connect(t), refuse: map[string]*dbus.Error{}, props: map[string]any{
		"Version": "1.2.3", "DeviceId": "ABCD-EFGH-JKMN", "State": "unlinked", "LockReason": "",
		"AccountHint": "", "LostMessage": map[string]string{}, "RetryAfter": uint32(0),
		"Connectivity": "online", "LastCheckIn": uint64(0),
	}}
	d.export()
	return d
}

// own takes the name: whoever asks before finds no daemon.
func (d *fakeDaemon) own() {
	d.t.Helper()
	if r, err := d.conn.RequestName(fakeName, dbus.NameFlagDoNotQueue); err != nil || r != dbus.RequestNameReplyPrimaryOwner {
		d.t.Fatalf("cannot own the name: %v %v", r, err)
	}
}

func (d *fakeDaemon) export() {
	d.flow = &fakeFlow{d: d, path: fakeManager + "/flow/1", outcome: "done", result: values{}}
	manager := map[string]any{
		"GetAccount": func() (values, *dbus.Error) { return d.account, d.refused("GetAccount") },
		"GetSupport": func(string) ([]fakeContact, *dbus.Error) { return d.contacts, nil },
		"Explain":    func() ([]fakeFact, *dbus.Error) { return d.facts, d.refused("Explain") },
		"Diagnose":   func() ([]fakeCheck, *dbus.Error) { return d.checks, d.refused("Diagnose") },
		"CheckIn": func() *dbus.Error {
			if d.checkIn != nil {
				d.checkIn(d)
			}
			return d.refused("CheckIn")
		},
	}
	for m := range kinds {
		manager[m] = func(msg dbus.Message, options values) (dbus.ObjectPath, *dbus.Error) {
			d.saw(m, options, msg)
			if err := d.refused(m); err != nil {
				return "/", err
			}
			d.flow.kind = kinds[m]
			d.flow.owner, _ = msg.Headers[dbus.FieldSender].Value().(string)
			return d.flow.path, nil
		}
	}
	d.exports(fakeManager, fakeName+".Manager", manager)
	d.exports(fakeManager, "org.freedesktop.DBus.Properties", map[string]any{"GetAll": d.getAll})
	d.flow.export()
}

func (d *fakeDaemon) exports(path dbus.ObjectPath, iface string, table map[string]any) {
	if err := d.conn.ExportMethodTable(table, path, iface); err != nil {
		d.t.Fatal(err)
	}
}

func (d *fakeDaemon) saw(method string, args values, msg dbus.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// A copy: what came is to be looked at after the client has wiped its own.
	d.calls = append(d.calls, fakeCall{method, maps.Clone(args), msg.Flags&dbus.FlagAllowInteractiveAuthorization != 0})
}

// seen returns the calls of one method.
func (d *fakeDaemon) seen(method string) []fakeCall {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []fakeCall
	for _, c := range d.calls {
		if c.Method == method {
			out = append(out, c)
		}
	}
	return out
}

// refuses has a method answered with an error from now on.
func (d *fakeDaemon) refuses(method string, err *dbus.Error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse[method] = err
}

func (d *fakeDaemon) refused(method string) *dbus.Error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refuse[method]
}

func (d *fakeDaemon) getAll(string) (values, *dbus.Error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := values{}
	for k, v := range d.props {
		out[k] = dbus.MakeVariant(v)
	}
	return out, nil
}

// set changes properties and says so.
func (d *fakeDaemon) set(props map[string]any) {
	d.mu.Lock()
	changed := values{}
	for k, v := range props {
		d.props[k] = v
		changed[k] = dbus.MakeVariant(v)
	}
	d.mu.Unlock()
	d.emit(fakeManager, "org.freedesktop.DBus.Properties.PropertiesChanged", fakeName+".Manager", changed, []string{})
}

func (d *fakeDaemon) emit(path dbus.ObjectPath, name string, args ...any) {
	if err := d.conn.Emit(path, name, args...); err != nil {
		d.t.Logf("cannot emit %s: %v", name, err)
	}
}

// unicast sends a signal to one connection, as a flow's are sent.
func unicast(conn *dbus.Conn, to string, path dbus.ObjectPath, name string, args ...any) error {
	i := strings.LastIndexByte(name, '.')
	return conn.Send(&dbus.Message{Type: dbus.TypeSignal, Body: args, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(path), dbus.FieldDestination: dbus.MakeVariant(to),
		dbus.FieldInterface: dbus.MakeVariant(name[:i]), dbus.FieldMember: dbus.MakeVariant(name[i+1:]),
		dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(args...)),
	}}, nil).Err
}

// refusal is an error reply as the daemon makes it.
func refusal(f *fault.Error) *dbus.Error {
	return dbus.NewError(fakeErrors+string(f.Code), []any{f.Message + " " + f.Remedy})
}

func counted(code fault.Code, message string) *fault.Error {
	f := fault.New(code, nil)
	f.Counted = true
	if message != "" {
		f.Message = message
	}
	return f
}

func sayType(v dbus.Variant) string { return fmt.Sprint(v.Signature()) }
