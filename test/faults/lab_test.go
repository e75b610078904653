// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/test/bus"
)

// The addresses of the lab. The world has all but the device's, forwards nothing and
// drops without a word what is not its own: a black hole.
const (
	worldLink    = "10.77.0.1"
	deviceLink   = "10.77.0.10/24"
	worldLink6   = "2001:db8:77::1"
	deviceLink6  = "2001:db8:77::10/64"
	serviceAddr  = "203.0.113.7"
	blackHole    = "198.51.100.9"
	blackHole6   = "2001:db8:78::9"
	nobodyOnLink = "10.77.0.99"
)

// lab is a rig in network namespaces: the device in one, everything else in
// another, a cable between them.
type lab struct {
	*rig

	deviceNS, worldNS int // process IDs
	// names answers a question for addresses; nil is silence.
	names atomic.Pointer[func(name string) (dnsmessage.RCode, []netip.Addr)]
	// plain answers on port 80.
	plain atomic.Pointer[http.Handler]
}

func newLab(t *testing.T) *lab {
	t.Helper()
	bus.NeedRoot(t, "network namespaces")
	l := &lab{rig: prepare(t)}
	l.deviceNS, l.worldNS = holder(t), holder(t)
	l.ip(l.worldNS, "link set lo up", "addr add "+serviceAddr+"/32 dev lo",
		"link add net0 type veth peer name eth0 netns "+pid(l.deviceNS),
		"addr add "+worldLink+"/24 dev net0", "link set net0 up")
	l.worldLink6Again()
	l.ip(l.deviceNS, "link set lo up", "link set eth0 up")
	l.addresses()
	l.resolvConf()
	l.serveNames()
	l.servePlain()
	l.front = newFront(t, l.listen("tcp", serviceAddr+":443"), l.honest())
	l.url = "https://" + hostName
	l.Launch = func(c *exec.Cmd) *bus.Process {
		// A view of /sys as the device's network has it, and its own resolv.conf.
		enter := exec.Command("nsenter", append([]string{"-t", pid(l.deviceNS), "-n", "unshare", "-m", "sh", "-ec",
			`mount -t sysfs sysfs /sys; mount --bind "$1" /etc/resolv.conf; shift; exec "$@"`, "sh", l.Path("resolv.conf"), c.Path}, c.Args[1:]...)...)
		return l.Bus.StartProcess(t, enter)
	}
	l.well()
	l.writeConfig()
	l.StartDaemon()
	l.link()
	return l
}

// holder returns the process ID of what keeps a new network namespace alive.
func holder(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL} // even if the test is killed
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// ip runs commands of ip(8) in a namespace.
func (l *lab) ip(ns int, commands ...string) {
	l.T.Helper()
	for _, c := range commands {
		out, err := exec.Command("nsenter", append([]string{"-t", pid(ns), "-n", "ip"}, strings.Fields(c)...)...).CombinedOutput()
		if err != nil {
			l.T.Fatalf("ip %s: %v: %s", c, err, out)
		}
	}
}

// device runs commands of ip(8) on the device.
func (l *lab) device(commands ...string) { l.T.Helper(); l.ip(l.deviceNS, commands...) }

// addresses gives the device what a network's DHCP and router do.
func (l *lab) addresses() {
	l.T.Helper()
	l.device("addr add "+deviceLink+" dev eth0", "route add default via "+worldLink,
		"addr add "+deviceLink6+" dev eth0 nodad", "-6 route add default via "+worldLink6)
}

// worldLink6Again gives the world's end what it loses when it is switched off.
func (l *lab) worldLink6Again() {
	l.T.Helper()
	l.ip(l.worldNS, "addr replace "+worldLink6+"/64 dev net0 nodad", "-6 route replace blackhole 2001:db8:78::/64")
}

func (l *lab) resolvConf() {
	l.T.Helper()
	// In place: it is mounted where the device looks.
	must(l.T, os.WriteFile(l.Path("resolv.conf"), []byte("nameserver "+worldLink+"\noptions timeout:2 attempts:1\n"), 0o600))
}

// well makes the network whole again.
func (l *lab) well() {
	l.answer(dnsmessage.RCodeSuccess, serviceAddr)
	l.page(nil)
	l.front.become(l.honest())
}

// answer has the name server answer for the account service's name.
func (l *lab) answer(code dnsmessage.RCode, addresses ...string) {
	all := parse(addresses)
	f := func(name string) (dnsmessage.RCode, []netip.Addr) {
		if name != hostName+"." {
			return dnsmessage.RCodeNameError, nil
		}
		return code, all
	}
	l.names.Store(&f)
}

// lie has the name server answer any name alike.
func (l *lab) lie(addresses ...string) {
	all := parse(addresses)
	f := func(string) (dnsmessage.RCode, []netip.Addr) { return dnsmessage.RCodeSuccess, all }
	l.names.Store(&f)
}

func parse(in []string) []netip.Addr {
	var out []netip.Addr
	for _, a := range in {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// page sets what answers on port 80 of everything; nil hangs up.
func (l *lab) page(h http.Handler) {
	if h == nil {
		h = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	}
	l.plain.Store(&h)
}

// in runs do with the thread in the world's network namespace: sockets made there
// stay there. The thread comes back: what it has started dies with it.
func (l *lab) in(do func() error) {
	l.T.Helper()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	must(l.T, err)
	defer home.Close()
	world, err := os.Open(filepath.Join("/proc", pid(l.worldNS), "ns/net"))
	must(l.T, err)
	defer world.Close()
	must(l.T, unix.Setns(int(world.Fd()), unix.CLONE_NEWNET))
	err = do()
	must(l.T, unix.Setns(int(home.Fd()), unix.CLONE_NEWNET))
	runtime.UnlockOSThread()
	must(l.T, err)
}

func (l *lab) listen(network, address string) net.Listener {
	l.T.Helper()
	var out net.Listener
	l.in(func() (err error) {
		out, err = net.Listen(network, address)
		return err
	})
	return out
}

func (l *lab) servePlain() {
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*l.plain.Load()).ServeHTTP(w, r) })}
	on := l.listen("tcp4", "0.0.0.0:80")
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(on) }()
	l.T.(*testing.T).Cleanup(func() { _ = s.Shutdown(context.Background()); <-done })
}

func (l *lab) serveNames() {
	var conn net.PacketConn
	l.in(func() (err error) {
		conn, err = net.ListenPacket("udp4", worldLink+":53")
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<10)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if names := l.names.Load(); names != nil {
				if out, err := reply(buf[:n], *names); err == nil {
					_, _ = conn.WriteTo(out, from)
				}
			}
		}
	}()
	l.T.(*testing.T).Cleanup(func() { conn.Close(); <-done })
}

// reply answers one question about addresses.
func reply(raw []byte, names func(string) (dnsmessage.RCode, []netip.Addr)) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(raw)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	code, addresses := names(q.Name.String())
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true, RecursionDesired: true, RCode: code})
	_ = b.StartQuestions()
	_ = b.Question(q)
	_ = b.StartAnswers()
	for _, a := range addresses {
		rh := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1}
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			_ = b.AResource(rh, dnsmessage.AResource{A: a.As4()})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			_ = b.AAAAResource(rh, dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	return b.Finish()
}
