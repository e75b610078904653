// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

// check is a row of `accountlockctl doctor --json`.
type check struct {
	Check, Result, Message string
	Details                map[string]any
}

func (c check) detail(key string) string {
	s, _ := c.Details[key].(string)
	return s
}

// doctor returns the rows by their names.
func doctor(t *testing.T, c *boot.Container) map[string]check {
	t.Helper()
	out, _ := c.Sh("accountlockctl doctor --json") // 1 where a check failed
	var all struct{ Checks []check }
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rows := map[string]check{}
	for _, row := range all.Checks {
		rows[row.Check] = row
	}
	return rows
}

// apart is a locked device with a network of its own, and off.
func apart(t *testing.T) *boot.Container {
	t.Helper()
	c := locked(t)
	c.Apart()
	return c
}

// awaitVerdict asks until the account service's row has that cause; empty is none.
func awaitVerdict(t *testing.T, c *boot.Container, cause string) map[string]check {
	t.Helper()
	var rows map[string]check
	c.Until("the verdict "+cause, 2*time.Minute, func() bool {
		rows = doctor(t, c)
		service := rows["account service"]
		if service.Result == "skipped" { // too many questions
			time.Sleep(time.Second)
		}
		return service.Result != "skipped" && service.detail("cause") == cause
	})
	return rows
}

func TestTheRealNetworkManagerIsHeardAndTheScreenMayChooseANetworkThroughIt(t *testing.T) {
	t.Parallel()
	c := apart(t)
	c.Enable("NetworkManager.service")
	boot.WriteFile(t, c.Root("etc/NetworkManager/system-connections/wired.nmconnection"), `[connection]
id=wired
type=ethernet
interface-name=eth0
[ipv4]
method=manual
address1=`+boot.Address+`,`+boot.Gateway+`
[ipv6]
method=disabled
`, 0o600)
	boot.WriteFile(t, c.Root("etc/NetworkManager/conf.d/test.conf"),
		"[connectivity]\nuri=http://"+boot.Gateway+":8080/check\nresponse=yes\ninterval=10\n", 0o644)
	// What NetworkManager asks whether somebody is in between; our own questions go
	// to other places, where nobody answers.
	var portal atomic.Bool
	l, err := c.Service.Listen(boot.Gateway + ":8080")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if portal.Load() {
			http.Redirect(w, r, "http://login.example/", http.StatusFound)
			return
		}
		_, _ = w.Write([]byte("yes"))
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })

	c.Boot()
	settles(c, "accountlock-locked.target")
	boot.NobodyGetsIn(t, c, "NetworkManager.service", "NetworkManager-dispatcher.service", "systemd-hostnamed.service")
	c.Until("NetworkManager's word that all is well", 2*time.Minute, func() bool {
		return doctor(t, c)["network interface"].detail("NetworkManager Connectivity") == "full"
	})
	rows := awaitVerdict(t, c, "")
	if got := rows["account service"]; got.Result != "ok" {
		t.Errorf("got %+v", got)
	}

	// The screen, which has no session, may look for networks and join one, and nothing
	// else. Its list is the real one: there is no radio.
	rights := c.Must("runuser -u accountlock-screen -- nmcli --terse --fields PERMISSION,VALUE general permissions")
	for line := range strings.Lines(rights) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		name = strings.TrimPrefix(name, "org.freedesktop.NetworkManager.")
		may := name == "enable-disable-wifi" || name == "network-control" || name == "settings.modify.system" || name == "wifi.scan"
		if may != (value == "yes") {
			t.Errorf("the screen's user: %s is %s", name, value)
		}
	}
	if n := strings.Count(rights, ":yes"); n != 4 {
		t.Errorf("the screen's user has %d rights:\n%s", n, rights)
	}
	at := c.Console.Await(t, 0, "Choose a network", 30*time.Second)
	number := menuNumber(t, c.Console.Text()[:at])
	time.Sleep(300 * time.Millisecond)
	c.Console.Type(t, number+"\r")
	c.Console.Await(t, at, "No wireless network is in reach.", 30*time.Second)

	// A login page, by NetworkManager's word alone.
	portal.Store(true)
	c.Service.Stop(t)
	c.Must("nmcli networking connectivity check")
	rows = awaitVerdict(t, c, "login-page")
	if got := rows["network interface"].detail("NetworkManager Connectivity"); got != "portal" {
		t.Errorf("NetworkManager says %q", got)
	}

	// Switched off, and on again: the device comes back by itself.
	portal.Store(false)
	c.Must("nmcli networking off")
	rows = awaitVerdict(t, c, "network-off")
	if got := rows["account service"]; got.detail("error") != "NetworkUnavailable" || !strings.Contains(got.detail("remedy"), "Switch it on") {
		t.Errorf("got %+v", got)
	}
	c.Service.Start(t)
	c.Must("nmcli networking on")
	c.Until("the device to find the service again by itself", time.Minute, func() bool {
		out, _ := c.Sh("busctl get-property org.accountlock.AccountLock1 /org/accountlock/AccountLock1 org.accountlock.AccountLock1.Manager Connectivity")
		return out == "s \"online\"\n"
	})
	if got := says(c); got != "locked factory-reset" {
		t.Errorf("the gate says %q", got)
	}
}

// menuNumber is what stands before the last line of a menu.
func menuNumber(t *testing.T, text string) string {
	t.Helper()
	line := text[strings.LastIndexByte(text, '\n')+1:]
	words := strings.Fields(line)
	if len(words) == 0 {
		t.Fatalf("no number in %q", line)
	}
	for _, w := range words {
		if len(w) == 1 && w[0] >= '1' && w[0] <= '9' {
			return w
		}
	}
	t.Fatalf("no number in %q", line)
	return ""
}

// A reset of systemd's own kind leaves no /etc: PID 1 enables the network by the presets,
// after our generator has looked for what is enabled.
func TestWhereAResetTakesEtcAlongALockedDeviceHasTheNetworkThatThePresetsEnable(t *testing.T) {
	t.Parallel()
	c := apart(t)
	boot.WriteFile(t, c.Root("usr/lib/systemd/system-preset/00-test.preset"), "enable systemd-networkd.service\ndisable *\n", 0o644)
	boot.WriteFile(t, c.Root("usr/lib/systemd/network/eth0.network"), "[Match]\nName=eth0\n[Network]\nAddress="+boot.Address+"\nGateway="+boot.Gateway+"\n", 0o644)
	remove(t, c, "etc/machine-id")
	c.Link("/dev/null", "etc/systemd/system/systemd-firstboot.service") // docs/gate.md
	c.Boot()
	shut(t, c, "factory-reset")
	c.Must("systemctl is-active systemd-networkd.service")
	unlock(t, c.Console, c.Service.Demo.Person)
	settles(c, "graphical.target")
}

func TestTheRealNetworkdResolvedAndTimesyncdAreHeard(t *testing.T) {
	t.Parallel()
	c := apart(t)
	c.Enable("systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service")
	boot.WriteFile(t, c.Root("etc/systemd/network/eth0.network"), `[Match]
Name=eth0
[Network]
Address=`+boot.Address+`
Gateway=`+boot.Gateway+`
DNS=192.0.2.10
LinkLocalAddressing=no
IPv6AcceptRA=no
`, 0o644)
	c.Link("/run/systemd/resolve/stub-resolv.conf", "etc/resolv.conf")
	// In a container the kernel lets nobody set the clock, and timesyncd would not
	// start; what counts here is what it says.
	boot.WriteFile(t, c.Root("etc/systemd/system/systemd-timesyncd.service.d/test.conf"),
		"[Unit]\nConditionCapability=\nConditionVirtualization=\n[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n", 0o644)
	boot.WriteFile(t, c.Root("etc/systemd/timesyncd.conf.d/test.conf"), "[Time]\nNTP="+boot.Gateway+"\n", 0o644)

	c.Boot()
	settles(c, "accountlock-locked.target")
	boot.NobodyGetsIn(t, c)
	rows := awaitVerdict(t, c, "")
	if got := rows["account service"]; got.Result != "ok" {
		t.Errorf("got %+v", got)
	}
	if got := rows["network interface"].detail("systemd-networkd OperationalState"); got != "routable" {
		t.Errorf("networkd says %q", got)
	}
	if got := rows["name servers"].detail("server-0"); got != "192.0.2.10" {
		t.Errorf("behind the stub is %q: %+v", got, rows["name servers"])
	}
	c.Until("timesyncd to ask a server", time.Minute, func() bool {
		return strings.Contains(doctor(t, c)["clock"].detail("set-by"), "systemd-timesyncd, by "+boot.Gateway)
	})

	// Nothing depends on them.
	c.Must("systemctl stop systemd-resolved systemd-timesyncd")
	rows = awaitVerdict(t, c, "")
	if got := rows["clock"].detail("set-by"); strings.Contains(got, "timesyncd") {
		t.Errorf("the clock is set by %q", got)
	}
	for _, unit := range []string{"systemd-resolved", "systemd-timesyncd"} {
		if out, _ := c.Sh("systemctl is-active " + unit); out != "inactive\n" {
			t.Errorf("%s was started by being asked: %s", unit, out)
		}
	}
	// And without their network there is no route.
	c.Must("systemctl stop systemd-networkd.socket systemd-networkd.service; ip route flush default")
	rows = awaitVerdict(t, c, "no-route")
	if got := rows["network route"]; got.Result != "failed" {
		t.Errorf("got %+v", got)
	}
	if got := says(c); got != "locked factory-reset" {
		t.Errorf("the gate says %q", got)
	}
}
