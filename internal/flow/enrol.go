// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// credentials returns the device's own, enrolling it first where need be.
func (k *Keeper) credentials(ctx context.Context) (Credentials, error) {
	r, err := k.ensureKey()
	if err != nil {
		return Credentials{}, err
	}
	creds := Credentials{ID: r.DeviceID, Key: ed25519.NewKeyFromSeed(r.DeviceKey)}
	if creds.ID != "" {
		return creds, nil
	}
	id, err := k.ports.Registry.Enrol(ctx, creds, k.ports.Hardware.Identities(r.Identity), k.ports.Hardware.Model())
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

// ensureKey gives the record a device key. A record made in place of a missing
// or damaged one is armed from its first byte: fails locked, since the device
// may be linked, and whoever erased the record must not find it open.
func (k *Keeper) ensureKey() (lock.Record, error) {
	k.mu.Lock()
	have := k.record
	k.mu.Unlock()
	if len(have.DeviceKey) == ed25519.SeedSize {
		return have, nil
	}
	key, identity := make([]byte, ed25519.SeedSize), make([]byte, 16)
	for _, b := range [][]byte{key, identity} {
		if _, err := io.ReadFull(k.ports.Random, b); err != nil {
			return lock.Record{}, fault.New(fault.Internal, err)
		}
	}
	err := k.amend(true, true, func(r lock.Record) lock.Record {
		if len(r.DeviceKey) == ed25519.SeedSize {
			return r // another call was quicker
		}
		r.DeviceKey, r.Identity = key, identity
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

// resumeCredentials returns the credentials on record, without enrolling.
func (k *Keeper) resumeCredentials() (Credentials, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.record.DeviceID == "" || len(k.record.DeviceKey) != ed25519.SeedSize {
		return Credentials{}, fault.New(fault.DeviceUnknown, nil)
	}
	return Credentials{ID: k.record.DeviceID, Key: ed25519.NewKeyFromSeed(k.record.DeviceKey)}, nil
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
	identity := k.record.Identity
	k.mu.Unlock()
	id, err := k.ports.Registry.Enrol(ctx, Credentials{Key: creds.Key}, k.ports.Hardware.Identities(identity), k.ports.Hardware.Model())
	if err != nil {
		return err
	}
	if id != creds.ID {
		return fault.New(fault.DeviceUnknown, errors.New("the account service takes this device for another one"))
	}
	return nil
}
