// SPDX-License-Identifier: Apache-2.0

package netcheck_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/netcheck"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peers is a bus on which some services run.
type peers map[string]any

func (p peers) AskProperty(_ context.Context, name, _, _, property string) (any, bool) {
	v, ok := p[name+" "+property]
	return v, ok
}

func machine(t *testing.T, resolvConf string, p peers) netcheck.Machine {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/resolv.conf"), []byte(resolvConf), 0o600); err != nil {
		t.Fatal(err)
	}
	return netcheck.Machine{Root: root, Peers: p}
}

func TestNameServersComeFromResolvConfAndSystemdResolved(t *testing.T) {
	stub := "nameserver 127.0.0.53\noptions edns0\n"
	row := func(b ...byte) []any { return []any{int32(2), int32(2), b} }
	for _, c := range []struct {
		name, conf string
		peers      peers
		want       []string
	}{
		{"none", "# nothing\nsearch example.org\n", nil, nil},
		{"two, and what is no address", "nameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver nonsense\nnameserver\n", nil, []string{"192.0.2.1", "fe80::1%eth0"}},
		{"at most eight", strings.Repeat("nameserver 192.0.2.1\n", 100), nil, slices.Repeat([]string{"192.0.2.1"}, 8)},
		{"the stub of a resolved that nobody can ask", stub, nil, []string{"127.0.0.53"}},
		{"the servers behind the stub", stub, peers{"org.freedesktop.resolve1 DNS": [][]any{row(192, 0, 2, 7), row(1, 2)}}, []string{"192.0.2.7"}},
		{"a stub with nobody behind it", stub, peers{"org.freedesktop.resolve1 DNS": [][]any{}}, nil},
		{"a resolved beside other servers", "nameserver 192.0.2.1\n", peers{"org.freedesktop.resolve1 DNS": [][]any{row(192, 0, 2, 7)}}, []string{"192.0.2.1"}},
		{"an answer of another type", stub, peers{"org.freedesktop.resolve1 DNS": "hello"}, []string{"127.0.0.53"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, a := range machine(t, c.conf, c.peers).Network(t.Context()).NameServers {
				got = append(got, a.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestTheServicesOnTheBusAreHeard(t *testing.T) {
	n := machine(t, "", peers{
		"org.freedesktop.NetworkManager Connectivity":      uint32(2),
		"org.freedesktop.NetworkManager WirelessEnabled":   false,
		"org.freedesktop.NetworkManager NetworkingEnabled": false,
		"org.freedesktop.network1 OperationalState":        "routable",
	}).Network(t.Context())
	if !n.ManagerPortal || n.Switched != "networking" || n.Managers["NetworkManager Connectivity"] != "portal" || n.Managers["systemd-networkd OperationalState"] != "routable" {
		t.Errorf("got %+v", n)
	}
	who, _ := machine(t, "", peers{"org.freedesktop.timesync1 ServerName": "ntp.example"}).Setter(t.Context())
	if !strings.Contains(who, "systemd-timesyncd") || !strings.Contains(who, "ntp.example") {
		t.Errorf("got %q", who)
	}
	if n := machine(t, "", peers{}).Network(t.Context()); n.ManagerPortal || n.Switched != "" || len(n.Managers) != 0 {
		t.Errorf("without anybody: %+v", n)
	}
}

func TestTheKernelIsAsked(t *testing.T) {
	n := machine(t, "", nil).Network(t.Context())
	if !n.Known {
		t.Fatal("the kernel says nothing")
	}
	for _, i := range n.Interfaces {
		if i.Name == "lo" {
			t.Error("the loopback is no network")
		}
		if slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr().IsLinkLocalUnicast() }) {
			t.Errorf("%s has an address of its link alone", i.Name)
		}
	}
	_ = diagnose.Local(n)
}

func TestAWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	changed, err := netcheck.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case _, open := <-changed:
		if open {
			t.Fatal("a change was told")
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
}
