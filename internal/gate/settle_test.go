// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/gate"
	"github.com/accountlock/accountlock/internal/lock"
)

// machine is a device with a gate; systemctl is only noted.
type machine struct {
	t       *testing.T
	root    string
	verdict gate.Verdict
	calls   []string
	fails   func(call string) error
	log     bytes.Buffer
	stays   bool
}

var (
	openDevice = gate.Verdict{Status: lock.Status{State: lock.Linked}, Rule: "the marker matches"}
	lostDevice = gate.Verdict{Status: lock.LockedFor(lock.Lost), Rule: "the owner marked it lost"}
	allowed    = gate.Verdict{Status: lock.Status{State: lock.Linked}, Rule: "the marker matches", Settle: true}
	resetOne   = gate.Verdict{Status: lock.LockedFor(lock.FactoryReset), Rule: "no marker"}
)

func newMachine(t *testing.T) *machine { return &machine{t: t, root: t.TempDir()} }

func (m *machine) service() gate.Service {
	return gate.Service{
		Root: m.root, Log: &m.log, NoReboot: m.stays,
		Decide: func() gate.Verdict { return m.verdict },
		Systemctl: func(args ...string) error {
			call := strings.Join(args, " ")
			m.calls = append(m.calls, call)
			if m.fails != nil {
				return m.fails(call)
			}
			return nil
		},
	}
}

// says returns what stands under /run/accountlock.
func (m *machine) says() string {
	m.t.Helper()
	entries, err := os.ReadDir(filepath.Join(m.root, "run/accountlock"))
	if err != nil {
		return ""
	}
	var out []string
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(m.root, "run/accountlock", e.Name()))
		must(m.t, err)
		out = append(out, e.Name()+": "+strings.TrimSpace(string(text)))
	}
	return strings.Join(out, ", ")
}

// did returns what systemctl was asked for since the last time.
func (m *machine) did() string {
	calls := m.calls
	m.calls = nil
	return strings.Join(calls, "; ")
}

const (
	isolated = "isolate --no-block accountlock-locked.target"
	killed   = "kill --signal=SIGKILL user*.slice machine*.slice *getty*.service ssh*.service dropbear*.service *cron*.service atd.service debug-shell.service rescue.service emergency.service"
	forgiven = "reset-failed accountlock-gate.service"
	rebooted = "start --no-block --job-mode=replace-irreversibly reboot.target"
)

func TestTheGateOpensAndShutsAsItReadsTheRecord(t *testing.T) {
	for _, c := range []struct {
		name   string
		before []gate.Verdict // the boot, then further pokes
		stays  bool
		says   string
		did    string // at the last one
	}{
		{"open at boot: systemd goes on by itself", []gate.Verdict{openDevice}, false, "open: linked", ""},
		{"locked at boot: everything else goes", []gate.Verdict{resetOne}, false, "locked: factory-reset", isolated},
		{"poked while still locked", []gate.Verdict{resetOne, resetOne}, false, "locked: factory-reset", ""},
		{"poked while locked for another reason", []gate.Verdict{resetOne, lostDevice}, false, "locked: lost", ""},
		{"unlocked", []gate.Verdict{resetOne, openDevice}, false, "open: linked", forgiven},
		{"poked while open", []gate.Verdict{openDevice, openDevice}, false, "open: linked", ""},
		{"lost: reboots", []gate.Verdict{openDevice, lostDevice}, false, "locked: lost", killed + "; " + rebooted},
		{"lost where the vendor forbids a reboot", []gate.Verdict{openDevice, lostDevice}, true, "locked: lost", killed + "; stop --no-block debug-shell.service user.slice machine.slice; " + isolated},
		{"found and unlocked again", []gate.Verdict{openDevice, lostDevice, openDevice}, true, "open: linked", forgiven},
		{"open, and a reset is allowed still: the daemon takes that back", []gate.Verdict{allowed}, false, "open: linked", "start --no-block accountlockd.service"},
		{"no gate is wanted", []gate.Verdict{{Status: lock.LockedFor(lock.Lost), Ungated: true}}, false, "open: lost", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.stays = c.stays
			for i, v := range c.before {
				m.did()
				m.verdict = v
				if i == 0 {
					must(t, m.service().Boot())
				} else {
					must(t, m.service().Again())
				}
			}
			if got := m.says(); got != c.says {
				t.Errorf("says %q", got)
			}
			if got := m.did(); got != c.did {
				t.Errorf("did %q", got)
			}
		})
	}
}

func TestAnOpenOfAnEarlierBootDoesNotCount(t *testing.T) {
	m := newMachine(t)
	m.verdict = openDevice
	must(t, m.service().Boot())
	s := m.service()
	s.Decide = func() gate.Verdict {
		// So the account check has its screen even if the gate dies here.
		if m.says() != "locked: undecided" {
			t.Errorf("while it decides, it says %q", m.says())
		}
		return resetOne
	}
	must(t, s.Boot())
	if got := m.says(); got != "locked: factory-reset" {
		t.Errorf("says %q", got)
	}
}

// A reset that wiped /etc, too, makes the boot that asks for the account a first one.
func TestAFirstBootThatIsLockedRunsTheGeneratorsAgain(t *testing.T) {
	for _, fails := range []bool{false, true} {
		m := newMachine(t)
		m.verdict = resetOne
		must(t, os.MkdirAll(filepath.Join(m.root, "run/systemd"), 0o755))
		must(t, os.WriteFile(filepath.Join(m.root, "run/systemd/first-boot"), nil, 0o600))
		m.fails = func(call string) error {
			if fails && call == "daemon-reload" {
				return errors.New("busy")
			}
			return nil
		}
		must(t, m.service().Boot())
		if did := m.did(); did != "daemon-reload; "+isolated {
			t.Errorf("did %q", did)
		}
		if said := strings.Contains(m.log.String(), "busy"); said != fails {
			t.Errorf("said %q", m.log.String())
		}
		m.verdict = openDevice
		must(t, m.service().Boot())
		if did := m.did(); did != "" {
			t.Errorf("an open device did %q", did)
		}
	}
}

func TestAGateThatCannotSpeakToSystemdStaysShut(t *testing.T) {
	m := newMachine(t)
	m.verdict, m.fails = resetOne, func(string) error { return errors.New("no PID 1") }
	if err := m.service().Boot(); err == nil {
		t.Error("no error at boot")
	}
	m.verdict = openDevice
	must(t, m.service().Again())
	if got := m.says(); got != "open: linked" {
		t.Errorf("for the owner it says %q", got)
	}
	m.verdict, m.fails = lostDevice, func(string) error { return errors.New("no PID 1") }
	if err := m.service().Again(); err == nil {
		t.Error("no error when shutting")
	}
	if got := m.says(); got != "locked: lost, shutting: lost" || !slices.Contains(m.calls, rebooted) {
		t.Errorf("says %q after %q", got, m.calls)
	}
	m.did()
	m.fails = nil
	must(t, m.service().Again())
	if says, did := m.says(), m.did(); says != "locked: lost" || did != killed+"; "+rebooted {
		t.Errorf("asked again it says %q after %q", says, did)
	}
	must(t, m.service().Again())
	if did := m.did(); did != "" {
		t.Errorf("asked once more, although it is done: %q", did)
	}
}

func TestADeviceThatIsUnlockedHalfWayThroughAShutIsOpen(t *testing.T) {
	m := newMachine(t)
	m.verdict = openDevice
	must(t, m.service().Boot())
	m.verdict, m.fails = lostDevice, func(string) error { return errors.New("no PID 1") }
	if err := m.service().Again(); err == nil {
		t.Error("no error")
	}
	m.verdict = openDevice
	must(t, m.service().Again())
	if got := m.says(); got != "open: linked" {
		t.Errorf("says %q", got)
	}
}

func TestADeviceThatCannotBeOpenedKeepsItsScreen(t *testing.T) {
	m := newMachine(t)
	m.verdict = lostDevice
	must(t, m.service().Boot())
	// Something that is not empty lies where the new file goes.
	must(t, os.MkdirAll(filepath.Join(m.root, "run/accountlock/open.new/x"), 0o755))
	m.verdict = openDevice
	if err := m.service().Again(); err == nil {
		t.Error("no error")
	}
	must(t, os.RemoveAll(filepath.Join(m.root, "run/accountlock/open.new")))
	if got := m.says(); got != "locked: lost" {
		t.Errorf("says %q", got)
	}
	must(t, m.service().Again())
	if got := m.says(); got != "open: linked" {
		t.Errorf("then says %q", got)
	}
	// One that died between the two leaves both.
	must(t, os.WriteFile(filepath.Join(m.root, "run/accountlock/locked"), nil, 0o600))
	must(t, m.service().Again())
	if got := m.says(); got != "open: linked" {
		t.Errorf("at the end says %q", got)
	}
}

func TestAGateThatCannotWriteOpensNothing(t *testing.T) {
	m := newMachine(t)
	// A file where the folder should be.
	must(t, os.Mkdir(filepath.Join(m.root, "run"), 0o755))
	must(t, os.WriteFile(filepath.Join(m.root, "run/accountlock"), nil, 0o600))
	m.verdict = openDevice
	if err := m.service().Boot(); err == nil {
		t.Error("no error")
	}
	if err := m.service().Again(); err == nil || m.did() != forgiven {
		t.Error("goes on")
	}
}
