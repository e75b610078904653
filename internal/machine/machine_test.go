// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"path/filepath"
	"testing"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/machine"
	"github.com/accountlock/accountlock/internal/tpm"
	"github.com/accountlock/accountlock/internal/tpm/reader"
	"github.com/accountlock/accountlock/internal/tpm/tpmtest"
)

func configured(t *testing.T, mode, device string) config.Config {
	t.Helper()
	c := config.Default(nil)
	c.Record.Store = "file:" + filepath.Join(t.TempDir(), "record")
	c.TPM.Mode, c.TPM.Device = mode, device
	return c
}

// The daemon binds a record, and the gate finds it vouched for; without the TPM
// both say what the mode says.
func TestGateAndDaemonOpenTheSameRecord(t *testing.T) {
	m := tpmtest.Start(t)
	c := configured(t, config.TPMRequire, m.Device())
	daemon, err := machine.Record(c, tpm.Open)
	if err != nil {
		t.Fatal(err)
	}
	gate, err := machine.Record(c, reader.Open)
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Write(lock.Record{DeviceID: "d"}, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []lock.TPM{lock.TPMVouches, lock.TPMAbsent} {
		if d, g := daemon.Read(), gate.Read(); d.TPM != want || g.TPM != want {
			t.Errorf("the daemon reads %s, the gate %s", d.TPM, g.TPM)
		}
		m.Off()
	}
	off := c
	off.TPM.Mode = config.TPMOff
	if s, err := machine.Record(off, reader.Open); err != nil || s.Read().TPM != lock.TPMAbsent {
		t.Errorf("switched off, a bound record is believed: %v", err)
	}
}
