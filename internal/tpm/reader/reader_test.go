// SPDX-License-Identifier: Apache-2.0

package reader_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/tpm"
	"github.com/accountlock/accountlock/internal/tpm/reader"
	"github.com/accountlock/accountlock/internal/tpm/tpmtest"
	"github.com/accountlock/accountlock/internal/tpm/wire"
)

// session is what both sides answer alike.
type session interface {
	Counter() (uint64, error)
	Unseal(blob []byte) ([]byte, error)
	Close()
}

var secret = []byte("0123456789abcdef0123456789abcdef")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func says(err error) string {
	var e *lock.TPMError
	switch {
	case err == nil:
		return "no error"
	case errors.As(err, &e):
		return string(e.Says)
	default:
		return "not an error of the TPM: " + err.Error()
	}
}

// asked is what a session says of a counter and of blobs, each in a session of
// its own, as the gate has one.
func asked[S session](t *testing.T, open func(string) (S, error), device string, blobs map[string][]byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, ask := range questions(blobs) {
		s, err := open(device)
		if err != nil {
			out[name] = "open: " + says(err)
			continue
		}
		out[name] = ask(s)
		s.Close()
	}
	return out
}

func questions(blobs map[string][]byte) map[string]func(session) string {
	out := map[string]func(session) string{"counter": func(s session) string {
		n, err := s.Counter()
		return fmt.Sprintf("%d, %s", n, says(err))
	}}
	for name, blob := range blobs {
		out[name] = func(s session) string {
			secret, err := s.Unseal(blob)
			return fmt.Sprintf("%q, %s", secret, says(err))
		}
	}
	return out
}

// armed makes a TPM what it is on a linked device.
func armed(t *testing.T, m *tpmtest.TPM) (blob []byte) {
	t.Helper()
	s, err := tpm.Open(m.Device())
	must(t, err)
	defer s.Close()
	blob, err = s.Seal(secret)
	must(t, err)
	_, err = s.Arm()
	must(t, err)
	return blob
}

// keepParent has the machine keep a storage root key of its own.
func keepParent(t *testing.T, m *tpmtest.TPM, template tpm2.TPMTPublic) {
	t.Helper()
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	m.Do(func(tp transport.TPM) error {
		p, err := tpm2.CreatePrimary{PrimaryHandle: owner, InPublic: tpm2.New2B(template)}.Execute(tp)
		if err != nil {
			return err
		}
		_, err = tpm2.EvictControl{Auth: owner, ObjectHandle: &tpm2.NamedHandle{Handle: p.ObjectHandle, Name: p.Name}, PersistentHandle: 0x81000001}.Execute(tp)
		return err
	})
}

// fill leaves no room in the TPM.
func fill(t *testing.T, m *tpmtest.TPM) {
	t.Helper()
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
}

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

func p384() tpm2.TPMTPublic {
	template := tpm2.ECCSRKTemplate
	template.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
		Symmetric: tpm2.TPMTSymDefObject{
			Algorithm: tpm2.TPMAlgAES, KeyBits: tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(128)),
			Mode: tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
		},
		CurveID: tpm2.TPMECCNistP384,
	})
	template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	return template
}

func guarded() tpm2.TPMTPublic {
	template := tpm2.ECCSRKTemplate
	template.ObjectAttributes.NoDA = false
	return template
}

// The gate's own few commands and the daemon's library: whatever state the TPM is
// in, both say the same.
func TestTheReaderAnswersWhatTheLibraryAnswers(t *testing.T) {
	other := armed(t, tpmtest.Start(t))
	for _, c := range []struct {
		name string
		// before and after the TPM is made that of a linked device.
		before, after func(t *testing.T, m *tpmtest.TPM)
		// opens: the secret must be among the answers.
		opens bool
	}{
		{"a linked device", nil, nil, true},
		{"after a reboot", nil, func(_ *testing.T, m *tpmtest.TPM) { m.Reboot() }, true},
		{"other PCRs", nil, func(_ *testing.T, m *tpmtest.TPM) { m.ExtendPCRs() }, true},
		{"an RSA storage root key", func(t *testing.T, m *tpmtest.TPM) { keepParent(t, m, tpm2.RSASRKTemplate) }, nil, true},
		{"a storage root key on P-384", func(t *testing.T, m *tpmtest.TPM) { keepParent(t, m, p384()) }, nil, true},
		{"a guarded storage root key", func(t *testing.T, m *tpmtest.TPM) { keepParent(t, m, guarded()) }, nil, true},
		{"a guarded one, in the lockout", func(t *testing.T, m *tpmtest.TPM) { keepParent(t, m, guarded()) }, lockOut, false},
		{"in the lockout", nil, lockOut, true},
		{"another storage root key since", nil, func(t *testing.T, m *tpmtest.TPM) {
			m.Do(func(tp transport.TPM) error {
				h := tpm2.TPMHandle(0x81000001)
				public, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(tp)
				if err != nil {
					return err
				}
				_, err = tpm2.EvictControl{
					Auth:         tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
					ObjectHandle: &tpm2.NamedHandle{Handle: h, Name: public.Name}, PersistentHandle: h,
				}.Execute(tp)
				return err
			})
			keepParent(t, m, tpm2.RSASRKTemplate)
		}, true},
		{"no room", nil, fill, true},
		{"an owner's password", nil, func(_ *testing.T, m *tpmtest.TPM) { m.OwnerPassword("x") }, true},
		{"cleared", nil, func(_ *testing.T, m *tpmtest.TPM) { m.Clear() }, false},
		{"cleared, and an owner's password", nil, func(_ *testing.T, m *tpmtest.TPM) { m.Clear(); m.OwnerPassword("x") }, false},
		{"no counter", nil, func(_ *testing.T, m *tpmtest.TPM) { m.Undefine(tpmtest.CounterIndex) }, true},
		{"a counter that was never advanced", nil, func(_ *testing.T, m *tpmtest.TPM) {
			m.Undefine(tpmtest.CounterIndex)
			m.Define(tpmtest.CounterIndex, tpmtest.CounterAttributes())
		}, true},
		{"something else in its place", nil, func(_ *testing.T, m *tpmtest.TPM) {
			m.Undefine(tpmtest.CounterIndex)
			m.Define(tpmtest.CounterIndex, tpm2.TPMANV{AuthRead: true, AuthWrite: true, OwnerWrite: true, NoDA: true})
		}, true},
		{"switched off", nil, func(_ *testing.T, m *tpmtest.TPM) { m.Off() }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := tpmtest.Start(t)
			if c.before != nil {
				c.before(t, m)
			}
			blob := armed(t, m)
			if c.after != nil {
				c.after(t, m)
			}
			blobs := map[string][]byte{
				"sealed": blob, "sealed by another TPM": other, "nothing": nil, "one byte": {0}, "a length alone": {0xff, 0xff, 0},
				"cut": blob[:len(blob)-1], "cut in the middle": blob[:60], "longer": append(bytes.Clone(blob), 0),
				"changed in its secret": changed(blob, len(blob)-3), "changed in its attributes": changed(blob, 9), "changed in its name": changed(blob, 20),
			}
			ours, theirs := asked(t, reader.Open, m.Device(), blobs), asked(t, tpm.Open, m.Device(), blobs)
			for name, want := range theirs {
				if ours[name] != want {
					t.Errorf("%s: %s, and the library: %s", name, ours[name], want)
				}
			}
			if opened := ours["sealed"] == fmt.Sprintf("%q, no error", secret); opened != c.opens {
				t.Errorf("sealed: %s", ours["sealed"])
			}
		})
	}
}

func changed(b []byte, at int) []byte {
	c := bytes.Clone(b)
	c[at] ^= 1
	return c
}

func TestTheTemplateIsTheReferenceTemplate(t *testing.T) {
	if want := tpm2.Marshal(tpm2.ECCSRKTemplate); !bytes.Equal(reader.Template, want) {
		t.Errorf("got %x, want %x", reader.Template, want)
	}
}

// tapped unseals a blob with a TPM whose wires somebody holds.
func tapped(t *testing.T, m *tpmtest.TPM, blob []byte, tap func(command, answer []byte) []byte) ([]byte, error) {
	t.Helper()
	c, err := wire.Dial(m.Device(), time.Minute)
	must(t, err)
	defer c.Close()
	s := reader.Over(func(command []byte) ([]byte, error) {
		answer, err := c.Send(command)
		if err != nil {
			return nil, err
		}
		return tap(command, answer), nil
	})
	defer s.Close()
	return s.Unseal(blob)
}

func TestWhoListensOnTheWiresHearsNothing(t *testing.T) {
	m := tpmtest.Start(t)
	blob := armed(t, m)
	var heard []byte
	got, err := tapped(t, m, blob, func(command, answer []byte) []byte {
		heard = append(append(heard, command...), answer...)
		return answer
	})
	if must(t, err); !bytes.Equal(got, secret) {
		t.Fatalf("got %q", got)
	}
	if bytes.Contains(heard, secret) || bytes.Contains(heard, secret[:8]) {
		t.Error("the secret is on the wires")
	}
}

// Every byte of the answer with the secret, changed on the wires.
func TestAnAnswerThatSomebodyChangedIsNotTaken(t *testing.T) {
	m := tpmtest.Start(t)
	blob := armed(t, m)
	for at, end := 0, 1; at < end; at++ {
		got, err := tapped(t, m, blob, func(command, answer []byte) []byte {
			if bytes.HasPrefix(command[6:], []byte{0, 0, 1, 0x5e}) { // TPM2_Unseal
				end = len(answer)
				return changed(answer, at)
			}
			return answer
		})
		if err == nil {
			t.Errorf("byte %d of %d: %q is taken", at, end, got)
		}
	}
}

// A TPM, or whoever plays one, that answers anything to anything.
func FuzzAnswers(f *testing.F) {
	m := tpmtest.Start(f)
	s, err := tpm.Open(m.Device())
	must(f, err)
	blob, err := s.Seal(secret)
	must(f, err)
	_, err = s.Arm()
	must(f, err)
	s.Close()
	// What a real one answers, as the corpus.
	c, err := wire.Dial(m.Device(), time.Minute)
	must(f, err)
	var answers []byte
	real := reader.Over(func(command []byte) ([]byte, error) {
		answer, err := c.Send(command)
		answers = append(answers, answer...)
		return answer, err
	})
	_, err = real.Counter()
	must(f, err)
	f.Add(answers)
	answers = nil
	_, err = real.Unseal(blob)
	must(f, err)
	f.Add(answers)
	real.Close()
	c.Close()
	f.Add([]byte("\x80\x01\x00\x00\x00\x0a\x00\x00\x09\x02"))
	f.Fuzz(func(t *testing.T, answers []byte) {
		play := func() *reader.Session {
			rest := answers
			return reader.Over(func([]byte) ([]byte, error) {
				if len(rest) < 10 {
					return nil, &lock.TPMError{Says: lock.TPMSilent}
				}
				n := min(max(10, int(rest[5])|int(rest[4])<<8), len(rest))
				var out []byte
				out, rest = rest[:n], rest[n:]
				return out, nil
			})
		}
		s := play()
		var known *lock.TPMError
		if _, err := s.Counter(); err != nil && !errors.As(err, &known) {
			t.Errorf("an error that is not the TPM's: %v", err)
		}
		s.Close()
		s = play()
		// It takes our nonce and our salt to answer this one.
		if got, err := s.Unseal(blob); err == nil {
			t.Errorf("%q is taken", got)
		} else if !errors.As(err, &known) {
			t.Errorf("an error that is not the TPM's: %v", err)
		}
		s.Close()
	})
}

func TestATPMThatIsNotThereIsAbsent(t *testing.T) {
	if _, err := reader.Open("swtpm:" + filepath.Join(t.TempDir(), "sock")); says(err) != string(lock.TPMAbsent) {
		t.Error(err)
	}
}

func BenchmarkUnsealAndReadTheCounter(b *testing.B) {
	m := tpmtest.Start(b)
	s, err := tpm.Open(m.Device())
	must(b, err)
	blob, err := s.Seal(secret)
	must(b, err)
	_, err = s.Arm()
	must(b, err)
	s.Close()
	b.Run("reader", func(b *testing.B) { unseal(b, reader.Open, m.Device(), blob) })
	b.Run("library", func(b *testing.B) { unseal(b, tpm.Open, m.Device(), blob) })
}

func unseal[S session](b *testing.B, open func(string) (S, error), device string, blob []byte) {
	for b.Loop() {
		s, err := open(device)
		must(b, err)
		_, err = s.Unseal(blob)
		must(b, err)
		_, err = s.Counter()
		must(b, err)
		s.Close()
	}
}
