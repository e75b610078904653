// SPDX-License-Identifier: Apache-2.0

package boot_test

import "testing"

func TestOnFullDisksTheOwnerAloneGetsInForThisBootAndForGoodOnceThereIsRoom(t *testing.T) {
	fullTier(t)
	t.Parallel()
	m := linkedVM(t, inAFile, false)
	m.Wipe()
	m.Boot()
	shut(t, m, "factory-reset")
	m.Must(`mount -o remount,rw /
		for filler in /filler /var/filler; do
			for size in 1M 4k 1k; do dd if=/dev/zero of=$filler oflag=append conv=notrunc,fsync bs=$size 2>/dev/null || true; done
		done
		sync
		test "$(df --output=avail / /var | tail -n 2 | sort -n | tail -n 1)" -eq 0`)
	m.Cut()

	m.With("rw")
	m.Boot()
	shut(t, m, "factory-reset")
	unlock(t, m.Console, m.Service.Demo.Person)
	opened(t, m)
	m.Cut()

	// No marker could be written: the device asks again.
	m.Boot()
	shut(t, m, "factory-reset")
	m.Must("rm /filler /var/filler; sync")
	unlock(t, m.Console, m.Service.Demo.Person)
	opened(t, m)
	powerOff(m)
	m.With().Boot()
	opened(t, m)
}
