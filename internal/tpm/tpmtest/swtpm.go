// SPDX-License-Identifier: Apache-2.0

// Package tpmtest starts swtpm, a TPM 2.0 in software, as a process of its own
// for tests.
package tpmtest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// TPM is an swtpm process with its state.
type TPM struct {
	t      testing.TB
	socket string
	state  string
	cmd    *exec.Cmd
}

// Start starts a new TPM, which ends with the test.
func Start(t testing.TB) *TPM {
	t.Helper()
	// Not TempDir: the path of a socket has 107 bytes.
	dir, err := os.MkdirTemp("", "swtpm-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &TPM{t: t, socket: filepath.Join(dir, "sock"), state: dir}
	m.On()
	t.Cleanup(m.Off)
	return m
}

// Device is what `[tpm] device` names.
func (m *TPM) Device() string { return "swtpm:" + m.socket }

// On starts the process on the state it has, as a machine that boots would.
func (m *TPM) On() {
	m.t.Helper()
	m.cmd = exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+m.state, //nolint:gosec // folders of the test's own
		"--server", "type=unixio,path="+m.socket, "--flags", "not-need-init,startup-clear")
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		c, err := net.Dial("unix", m.socket)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("swtpm does not come up: %v", err)
		}
	}
}

// Off ends the process, as a machine that is switched off would; what the TPM
// keeps stays.
func (m *TPM) Off() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
	m.cmd = nil
	os.Remove(m.socket)
}

// Reboot is Off and On.
func (m *TPM) Reboot() {
	m.t.Helper()
	m.Off()
	m.On()
}

// Do runs f on a connection of its own, as somebody with the TPM in their hands.
func (m *TPM) Do(f func(transport.TPM) error) {
	m.t.Helper()
	c, err := net.Dial("unix", m.socket)
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Close()
	if err := f(transport.FromReadWriter(c)); err != nil {
		m.t.Fatal(err)
	}
}

// Clear clears the TPM, as its owner may and a firmware's menu does.
func (m *TPM) Clear() {
	m.t.Helper()
	m.Do(func(t transport.TPM) error {
		_, err := tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHLockout, Auth: tpm2.PasswordAuth(nil)}}.Execute(t)
		return err
	})
}

// Undefine removes an NV index.
func (m *TPM) Undefine(index tpm2.TPMHandle) {
	m.t.Helper()
	m.Do(func(t transport.TPM) error {
		rsp, err := tpm2.NVReadPublic{NVIndex: index}.Execute(t)
		if err != nil {
			return err
		}
		_, err = tpm2.NVUndefineSpace{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: rsp.NVName},
		}.Execute(t)
		return err
	})
}

// Define makes an NV index of 8 bytes.
func (m *TPM) Define(index tpm2.TPMHandle, attributes tpm2.TPMANV) {
	m.t.Helper()
	m.Do(func(t transport.TPM) error {
		_, err := tpm2.NVDefineSpace{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, Attributes: attributes, DataSize: 8}),
		}.Execute(t)
		return err
	})
}

// OwnerPassword gives the storage hierarchy a password.
func (m *TPM) OwnerPassword(password string) {
	m.t.Helper()
	m.Do(func(t transport.TPM) error {
		_, err := tpm2.HierarchyChangeAuth{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}, NewAuth: tpm2.TPM2BAuth{Buffer: []byte(password)},
		}.Execute(t)
		return err
	})
}

// ExtendPCRs changes PCRs 0 to 7, as a firmware update or another boot loader does.
func (m *TPM) ExtendPCRs() {
	m.t.Helper()
	m.Do(func(t transport.TPM) error {
		for pcr := range tpm2.TPMHandle(8) {
			_, err := tpm2.PCRExtend{
				PCRHandle: tpm2.AuthHandle{Handle: pcr, Auth: tpm2.PasswordAuth(nil)},
				Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}},
			}.Execute(t)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// CounterIndex is where accountlock's counter is, as docs/record.md has it.
const CounterIndex tpm2.TPMHandle = 0x018acc10

// CounterAttributes are those of accountlock's counter, as docs/record.md has them.
func CounterAttributes() tpm2.TPMANV {
	return tpm2.TPMANV{NT: tpm2.TPMNTCounter, AuthRead: true, AuthWrite: true, NoDA: true}
}
