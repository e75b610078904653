// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"strings"
	"testing"
	"time"
)

func TestWithTheClockAt1970AndNoNetworkNobodyGetsInAndWithANetworkTheOwner(t *testing.T) {
	fullTier(t)
	t.Parallel()
	m := linkedVM(t, inAFile, false)
	m.Wipe()
	m.Options("-rtc", "base=1970-01-01T00:00:00")
	m.Cable = false
	m.Boot()
	shut(t, m, "factory-reset")
	unlock(t, m.Console, m.Service.Demo.Person)
	m.Console.Await(t, 0, "network", time.Minute)
	shut(t, m, "factory-reset")
	m.Cut()

	m.Cable = true
	m.Boot()
	shut(t, m, "factory-reset")
	// systemd takes no time for right that is before its own release; the service's
	// certificate is of today all the same.
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(m.Must("date --utc +%Y-%m-%dT%H:%M:%SZ")))
	if err != nil || time.Since(at) < 48*time.Hour {
		t.Fatalf("the clock is right: %v %v", at, err)
	}
	t.Logf("the device takes it for %v", at)
	unlock(t, m.Console, m.Service.Demo.Person)
	opened(t, m)
	powerOff(m)

	m.Options()
	m.Boot()
	opened(t, m)
}
