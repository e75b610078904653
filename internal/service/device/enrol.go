// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"crypto"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// maxPending bounds the pending keys of one device; the oldest gives way.
const maxPending = 4

// Enrolment is what a device says of itself.
type Enrolment struct {
	// KeyID is the thumbprint of Public.
	KeyID      string
	Public     crypto.PublicKey
	Identities []Identity
	// Model is for people to read.
	Model string
	// Proof says what proves Proven, which are among Identities.
	Proof  Proof
	Proven []Identity
}

// Proof is what proves that a device is the hardware that it says it is.
type Proof string

// The proofs.
const (
	// Unproven: nothing does.
	Unproven Proof = ""
	// ByTPM: its TPM has answered a challenge, with the device's key in it.
	ByTPM Proof = "tpm"
	// ByToken: its vendor says so.
	ByToken Proof = "token"
)

// Enrolled is what the account service answers an enrolment.
type Enrolled struct {
	DeviceID  string
	KeyStatus KeyStatus
	// Proof is that of the key, now or earlier.
	Proof Proof
}

// Enrol makes a new device, or finds again the one with this hardware, and takes
// in its key as KeyAfterEnrolment says. Enrolling twice changes nothing more.
func (r *Registry) Enrol(ctx context.Context, e Enrolment) (Enrolled, error) {
	var out Enrolled
	err := r.db.Tx(ctx, func(tx *sql.Tx) error {
		matches, err := matching(ctx, tx, e)
		if err != nil {
			return err
		}
		known, ok := Choose(Bound(matches, e.Proof))
		if !ok {
			if known, err = r.add(ctx, tx, e); err != nil {
				return err
			}
		}
		out = Enrolled{DeviceID: known.DeviceID, KeyStatus: KeyAfterEnrolment(known)}
		add := r.addActive
		if out.KeyStatus == PendingKey {
			add = r.addPending
		}
		if err := add(ctx, tx, known.DeviceID, e); err != nil {
			return err
		}
		out.Proof, err = r.prove(ctx, tx, known, e)
		return err
	})
	if err != nil {
		return Enrolled{}, fmt.Errorf("cannot enrol a device: %w", err)
	}
	return out, nil
}

// matching returns the devices that one of the identities, or the key, matches.
func matching(ctx context.Context, tx *sql.Tx, e Enrolment) ([]Candidate, error) {
	const columns = `d.id, d.enrolled_at, COALESCE(l.status, ''), COALESCE(l.proven, 0),
(SELECT COUNT(*) FROM device_keys k WHERE k.device_id = d.id AND k.key_id = $1 AND k.status = 'active')`
	var out []Candidate
	add := func(source, query string, args ...any) error {
		c := Candidate{Source: source}
		err := tx.QueryRowContext(ctx, query, args...).Scan(&c.DeviceID, &c.EnrolledAt, &c.Status, &c.Proven, &c.HoldsKey)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			out = append(out, c)
		}
		return err
	}
	for _, id := range e.Identities {
		err := add(id.Source, `SELECT `+columns+`
FROM device_identities i JOIN devices d ON d.id = i.device_id LEFT JOIN links l ON l.id = d.link_id
WHERE i.source = $2 AND i.digest = $3`, e.KeyID, id.Source, id.Digest)
		if err != nil {
			return nil, err
		}
	}
	// A device whose every other name was changed is still the one that its key
	// speaks for: it does not become an unlinked one.
	err := add("", `SELECT `+columns+`
FROM device_keys a JOIN devices d ON d.id = a.device_id LEFT JOIN links l ON l.id = d.link_id
WHERE a.key_id = $1 AND a.status = 'active'
ORDER BY CASE WHEN l.status IN ('linked', 'lost') THEN 0 ELSE 1 END, d.enrolled_at LIMIT 1`, e.KeyID)
	return out, err
}

func (r *Registry) add(ctx context.Context, tx *sql.Tx, e Enrolment) (Candidate, error) {
	id, err := NewID(r.random)
	if err != nil {
		return Candidate{}, err
	}
	now := r.now().UnixMilli()
	// An ID that is taken, one in 2^60, fails here; the device tries again.
	err = exec(ctx, tx, `INSERT INTO devices (id, model, link_id, enrolled_at, seen_at) VALUES ($1, $2, '', $3, $4)`,
		id, e.Model, now, now)
	return Candidate{DeviceID: id}, err
}

func (r *Registry) addActive(ctx context.Context, tx *sql.Tx, deviceID string, e Enrolment) error {
	now := r.now().UnixMilli()
	// The key that was the device's so far may be a locked device's that was
	// released and has not heard of it yet: it may still ask for a bare statement.
	err := exec(ctx, tx, `UPDATE device_keys SET status = 'pending', identities = '[]' WHERE device_id = $1 AND status = 'active' AND key_id <> $2`,
		deviceID, e.KeyID)
	if err != nil {
		return err
	}
	err = exec(ctx, tx, `INSERT INTO device_keys (device_id, key_id, public, status, added_at)
VALUES ($1, $2, $3, 'active', $4)
ON CONFLICT (device_id, key_id) DO UPDATE SET status = 'active', identities = ''`,
		deviceID, e.KeyID, base64.RawURLEncoding.EncodeToString(accountapi.KeyBytes(e.Public)), now)
	if err != nil {
		return err
	}
	err = exec(ctx, tx, `UPDATE devices SET seen_at = $1, model = CASE WHEN $2 = '' THEN model ELSE $2 END WHERE id = $3`,
		now, e.Model, deviceID)
	if err != nil {
		return err
	}
	return r.addIdentities(ctx, tx, deviceID, e.Identities)
}

func (r *Registry) addPending(ctx context.Context, tx *sql.Tx, deviceID string, e Enrolment) error {
	ids, err := json.Marshal(e.Identities)
	if err != nil {
		return err
	}
	err = exec(ctx, tx, `INSERT INTO device_keys (device_id, key_id, public, status, identities, added_at)
VALUES ($1, $2, $3, 'pending', $4, $5)
ON CONFLICT (device_id, key_id) DO UPDATE SET identities = excluded.identities, added_at = excluded.added_at`,
		deviceID, e.KeyID, base64.RawURLEncoding.EncodeToString(accountapi.KeyBytes(e.Public)), string(ids), r.now().UnixMilli())
	if err != nil {
		return err
	}
	return exec(ctx, tx, `DELETE FROM device_keys WHERE device_id = $1 AND status = 'pending' AND key_id NOT IN
(SELECT key_id FROM device_keys WHERE device_id = $1 AND status = 'pending' ORDER BY added_at DESC, key_id LIMIT $2)`,
		deviceID, maxPending)
}

// prove notes what proves the key, and returns that. A proven identity is taken from
// a device that has not proven it. The link of a device whose own key proves itself
// is that of a proven device from now on.
func (r *Registry) prove(ctx context.Context, tx *sql.Tx, to Candidate, e Enrolment) (Proof, error) {
	if e.Proof != Unproven {
		err := exec(ctx, tx, `UPDATE device_keys SET proof = $1 WHERE device_id = $2 AND key_id = $3`, string(e.Proof), to.DeviceID, e.KeyID)
		if err == nil && to.HoldsKey {
			err = exec(ctx, tx, `UPDATE links SET proven = 1 WHERE id = (SELECT link_id FROM devices WHERE id = $1)`, to.DeviceID)
		}
		if err != nil {
			return Unproven, err
		}
		if !to.HoldsKey && to.Status.Binds() {
			// The owner's unlock makes them the device's.
			return e.Proof, nil
		}
		return e.Proof, r.addProven(ctx, tx, to.DeviceID, e.Proven)
	}
	var proof string
	err := tx.QueryRowContext(ctx, `SELECT proof FROM device_keys WHERE device_id = $1 AND key_id = $2`, to.DeviceID, e.KeyID).Scan(&proof)
	return Proof(proof), err
}

// addProven gives the device identities that it has proven.
func (r *Registry) addProven(ctx context.Context, tx *sql.Tx, deviceID string, ids []Identity) error {
	for _, id := range ids {
		err := exec(ctx, tx, `INSERT INTO device_identities (source, digest, device_id, added_at, proven) VALUES ($1, $2, $3, $4, 1)
ON CONFLICT (source, digest) DO UPDATE SET device_id = excluded.device_id, proven = 1 WHERE device_identities.proven = 0`,
			id.Source, id.Digest, deviceID, r.now().UnixMilli())
		if err != nil {
			return err
		}
	}
	return nil
}

// addIdentities gives the device those identities that no device has.
func (r *Registry) addIdentities(ctx context.Context, tx *sql.Tx, deviceID string, ids []Identity) error {
	for _, id := range ids {
		err := exec(ctx, tx, `INSERT INTO device_identities (source, digest, device_id, added_at)
VALUES ($1, $2, $3, $4) ON CONFLICT (source, digest) DO NOTHING`, id.Source, id.Digest, deviceID, r.now().UnixMilli())
		if err != nil {
			return err
		}
	}
	return nil
}

// promote makes a pending key the device's, with what it was enrolled with, and
// drops every other key. The link becomes that of a proven device, if the key is one's.
func (r *Registry) promote(ctx context.Context, tx *sql.Tx, deviceID, linkID, keyID string) error {
	var (
		status, enrolled, proof string
		keys                    int64
	)
	err := tx.QueryRowContext(ctx, `SELECT status, identities, proof, (SELECT COUNT(*) FROM device_keys WHERE device_id = $1)
FROM device_keys WHERE device_id = $1 AND key_id = $2`, deviceID, keyID).Scan(&status, &enrolled, &proof, &keys)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.DeviceUnknown, nil)
	}
	if err != nil {
		return err
	}
	if proof != "" {
		if err := exec(ctx, tx, `UPDATE links SET proven = 1 WHERE id = $1`, linkID); err != nil {
			return err
		}
	}
	if keys > 1 {
		// The owner has spoken through this key: the others are strangers'.
		if err := exec(ctx, tx, `DELETE FROM device_keys WHERE device_id = $1 AND key_id <> $2`, deviceID, keyID); err != nil {
			return err
		}
	}
	if KeyStatus(status) == Active {
		return nil
	}
	err = exec(ctx, tx, `UPDATE device_keys SET status = 'active', identities = '' WHERE device_id = $1 AND key_id = $2`, deviceID, keyID)
	if err != nil {
		return err
	}
	var ids []Identity
	if err := json.Unmarshal([]byte(enrolled), &ids); err != nil {
		return fmt.Errorf("cannot read a pending key's identities: %w", err)
	}
	return r.addIdentities(ctx, tx, deviceID, ids)
}
