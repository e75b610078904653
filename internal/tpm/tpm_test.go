// SPDX-License-Identifier: Apache-2.0

package tpm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/tpm"
	"github.com/accountlock/accountlock/internal/tpm/tpmtest"
)

// open opens a TPM, to be closed at the end of the test.
func open(t testing.TB, path string) *tpm.Session {
	t.Helper()
	s, err := tpm.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// in runs f in a session of its own and returns how many commands that took.
func in(t testing.TB, m *tpmtest.TPM, f func(*tpm.Session)) int {
	t.Helper()
	s := open(t, m.Device())
	f(s)
	s.Close()
	return s.Commands()
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// says returns what an error of the TPM amounts to.
func says(err error) lock.TPM {
	var e *lock.TPMError
	if errors.As(err, &e) {
		return e.Says
	}
	return "no error of the TPM"
}

func TestWhatIsSealedComesBackFromThisTPMAlone(t *testing.T) {
	m, other := tpmtest.Start(t), tpmtest.Start(t)
	secret := []byte("0123456789abcdef0123456789abcdef")
	var blob []byte
	in(t, m, func(s *tpm.Session) { blob = must(s.Seal(secret))(t) })
	if bytes.Contains(blob, secret) {
		t.Error("it is not sealed")
	}
	for _, change := range []struct {
		name string
		do   func()
	}{{"at once", func() {}}, {"after a reboot", m.Reboot}, {"with other PCRs", m.ExtendPCRs}, {"once the owner has a password", func() { m.OwnerPassword("x") }}} {
		change.do()
		in(t, m, func(s *tpm.Session) {
			if got := must(s.Unseal(blob))(t); !bytes.Equal(got, secret) {
				t.Errorf("%s: got %x", change.name, got)
			}
		})
	}
	in(t, other, func(s *tpm.Session) {
		if _, err := s.Unseal(blob); says(err) != lock.TPMKeyLost {
			t.Errorf("another TPM: %v", err)
		}
	})
	for _, bad := range [][]byte{nil, {0}, {0xff, 0xff, 0}, blob[:len(blob)-1], append([]byte{}, blob[:60]...), flipped(blob, len(blob)-3), flipped(blob, 20)} {
		in(t, m, func(s *tpm.Session) {
			if _, err := s.Unseal(bad); says(err) != lock.TPMKeyLost {
				t.Errorf("a blob of %d bytes: %v", len(bad), err)
			}
		})
	}
	m.Clear()
	in(t, m, func(s *tpm.Session) {
		if _, err := s.Unseal(blob); says(err) != lock.TPMKeyLost {
			t.Errorf("cleared: %v", err)
		}
	})
}

func flipped(b []byte, at int) []byte {
	c := bytes.Clone(b)
	c[at] ^= 1
	return c
}

func TestTheCounterGoesOneWay(t *testing.T) {
	m := tpmtest.Start(t)
	in(t, m, func(s *tpm.Session) {
		if _, err := s.Counter(); says(err) != lock.TPMCounterAbsent {
			t.Errorf("there is one: %v", err)
		}
		if _, err := s.Advance(); says(err) != lock.TPMCounterAbsent {
			t.Errorf("one that is not there advances: %v", err)
		}
	})
	m.Define(tpmtest.CounterIndex, tpmtest.CounterAttributes())
	var last uint64
	in(t, m, func(s *tpm.Session) {
		if n := must(s.Counter())(t); n != 0 {
			t.Errorf("one that was never advanced is at %d", n)
		}
		last = must(s.Arm())(t)
		if again := must(s.Arm())(t); last == 0 || again != last {
			t.Errorf("armed at %d, then at %d", last, again)
		}
		for range 3 {
			if n := must(s.Advance())(t); n != last+1 {
				t.Errorf("from %d to %d", last, n)
			}
			last++
		}
	})
	m.Reboot()
	in(t, m, func(s *tpm.Session) {
		if n := must(s.Counter())(t); n != last {
			t.Errorf("after a reboot it is at %d instead of %d", n, last)
		}
	})
	m.Undefine(tpmtest.CounterIndex)
	in(t, m, func(s *tpm.Session) {
		if n := must(s.Arm())(t); n <= last {
			t.Errorf("made anew it is at %d, where it was at %d before", n, last)
		}
	})
	m.Undefine(tpmtest.CounterIndex)
	m.Define(tpmtest.CounterIndex, tpm2.TPMANV{AuthRead: true, AuthWrite: true, OwnerWrite: true, NoDA: true})
	in(t, m, func(s *tpm.Session) {
		if _, err := s.Counter(); says(err) != lock.TPMCounterForeign {
			t.Errorf("an ordinary index is taken for the counter: %v", err)
		}
		if n := must(s.Arm())(t); n <= last {
			t.Errorf("made anew in its place it is at %d", n)
		}
	})
}

func TestAnOwnerPasswordIsNamedWhereItIsInTheWay(t *testing.T) {
	m := tpmtest.Start(t)
	m.OwnerPassword("the vendor's")
	in(t, m, func(s *tpm.Session) {
		if _, err := s.Seal([]byte("x")); says(err) != lock.TPMOwned {
			t.Errorf("sealing: %v", err)
		}
		if _, err := s.Arm(); says(err) != lock.TPMOwned {
			t.Errorf("making the counter: %v", err)
		}
	})
}

// A vendor's storage root key without the mark that keeps it out of the
// dictionary-attack protection: somebody's guessing then locks it for a while.
func TestTheLockoutIsNamed(t *testing.T) {
	m := tpmtest.Start(t)
	guardedParent(t, m)
	var blob []byte
	in(t, m, func(s *tpm.Session) { blob = must(s.Seal([]byte("x")))(t) })
	lockOut(t, m)
	in(t, m, func(s *tpm.Session) {
		if _, err := s.Unseal(blob); says(err) != lock.TPMLockedOut {
			t.Errorf("got %v", err)
		}
	})
}

// With the standard one nobody's guessing locks the owner out.
func TestTheLockoutDoesNotConcernUsOtherwise(t *testing.T) {
	m := tpmtest.Start(t)
	var blob []byte
	in(t, m, func(s *tpm.Session) {
		blob = must(s.Seal([]byte("x")))(t)
		must(s.Arm())(t)
	})
	lockOut(t, m)
	in(t, m, func(s *tpm.Session) {
		must(s.Unseal(blob))(t)
		must(s.Advance())(t)
	})
}

// guardedParent keeps a storage root key that is subject to the lockout.
func guardedParent(t *testing.T, m *tpmtest.TPM) {
	t.Helper()
	m.Do(func(tp transport.TPM) error {
		owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
		template := tpm2.ECCSRKTemplate
		template.ObjectAttributes.NoDA = false
		p, err := tpm2.CreatePrimary{PrimaryHandle: owner, InPublic: tpm2.New2B(template)}.Execute(tp)
		if err != nil {
			return err
		}
		_, err = tpm2.EvictControl{Auth: owner, ObjectHandle: &tpm2.NamedHandle{Handle: p.ObjectHandle, Name: p.Name}, PersistentHandle: 0x81000001}.Execute(tp)
		if err != nil {
			return err
		}
		_, err = tpm2.FlushContext{FlushHandle: p.ObjectHandle}.Execute(tp)
		return err
	})
}

// lockOut guesses at somebody's object until the TPM has had enough.
func lockOut(t *testing.T, m *tpmtest.TPM) {
	t.Helper()
	const index = 0x01800001
	m.Define(index, tpm2.TPMANV{AuthRead: true, AuthWrite: true, OwnerRead: true})
	m.Do(func(tp transport.TPM) error {
		rsp, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(index)}.Execute(tp)
		if err != nil {
			return err
		}
		for range 64 {
			h := tpm2.NamedHandle{Handle: index, Name: rsp.NVName}
			_, err := tpm2.NVRead{AuthHandle: tpm2.AuthHandle{Handle: index, Name: rsp.NVName, Auth: tpm2.PasswordAuth([]byte("guess"))}, NVIndex: h, Size: 8}.Execute(tp)
			if errors.Is(err, tpm2.TPMRCLockout) {
				return nil
			}
		}
		return errors.New("there is no lockout")
	})
}

func TestATPMThatIsNotThereIsAbsent(t *testing.T) {
	dir := t.TempDir()
	gone := filepath.Join(dir, "gone")
	l := must(net.Listen("unix", gone))(t)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	for _, path := range []string{filepath.Join(dir, "tpmrm0"), "swtpm:" + filepath.Join(dir, "sock"), "swtpm:" + gone} {
		if _, err := tpm.Open(path); says(err) != lock.TPMAbsent {
			t.Errorf("%s: %v", path, err)
		}
	}
	// What may not be opened, or is no TPM, is there all the same.
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, file)
	defer s.Close()
	if _, err := s.Counter(); says(err) != lock.TPMFailing {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := tpm.Open(dir); says(err) != lock.TPMFailing {
		t.Errorf("a folder: %v", err)
	}
}

// serve is a TPM that answers each command as f does; nil from f is silence.
func serve(t *testing.T, f func(command []byte) []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l := must(net.Listen("unix", path))(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for b := make([]byte, 4096); ; {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					answer := f(b[:n])
					if answer == nil {
						continue
					}
					if _, err := c.Write(answer); err != nil || len(answer) < 10 {
						return
					}
				}
			}()
		}
	}()
	return "swtpm:" + path
}

func TestEveryWaitForATPMIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		answer []byte
		want   lock.TPM
	}{
		"no answer":                   {nil, lock.TPMSilent},
		"busy for ever":               {[]byte{0x80, 1, 0, 0, 0, 10, 0, 0, 9, 0x22}, lock.TPMSilent},
		"half an answer":              {[]byte{0x80, 1, 0, 0, 0, 99, 0, 0, 0, 0}, lock.TPMSilent},
		"an answer that is cut":       {[]byte{0x80, 1, 0, 0}, lock.TPMFailing},
		"an answer without an end":    {[]byte{0x80, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, lock.TPMFailing},
		"nonsense":                    {bytes.Repeat([]byte{0, 0, 0, 12}, 3), lock.TPMFailing},
		"failure mode":                {[]byte{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1}, lock.TPMFailing},
		"not started by the firmware": {[]byte{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0}, lock.TPMFailing},
	} {
		t.Run(name, func(t *testing.T) {
			path := serve(t, func([]byte) []byte { return c.answer })
			start, wait := time.Now(), 300*time.Millisecond
			if c.want == lock.TPMFailing {
				wait = time.Minute // it is not waited for
			}
			s := must(tpm.OpenFor(path, wait))(t)
			defer s.Close()
			if _, err := s.Counter(); says(err) != c.want {
				t.Errorf("got %v", err)
			}
			if _, err := s.Unseal([]byte{0, 0}); err == nil {
				t.Error("it goes on")
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// Whoever is killed leaves objects behind in a TPM that nobody manages.
func TestATPMThatIsFullOfWhatOthersLeftIsEmptied(t *testing.T) {
	m := tpmtest.Start(t)
	var blob []byte
	in(t, m, func(s *tpm.Session) { blob = must(s.Seal([]byte("x")))(t) })
	m.Do(func(tp transport.TPM) error {
		for {
			_, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(tp)
			if errors.Is(err, tpm2.TPMRCObjectMemory) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	in(t, m, func(s *tpm.Session) { must(s.Unseal(blob))(t) })
}

func TestADeviceKeyNeverLeavesTheTPMAndSigns(t *testing.T) {
	m, other := tpmtest.Start(t), tpmtest.Start(t)
	blob := must(tpm.Keys{Device: m.Device()}.NewKey())(t)
	key := must(tpm.Keys{Device: m.Device()}.Signer(blob))(t)
	digest := sha256.Sum256([]byte("what is signed"))
	for range 3 {
		sig := must(key.Sign(nil, digest[:], crypto.SHA256))(t)
		if !ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest[:], sig) {
			t.Error("the signature does not hold")
		}
		m.Reboot()
	}
	if _, err := key.Sign(nil, digest[:], crypto.SHA512); err == nil {
		t.Error("signs something else")
	}
	foreign := must(tpm.Keys{Device: other.Device()}.Signer(blob))(t)
	if _, err := foreign.Sign(nil, digest[:], crypto.SHA256); says(err) != lock.TPMKeyLost {
		t.Errorf("another TPM: %v", err)
	}
	for _, bad := range [][]byte{nil, blob[:9], must(sealed(t, m))(t)} {
		if _, err := (tpm.Keys{Device: m.Device()}).Signer(bad); err == nil {
			t.Errorf("%d bytes are taken for a key", len(bad))
		}
	}
	m.Off()
	if _, err := key.Sign(nil, digest[:], crypto.SHA256); says(err) != lock.TPMAbsent {
		t.Errorf("without the TPM: %v", err)
	}
}

func sealed(t *testing.T, m *tpmtest.TPM) (blob []byte, err error) {
	in(t, m, func(s *tpm.Session) { blob, err = s.Seal([]byte("x")) })
	return blob, err
}

func TestTheEndorsementKeyNamesTheTPM(t *testing.T) {
	m, other := tpmtest.Start(t), tpmtest.Start(t)
	name := must(tpm.Endorsement(m.Device()))(t)
	m.Clear()
	m.Reboot()
	if got := must(tpm.Endorsement(m.Device()))(t); got != name || len(name) != 2*34 {
		t.Errorf("%s, and then %s", name, got)
	}
	if must(tpm.Endorsement(other.Device()))(t) == name {
		t.Error("another TPM has the same name")
	}
	m.Off()
	if _, err := tpm.Endorsement(m.Device()); says(err) != lock.TPMAbsent {
		t.Errorf("without one: %v", err)
	}
}

// What each operation costs in commands; docs/record.md has the table.
func TestCommandsOfEachOperation(t *testing.T) {
	m := tpmtest.Start(t)
	var blob []byte
	bind := in(t, m, func(s *tpm.Session) { blob = must(s.Seal(make([]byte, 32)))(t); must(s.Arm())(t) })
	read := func(s *tpm.Session) { must(s.Unseal(blob))(t); must(s.Counter())(t) }
	look := in(t, m, read)
	write := in(t, m, func(s *tpm.Session) { read(s); must(s.Advance())(t) })
	t.Logf("bind %d, read %d, write with a step of the counter %d commands", bind, look, write)
	if bind > 14 || look > 7 || write > 10 {
		t.Error("more than the document says")
	}
}

func BenchmarkUnsealAndReadTheCounter(b *testing.B) {
	m := tpmtest.Start(b)
	s := open(b, m.Device())
	blob := must(s.Seal(make([]byte, 32)))(b)
	must(s.Arm())(b)
	s.Close()
	for b.Loop() {
		in(b, m, func(s *tpm.Session) { must(s.Unseal(blob))(b); must(s.Counter())(b) })
	}
}
