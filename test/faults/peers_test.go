// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"os"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"

	"github.com/accountlock/accountlock/test/bus"
)

// serve owns a name and serves properties there, as the service of that name would.
func serve(t *testing.T, r *rig, name, path, face string, values map[string]any) {
	t.Helper()
	conn := r.Bus.Connect(t)
	props := map[string]*prop.Prop{}
	for k, v := range values {
		props[k] = &prop.Prop{Value: v}
	}
	_, err := prop.Export(conn, dbus.ObjectPath(path), prop.Map{face: props})
	must(t, err)
	_, err = conn.RequestName(name, dbus.NameFlagDoNotQueue)
	must(t, err)
}

func TestTheServicesThatRunAreAskedAndNoneIsStarted(t *testing.T) {
	t.Parallel()
	started := t.TempDir() + "/started"
	r := newRig(t, func(r *rig) {
		r.options = append(r.options, bus.WithActivation("org.freedesktop.resolve1", "/usr/bin/touch "+started))
	})
	rows, _ := r.diagnose()
	for key := range rows["network interface"].Details {
		if key == "NetworkManager Connectivity" {
			t.Error("a NetworkManager that does not run was heard")
		}
	}
	const nm = "org.freedesktop.NetworkManager"
	serve(t, r, nm, "/org/freedesktop/NetworkManager", nm, map[string]any{
		"Connectivity": uint32(4), "WirelessEnabled": true, "NetworkingEnabled": true,
	})
	const timesync = "org.freedesktop.timesync1"
	serve(t, r, timesync, "/org/freedesktop/timesync1", timesync+".Manager", map[string]any{"ServerName": "ntp.example"})
	rows, _ = r.diagnose()
	if rows["network"].Result == "skipped" {
		t.Skip("the kernel does not let the network be looked at")
	}
	// They are given half a second, which may pass on a busy machine.
	for range 9 {
		if rows["network interface"].detail("NetworkManager Connectivity") != "" && strings.Contains(rows["clock"].detail("set-by"), "ntp") {
			break
		}
		rows, _ = r.diagnose()
	}
	if got := rows["network interface"].detail("NetworkManager Connectivity"); got != "full" {
		t.Errorf("NetworkManager says %q: %+v", got, rows["network interface"])
	}
	if got := rows["clock"].detail("set-by"); got != "systemd-timesyncd, by ntp.example," {
		t.Errorf("the clock is set by %q", got)
	}
	if _, err := os.Stat(started); err == nil {
		t.Error("a service was started by being asked")
	}
	r.unlock()
}
