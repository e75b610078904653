// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"strings"
	"testing"

	"github.com/accountlock/accountlock/test/boot"
)

func TestOnAFullDiskTheOwnerAloneGetsInForThisBootAndForGoodOnceThereIsRoom(t *testing.T) {
	t.Parallel()
	c := boot.NewSmallContainer(t, "192M")
	c.Boot()
	settles(c, "graphical.target")
	link(t, c, c.Service)
	c.PowerOff()
	c.Wipe()
	c.Fill(true)

	c.Boot()
	if out, code := c.Sh("echo x >/x"); code == 0 {
		t.Fatalf("there is room on /: %s", out)
	}
	shut(t, c, "factory-reset")
	unlock(t, c.Console, c.Service.Demo.Person)
	opened(t, c)
	c.Cut()

	// No marker could be written: the device asks again, and nobody gets in meanwhile.
	c.Boot()
	shut(t, c, "factory-reset")
	c.Cut()
	c.Fill(false)
	c.Boot()
	shut(t, c, "factory-reset")
	unlock(t, c.Console, c.Service.Demo.Person)
	opened(t, c)
	c.Reboot()
	opened(t, c)
}

func TestOnAReadOnlyRootTheOwnerAloneGetsInAndForGoodIfVarCanBeWritten(t *testing.T) {
	t.Parallel()
	c := locked(t)
	for _, butVar := range []bool{false, true} {
		c.ReadOnly(butVar)
		c.Boot()
		if out, code := c.Sh("touch /usr/x"); code == 0 || !strings.Contains(out, "Read-only") {
			t.Fatalf("/ is not read-only: %s", out)
		}
		if _, code := c.Sh("touch /var/x"); (code == 0) != butVar {
			t.Fatalf("/var can be written: %v, and not %v", code == 0, butVar)
		}
		shut(t, c, "factory-reset")
		unlock(t, c.Console, c.Service.Demo.Person)
		opened(t, c)
		if butVar {
			break
		}
		c.Cut()
		c.Boot()
		shut(t, c, "factory-reset") // no marker could be written
		c.Cut()
	}
	c.Reboot()
	opened(t, c)
}
