// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	"github.com/accountlock/accountlock/internal/lock"
)

// moodyChip proves what it is only while it is well.
type moodyChip struct {
	key ed25519.PrivateKey
	ill bool
}

func (c *moodyChip) NewKey() ([]byte, error)              { return []byte("blob"), nil }
func (c *moodyChip) Signer([]byte) (crypto.Signer, error) { return c.key, nil }

func (c *moodyChip) Attest([]byte) (endorsement, key, certificate []byte, err error) {
	if c.ill {
		err = errors.New("the chip is busy")
	}
	return []byte("ek"), []byte("key"), nil, err
}

func (c *moodyChip) Activate(_, credential, _ []byte) ([]byte, error) { return credential, nil }

// A link made without proof does not bind a device that proves itself later, so a TPM
// that failed at the first contact is asked again before the device is linked; and
// only then.
func TestATPMThatProvedNothingIsAskedAgainBeforeTheDeviceIsLinked(t *testing.T) {
	for name, c := range map[string]struct {
		ill, stillIll bool
		want          []string
	}{
		"it is well again":  {true, false, []string{"", "for this chip"}},
		"it never is":       {true, true, []string{"", ""}},
		"it was well first": {false, false, []string{"for this chip"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, key, err := ed25519.GenerateKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			w, chip := newWorld(), &moodyChip{key: key, ill: c.ill}
			w.chip = chip
			d := w.boot(t)
			if err := d.m.CheckIn(t.Context()); err != nil {
				t.Fatal(err)
			}
			chip.ill = c.stillIll
			d.run(t, lock.KindLink)
			d.run(t, lock.KindSignOut)
			if d.state().State != lock.SignedOut || !slices.Equal(w.proofs, c.want) {
				t.Errorf("%s after enrolments with the proofs %q, want %q", d.state(), w.proofs, c.want)
			}
		})
	}
}
