// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
)

func (a *app) monitorCommand() *cobra.Command {
	return a.reading("monitor", "Print what changes, until interrupted",
		`Prints every property as it is, then every change and the signals Locked and Unlocked,
one line each, until it is interrupted. accountlockd leaves when it has nothing to do; that is
printed too, and what it last said still holds.

With --json each line is an object: {"time", "event", …} with the event 'property' ("name",
"value", named as in status), 'locked' ("reason"), 'unlocked' ("how") or 'daemon' ("running").
'time' is in seconds since the epoch.`,
		func(ctx context.Context, c *busclient.Client) error {
			m := &monitor{app: a, c: c}
			err := m.run(ctx)
			if ctx.Err() != nil {
				// An interrupt is how this command ends.
				return nil
			}
			return err
		})
}

// monitor follows the Manager's properties and signals.
type monitor struct {
	app   *app
	c     *busclient.Client
	owner string // whose signals count: a name may be taken, a connection not
}

// propertyNames are the names that --json prints.
var propertyNames = map[string]string{
	"Version": "version", "DeviceId": "device_id", "State": "state",
	"LockReason": "lock_reason", "AccountHint": "account_hint", "LostMessage": "lost_message",
	"RetryAfter": "retry_after", "Connectivity": "connectivity", "LastCheckIn": "last_check_in",
}

func (m *monitor) run(ctx context.Context) error {
	// Subscribed first, read afterwards: no change falls in between.
	rules := [][]dbus.MatchOption{
		{dbus.WithMatchSender(busclient.Name), dbus.WithMatchObjectPath(busclient.ManagerPath)},
		{dbus.WithMatchSender(busclient.BusIface), dbus.WithMatchInterface(busclient.BusIface),
			dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, busclient.Name)},
	}
	for _, r := range rules {
		if err := m.c.Watch(ctx, r...); err != nil {
			return err
		}
	}
	props, err := m.c.Properties(ctx, busclient.Name, busclient.ManagerPath, busclient.ManagerIface)
	if err != nil {
		return err
	}
	if m.owner, err = m.c.Owner(ctx); err != nil {
		return err
	}
	if err := m.properties(props); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case sig, ok := <-m.c.Signals:
			if !ok {
				return dbus.ErrClosed
			}
			if err := m.signal(ctx, sig); err != nil {
				return err
			}
		}
	}
}

func (m *monitor) signal(ctx context.Context, sig *dbus.Signal) error {
	if sig.Sender == busclient.BusIface && sig.Name == busclient.BusIface+".NameOwnerChanged" {
		return m.ownerChanged(sig)
	}
	if sig.Sender != m.owner || sig.Path != busclient.ManagerPath {
		return nil
	}
	var word string
	switch sig.Name {
	case busclient.ManagerIface + ".Locked":
		if dbus.Store(sig.Body, &word) == nil {
			return m.print("locked", "reason", word, "locked: "+word)
		}
	case busclient.ManagerIface + ".Unlocked":
		if dbus.Store(sig.Body, &word) == nil {
			return m.print("unlocked", "how", word, "unlocked: "+word)
		}
	case busclient.PropsIface + ".PropertiesChanged":
		return m.changed(ctx, sig)
	}
	return nil
}

func (m *monitor) ownerChanged(sig *dbus.Signal) error {
	var name, before, now string
	if dbus.Store(sig.Body, &name, &before, &now) != nil || name != busclient.Name || now == m.owner {
		return nil
	}
	m.owner = now
	word := "stopped"
	if now != "" {
		word = "started"
	}
	return m.print("daemon", "running", now != "", "accountlockd "+word)
}

func (m *monitor) changed(ctx context.Context, sig *dbus.Signal) error {
	var iface string
	var changed variants
	var invalidated []string
	if dbus.Store(sig.Body, &iface, &changed, &invalidated) != nil || iface != busclient.ManagerIface {
		return nil
	}
	if len(invalidated) > 0 {
		// Changed without saying to what: ask.
		now, err := m.c.Properties(ctx, m.owner, busclient.ManagerPath, busclient.ManagerIface)
		if err != nil {
			return err
		}
		for _, name := range invalidated {
			if v, ok := now[name]; ok {
				changed[name] = v
			}
		}
	}
	return m.properties(changed)
}

func (m *monitor) properties(props variants) error {
	for _, name := range slices.Sorted(maps.Keys(props)) {
		short, ok := propertyNames[name]
		if !ok {
			continue
		}
		v := plainValue(props[name].Value())
		if err := m.property(short, v); err != nil {
			return err
		}
	}
	return nil
}

func (m *monitor) property(name string, v any) error {
	text := fmt.Sprint(v)
	if d, ok := v.(map[string]string); ok {
		text = ""
		for _, key := range slices.Sorted(maps.Keys(d)) {
			text += " " + key + "=" + d[key]
		}
	}
	if !m.app.json {
		m.app.printf("%s  %s: %s\n", m.clock(), name, console.Clean(text))
		return nil
	}
	return printJSON(m.app.env.Stdout, map[string]any{
		"time": m.app.env.Now().Unix(), "event": "property", "name": name, "value": v,
	})
}

func (m *monitor) print(event, key string, value any, line string) error {
	if !m.app.json {
		m.app.printf("%s  %s\n", m.clock(), console.Clean(line))
		return nil
	}
	return printJSON(m.app.env.Stdout, map[string]any{
		"time": m.app.env.Now().Unix(), "event": event, key: value,
	})
}

func (m *monitor) clock() string { return m.app.env.Now().Format("15:04:05") }
