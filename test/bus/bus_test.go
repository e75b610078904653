// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/test/bus"
)

const (
	managerInterface = bus.Name + ".Manager"

	// anotherUser is `daemon` on every Debian system.
	anotherUser = 1
)

func TestTheOwnerTakesTheNameAndAnyoneCallsIt(t *testing.T) {
	bus.NeedRoot(t, "it connects as other users")
	b := bus.Start(t)
	owner := b.Connect(t)
	takeName(t, owner, bus.Name)
	if got, want := b.AwaitName(t, bus.Name), owner.Names()[0]; got != want {
		t.Errorf("%s is owned by %s, want %s", bus.Name, got, want)
	}
	if err := owner.ExportMethodTable(map[string]any{
		"Echo": func(text string) (string, *dbus.Error) { return text, nil },
	}, "/", managerInterface); err != nil {
		t.Fatal(err)
	}
	var got string
	caller := b.ConnectAs(t, bus.Nobody)
	if err := caller.Object(bus.Name, "/").Call(managerInterface+".Echo", 0, "hello").Store(&got); err != nil || got != "hello" {
		t.Errorf("nobody's call answers %q, %v", got, err)
	}
	owner.Close()
	b.AwaitNoName(t, bus.Name)
}

func TestThePolicyDeniesWhatTheProjectDoesNotAllow(t *testing.T) {
	bus.NeedRoot(t, "it connects as other users")
	b := bus.Start(t, bus.WithNames("org.example.Peer"))
	owner := b.Connect(t)
	takeName(t, owner, bus.Name)
	takeName(t, b.Connect(t), "org.example.Peer")
	nobody := b.ConnectAs(t, bus.Nobody)

	tests := map[string]struct {
		conn      *dbus.Conn
		name      string
		method    string
		forbidden bool
	}{
		"another user takes the name":    {nobody, "org.freedesktop.DBus", "org.freedesktop.DBus.RequestName", true},
		"an interface not of the policy": {nobody, bus.Name, "org.example.Other.Method", true},
		"an interface of the policy":     {nobody, bus.Name, managerInterface + ".Method", false},
		"a peer by WithNames":            {nobody, "org.example.Peer", "org.example.Other.Method", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var args []any
			if strings.HasSuffix(test.method, "RequestName") {
				args = []any{bus.Name, uint32(dbus.NameFlagReplaceExisting)}
			}
			err := test.conn.Object(test.name, "/").Call(test.method, 0, args...).Err
			if got := errorName(err) == "org.freedesktop.DBus.Error.AccessDenied"; got != test.forbidden {
				t.Errorf("forbidden is %v, want %v (%v)", got, test.forbidden, err)
			}
		})
	}
}

func TestAnotherOwnerThanTheTestsUser(t *testing.T) {
	bus.NeedRoot(t, "it connects as other users")
	b := bus.Start(t, bus.WithOwner(bus.Nobody))
	takeName(t, b.ConnectAs(t, bus.Nobody), bus.Name)
	if _, err := b.Connect(t).RequestName(bus.Name, dbus.NameFlagReplaceExisting); errorName(err) != "org.freedesktop.DBus.Error.AccessDenied" {
		t.Errorf("the test's own user takes the name: %v", err)
	}
}

func TestABusForEachTest(t *testing.T) {
	one, two := bus.Start(t), bus.Start(t)
	takeName(t, one.Connect(t), bus.Name)
	takeName(t, two.Connect(t), bus.Name)
}

func TestConnectAsIsSeenAsThatUser(t *testing.T) {
	bus.NeedRoot(t, "it connects as other users")
	b := bus.Start(t)
	me := b.Connect(t)
	for _, uid := range []int{bus.Nobody, anotherUser} {
		conn := b.ConnectAs(t, uid)
		var credentials map[string]dbus.Variant
		if err := me.BusObject().Call("org.freedesktop.DBus.GetConnectionCredentials", 0, conn.Names()[0]).Store(&credentials); err != nil {
			t.Fatal(err)
		}
		if got := credentials["UnixUserID"].Value(); got != uint32(uid) {
			t.Errorf("the bus takes user %d for %v", uid, got)
		}
		if got, ok := credentials["UnixGroupIDs"].Value().([]uint32); ok && slices.Contains(got, 0) {
			t.Errorf("user %d is in root's group: %v", uid, got)
		}
		if os.Geteuid() != 0 {
			t.Errorf("the test itself has become user %d", os.Geteuid())
		}
	}
}

func TestTheBusStartsAServiceThatIsAskedFor(t *testing.T) {
	b := bus.Start(t, bus.WithActivation(bus.Name, "/bin/sh -c 'echo started on $DBUS_SYSTEM_BUS_ADDRESS; exit 3'"))
	err := b.Connect(t).Object(bus.Name, "/").Call(managerInterface+".Method", 0).Err
	if errorName(err) != "org.freedesktop.DBus.Error.Spawn.ChildExited" {
		t.Errorf("a service that exits: %v", err)
	}
	if want := "started on " + b.Address(); !strings.Contains(string(b.Output()), want) {
		t.Errorf("%q is not in the output:\n%s", want, b.Output())
	}
}

func TestTheHostsBusIsOutOfReach(t *testing.T) {
	b := bus.Start(t)
	if conn, err := dbus.ConnectSystemBus(); err == nil {
		conn.Close()
		t.Error("the test's process connects to a system bus by default")
	}
	const host = "unix:path=/run/dbus/system_bus_socket"
	failures := watch(t, func(t testing.TB) {
		cmd := exec.Command("true")
		cmd.Env = []string{"DBUS_SYSTEM_BUS_ADDRESS=" + host}
		b.StartProcess(t, cmd)
	})
	if !strings.Contains(failures, "refusing to start") {
		t.Errorf("a program that would use the host's bus: %q", failures)
	}
	p := b.Run(t, exec.Command("env"))
	for line := range strings.Lines(string(p.Stdout())) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if strings.HasPrefix(name, "DBUS_") && value != b.Address() {
			t.Errorf("a program sees %s", line)
		}
	}
}

func TestNothingIsLeftWhenTheBusEnds(t *testing.T) {
	var dir string
	var daemon *bus.Process
	failures := watch(t, func(t testing.TB) {
		b := bus.Start(t)
		dir = filepath.Dir(strings.TrimPrefix(b.Address(), "unix:path="))
		daemon = b.StartProcess(t, exec.Command("sleep", "1000"))
	})
	if failures != "" {
		t.Error(failures)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", dir, err)
	}
	select {
	case <-daemon.Done():
	default:
		t.Error("a program is left")
	}
}

func takeName(t *testing.T, conn *dbus.Conn, name string) {
	t.Helper()
	reply, err := conn.RequestName(name, dbus.NameFlagDoNotQueue)
	if err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("cannot take %s: %v, %v", name, reply, err)
	}
}

func errorName(err error) string {
	var e dbus.Error
	if errors.As(err, &e) {
		return e.Name
	}
	return ""
}
