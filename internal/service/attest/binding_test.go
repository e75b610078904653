// SPDX-License-Identifier: Apache-2.0

package attest_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/tpm/tpmtest"
)

// stated asks how the device's link stands.
func stated(t *testing.T, s *apitest.Service, d *apitest.Device) accountapi.ClaimsStatus {
	t.Helper()
	a := d.Post(t, "/v1/devices/"+d.ID+"/statement", accountapi.StatementRequest{Nonce: apitest.NewNonce()})
	var word accountapi.StatementResponse
	must(t, json.Unmarshal(a.Body, &word))
	return *apitest.Open(t, word.Statement, accountapi.TypeStatement, s.Set(t)).Status
}

// Somebody who has read a device's serial number, and the name of its TPM, in a shop
// enrols both as a device of their own and links that.
func TestALinkUnderABorrowedSerialDoesNotBindTheDeviceThatProvesItself(t *testing.T) {
	s := apitest.Start(t)
	real := newMachine(t, s, tpmtest.Start(t))
	names := []accountapi.Identity{real.name(t), apitest.Identity(accountapi.Dmi, "the serial in the shop")}
	squatter := apitest.NewDevice(s.URL, apitest.Client(s.CA))
	enrol(t, squatter, "", "", names...)
	s.Link(t, squatter, s.Stranger)

	// Without a proof nobody can tell the two apart.
	if got := enrol(t, real.Device, "", "", names...); got.DeviceId != squatter.ID || got.KeyStatus != accountapi.Pending {
		t.Errorf("without a proof: %+v", got)
	}
	got := enrol(t, real.Device, real.proof(t), "", names...)
	if got.DeviceId == squatter.ID || got.KeyStatus != accountapi.Active || is(got) != accountapi.Proven {
		t.Fatalf("with one: %+v", got)
	}
	if st := stated(t, s, real.Device); st != accountapi.ClaimsStatusUnlinked {
		t.Errorf("it is %s", st)
	}
	s.Link(t, real.Device, s.Owner)

	// What somebody made up stays theirs; the owner's link holds over a reset that takes
	// the key.
	made := squatter.ID
	if again := enrol(t, squatter, "", "", names...); again.DeviceId != made {
		t.Errorf("the squatter comes again: %+v", again)
	}
	reset := newMachine(t, s, real.chip)
	for _, proof := range []string{"", reset.proof(t)} {
		if got := enrol(t, reset.Device, proof, "", names...); got.DeviceId != real.ID || got.KeyStatus != accountapi.Pending {
			t.Errorf("reset, with a proof of %d characters: %+v", len(proof), got)
		}
		if st := stated(t, s, reset.Device); st != accountapi.ClaimsStatusLinked {
			t.Errorf("reset it is %s", st)
		}
	}
}

// A thief with a device that was linked as a proven one, in every dress.
func TestAProvenLinkBindsWhateverTheThiefProves(t *testing.T) {
	s := apitest.Start(t)
	owned := newMachine(t, s, tpmtest.Start(t))
	tpm, serial := owned.name(t), apitest.Identity(accountapi.Dmi, "serial")
	enrol(t, owned.Device, owned.proof(t), "", tpm, serial)
	s.Link(t, owned.Device, s.Owner)
	again, other := newMachine(t, s, owned.chip), newMachine(t, s, tpmtest.Start(t))
	software := apitest.NewDevice(s.URL, apitest.Client(s.CA))
	for name, c := range map[string]struct {
		d     *apitest.Device
		proof string
		ids   []accountapi.Identity
	}{
		"a new key in the same TPM, proven": {again.Device, again.proof(t), []accountapi.Identity{tpm, serial}},
		"the same TPM without the serial":   {again.Device, again.proof(t), []accountapi.Identity{tpm}},
		"another TPM, proven":               {other.Device, other.proof(t), []accountapi.Identity{other.name(t), serial}},
		"the TPM hidden":                    {software, "", []accountapi.Identity{serial}},
		"the TPM's name alone, unproven":    {software, "", []accountapi.Identity{tpm, apitest.Identity(accountapi.Dmi, "another serial")}},
	} {
		t.Run(name, func(t *testing.T) {
			got := enrol(t, c.d, c.proof, "", c.ids...)
			if got.DeviceId != owned.ID || got.KeyStatus != accountapi.Pending {
				t.Errorf("got %+v", got)
			}
			if st := stated(t, s, c.d); st != accountapi.ClaimsStatusLinked {
				t.Errorf("it is stated %s", st)
			}
		})
	}
}

// A device that was linked before it could prove itself does so later, by its own key.
func TestADeviceMayProveItselfAfterItsLink(t *testing.T) {
	s := apitest.Start(t)
	m := newMachine(t, s, tpmtest.Start(t))
	id := m.name(t)
	enrol(t, m.Device, "", "", id)
	s.Link(t, m.Device, s.Owner)
	if d, err := s.Devices.Show(t.Context(), m.ID); err != nil || d.Proven {
		t.Fatalf("%+v, %v", d, err)
	}
	was := m.ID
	if got := enrol(t, m.Device, m.proof(t), "", id); got.DeviceId != was || got.KeyStatus != accountapi.Active {
		t.Fatalf("got %+v", got)
	}
	if d, err := s.Devices.Show(t.Context(), was); err != nil || !d.Proven {
		t.Errorf("%+v, %v", d, err)
	}
	reset := newMachine(t, s, m.chip)
	if got := enrol(t, reset.Device, reset.proof(t), "", id); got.DeviceId != was || got.KeyStatus != accountapi.Pending {
		t.Errorf("reset: %+v", got)
	}
}

// Whoever makes devices up is held to some of them a day.
func TestLinksOfDevicesThatProveNothingAreLimitedByPlace(t *testing.T) {
	s := apitest.Start(t)
	reserve := func(d *apitest.Device, place string) error {
		return s.DB.Tx(t.Context(), func(tx *sql.Tx) error {
			_, err := s.Devices.Reserve(t.Context(), tx, d.ID, device.Owner{AccountID: s.Owner.ID, KeyID: d.KeyID(), Place: place})
			return err
		})
	}
	const here, elsewhere = "192.0.2.1", "192.0.2.2"
	for range 31 {
		must(t, reserve(s.Device(t), here))
	}
	last := s.Device(t)
	for range 3 { // the same one counts once
		must(t, reserve(last, here))
	}
	d := s.Device(t)
	var f *fault.Error
	if err := reserve(d, here); !errors.As(err, &f) || f.Code != fault.RateLimited || f.RetryAfter <= 23*time.Hour {
		t.Errorf("one more: %v", err)
	}
	must(t, reserve(d, elsewhere))
	must(t, reserve(d, "")) // the service's own machine
	m := newMachine(t, s, tpmtest.Start(t))
	enrol(t, m.Device, m.proof(t), "", m.name(t))
	must(t, reserve(m.Device, here))
	s.Clock.Advance(24*time.Hour + time.Second)
	must(t, reserve(s.Device(t), here))
}
