// SPDX-License-Identifier: Apache-2.0

// Package device is one device on a private bus, for tests that run the real daemon:
// what a factory reset keeps and what it wipes are two folders, and flows are talked
// with as a client does. What the account service is, a test brings.
package device

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	accountlock "github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/test/bus"
)

// callTime is more than the daemon takes for any call.
const callTime = 40 * time.Second

// Device is one device. Its folder holds accountlockd.toml, which a test writes.
type Device struct {
	T    testing.TB
	Bus  *bus.Bus
	Dir  string
	Bin  string
	Conn *dbus.Conn
	// Daemon is the newest.
	Daemon *bus.Process
	// Launch starts a command on the device, as Bus.StartProcess does unless a test
	// says otherwise.
	Launch func(*exec.Cmd) *bus.Process
}

// New returns a device in a folder of its own, which is on no bus yet.
func New(t testing.TB) *Device {
	t.Helper()
	d := &Device{T: t, Dir: t.TempDir(), Bin: bus.Binaries(t)}
	d.Launch = func(c *exec.Cmd) *bus.Process { return d.Bus.StartProcess(t, c) }
	for _, name := range []string{"kept", "wiped", "run"} {
		if err := os.Mkdir(d.Path(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// Path returns that of a file of the device.
func (d *Device) Path(name string) string { return filepath.Join(d.Dir, name) }

// Write writes a file of the device.
func (d *Device) Write(name string, content []byte) {
	d.T.Helper()
	if err := os.WriteFile(d.Path(name), content, 0o600); err != nil {
		d.T.Fatal(err)
	}
}

// StartDaemon starts the daemon and waits for its name.
func (d *Device) StartDaemon() {
	d.T.Helper()
	d.LaunchDaemon()
	d.Bus.AwaitName(d.T, accountlock.Name)
	d.Conn = d.Bus.Connect(d.T)
}

// LaunchDaemon starts the daemon and does not wait.
func (d *Device) LaunchDaemon() {
	d.T.Helper()
	d.Daemon = d.Launch(exec.Command(filepath.Join(d.Bin, "accountlockd"), "--config", d.Path("accountlockd.toml"), "--debug"))
}

// StopDaemon ends the daemon as systemd does.
func (d *Device) StopDaemon() {
	d.T.Helper()
	d.Daemon.Signal(d.T, syscall.SIGTERM)
	if code := d.Daemon.Wait(d.T); code != 0 {
		d.T.Fatalf("accountlockd ended with %d:\n%s", code, d.Daemon.Output())
	}
	d.Bus.AwaitNoName(d.T, accountlock.Name)
}

// KillDaemon ends the daemon as a crash does.
func (d *Device) KillDaemon() {
	d.T.Helper()
	d.Daemon.Signal(d.T, syscall.SIGKILL)
	d.Daemon.Wait(d.T)
	d.Bus.AwaitNoName(d.T, accountlock.Name)
}

// Reset is a factory reset: the state directory goes, the record store stays.
func (d *Device) Reset() {
	d.T.Helper()
	d.StopDaemon()
	if err := os.RemoveAll(d.Path("wiped")); err != nil {
		d.T.Fatal(err)
	}
	d.StartDaemon()
}

// Manager is the daemon's object.
func (d *Device) Manager() dbus.BusObject {
	return d.Conn.Object(accountlock.Name, accountlock.ManagerPath)
}

// Property returns one of the Manager's.
func (d *Device) Property(name string) dbus.Variant {
	d.T.Helper()
	v, err := d.Manager().GetProperty(accountlock.ManagerFace + "." + name)
	if err != nil {
		d.T.Fatalf("property %s: %v", name, err)
	}
	return v
}

// Call calls a method of the Manager.
func (d *Device) Call(method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	return d.Manager().CallWithContext(ctx, accountlock.ManagerFace+"."+method, 0, args...)
}

// Settle has the account service asked again by a device that nobody has linked yet: on
// a busy machine its answer may come too late for the daemon's start.
func (d *Device) Settle() {
	d.T.Helper()
	for range 10 {
		if d.Property("State").Value() != "locked" || d.Property("LockReason").Value() != "record-missing" {
			return
		}
		_ = d.Call("CheckIn").Err // said by the state
	}
}

// Flow is one flow as its client sees it.
type Flow struct {
	T   testing.TB
	Obj dbus.BusObject
}

// Begin begins a flow by a method of the Manager.
func (d *Device) Begin(method string) *Flow {
	d.T.Helper()
	var path dbus.ObjectPath
	if err := d.Call(method, map[string]dbus.Variant{}).Store(&path); err != nil {
		d.T.Fatalf("%s: %v", method, err)
	}
	return &Flow{d.T, d.Conn.Object(accountlock.Name, path)}
}

// Submit answers the current step.
func (f *Flow) Submit(answer map[string]any) error {
	in := map[string]dbus.Variant{}
	for k, v := range answer {
		in[k] = dbus.MakeVariant(v)
	}
	return f.Obj.Call(accountlock.FlowFace+".Submit", 0, in).Err
}

// Property returns one of the flow's.
func (f *Flow) Property(name string) dbus.Variant {
	f.T.Helper()
	v, err := f.Obj.GetProperty(accountlock.FlowFace + "." + name)
	if err != nil {
		f.T.Fatalf("flow property %s: %v", name, err)
	}
	return v
}

// Prompt is what the current step asks.
func (f *Flow) Prompt() map[string]dbus.Variant {
	f.T.Helper()
	return f.Property("Prompt").Value().(map[string]dbus.Variant)
}

// ErrorName returns the name of a D-Bus error, empty for any other.
func ErrorName(err error) string {
	var e dbus.Error
	if errors.As(err, &e) {
		return e.Name
	}
	return ""
}
