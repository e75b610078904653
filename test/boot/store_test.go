// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/accountlock/accountlock/test/boot"
)

func TestARecordStoreThatIsMissingBlankOrDamagedLetsNobodyIn(t *testing.T) {
	t.Parallel()
	c := linked(t)
	c.Service.Stop(t)
	record := c.Persist("accountlock/record")
	good, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(record, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, one := range []struct {
		name, reason string
		spoil        func()
	}{
		{"removed", "record-missing", func() {
			if err := os.Remove(record); err != nil {
				t.Fatal(err)
			}
		}},
		{"blank", "record-missing", func() { write(make([]byte, len(good))) }},
		{"noise", "record-damaged", func() { write(bytes.Repeat([]byte("noise"), len(good)/5)) }},
		{"cut short", "record-damaged", func() { write(good[:len(good)/8]) }},
		{"its folder gone", "record-damaged", func() {
			if err := os.RemoveAll(c.Persist("accountlock")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		one.spoil()
		c.Boot()
		t.Log(one.name)
		shut(t, c, one.reason)
		c.Cut()
	}
}

func TestAnErasedRecordIsKnownAgainAndOpensForTheOwner(t *testing.T) {
	t.Parallel()
	c := linked(t)
	if err := os.Remove(c.Persist("accountlock/record")); err != nil {
		t.Fatal(err)
	}
	c.Boot()
	settles(c, "accountlock-locked.target")
	boot.NobodyGetsIn(t, c)
	unlock(t, c.Console, c.Service.Demo.Person)
	opened(t, c)
}

// At tier 0 a record from before the link, put back by a thief, is believed until
// the account service is asked: at the latest some seconds after the boot.
func TestAnOldRecordThatIsPutBackIsFoundOutByTheService(t *testing.T) {
	t.Parallel()
	c := boot.NewContainer(t, "")
	c.Boot()
	settles(c, "graphical.target")
	c.Must("systemctl stop accountlockd.service")
	record := c.Persist("accountlock/record")
	old, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	link(t, c, c.Service)
	c.PowerOff()
	if err := os.WriteFile(record, old, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Wipe()
	c.Boot()
	settles(c, "graphical.target")
	_, _ = c.Sh("accountlockctl check-in")
	c.AwaitReboot()
	settles(c, "accountlock-locked.target")
	boot.NobodyGetsIn(t, c)
	unlock(t, c.Console, c.Service.Demo.Person)
	opened(t, c)
}
