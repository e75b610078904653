// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

// fullTier skips a test of the virtual machine where only containers are wanted.
func fullTier(t testing.TB) {
	t.Helper()
	if os.Getenv("ACCOUNTLOCK_BOOT") != "full" {
		t.Skip("a virtual machine; make boot-test")
	}
}

// inAFile is the default record store.
const inAFile = "file:/persist/accountlock/record"

// linkedVM is a virtual device that has an owner and is off.
func linkedVM(t *testing.T, store string, tpm bool) *boot.VM {
	t.Helper()
	if tpm {
		return linkedAnew(t, store, tpm)
	}
	return boot.CopyOf(t, "linked "+store, func() *boot.VM { return linkedAnew(t, store, tpm) })
}

func linkedAnew(t *testing.T, store string, tpm bool) *boot.VM {
	t.Helper()
	m := boot.NewVM(t, store, tpm)
	m.Boot()
	settles(m, "graphical.target")
	link(t, m, m.Service)
	powerOff(m)
	return m
}

func powerOff(m *boot.VM) {
	_, _ = m.Sh("systemctl --no-block poweroff")
	m.AwaitEnd(5 * time.Minute)
}

func TestAVirtualDeviceWithItsRecordOnAPartitionOpensAfterAResetForItsOwnerAlone(t *testing.T) {
	fullTier(t)
	for _, one := range []struct {
		name, store string
		tpm         bool
	}{
		{"in Android's layout and bound to a TPM", "pdb:/dev/disk/by-partlabel/frp", true},
		{"raw", "block:/dev/disk/by-partlabel/frp", false},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			m := linkedVM(t, one.store, one.tpm)
			m.Wipe()
			if one.tpm {
				m.HideTPM(true)
				m.Boot()
				shut(t, m, "record-damaged")
				m.Cut()
				m.HideTPM(false)
			}
			m.Boot()
			shut(t, m, "factory-reset")
			if one.tpm {
				if got := m.Must("accountlock-gate --decide --json || true"); !strings.Contains(got, `"tpm":"vouches"`) {
					t.Errorf("what the gate says of the TPM: %s", got)
				}
			}
			which := "cat /proc/sys/kernel/random/boot_id"
			before := m.Must(which)
			unlock(t, m.Console, m.Service.Demo.Person)
			opened(t, m)
			if after := m.Must(which); after != before {
				t.Error("opening the device took a reboot")
			}
			m.Console.Await(t, 0, "device login:", time.Minute)
			if strings.Contains(m.Console.Text(), m.Service.Demo.Password) {
				t.Error("the console shows the password")
			}
			// The device's own way down, and its way up again.
			_, _ = m.Sh("systemctl --no-block reboot")
			m.AwaitEnd(5 * time.Minute)
			m.Boot()
			opened(t, m)
		})
	}
}
