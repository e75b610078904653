// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"testing"
)

// The thief owns the network, and answers at the account service's address.
func TestAFakeAccountServiceOpensNothing(t *testing.T) {
	t.Parallel()
	c := locked(t)
	for _, one := range []struct {
		name   string
		stolen []string
	}{
		{"with a CA of its own", nil},
		// A rogue CA in the device's trust, and a copy of the database: all but the key.
		{"with the right CA and every account, but without the signing key", []string{"ca.pem", "ca.key", "accounts.db", "service.secret", "demo.json"}},
	} {
		t.Log(one.name)
		c.Service.Stop(t)
		fake := c.Service.Impostor(t, one.stolen...)
		c.Boot()
		shut(t, c, "factory-reset")
		// 8: the service is not to be trusted; never 3, a wrong password.
		out, code := c.Sh("accountlockctl unlock --identifier " + c.Service.Demo.AccountID + " --password-file - <<'END'\n" + c.Service.Demo.Password + "\nEND")
		if code != 8 {
			t.Errorf("%s: an unlock ends with %d: %s", one.name, code, out)
		}
		_, _ = c.Sh("accountlockctl check-in")
		shut(t, c, "factory-reset")
		c.Reboot()
		shut(t, c, "factory-reset")
		c.Cut()
		fake.Stop(t)
		c.Service.Start(t)
	}
	c.Boot()
	settles(c, "accountlock-locked.target")
	unlock(t, c.Console, c.Service.Demo.Person)
	opened(t, c)
}
