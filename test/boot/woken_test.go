// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

func TestADeviceIsWokenForCheckInsWhileItIsLinkedAlone(t *testing.T) {
	t.Parallel()
	c := boot.NewContainer(t, "[daemon]\nidle_exit = \"1s\"\n")
	boot.WriteFile(t, c.Root("etc/systemd/system/accountlock-checkin.timer.d/soon.conf"), "[Timer]\nOnActiveSec=2s\nAccuracySec=1s\n", 0o644)
	// wakes waits until the timer stands as it should, with the daemon gone.
	wakes := func(when, want string) {
		t.Helper()
		c.Until("the timer to be "+want+" "+when, 40*time.Second, func() bool {
			out, _ := c.Sh("systemctl is-active accountlock-checkin.timer accountlockd.service")
			return out == want+"\ninactive\n"
		})
	}
	ran := func() bool {
		out := c.Must("journalctl -b -o cat -u accountlockd.service")
		return out != "" && out != "-- No entries --\n"
	}
	c.Boot()
	settles(c, "graphical.target")
	wakes("once the account service has said that nobody owns the device", "inactive")
	c.Reboot()
	opened(t, c)
	wakes("after a boot", "inactive")
	if ran() {
		t.Errorf("an unlinked device ran the daemon at its boot:\n%s", c.State())
	}

	link(t, c, c.Service)
	wakes("linked", "active")
	if out := c.Must("systemctl show -p NextElapseUSecMonotonic --value accountlock-checkin.timer"); out == "\n" || out == "infinity\n" {
		t.Errorf("the next check-in is at %q", out)
	}
	c.Cut()
	c.Boot()
	settles(c, "graphical.target")
	c.Until("the daemon to be brought after a power cut", 40*time.Second, ran)
	wakes("linked, after a power cut", "active")

	c.Service.Admin(t, "device", "release", strings.Trim(c.Property("DeviceId"), `"`))
	c.Must("accountlockctl check-in")
	wakes("released by the account service", "inactive")
}
