// SPDX-License-Identifier: Apache-2.0

// Package network lets a person choose a wireless network through
// NetworkManager, over D-Bus, where it runs. Nothing depends on it: without
// NetworkManager there is nothing to choose here.
package network

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
)

// Name is NetworkManager's on the bus.
const Name = "org.freedesktop.NetworkManager"

// https://networkmanager.dev/docs/api/latest/spec.html
const (
	nmPath   = dbus.ObjectPath("/org/freedesktop/NetworkManager")
	nmDevice = Name + ".Device"
	nmWifi   = Name + ".Device.Wireless"
	nmAP     = Name + ".AccessPoint"
	nmActive = Name + ".Connection.Active"

	deviceTypeWifi  = 2
	activeActivated = 2
	activeGone      = 4

	apPrivacy = 0x1
	keyPSK    = 0x100
	key8021X  = 0x200
	keySAE    = 0x400
)

// Network is one wireless network that is in reach.
type Network struct {
	SSID []byte
	// Strength in percent.
	Strength uint8
	// Active: the device is connected to it.
	Active bool

	security   security
	device, ap dbus.ObjectPath
}

type security int

const (
	open security = iota
	psk
	sae
	unusable // WEP, or a company's sign-in
)

// Name is safe to print.
func (n Network) Name() string { return console.Clean(string(bytes.ToValidUTF8(n.SSID, []byte("?")))) }

// NeedsPassphrase reports whether one has to be typed.
func (n Network) NeedsPassphrase() bool { return n.security == psk || n.security == sae }

// Usable reports whether it can be joined with a passphrase or none.
func (n Network) Usable() bool { return n.security != unusable }

// Describe is a network's line in a list.
func Describe(p *i18n.Printer, n Network) string {
	text := n.Name() + ", " + strconv.Itoa(int(n.Strength)) + " %"
	switch {
	case n.Active:
		text += ", " + p.T("connected")
	case !n.Usable():
		text += ", " + p.T("cannot be used here")
	case n.security == open:
		text += ", " + p.T("no passphrase")
	}
	return text
}

// ErrUnsupported is for a network that asks for more than a passphrase.
func ErrUnsupported() error {
	return busclient.Failed(fault.NetworkUnavailable, "This network asks for more than a passphrase, which cannot be given here.",
		"Choose another network, or plug in a cable.")
}

// Runs reports whether NetworkManager has its name on the bus. It is not started by
// being asked.
func Runs(ctx context.Context, c *busclient.Client) bool {
	var owned bool
	err := c.Call(ctx, busclient.BusIface, "/org/freedesktop/DBus", busclient.BusIface+".NameHasOwner", []any{&owned}, Name)
	return err == nil && owned
}

// Manager is NetworkManager on the system bus, whenever it runs. It is safe for
// concurrent use.
type Manager struct {
	address string

	mu     sync.Mutex
	client *busclient.Client
}

// New returns a Manager on the bus at an address, which is connected to when
// there is something to ask.
func New(address string) *Manager { return &Manager{address: address} }

// Close ends the connection.
func (m *Manager) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client != nil {
		m.client.Close()
		m.client = nil
	}
}

// connect returns the connection, made anew where it was lost.
func (m *Manager) connect(ctx context.Context) (conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client == nil {
		c, err := busclient.Dial(ctx, m.address, false)
		if err != nil {
			return conn{}, err
		}
		m.client = c
		go m.drain(c)
	}
	return conn{m.client}, nil
}

// drain takes the signals, for which nothing here waits, until the connection ends.
func (m *Manager) drain(c *busclient.Client) {
	for range c.Signals {
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client == c {
		m.client = nil
	}
}

// conn is one connection.
type conn struct{ client *busclient.Client }

const (
	scanTime = 4 * time.Second
	joinTime = 40 * time.Second
	// maxNetworks bounds the list: one has to find one's own in it.
	maxNetworks = 30
)

// List scans, and returns the networks in reach, the strongest first, each name
// once.
func (m *Manager) List(ctx context.Context) ([]Network, error) {
	c, err := m.connect(ctx)
	if err != nil {
		return nil, trouble(err)
	}
	var devices []dbus.ObjectPath
	if err := c.client.Call(ctx, Name, nmPath, Name+".GetDevices", []any{&devices}); err != nil {
		return nil, trouble(err)
	}
	best := map[string]Network{}
	for _, d := range devices {
		var kind uint32
		if c.get(ctx, d, nmDevice, "DeviceType", &kind) != nil || kind != deviceTypeWifi {
			continue
		}
		c.scan(ctx, d)
		if err := c.points(ctx, d, best); err != nil {
			return nil, trouble(err)
		}
	}
	out := make([]Network, 0, len(best))
	for _, n := range best {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b Network) int {
		return cmp.Or(cmp.Compare(b.Strength, a.Strength), bytes.Compare(a.SSID, b.SSID))
	})
	return out[:min(len(out), maxNetworks)], nil
}

// scan asks for a fresh look and gives it a moment. A refusal, such as one for
// asking too often, leaves what was seen before.
func (c conn) scan(ctx context.Context, d dbus.ObjectPath) {
	var before, now int64
	_ = c.get(ctx, d, nmWifi, "LastScan", &before)
	if c.client.Call(ctx, Name, d, nmWifi+".RequestScan", nil, map[string]dbus.Variant{}) != nil {
		return
	}
	for end := time.Now().Add(scanTime); time.Now().Before(end); {
		if c.get(ctx, d, nmWifi, "LastScan", &now) != nil || now != before {
			return
		}
		if pause(ctx, 250*time.Millisecond) != nil {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (c conn) points(ctx context.Context, d dbus.ObjectPath, best map[string]Network) error {
	var points []dbus.ObjectPath
	if err := c.client.Call(ctx, Name, d, nmWifi+".GetAllAccessPoints", []any{&points}); err != nil {
		return err
	}
	var active dbus.ObjectPath
	_ = c.get(ctx, d, nmWifi, "ActiveAccessPoint", &active)
	for _, ap := range points[:min(len(points), 500)] {
		props, err := c.client.Properties(ctx, Name, ap, nmAP)
		if err != nil {
			continue // it went out of reach
		}
		n := Network{device: d, ap: ap, Active: ap == active}
		var flags, wpa, rsn uint32
		if busclient.StoreAll(props, map[string]any{"Ssid": &n.SSID, "Strength": &n.Strength, "Flags": &flags, "WpaFlags": &wpa, "RsnFlags": &rsn}) != nil || len(n.SSID) == 0 {
			continue // a hidden one has no name to choose
		}
		n.security = securityOf(flags, wpa|rsn)
		if had, ok := best[string(n.SSID)]; !ok || n.Active || !had.Active && n.Strength > had.Strength {
			best[string(n.SSID)] = n
		}
	}
	return nil
}

func securityOf(flags, keys uint32) security {
	switch {
	case keys&keyPSK != 0:
		return psk
	case keys&keySAE != 0:
		return sae
	case keys&key8021X != 0, flags&apPrivacy != 0:
		return unusable
	}
	return open
}

// Join connects the device to a network. It returns when the connection stands,
// or with what kept it from standing.
func (m *Manager) Join(ctx context.Context, n Network, passphrase []byte) error {
	c, err := m.connect(ctx)
	if err != nil {
		return trouble(err)
	}
	settings := map[string]map[string]dbus.Variant{}
	if n.NeedsPassphrase() {
		mgmt := "wpa-psk"
		if n.security == sae {
			mgmt = "sae"
		}
		settings["802-11-wireless-security"] = map[string]dbus.Variant{
			"key-mgmt": dbus.MakeVariant(mgmt),
			// NetworkManager takes a string alone: it cannot be wiped.
			"psk": dbus.MakeVariant(string(passphrase)),
		}
	}
	var saved, active dbus.ObjectPath
	err = c.client.Call(ctx, Name, nmPath, Name+".AddAndActivateConnection", []any{&saved, &active}, settings, n.device, n.ap)
	if err != nil {
		return trouble(err)
	}
	for end := time.Now().Add(joinTime); time.Now().Before(end); {
		var state uint32
		if err := c.get(ctx, active, nmActive, "State", &state); err != nil || state >= activeGone {
			// A wrong passphrase must not be tried again at each start.
			_ = c.client.Call(ctx, Name, saved, Name+".Settings.Connection.Delete", nil)
			return busclient.Failed(fault.NetworkUnavailable, "The network did not take the device.", "Check the passphrase, or choose another network.")
		}
		if state == activeActivated {
			return nil
		}
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
	return busclient.Failed(fault.NetworkUnavailable, "The network did not answer in time.", "Move closer to it, or choose another network.")
}

func (c conn) get(ctx context.Context, path dbus.ObjectPath, iface, name string, out any) error {
	var v dbus.Variant
	if err := c.client.Call(ctx, Name, path, busclient.PropsIface+".Get", []any{&v}, iface, name); err != nil {
		return err
	}
	return v.Store(out)
}

// trouble words what NetworkManager said; its own text is for administrators.
func trouble(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	f := busclient.AsFailure(err)
	if busclient.Denied(f.Name) || f.Name == Name+".PermissionDenied" {
		return busclient.Failed(fault.NotAuthorized, "This device does not let its first-boot screen choose a network.", "Plug in a cable, or use an offline code.")
	}
	return busclient.Failed(fault.NetworkUnavailable, "NetworkManager did not do it.", "Try again, or plug in a cable.")
}
