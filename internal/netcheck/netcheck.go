// SPDX-License-Identifier: Apache-2.0

// Package netcheck looks at the machine's own network and clock: what the kernel
// says of interfaces, addresses and routes (rtnetlink(7)), resolv.conf(5), whether
// the clock is kept in step (adjtimex(2)), and what NetworkManager,
// systemd-networkd, systemd-resolved and systemd-timesyncd say where they run. It
// sends nothing to any network.
//
// It must not judge what it finds: internal/diagnose does. Nothing here depends on
// any of those services, and none is started by being asked.
package netcheck

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/diagnose"
)

// Machine is the machine that the program runs on.
type Machine struct {
	// Root is where its files are; empty is /.
	Root string
	// Peers asks other services; nil asks none.
	Peers Peers
}

// Bounds on what is read.
const (
	maxInterfaces  = 64
	maxAddresses   = 16
	maxResolvConf  = 64 << 10
	maxNameServers = 8
	// peersTime bounds all questions to other services together.
	peersTime = 500 * time.Millisecond
)

// Network returns what the network looks like now, within a second.
func (m Machine) Network(ctx context.Context) diagnose.Network {
	n := kernel(m.root())
	n.NameServers = nameServers(m.path("etc/resolv.conf"))
	if m.Peers != nil {
		ctx, cancel := context.WithTimeout(ctx, peersTime)
		defer cancel()
		askManagers(ctx, m.Peers, &n)
	}
	return n
}

func (m Machine) root() string {
	if m.Root == "" {
		return "/"
	}
	return m.Root
}

func (m Machine) path(name string) string { return filepath.Join(m.root(), name) }

// kernel asks the kernel. Where it may not be asked, nothing is known.
func kernel(root string) diagnose.Network {
	var n diagnose.Network
	all, err := net.Interfaces()
	if err != nil {
		return n
	}
	usable := map[uint32]family{}
	var hardware, other []diagnose.Interface
	for _, i := range all[:min(len(all), maxInterfaces)] {
		if i.Flags&net.FlagLoopback != 0 {
			continue
		}
		found := diagnose.Interface{
			Name: i.Name, Up: i.Flags&net.FlagUp != 0, Carrier: i.Flags&net.FlagRunning != 0, Addresses: addresses(i),
		}
		if found.Up && found.Carrier {
			usable[uint32(i.Index)] = families(found.Addresses) //nolint:gosec // the kernel's own numbers, from 1 up
		}
		// What is made of software (bridges for containers and the like) connects
		// a machine to nothing while there is hardware that could.
		if _, err := os.Stat(filepath.Join(root, "sys/class/net", i.Name, "device")); err == nil {
			hardware = append(hardware, found)
		} else {
			other = append(other, found)
		}
	}
	if n.Interfaces = hardware; len(hardware) == 0 {
		n.Interfaces = other
	}
	if n.Route4, n.Route6, err = defaultRoutes(usable); err != nil {
		return diagnose.Network{}
	}
	n.Known = true
	return n
}

// family says of which kinds an interface's addresses are.
type family struct{ v4, v6 bool }

func families(in []netip.Prefix) (f family) {
	for _, p := range in {
		if p.Addr().Is4() {
			f.v4 = true
		} else {
			f.v6 = true
		}
	}
	return f
}

func addresses(i net.Interface) []netip.Prefix {
	list, err := i.Addrs()
	if err != nil {
		return nil
	}
	var out []netip.Prefix
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !p.Addr().IsLinkLocalUnicast() && len(out) < maxAddresses {
			out = append(out, p)
		}
	}
	return out
}

// defaultRoutes reports whether there is a default route, by rtnetlink(7), through an
// interface that is usable for it.
func defaultRoutes(usable map[uint32]family) (v4, v6 bool, err error) {
	raw, err := syscall.NetlinkRIB(syscall.RTM_GETROUTE, syscall.AF_UNSPEC)
	if err != nil {
		return false, false, err
	}
	messages, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return false, false, err
	}
	for _, msg := range messages {
		if msg.Header.Type != syscall.RTM_NEWROUTE || len(msg.Data) < syscall.SizeofRtMsg {
			continue
		}
		r := (*syscall.RtMsg)(unsafe.Pointer(&msg.Data[0])) //nolint:gosec // the length was checked; the kernel's own layout
		if r.Dst_len != 0 || r.Type != syscall.RTN_UNICAST || r.Flags&(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN) != 0 {
			continue
		}
		through := outOf(&msg, usable)
		v4 = v4 || r.Family == syscall.AF_INET && through.v4
		v6 = v6 || r.Family == syscall.AF_INET6 && through.v6
	}
	return v4, v6, nil
}

// outOf returns what the interface of a route can carry; a route over several is
// taken as it is.
func outOf(msg *syscall.NetlinkMessage, usable map[uint32]family) family {
	attrs, err := syscall.ParseNetlinkRouteAttr(msg)
	if err != nil {
		return family{}
	}
	for _, a := range attrs {
		if a.Attr.Type == syscall.RTA_OIF && len(a.Value) >= 4 {
			return usable[binary.NativeEndian.Uint32(a.Value)]
		}
	}
	return family{v4: true, v6: true}
}

// nameServers reads resolv.conf(5).
func nameServers(path string) []netip.Addr {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []netip.Addr
	lines := bufio.NewScanner(io.LimitReader(f, maxResolvConf))
	for lines.Scan() && len(out) < maxNameServers {
		w := strings.Fields(lines.Text())
		if len(w) < 2 || w[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(w[1]); err == nil {
			out = append(out, a)
		}
	}
	return out
}
