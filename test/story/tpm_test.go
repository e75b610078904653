// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
	"github.com/accountlock/accountlock/internal/tpm"
	"github.com/accountlock/accountlock/internal/tpm/tpmtest"
	"github.com/accountlock/accountlock/test/bus"
)

// withTPM gives the device a TPM, a process of its own.
func withTPM(mode string) option {
	return func(r *rig) []bus.Option {
		r.chip = tpmtest.Start(r.T)
		r.tpm = tpmSection(mode, r.chip)
		return nil
	}
}

func tpmSection(mode string, m *tpmtest.TPM) string {
	return fmt.Sprintf("mode = %q\ndevice = %q\n", mode, m.Device())
}

// useTPM changes the daemon's configuration; it counts from the next start.
func (r *rig) useTPM(section string) {
	r.T.Helper()
	r.tpm = section
	r.writeConfig()
}

func (r *rig) store() []byte {
	r.T.Helper()
	raw, err := os.ReadFile(r.Path("kept/record"))
	if err != nil {
		r.T.Fatal(err)
	}
	return raw
}

func (r *rig) putStore(content []byte) {
	r.T.Helper()
	if err := os.WriteFile(r.Path("kept/record"), content, 0o600); err != nil {
		r.T.Fatal(err)
	}
}

// wantGate compares what the gate decides.
func (r *rig) wantGate(want, rule string) {
	r.T.Helper()
	cmd := exec.Command(filepath.Join(r.Bin, "accountlock-gate"), "--decide", "--config", r.Path("accountlockd.toml"))
	out, _ := cmd.Output()
	lines := strings.SplitN(string(out), "\n", 3)
	if lines[0] != want || !strings.Contains(lines[1], rule) {
		r.T.Errorf("the gate says %q, want %s by %q", out, want, rule)
	}
}

// wipe is a factory reset of a device that is switched off.
func (r *rig) wipe() {
	r.T.Helper()
	if err := os.RemoveAll(r.Path("wiped")); err != nil {
		r.T.Fatal(err)
	}
}

// explain returns the details of one line of Explain.
func (r *rig) explain(name string) map[string]string {
	r.T.Helper()
	var facts []struct {
		Name, Source string
		Details      map[string]dbus.Variant
	}
	if err := r.Call("Explain").Store(&facts); err != nil {
		r.T.Fatal(err)
	}
	for _, f := range facts {
		if f.Name == name {
			out := map[string]string{}
			for k, v := range f.Details {
				out[k] = fmt.Sprint(v.Value())
			}
			return out
		}
	}
	r.T.Fatalf("Explain has no %s: %v", name, facts)
	return nil
}

func (r *rig) tier() string {
	r.T.Helper()
	p := r.Bus.Run(r.T, exec.Command(filepath.Join(r.Bin, "accountlockctl"), "doctor"))
	for line := range strings.Lines(string(p.Output())) {
		if strings.Contains(line, "tier") {
			return line
		}
	}
	r.T.Fatalf("doctor names no tier:\n%s", p.Output())
	return ""
}

func TestADevicesLifeWithATPM(t *testing.T) {
	r := newRig(t, withTPM("require"))
	r.wantState("unlinked")
	r.run("Link")
	r.wantGate("open linked", "armed")
	if d := r.explain("tpm"); d["says"] != "vouches" || d["counter"] == "" || d["counter"] != d["record-counter"] {
		t.Errorf("Explain says of the TPM %v", d)
	}
	if d := r.explain("tpm"); d["device-key"] != "in the TPM" {
		t.Errorf("the device's key is %v", d)
	}
	if line := r.tier(); !strings.Contains(line, "Tier 1") {
		t.Errorf("doctor says %q", line)
	}
	if shown := r.admin("device", "show", r.Property("DeviceId").Value().(string), "--json"); !strings.Contains(shown, `"proven": true`) {
		t.Errorf("the account service shows %s", shown)
	}
	r.chip.Reboot()
	r.chip.ExtendPCRs()
	r.Reset()
	r.wantState("locked factory-reset")
	r.run("Unlock")
	r.run("SignOut")
	r.Reset()
	r.wantState("signed-out")
	r.run("Link")
	id := r.Property("DeviceId").Value().(string)
	r.admin("device", "lost", id)
	if err := r.Call("CheckIn").Err; err != nil {
		t.Fatal(err)
	}
	r.KillDaemon()
	r.StartDaemon()
	r.wantState("locked lost")
	r.run("Unlock")
	r.run("Unlink")
	r.Reset()
	r.wantState("unlinked")
	if got := r.Property("DeviceId").Value().(string); got != id {
		t.Errorf("the device ID changed from %s to %s", id, got)
	}
}

// What a thief does to a device that is switched off, has been reset and gets no
// network: none of it opens, each is named, and the owner's password mends it.
func TestAThiefAtTheRecordOrTheTPMOfALinkedDevice(t *testing.T) {
	r := newRig(t, withTPM("auto"))
	r.run("Link")
	r.run("SignOut")
	old := r.store() // whole, bound, and disarmed
	r.run("Link")
	auto, required := r.tpm, tpmSection("require", r.chip)
	stranger := tpmtest.Start(t)
	for _, c := range []struct {
		name string
		mode string
		do   func()
		rule string
		// undo is what ends the fault, where the owner's password does not.
		undo func()
		// asks: the owner is let in for this boot, and asked again at the next.
		asks bool
	}{
		{"an older record", auto, func() { r.putStore(old) }, "older record was put back", nil, false},
		{"one slot of an older record", auto, func() { r.putStore(append(old[:len(old)/2:len(old)/2], make([]byte, len(old)/2)...)) }, "older record was put back", nil, false},
		{"a forged record", auto, func() { r.putStore(forged(t)) }, "no MAC", nil, false},
		{"a forged record, the counter deleted", auto, func() { r.putStore(forged(t)); r.chip.Undefine(tpmtest.CounterIndex) }, "not bound", nil, false},
		{"a changed record", auto, func() { r.putStore(resealed(r.store())) }, "MAC is wrong", nil, false},
		{"the counter deleted", auto, func() { r.chip.Undefine(tpmtest.CounterIndex) }, "counter is absent", nil, false},
		{"the counter made anew", auto, func() {
			r.chip.Undefine(tpmtest.CounterIndex)
			advance(t, r.chip)
		}, "ahead of the record", nil, false},
		{"an index of another kind in the counter's place", auto, func() {
			r.chip.Undefine(tpmtest.CounterIndex)
			a := tpmtest.CounterAttributes()
			a.NT = 0
			r.chip.Define(tpmtest.CounterIndex, a)
		}, "something else", nil, false},
		{"the TPM cleared", auto, r.chip.Clear, "does not know the record's key", nil, false},
		{"another TPM", tpmSection("auto", stranger), func() { advance(t, stranger) }, "does not know the record's key", nil, false},
		{"the first one again", auto, func() {}, "does not know the record's key", nil, false},
		{"the TPM hidden, mode auto", auto, r.chip.Off, "there is none", r.chip.On, false},
		{"the TPM back: the record was written without it", auto, func() {}, "no MAC", nil, false},
		{"the TPM hidden, mode require", required, r.chip.Off, "there is none", r.chip.On, true},
		{"the TPM hidden and the record forged, mode require", required, func() { r.chip.Off(); r.putStore(forged(t)) }, "there is none", r.chip.On, true},
		{"the TPM switched off in the configuration", "mode = \"off\"\n", func() {}, "there is none", nil, false},
		{"and on again", auto, func() {}, "no MAC", nil, false},
	} {
		ok := t.Run(c.name, func(t *testing.T) {
			r.StopDaemon()
			r.stopServer()
			r.wipe()
			r.useTPM(c.mode)
			c.do()
			r.wantGate("locked record-damaged", c.rule)
			r.StartDaemon()
			r.wantState("locked record-damaged")
			r.wantError(r.Call("CheckIn").Err, "ServiceUnavailable")
			if got := strings.Join(r.begin("Unlock").Property("Methods").Value().([]string), " "); strings.Contains(got, "code") {
				t.Errorf("the ways open are %q", got)
			}
			r.startServer()
			r.restart()
			r.wantState("locked record-damaged")
			r.run("Unlock")
			r.wantState("linked")
			r.restart()
			if c.asks {
				r.wantState("locked record-damaged")
				c.undo()
				r.run("Unlock")
				return
			}
			r.wantState("linked")
			r.wantGate("open linked", "armed")
			if c.undo != nil {
				c.undo()
			}
		})
		if !ok {
			t.FailNow()
		}
	}
	// In mode auto whoever can hide the TPM is held at tier 0, as documented.
	r.StopDaemon()
	r.stopServer()
	r.chip.Off()
	r.wipe()
	r.putStore(forged(t))
	r.wantGate("open signed-out", "disarmed")
}

// forged is a store with a record that anybody can make: disarmed, with a key of
// their own.
func forged(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "record")
	s, err := record.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	r := lock.Record{DeviceKey: bytes.Repeat([]byte{7}, 32), Link: lock.Link{ID: "thief", Generation: 9}, RecoveryHash: make([]byte, 32)}
	for range 20 {
		if err := s.Write(r, true); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// resealed is a store in which both slots say 'disarmed' under a checksum that
// fits (docs/record.md).
func resealed(content []byte) []byte {
	for i := range 2 {
		s := content[i*len(content)/2 : (i+1)*len(content)/2]
		copy(s, bytes.Replace(bytes.Clone(s), []byte(`"armed":true`), []byte(`"armed":null`), 1))
		n := int(binary.BigEndian.Uint32(s[12:]))
		sum := sha256.Sum256(append(bytes.Clone(s[:24]), s[56:56+n]...))
		copy(s[24:], sum[:])
	}
	return content
}

// advance makes a counter, and advances it far.
func advance(t *testing.T, m *tpmtest.TPM) {
	t.Helper()
	s, err := tpm.Open(m.Device())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Arm(); err != nil {
		t.Fatal(err)
	}
	for range 9 {
		if _, err := s.Advance(); err != nil {
			t.Fatal(err)
		}
	}
}

// A device that was linked before it had a TPM, or before accountlock knew one.
func TestARecordOfBeforeTheTPMIsBoundByTheServicesWord(t *testing.T) {
	r := newRig(t)
	chip := tpmtest.Start(t)
	r.run("Link")
	r.stopServer()
	r.StopDaemon()
	r.useTPM(tpmSection("auto", chip))
	r.wantGate("locked record-damaged", "not bound")
	r.StartDaemon()
	r.wantState("locked record-damaged")
	r.startServer()
	if err := r.Call("CheckIn").Err; err != nil {
		t.Fatal(err)
	}
	r.wantState("linked")
	r.wantGate("open linked", "armed")
	if d := r.explain("tpm"); d["says"] != "vouches" {
		t.Errorf("Explain says of the TPM %v", d)
	}
	// The recovery code could have been written into the record by anybody.
	r.stopServer()
	r.Reset()
	r.wantState("locked factory-reset")
	if got := strings.Join(r.begin("Unlock").Property("Methods").Value().([]string), " "); got != "password approve recover" {
		t.Errorf("the ways open are %q", got)
	}
	r.startServer()
	r.run("Unlock")

	// After a reset the service's word alone does not open it, and the password does.
	r.StopDaemon()
	s, err := record.Open("file:" + r.Path("kept/record"))
	if err != nil {
		t.Fatal(err)
	}
	link := s.Read().Record.Link.ID // anybody reads that much
	chip.Clear()
	r.putStore(forgedFor(t, link))
	r.wipe()
	r.StartDaemon()
	r.wantState("locked record-damaged")
	r.run("Unlock")
	r.restart()
	r.wantState("linked")
}

// forgedFor is forged, for the account's own link and still armed.
func forgedFor(t *testing.T, link string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "record")
	s, err := record.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(make([]byte, 32))
	if err := s.Write(lock.Record{DeviceKey: bytes.Repeat([]byte{7}, 32), Armed: true, Link: lock.Link{ID: link, Generation: 1}, MarkerHash: hash[:]}, true); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A vendor that makes the counter at the factory has devices that open at their
// first boot without a network; one that was linked and erased does not.
func TestACounterThatWasNeverAdvancedOpensANewDeviceWithoutANetwork(t *testing.T) {
	r := newRig(t, withTPM("require"))
	r.StopDaemon()
	r.stopServer()
	r.wipe()
	if err := os.Remove(r.Path("kept/record")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	r.wantGate("locked record-missing", "there was a record")
	r.chip.Undefine(tpmtest.CounterIndex)
	r.wantGate("locked record-missing", "require-online")
	r.chip.Define(tpmtest.CounterIndex, tpmtest.CounterAttributes())
	r.wantGate("open unlinked", "never armed")
}
