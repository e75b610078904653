// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/test/browser"
	"github.com/accountlock/accountlock/test/bus"
)

const (
	nmName = "org.freedesktop.NetworkManager"
	nmPath = "/org/freedesktop/NetworkManager"
	mock   = "org.freedesktop.DBus.Mock"
)

// wireless is NetworkManager's interface as python-dbusmock has it, with access
// points in reach: a radio is what no test machine has. The real NetworkManager, with
// its rights, is in test/boot.
type wireless struct {
	r   *rig
	obj dbus.BusObject
}

// The passphrase of the network at home.
const passphrase = "correct battery staple"

func withNetworkManager(*rig) []bus.Option { return []bus.Option{bus.WithNames(nmName)} }

func (r *rig) startWireless() *wireless {
	r.T.Helper()
	if _, err := os.Stat("/usr/lib/python3/dist-packages/dbusmock"); err != nil {
		r.T.Skip("python-dbusmock is not installed: test/deps.sh test")
	}
	r.Bus.StartProcess(r.T, exec.Command("/usr/bin/python3", "-m", "dbusmock", "--system", "--template", "networkmanager", "--logfile", "/dev/null"))
	r.Bus.AwaitName(r.T, nmName)
	w := &wireless{r, r.Conn.Object(nmName, nmPath)}
	var device string
	w.call("AddWiFiDevice", &device, "radio", "wlan0", uint32(30))
	for i, ap := range []struct {
		ssid     string
		strength byte
		security uint32
	}{
		{"Home", 80, 0x100}, {"Home", 40, 0x100}, {"Café", 60, 0}, {"Old\x1b[2J\u202eone", 50, 0x1}, {"Company", 30, 0x200},
	} {
		w.call("AddAccessPoint", nil, device, "ap"+string(rune('0'+i)), ap.ssid, "00:11:22:33:44:55", uint32(2), uint32(2400), uint32(5400), ap.strength, ap.security)
	}
	// With a wrong passphrase the connection does not stand.
	w.call("AddMethod", nil, nmName, "AddAndActivateConnection", "a{sa{sv}}oo", "oo", `
ret = self.add_and_activate_connection(self, args[0], args[1], args[2])
security = args[0].get('802-11-wireless-security')
if security is not None and security['psk'] != '`+passphrase+`':
    objects[ret[1]].UpdateProperties('org.freedesktop.NetworkManager.Connection.Active', {'State': dbus.UInt32(4)})
`)
	return w
}

func (w *wireless) call(method string, out any, args ...any) {
	w.r.T.Helper()
	call := w.obj.Call(mock+"."+method, 0, args...)
	if call.Err != nil {
		w.r.T.Fatalf("%s: %v", method, call.Err)
	}
	if out != nil {
		if err := call.Store(out); err != nil {
			w.r.T.Fatal(err)
		}
	}
}

// saved is how many networks are remembered.
func (w *wireless) saved() int {
	w.r.T.Helper()
	var list []dbus.ObjectPath
	if err := w.r.Conn.Object(nmName, nmPath+"/Settings").Call(nmName+".Settings.ListConnections", 0).Store(&list); err != nil {
		w.r.T.Fatal(err)
	}
	return len(list)
}

// joined is what NetworkManager was asked for last: key management and passphrase.
func (w *wireless) joined() (keys, pass string) {
	w.r.T.Helper()
	var calls []struct {
		At   uint64
		Args []dbus.Variant
	}
	w.call("GetMethodCalls", &calls, "AddAndActivateConnection")
	if len(calls) == 0 {
		return "", ""
	}
	settings, _ := calls[len(calls)-1].Args[0].Value().(map[string]map[string]dbus.Variant)
	keys, _ = settings["802-11-wireless-security"]["key-mgmt"].Value().(string)
	pass, _ = settings["802-11-wireless-security"]["psk"].Value().(string)
	return keys, pass
}

// choose presses the number that stands before a choice.
func (tm *terminal) choose(label string, enter bool) { tm.t.Helper(); tm.chooseAgain(label, 1, enter) }

// chooseAgain does so once the choice was shown n times: keys that come before their
// question are somebody else's answer.
func (tm *terminal) chooseAgain(label string, n int, enter bool) {
	tm.t.Helper()
	if enter {
		tm.await("Type a number from 1 to", 1)
	}
	form := regexp.MustCompile(`(?m)([1-9]) +` + regexp.QuoteMeta(label))
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		found := form.FindAllStringSubmatch(tm.screen(), -1)
		if len(found) < n {
			if time.Now().After(end) {
				tm.t.Fatalf("%q is not to be chosen %d times:\n%s", label, n, tm.screen())
			}
			continue
		}
		keys := []string{found[len(found)-1][1]}
		if enter {
			keys = append(keys, "Enter")
		}
		tm.keys(keys...)
		return
	}
}

func TestAWirelessNetworkIsChosenOnTheScreen(t *testing.T) {
	t.Parallel()
	for mode, enter := range map[string]bool{"": false, "--plain": true} {
		t.Run("mode"+mode, func(t *testing.T) {
			t.Parallel()
			r := locked(t, withNetworkManager)
			tm := r.openTerminal("80x24", []string{"TERM=xterm-256color"}, strings.Fields(mode)...)
			// NetworkManager may be later than the screen.
			tm.await("Support", 1)
			tm.never("Choose a network")
			w := r.startWireless()
			// On lines nothing goes away: what comes again is there once more.
			nth := func(n int) int {
				if enter {
					return n
				}
				return 1
			}
			tm.choose("Choose a network", enter)
			// The strongest first, each name once, and nothing that moves the cursor.
			tm.await("Home, 80 %", 1)
			for _, want := range []string{"Café, 60 %, no passphrase", "Company, 30 %, cannot be used here", "Old\ufffd[2J\ufffdone, 50 %, cannot be used here"} {
				tm.await(want, 1)
			}
			tm.never("Home, 40 %")
			tm.choose("Company, 30 %", enter)
			tm.await("This network asks for more than a passphrase", 1)
			if !enter { // the lines ask from the beginning after a refusal
				tm.keys("Escape")
			}
			tm.chooseAgain("Choose a network", nth(2), enter)
			tm.chooseAgain("Home, 80 %", nth(2), enter)
			tm.await("Passphrase of Home", 1)
			tm.types("not the passphrase")
			tm.keys("Enter")
			tm.await("The network did not take the device.", 1)
			if n := w.saved(); n != 0 {
				t.Errorf("%d networks are remembered after a refusal", n)
			}
			if enter {
				tm.chooseAgain("Choose a network", 3, enter)
				tm.chooseAgain("Home, 80 %", 3, enter)
				tm.await("Passphrase of Home", 2)
			}
			tm.types(passphrase)
			tm.keys("Enter")
			tm.await("The device is connected to Home.", 1)
			if keys, pass := w.joined(); keys != "wpa-psk" || pass != passphrase {
				t.Errorf("NetworkManager was asked for %s %q", keys, pass)
			}
			tm.never(passphrase, "not the passphrase")
			r.wantState("locked factory-reset")
		})
	}
}

func TestAWirelessNetworkIsChosenOnAPhone(t *testing.T) {
	t.Parallel()
	r := locked(t, withNetworkManager)
	w := r.startWireless()
	_, address := r.openKiosk()
	browser.Visit(t, phone(t, address,
		[]any{"link", "Choose a network"}, []any{"see", "Home, 80 %"}, []any{"axe"}, []any{"targets"},
		[]any{"button", "Company"}, []any{"see", "This network asks for more than a passphrase"}, []any{"axe"},
		[]any{"link", "Choose a network"}, []any{"open", "Home"}, []any{"axe"}, []any{"targets"},
		[]any{"fill", "Passphrase of Home", "not the passphrase"}, []any{"button", "Go on"},
		[]any{"see", "The network did not take the device."}, []any{"axe"},
		[]any{"link", "Choose a network"}, []any{"open", "Home"},
		[]any{"fill", "Passphrase of Home", passphrase}, []any{"button", "Go on"},
		[]any{"see", "The device is connected to Home."}, []any{"axe"},
		[]any{"link", "Choose a network"}, []any{"button", "Café"}, []any{"see", "The device is connected to Café."},
	))
	if keys, pass := w.joined(); keys != "" || pass != "" {
		t.Errorf("for a network without a passphrase NetworkManager was asked for %s %q", keys, pass)
	}
	if n := w.saved(); n != 2 {
		t.Errorf("%d networks are remembered", n)
	}
}
