// SPDX-License-Identifier: Apache-2.0

package netcheck

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/diagnose"
)

// Peers asks other services on the bus for a property. It returns false where the
// name has no owner, and never starts one.
type Peers interface {
	AskProperty(ctx context.Context, name, path, face, property string) (any, bool)
}

// The values of org.freedesktop.NetworkManager's property Connectivity
// (NMConnectivityState).
var nmConnectivity = map[uint32]string{0: "unknown", 1: "none", 2: "portal", 3: "limited", 4: "full"}

const nmPortal = 2

func askManagers(ctx context.Context, p Peers, n *diagnose.Network) {
	n.Managers = map[string]string{}
	askNetworkManager(ctx, p, n)
	const networkd = "org.freedesktop.network1"
	for _, name := range []string{"OperationalState", "OnlineState"} {
		if s, ok := ask[string](ctx, p, networkd, "/org/freedesktop/network1", networkd+".Manager", name); ok {
			n.Managers["systemd-networkd "+name] = s
		}
	}
	askResolved(ctx, p, n)
}

func askNetworkManager(ctx context.Context, p Peers, n *diagnose.Network) {
	const nm = "org.freedesktop.NetworkManager"
	c, ok := ask[uint32](ctx, p, nm, "/org/freedesktop/NetworkManager", nm, "Connectivity")
	if !ok {
		return
	}
	n.Managers["NetworkManager Connectivity"] = nmConnectivity[c]
	n.ManagerPortal = c == nmPortal
	for property, what := range map[string]string{"WirelessEnabled": "wireless", "NetworkingEnabled": "networking"} {
		if on, ok := ask[bool](ctx, p, nm, "/org/freedesktop/NetworkManager", nm, property); ok && !on {
			if what == "networking" || n.Switched == "" {
				n.Switched = what
			}
		}
	}
}

// askResolved replaces the address of systemd-resolved's own stub by the servers
// that it asks.
func askResolved(ctx context.Context, p Peers, n *diagnose.Network) {
	const resolved = "org.freedesktop.resolve1"
	list, ok := ask[[][]any](ctx, p, resolved, "/org/freedesktop/resolve1", resolved+".Manager", "DNS")
	if !ok || !slices.ContainsFunc(n.NameServers, isStub) {
		return
	}
	servers := slices.DeleteFunc(n.NameServers, isStub)
	for _, row := range list { // a(iiay): interface, family, address
		if len(row) != 3 || len(servers) == maxNameServers {
			continue
		}
		raw, _ := row[2].([]byte)
		if a, ok := netip.AddrFromSlice(raw); ok {
			servers = append(servers, a)
		}
	}
	n.NameServers = servers
}

func isStub(a netip.Addr) bool {
	return a == netip.AddrFrom4([4]byte{127, 0, 0, 53}) || a == netip.AddrFrom4([4]byte{127, 0, 0, 54})
}

// timeError is adjtimex(2)'s TIME_ERROR: the clock is not kept in step.
const timeError = 5

// Setter says who sets the clock, empty where nobody is known to, and whether the
// kernel says that it is kept in step.
func (m Machine) Setter(ctx context.Context) (who string, synced bool) {
	state, err := unix.Adjtimex(&unix.Timex{})
	synced = err == nil && state != timeError
	if m.Peers != nil {
		ctx, cancel := context.WithTimeout(ctx, peersTime)
		defer cancel()
		const timesync = "org.freedesktop.timesync1"
		if server, ok := ask[string](ctx, m.Peers, timesync, "/org/freedesktop/timesync1", timesync+".Manager", "ServerName"); ok {
			if server == "" {
				return "systemd-timesyncd", synced
			}
			return fmt.Sprintf("systemd-timesyncd, by %.100s,", server), synced
		}
	}
	if synced {
		return "a time service", true
	}
	return "", false
}

func ask[T any](ctx context.Context, p Peers, name, path, face, property string) (T, bool) {
	v, ok := p.AskProperty(ctx, name, path, face, property)
	t, is := v.(T)
	return t, ok && is
}
