// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"bytes"
	"os"
	"syscall"
	"testing"
	"time"
)

// A daemon that was killed between the record and the gate's channel has opened or shut
// nothing: the next one does.
func TestAGateThatWasNotToldIsToldByTheNextDaemon(t *testing.T) {
	r := newRig(t)
	r.StopDaemon()
	config, err := os.ReadFile(r.Path("accountlockd.toml"))
	if err != nil {
		t.Fatal(err)
	}
	r.Write("accountlockd.toml", bytes.Replace(config, []byte("[gate]\nmode = \"none\"\n"), nil, 1))
	if err := syscall.Mkfifo(r.Path("run/gate"), 0o600); err != nil {
		t.Fatal(err)
	}
	channel, err := os.OpenFile(r.Path("run/gate"), os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer channel.Close()
	told := func() bool {
		t.Helper()
		if err := channel.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, _ := channel.Read(make([]byte, 100))
		return n > 0
	}
	for _, gate := range []struct {
		says string
		told bool
	}{{"run/locked", true}, {"run/open", false}} {
		r.Write(gate.says, nil)
		r.StartDaemon()
		r.wantState("unlinked")
		if got := told(); got != gate.told {
			t.Errorf("where the gate says %s it is told: %v", gate.says, got)
		}
		r.StopDaemon()
	}
}
