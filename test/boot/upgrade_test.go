// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver

	"github.com/accountlock/accountlock/test/boot"
)

// newer makes the package again under a higher version.
func newer(t *testing.T) string {
	t.Helper()
	root, out := t.TempDir(), filepath.Join(t.TempDir(), "newer.deb")
	host(t, "dpkg-deb", "-R", boot.Deb(t, "accountlock"), root)
	host(t, "sed", "-i", "s/^Version: .*/Version: 99.0-1/", filepath.Join(root, "DEBIAN/control"))
	host(t, "dpkg-deb", "-b", "-Zgzip", "-z1", "--root-owner-group", root, out)
	return out
}

// pending counts the operations in the device's journal that are not over, and
// begin notes one as a daemon does that ends right after. The device is off.
func journal(t *testing.T, c *boot.Container, do func(db *sql.DB) error) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+c.Root("var/lib/accountlock/journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(do(db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func pending(t *testing.T, c *boot.Container) (n int) {
	t.Helper()
	journal(t, c, func(db *sql.DB) error {
		return db.QueryRow("SELECT count(*) FROM operations WHERE outcome = ''").Scan(&n)
	})
	return n
}

// A sign-out was noted, and the account service has not been heard since; then the
// package is upgraded, twice, on the running device.
func TestAnUpgradeInTheMiddleOfAnOperationLosesNothing(t *testing.T) {
	t.Parallel()
	c := linked(t)
	c.Service.Stop(t)
	journal(t, c, func(db *sql.DB) error {
		_, err := db.Exec("INSERT INTO operations (flow_id, kind, link_id, begun_at) VALUES ('b2ZmbGluZS1zaWduLW91dA', 'sign-out', ?, ?)", c.LinkID(), time.Now().Unix())
		return err
	})
	raw, err := os.ReadFile(newer(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Persist("newer.deb"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	c.Boot()
	opened(t, c)
	c.Must("accountlockctl status")
	gate := c.Must("systemctl show -p ActiveEnterTimestampMonotonic accountlock-gate.service")
	for _, from := range []string{"older", "same"} {
		before := c.Must("systemctl show -p MainPID accountlockd.service")
		if out, code := c.Sh("dpkg -i /persist/newer.deb"); code != 0 {
			t.Fatalf("the upgrade from the %s version failed: %s", from, out)
		}
		if after := c.Must("systemctl show -p MainPID accountlockd.service"); after == before {
			t.Error("the daemon of before the upgrade runs on")
		}
		// Nobody was shut out, and the gate was left alone.
		opened(t, c)
		if got := says(c); got != "open linked" {
			t.Errorf("after the upgrade the gate says %q", got)
		}
	}
	if after := c.Must("systemctl show -p ActiveEnterTimestampMonotonic accountlock-gate.service"); after != gate {
		t.Errorf("the gate was started again: %s, and before %s", after, gate)
	}
	c.Cut()
	if n := pending(t, c); n != 1 {
		t.Fatalf("after the upgrade %d operations are pending", n)
	}

	// The service is back; it never heard of the sign-out, and its word is that the
	// device is linked.
	c.Service.Start(t)
	c.Boot()
	opened(t, c)
	c.Must("accountlockctl status")
	c.Must("accountlockctl check-in")
	c.PowerOff()
	if n := pending(t, c); n != 0 {
		t.Errorf("%d operations are pending still", n)
	}
	c.Boot()
	opened(t, c)
	if got := says(c); got != "open linked" {
		t.Errorf("at the end the gate says %q", got)
	}
}

// bring puts the package of a higher version on the device.
func bring(t *testing.T, c *boot.Container) {
	t.Helper()
	raw, err := os.ReadFile(newer(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Persist("newer.deb"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// upgrades are how an upgrade of a running device goes. Each is a script.
var upgrades = []struct {
	name, script string
	// powerCut: the machine goes down along with dpkg.
	powerCut bool
}{
	{name: "whole", script: "dpkg -i /persist/newer.deb"},
	{name: "dpkg killed while it unpacks", script: killed("half-installed", 1)},
	{name: "dpkg killed while the package is set up", script: killed("half-configured", 2), powerCut: true},
}

// killed is a script by which dpkg is killed when the package has come to that state
// for the nth time, and which succeeds where dpkg has left it unfinished.
func killed(state string, nth int) string {
	return fmt.Sprintf(`rm -f /run/states; mkfifo /run/states
		dpkg --status-fd 3 -i /persist/newer.deb 3>/run/states >/run/dpkg.log 2>&1 & dpkg=$!
		exec </run/states
		n=0
		while [ $n -lt %d ] && read -r line; do
			case $line in 'status: accountlock: %s') n=$((n+1)) ;; esac
		done
		kill -KILL $dpkg
		wait $dpkg; [ $? = 137 ] && ! dpkg-query --show --showformat='${db:Status-Status}' accountlock | grep -qx installed`, nth, state)
}

// mend is what whoever finds it does after dpkg was killed. A package that is half
// unpacked dpkg only takes anew.
const mend = `{ dpkg --configure -a || dpkg -i /persist/newer.deb; } && [ -z "$(dpkg --audit)" ]`

// instants are those of an operation at which an upgrade meets it.
var instants = []struct {
	name     string
	answered bool
}{
	{"before the account service hears", false},
	{"when the account service has answered and the device has not heard", true},
}

// note is what the account service has of the device: how its newest link stands, how
// often a change of that kind was made, and of how many its owner was told.
type note struct {
	status           string
	changes, letters int
}

func noted(t *testing.T, c *boot.Container, change, subject string) (n note) {
	t.Helper()
	// What the owner is told waits here until it is sent.
	c.Until("the account service to have sent its letters", time.Minute, func() bool {
		c.Service.Query(t, "SELECT (SELECT count(*) FROM notices) + (SELECT count(*) FROM messages)", nil, &n.letters)
		return n.letters == 0
	})
	c.Service.Query(t, `SELECT (SELECT status FROM links ORDER BY created_at DESC LIMIT 1), (SELECT count(*) FROM device_events WHERE kind = ?)`,
		[]any{change}, &n.status, &n.changes)
	n.letters = c.Service.Letters(t, subject)
	return n
}

// underWay waits until the front holds the step.
func underWay(t *testing.T, c *boot.Container, held *boot.Held) {
	t.Helper()
	select {
	case <-held.Reached:
	case <-time.After(time.Minute):
		said, _ := c.Sh("cat /run/said")
		t.Fatalf("the account service is not asked: %s\n%s", said, c.State())
	}
}

// A person signs out or unlinks, and the account service's answer is slow; meanwhile the
// package is upgraded.
func TestAnUpgradeWhileASignOutOrAnUnlinkIsUnderWayLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	c := linked(t)
	front := c.Service.Behind(t)
	bring(t, c)
	c.Boot()
	opened(t, c)
	for _, op := range []struct{ command, status, subject string }{
		{"sign-out", "signed-out", "You signed out on a device"}, {"unlink", "unlinked", "A device was unlinked from your account"},
	} {
		for _, instant := range instants {
			for _, upgrade := range upgrades {
				t.Run(op.command+" "+instant.name+", "+upgrade.name, func(t *testing.T) {
					defer c.In(t)()
					if says(c) != "open linked" {
						link(t, c, c.Service)
					}
					before := noted(t, c, op.command, op.subject)
					held := front.Hold("commit", instant.answered)
					defer held.Release()
					c.Must("accountlockctl " + op.command + " --yes --password-file - >/run/said 2>&1 <<'END' &\n" + c.Service.Demo.Password + "\nEND")
					underWay(t, c, held)

					c.Must(upgrade.script)
					if upgrade.powerCut {
						c.Cut()
						c.Boot()
					}
					opened(t, c)
					if got := says(c); got != "open linked" {
						t.Errorf("before the device has heard the gate says %q", got)
					}
					c.Must(mend)
					held.Release()
					if upgrade.powerCut {
						c.Must("accountlockctl check-in") // as its timer would, later
					}
					c.Until("the operation to be over", time.Minute, func() bool { return says(c) == "open "+op.status })
					opened(t, c)
					_, _ = c.Sh("accountlockctl check-in")
					if got := says(c); got != "open "+op.status {
						t.Errorf("after the next check-in the gate says %q", got)
					}
					after := noted(t, c, op.command, op.subject)
					if after.status != op.status || after.changes != before.changes+1 || after.letters != before.letters+1 {
						t.Errorf("at the account service it was %+v and is %+v", before, after)
					}
				})
			}
		}
	}
	c.PowerOff()
	if n := pending(t, c); n != 0 {
		t.Errorf("%d operations are pending still", n)
	}
}

// The owner signs in at the screen of a locked device, and the account service's
// answer is slow; meanwhile the package is upgraded.
func TestAnUpgradeWhileAnUnlockIsUnderWayLeavesTheDeviceShutToAllButItsOwner(t *testing.T) {
	t.Parallel()
	c := linked(t)
	front := c.Service.Behind(t)
	bring(t, c)
	for _, instant := range instants {
		for _, upgrade := range upgrades {
			t.Run(instant.name+", "+upgrade.name, func(t *testing.T) {
				defer c.In(t)()
				c.Wipe()
				c.Boot()
				defer c.Cut()
				shut(t, c, "factory-reset")
				held := front.Hold("password", instant.answered)
				defer held.Release()
				unlock(t, c.Console, c.Service.Demo.Person)
				underWay(t, c, held)
				daemon := c.Must("systemctl show -p MainPID accountlockd.service")

				at := c.Console.Mark()
				c.Must(upgrade.script)
				if upgrade.powerCut {
					c.Cut()
					c.Boot()
					at = 0
				}
				shut(t, c, "factory-reset")
				c.Must(mend)
				shut(t, c, "factory-reset")
				held.Release()
				// Where dpkg came to restart the daemon, its conversation is over.
				if c.Must("systemctl show -p MainPID accountlockd.service") != daemon {
					shut(t, c, "factory-reset")
					unlockAfter(t, c.Console, at, c.Service.Demo.Person)
				}
				opened(t, c)
				if upgrade.powerCut {
					c.Reboot()
					opened(t, c)
				}
			})
		}
	}
}
