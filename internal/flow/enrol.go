// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"io"
	"slices"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// credentials returns the device's own, enrolling it first where need be.
func (k *Keeper) credentials(ctx context.Context) (Credentials, error) {
	r, err := k.ensureKey()
	if err != nil {
		return Credentials{}, err
	}
	key, err := k.signer(r)
	if err != nil {
		return Credentials{}, err
	}
	creds := Credentials{ID: r.DeviceID, Key: key}
	if creds.ID != "" {
		return creds, nil
	}
	id, err := k.enrol(ctx, creds, r)
	k.NoteContact(err)
	if err != nil {
		return Credentials{}, err
	}
	creds.ID = id
	if err := k.amend(false, true, func(r lock.Record) lock.Record { r.DeviceID = id; return r }, nil); err != nil {
		k.log.Warn("cannot keep the device ID on the medium; it will be asked for again", "error", err)
	}
	k.log.Info("enrolled at the account service", "device_id", id)
	return creds, nil
}

// enrol names the device to the account service, with what proves that.
func (k *Keeper) enrol(ctx context.Context, creds Credentials, r lock.Record) (string, error) {
	h := k.ports.Hardware
	e := Enrolment{Identities: h.Identities(r.Identity), Model: h.Model(), Token: h.Token()}
	if slices.ContainsFunc(e.Identities, func(i Identity) bool { return i.Source == "tpm" }) {
		var err error
		if e.Proof, err = k.prove(ctx, creds, r); err != nil {
			return "", err
		}
	}
	id, proven, err := k.ports.Registry.Enrol(ctx, creds, e)
	if err == nil {
		k.mu.Lock()
		k.proven = proven
		k.mu.Unlock()
	}
	if err == nil && !proven {
		k.log.Info("the account service holds this device's identity unproven", "by_tpm", len(e.Proof) > 0, "by_token", e.Token != "")
	}
	return id, err
}

// prove answers a challenge of the account service by the chip that the device's key
// lies in. Where the chip or the service does not go along the device is one that
// proves nothing; where the service cannot be asked now it is to be asked again.
func (k *Keeper) prove(ctx context.Context, creds Credentials, r lock.Record) ([]byte, error) {
	chip, ok := k.ports.Chip.(Attestor)
	if !ok || len(r.DeviceKeyTPM) == 0 {
		return nil, nil
	}
	var c Claim
	var err error
	if c.Endorsement, c.Key, c.Certificate, err = chip.Attest(r.DeviceKeyTPM); err != nil {
		k.log.Info("the TPM proves nothing", "error", err)
		return nil, nil
	}
	challenge, err := k.ports.Registry.Challenge(ctx, Credentials{Key: creds.Key}, c)
	if fault.CodeOf(err) == fault.InvalidArgument {
		k.log.Info("the account service does not take the TPM's proof", "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	proof, err := chip.Activate(r.DeviceKeyTPM, challenge.Credential, challenge.Secret)
	if err != nil {
		k.log.Info("the TPM proves nothing", "error", err)
		return nil, nil
	}
	return proof, nil
}

// proveBeforeLink enrols a device with a TPM once more where nobody knows that it has
// proven itself: what kept it from that at its first contact may be gone, and a link
// made without proof does not bind a device that proves itself later. Where it still
// cannot, the link is made as it is.
func (k *Keeper) proveBeforeLink(ctx context.Context) {
	k.mu.Lock()
	chip, proven := len(k.record.DeviceKeyTPM) > 0, k.proven
	k.mu.Unlock()
	if chip && !proven {
		if err := k.enrolAgain(ctx); err != nil {
			k.log.Info("the device is linked without a new proof of what it is", "error", err)
		}
	}
}

// ensureKey gives the record a device key. A record made in place of a missing
// or damaged one is armed from its first byte: fails locked, since the device
// may be linked, and whoever erased the record must not find it open.
func (k *Keeper) ensureKey() (lock.Record, error) {
	k.mu.Lock()
	have := k.record
	k.mu.Unlock()
	if have.HasKey() {
		return have, nil
	}
	fresh, err := k.newKey()
	if err != nil {
		return lock.Record{}, err
	}
	err = k.amend(true, true, func(r lock.Record) lock.Record {
		if r.HasKey() {
			return r // another call was quicker
		}
		r.DeviceKey, r.DeviceKeyTPM = fresh.DeviceKey, fresh.DeviceKeyTPM
		if len(r.Identity) == 0 {
			// One that is there already names the device, whatever became of its key.
			r.Identity = fresh.Identity
		}
		return r
	}, nil)
	if err != nil {
		// The key then lives as long as the process: enough to be let in by.
		k.log.Warn("cannot keep the device key on the medium", "error", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.record, nil
}

// newKey returns a record with a new key and a new identity: a key in the chip
// where there is one, otherwise the seed of an Ed25519 key.
func (k *Keeper) newKey() (lock.Record, error) {
	r := lock.Record{Identity: make([]byte, 16)}
	if k.ports.Chip != nil {
		blob, err := k.ports.Chip.NewKey()
		if err != nil {
			k.log.Info("the device's key is made without a TPM", "error", err)
		}
		r.DeviceKeyTPM = blob
	}
	random := [][]byte{r.Identity}
	if len(r.DeviceKeyTPM) == 0 {
		r.DeviceKey = make([]byte, ed25519.SeedSize)
		random = append(random, r.DeviceKey)
	}
	for _, b := range random {
		if _, err := io.ReadFull(k.ports.Random, b); err != nil {
			return lock.Record{}, fault.New(fault.Internal, err)
		}
	}
	return r, nil
}

// signer returns the key of a record that has one.
func (k *Keeper) signer(r lock.Record) (crypto.Signer, error) {
	if len(r.DeviceKey) == ed25519.SeedSize {
		return ed25519.NewKeyFromSeed(r.DeviceKey), nil
	}
	if k.ports.Chip == nil {
		return nil, fault.New(fault.StorageFailed, errors.New("the device's key lies in a TPM, and none is used"))
	}
	key, err := k.ports.Chip.Signer(r.DeviceKeyTPM)
	if err != nil {
		return nil, fault.New(fault.StorageFailed, err)
	}
	return key, nil
}

// resumeCredentials returns the credentials on record, without enrolling.
func (k *Keeper) resumeCredentials() (Credentials, error) {
	k.mu.Lock()
	r := k.record
	k.mu.Unlock()
	if r.DeviceID == "" || !r.HasKey() {
		return Credentials{}, fault.New(fault.DeviceUnknown, nil)
	}
	key, err := k.signer(r)
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{ID: r.DeviceID, Key: key}, nil
}

// enrolAgain brings the device's own key back to a service that does not know it
// any more, because another key was enrolled under the same hardware. Another
// device ID than the one on record is not taken: it would be another device.
func (k *Keeper) enrolAgain(ctx context.Context) error {
	creds, err := k.resumeCredentials()
	if err != nil {
		return err
	}
	k.mu.Lock()
	r := k.record
	k.mu.Unlock()
	id, err := k.enrol(ctx, Credentials{Key: creds.Key}, r)
	if err != nil {
		return err
	}
	if id != creds.ID {
		return fault.New(fault.DeviceUnknown, errors.New("the account service takes this device for another one"))
	}
	return nil
}
