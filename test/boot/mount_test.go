// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

// A disk of the device's fails. PID 1 starts emergency.target, which needs the gate,
// which must not have the same mount tried again, without end: the start limits of
// gate (5) and mount are the most.
func TestWhereAMountFailsAnOpenDeviceComesToEmergencyModeAndALockedOneToRest(t *testing.T) {
	t.Parallel()
	c := linked(t)
	boot.WriteFile(t, c.Root("etc/fstab"), "tmpfs /srv tmpfs nonsense 0 0\n", 0o644)
	atRest := func() {
		t.Helper()
		c.Until("the boot to end", time.Minute, func() bool {
			out, _ := c.Sh("systemctl list-jobs --no-pager")
			return out == "No jobs running.\n"
		})
		if out, code := c.Sh("n=$(journalctl -b --no-pager | grep -c 'Failed to mount srv.mount'); echo $n; [ $n -ge 1 ] && [ $n -le 10 ]"); code != 0 {
			t.Errorf("times that the mount failed: %s\n%s", out, c.State())
		}
	}
	c.Boot()
	c.Until("emergency mode", time.Minute, func() bool {
		_, code := c.Sh(isEmergency)
		return code == 0
	})
	atRest()
	c.Cut()

	c.Wipe()
	c.Boot()
	atRest()
	if got := says(c); got != "locked factory-reset" {
		t.Errorf("the gate says %q", got)
	}
	boot.NobodyGetsIn(t, c)
}
