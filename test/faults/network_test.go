// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/net/dns/dnsmessage"

	accountlock "github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/diagnose"
)

// netRow is one fault of the network.
type netRow struct {
	name  string
	fault func()
	undo  func()
	want  diagnose.Cause
	says  string
	row   string // of Diagnose that fails besides
}

func (l *lab) run(t *testing.T, rows []netRow) {
	t.Helper()
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			l.well() // and cut what was connected
			l.expect(t, row{name: c.name, fault: func(*rig) { c.fault() }, want: c.want, says: c.says})
			rows, took := l.diagnose()
			for range looks(c.want) {
				if rows["account service"].detail("cause") != string(c.want) {
					rows, took = l.diagnose()
				}
			}
			if got := rows["account service"]; got.detail("cause") != string(c.want) || took > inTime {
				t.Errorf("Diagnose says %+v after %v", got, took)
			}
			if c.want == diagnose.LoginPage && diagnose.Page(rows["account service"].detail("url")) == "" {
				t.Errorf("no address to open: %+v", rows["account service"])
			}
			for _, name := range []string{"network interface", "network address", "network route"} {
				if failed := rows[name].Result == "failed"; failed != (c.row == name) {
					t.Errorf("%s: %+v", name, rows[name])
				}
			}
			if c.undo != nil {
				c.undo()
			}
			l.well()
		})
	}
	l.unlock()
}

func (l *lab) stranger() {
	m := l.honest()
	m.tls.Certificates = []tls.Certificate{newAuthority(l.T).leaf(l.T, nil)}
	l.front.become(m)
}

func TestNameServersAreToldAsWhatTheyAre(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.run(t, []netRow{
		{name: "name servers that fail", fault: func() { l.answer(dnsmessage.RCodeServerFailure) }, want: diagnose.NamesFail},
		{name: "name servers that refuse", fault: func() { l.answer(dnsmessage.RCodeRefused) }, want: diagnose.NamesFail},
		{name: "name servers that know no such name", fault: func() { l.answer(dnsmessage.RCodeNameError) }, want: diagnose.NameUnknown},
		{name: "name servers that know no address", fault: func() { l.answer(dnsmessage.RCodeSuccess) }, want: diagnose.NameUnknown},
		{name: "name servers that lead nowhere", fault: func() { l.answer(dnsmessage.RCodeSuccess, "0.0.0.0") }, want: diagnose.NameBlocked},
		{name: "name servers that lead to the device itself", fault: func() { l.answer(dnsmessage.RCodeSuccess, "127.0.0.1") }, want: diagnose.NameBlocked},
		{name: "name servers that lead to a stranger", fault: l.stranger, want: diagnose.CertAuthority},
		{name: "name servers that do not answer", fault: func() { l.names.Store(nil) }, undo: func() {
			l.well()
			l.StopDaemon() // with the questions that it still has under way
			l.StartDaemon()
		}, want: diagnose.NamesSilent},
	})
}

func TestAServiceThatIsOutOfReachIsToldAsWhatItIs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.run(t, []netRow{
		{name: "a service that is not running", fault: func() { l.answer(dnsmessage.RCodeSuccess, worldLink) }, want: diagnose.ServiceRefused},
		{name: "a service in a black hole", fault: func() { l.answer(dnsmessage.RCodeSuccess, blackHole) }, want: diagnose.ServiceSilent},
		{name: "a service in a black hole of IPv6 alone", fault: func() { l.answer(dnsmessage.RCodeSuccess, blackHole6) }, want: diagnose.ServiceSilent},
		{name: "an address that nobody has", fault: func() { l.answer(dnsmessage.RCodeSuccess, nobodyOnLink) }, want: diagnose.NoWay},
	})
}

func TestALoginPageIsFoundAndItsAddressTold(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	redirect := http.RedirectHandler("http://login.example/hotel?room=7", http.StatusFound)
	page := always(200, "text/html; charset=utf-8", "<h1>Welcome")
	l.run(t, []netRow{
		{name: "a login page by redirect", fault: func() { l.page(redirect); l.answer(dnsmessage.RCodeSuccess, worldLink) }, want: diagnose.LoginPage, says: "http://login.example/hotel?room=7"},
		{name: "a login page by redirect, that swallows TLS", fault: func() { l.page(redirect); l.front.become(mode{raw: held}) }, want: diagnose.LoginPage, says: "http://login.example/hotel?room=7"},
		{name: "a login page by redirect, with a certificate of its own", fault: func() { l.page(redirect); l.stranger() }, want: diagnose.LoginPage, says: "http://login.example/hotel?room=7"},
		{name: "a login page that answers 200 to all, with a certificate of its own", fault: func() { l.page(page); l.stranger() }, want: diagnose.LoginPage, says: "http://" + hostName},
		{name: "a login page that answers 200 for everybody", fault: func() {
			l.ip(l.worldNS, "addr add 192.0.2.1/32 dev lo")
			l.page(page)
			l.answer(dnsmessage.RCodeSuccess, worldLink)
		}, undo: func() { l.ip(l.worldNS, "addr del 192.0.2.1/32 dev lo") }, want: diagnose.LoginPage},
		{name: "a login page to which every name leads", fault: func() { l.page(page); l.lie(worldLink) }, want: diagnose.LoginPage},
		{name: "a site beside a service that is down is no login page", fault: func() { l.page(page); l.answer(dnsmessage.RCodeSuccess, worldLink) }, want: diagnose.ServiceRefused},
		{name: "a proxy", fault: func() {
			l.page(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Proxy-Authenticate", "Basic")
				w.WriteHeader(http.StatusProxyAuthRequired)
			}))
			l.answer(dnsmessage.RCodeSuccess, worldLink)
		}, want: diagnose.ProxyBetween},
	})
}

func TestWhatTheMachinesNetworkLacksIsToldAsWhatItIs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	again := func() {
		l.device("link set eth0 up", "addr flush dev eth0")
		_ = exec.Command("nsenter", "-t", pid(l.deviceNS), "-n", "ip", "-6", "route", "del", "default").Run()
		l.addresses()
	}
	l.run(t, []netRow{
		{name: "no default route", fault: func() { l.device("route del default", "-6 route del default") }, undo: again, want: diagnose.NoRoute, row: "network route"},
		{name: "no address", fault: func() { l.device("addr flush dev eth0") }, undo: again, want: diagnose.NoAddress, row: "network address"},
		{name: "a pulled cable", fault: func() { l.ip(l.worldNS, "link set net0 down") },
			undo: func() { l.ip(l.worldNS, "link set net0 up"); l.worldLink6Again(); again() }, want: diagnose.NoCarrier, row: "network interface"},
		{name: "an interface that is down", fault: func() { l.device("link set eth0 down") }, undo: again, want: diagnose.NoCarrier, row: "network interface"},
		{name: "no interface", fault: func() { l.device("link set eth0 down", "link set eth0 netns "+pid(l.worldNS)) },
			undo: func() { l.ip(l.worldNS, "link set eth0 netns "+pid(l.deviceNS)); again() }, want: diagnose.NoInterface, row: "network interface"},
		{name: "no name server", fault: func() {
			l.StopDaemon()
			must(t, os.WriteFile(l.Path("resolv.conf"), []byte("# none\n"), 0o600))
			l.StartDaemon()
		}, undo: func() {
			l.StopDaemon()
			l.resolvConf()
			l.StartDaemon()
		}, want: diagnose.NoNameServer},
	})
}

// dialTime is what the client gives an address that does not answer (accountapi/client).
const dialTime = 4 * time.Second

func TestABlackHoleOfIPv6CostsLittle(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.answer(dnsmessage.RCodeSuccess, blackHole6, serviceAddr)
	// A busy machine may take as long for the rest now and then; who waits takes it each time.
	for range 3 {
		l.front.become(l.honest()) // no connection from before
		took := l.unlock()
		measured("unlock past a black hole of IPv6", "", took)
		if took <= dialTime {
			return
		}
		t.Logf("it took %v: a whole attempt at the address that does not answer", took)
		l.Reset()
	}
	t.Error("it takes as long each time")
}

func TestConnectivityComesBackByItself(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	changed := make(chan *dbus.Signal, 64)
	l.Conn.Signal(changed)
	must(t, l.Conn.AddMatchSignal(dbus.WithMatchInterface("org.freedesktop.DBus.Properties"), dbus.WithMatchMember("PropertiesChanged")))
	await := func(want string) time.Duration {
		t.Helper()
		start := time.Now()
		for end := time.After(2 * time.Minute); ; {
			select {
			case s := <-changed:
				face, _ := s.Body[0].(string)
				values, _ := s.Body[1].(map[string]dbus.Variant)
				if v, ok := values["Connectivity"]; ok && face == accountlock.ManagerFace && v.Value() == want {
					return time.Since(start)
				}
			case <-end:
				t.Fatalf("no signal that Connectivity is %s", want)
			}
		}
	}
	must(t, l.Call("CheckIn").Err) // the first answer may have come too late for the daemon's start
	if got := l.get("Connectivity"); got != "online" {
		t.Fatalf("at first it is %s", got)
	}
	l.front.become(l.front.now()) // a connection from before would hide it
	l.ip(l.worldNS, "link set net0 down")
	measured("the signal that the network is gone", "", await("offline"))
	l.ip(l.worldNS, "link set net0 up")
	measured("the signal that the network is back", "", await("online"))
	l.wantState("locked")
	// The service goes and comes; the network stays.
	l.front.become(mode{raw: func(c net.Conn) {}})
	if err := l.Manager().Call(accountlock.ManagerFace+".CheckIn", 0).Err; err == nil {
		t.Fatal("a check-in without a service went well")
	}
	await("service-unreachable")
	l.well()
	await("online")
}
