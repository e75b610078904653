// SPDX-License-Identifier: Apache-2.0

package lock

import "reflect"

// Link names one link of the device to an account, and how often the account
// service has changed it since it was made.
type Link struct {
	ID         string `json:"id,omitempty"`
	Generation uint64 `json:"generation,omitempty"`
}

// ServiceKey is one public key (Ed25519, RFC 8032) of the account service, by
// the ID under which it signs.
type ServiceKey struct {
	ID     string `json:"id"`
	Public []byte `json:"public"`
}

// KeySet is a numbered set of the account service's keys. A device never goes
// back to a lower number.
type KeySet struct {
	Number uint64       `json:"number,omitempty"`
	Keys   []ServiceKey `json:"keys,omitempty"`
}

// Record is what the device keeps about its link where a factory reset does
// not reach. It is a value: changes are made by Apply and written by the
// record store. Its JSON form is the payload of a slot, and the names there
// are a format: new fields may be added, none renamed.
type Record struct {
	// DeviceID is the name that the account service gave; empty until enrolled.
	DeviceID string `json:"device_id,omitempty"`
	// DeviceKey is the seed of the device's Ed25519 key. Secret.
	DeviceKey []byte `json:"device_key,omitempty"`
	// DeviceKeyTPM is the device's key as its TPM keeps it, instead of DeviceKey.
	DeviceKeyTPM []byte `json:"device_key_tpm,omitempty"`
	// Identity is the random identity of this record (source `record`).
	Identity []byte `json:"identity,omitempty"`
	// Armed: after a reset, ask for the account.
	Armed bool `json:"armed,omitempty"`
	// AccountID of the linked or signed-out account.
	AccountID string `json:"account_id,omitempty"`
	// Hint is the masked identifier of that account.
	Hint string `json:"hint,omitempty"`
	// Link is the link that this record is about; the zero Link is none.
	Link Link `json:"link,omitzero"`
	// LinkedAt is when the link was made, by the account service's signed
	// time, in seconds since the epoch.
	LinkedAt int64 `json:"linked_at,omitempty"`
	// MarkerHash is the SHA-256 of the reset marker that belongs to this link.
	MarkerHash []byte `json:"marker_hash,omitempty"`
	// RecoveryHash is the SHA-256 of the recovery code given at link time.
	RecoveryHash []byte `json:"recovery_hash,omitempty"`
	// OfflineKey is what offline codes are computed under, agreed with the account
	// service when the link was made; empty where none was. Secret.
	OfflineKey []byte `json:"offline_key,omitempty"`
	// Offline is the challenge outstanding, and the attempts at it.
	Offline Offline `json:"offline,omitzero"`
	// Reset is what the record knows of a reset that the owner allowed.
	Reset Reset `json:"reset,omitzero"`
	// Lost: the owner marked the device lost, and has not unlocked it since.
	Lost bool `json:"lost,omitempty"`
	// LostMessage and LostContact are what the owner asks the finder to read.
	LostMessage string `json:"lost_message,omitempty"`
	LostContact string `json:"lost_contact,omitempty"`
	// Rebuilt: the record was missing, and this one was made from the account
	// service's word that the device is linked.
	Rebuilt bool `json:"rebuilt,omitempty"`
	// Distrusted: the account service's word contradicted this record.
	Distrusted bool `json:"distrusted,omitempty"`
	// Doubt: the record is distrusted for what the TPM said of the one before it.
	Doubt TPM `json:"doubt,omitempty"`
	// KeySet is the newest set of service keys that the device has verified.
	KeySet KeySet `json:"key_set,omitzero"`
	// Wait is how long the account service told this device to wait.
	Wait Wait `json:"wait,omitzero"`
	// Attempts counts the codes that the device itself verified.
	Attempts Attempts `json:"attempts,omitzero"`
	// TrustedTime is the account service's signed time at the last change of
	// ownership, in seconds since the epoch.
	TrustedTime int64 `json:"trusted_time,omitempty"`
}

// String keeps the record's secrets out of every log.
func (r Record) String() string {
	return "lock record of " + r.DeviceID
}

// GoString keeps them out of %#v.
func (r Record) GoString() string { return r.String() }

// HasKey reports whether the device has a key.
func (r Record) HasKey() bool { return len(r.DeviceKey) == deviceKeySize || len(r.DeviceKeyTPM) > 0 }

// deviceKeySize is the size of the seed of an Ed25519 key (RFC 8032).
const deviceKeySize = 32

// Blank reports whether nothing was ever written to the record.
func (r Record) Blank() bool {
	return r.DeviceID == "" && len(r.DeviceKey)+len(r.DeviceKeyTPM) == 0 && !r.Armed && r.Link == Link{}
}

// state returns what the record alone says, the marker left aside.
func (r Record) state() State {
	switch {
	case r.Armed:
		return Linked
	case r.Link.ID != "":
		return SignedOut
	default:
		return Unlinked
	}
}

// Change is what an operation or a statement brings to the record; which parts
// are used is for the effects to say.
type Change struct {
	Link         Link
	AccountID    string
	Hint         string
	MarkerHash   []byte
	RecoveryHash []byte
	// OfflineKey is what a new link's offline codes are computed under. Secret.
	OfflineKey  []byte
	LostMessage string
	LostContact string
	// SpendRecovery: the recovery code was used, and is good no more.
	SpendRecovery bool
	// Time is the account service's signed time, in seconds since the epoch.
	Time int64
}

// Apply returns the record after the given effects. Effects that do not touch
// the record (the gate's) change nothing here. r is left as it is.
func (r Record) Apply(effects []Effect, c Change) Record {
	for _, e := range effects {
		if e != OpenGate && e != ShutGate {
			// fails locked: a reset was allowed for the link as it was.
			r.Reset = Reset{}
		}
		switch e {
		case Arm:
			r.arm(c)
		case Rearm:
			r.rearm(c)
		case Disarm:
			r.Armed = false
			r.clearLock()
			r.adopt(c)
		case Forget:
			r.Armed = false
			r.clearLock()
			r.AccountID, r.Hint, r.Link, r.LinkedAt = "", "", Link{}, 0
			r.RecoveryHash, r.OfflineKey = nil, nil
		case MarkLost:
			r.Armed, r.Lost = true, true
			r.LostMessage, r.LostContact = c.LostMessage, c.LostContact
			r.adopt(c)
		case ClearLostMessage:
			r.LostMessage, r.LostContact = "", ""
		case Rebuild:
			r.Armed, r.Rebuilt = true, true
			r.adopt(c)
		case Distrust:
			r.Armed, r.Distrusted, r.Doubt = true, true, TPMUnused
			r.adopt(c)
		case Trust:
			// Nothing but what put the record in doubt: its marker is the one in /var.
			r.Distrusted, r.Doubt = false, TPMUnused
		case OpenGate, ShutGate:
		}
	}
	if c.Time > r.TrustedTime {
		r.TrustedTime = c.Time
	}
	return r
}

// arm takes a new link whole.
func (r *Record) arm(c Change) {
	r.Armed = true
	r.clearLock()
	r.Link, r.AccountID, r.Hint = c.Link, c.AccountID, c.Hint
	r.MarkerHash, r.RecoveryHash, r.LinkedAt = c.MarkerHash, c.RecoveryHash, c.Time
	r.OfflineKey = c.OfflineKey
}

// rearm keeps the link's history and gives it a new marker: an unlock.
func (r *Record) rearm(c Change) {
	r.Armed = true
	r.clearLock()
	if c.Link.ID != r.Link.ID {
		// Another link's codes and date are not this one's.
		r.RecoveryHash, r.OfflineKey, r.LinkedAt = nil, nil, c.Time
	}
	if c.SpendRecovery {
		r.RecoveryHash = nil
	}
	r.Link, r.AccountID, r.Hint, r.MarkerHash = c.Link, c.AccountID, c.Hint, c.MarkerHash
}

func (r *Record) clearLock() {
	r.Lost, r.LostMessage, r.LostContact = false, "", ""
	r.Rebuilt, r.Distrusted, r.Doubt = false, false, TPMUnused
	r.Wait, r.Attempts, r.Offline = Wait{}, Attempts{}, Offline{}
}

// adopt takes over the link that the service named, where it named one.
func (r *Record) adopt(c Change) {
	if c.Link.ID == "" {
		return
	}
	if c.Link.ID != r.Link.ID {
		r.AccountID, r.Hint, r.RecoveryHash, r.LinkedAt = "", c.Hint, nil, 0
		// fails locked: what answers the old link's challenge opens nothing. The
		// attempts stand: nobody gets fresh ones by changing the link.
		r.OfflineKey, r.Offline = nil, r.Offline.Ask("")
	}
	r.Link = c.Link
}

// Secrets are the parts of a record that whoever reads the record store must
// not learn: with a TPM they lie there encrypted.
type Secrets struct {
	DeviceKey  []byte `json:"device_key,omitempty"`
	OfflineKey []byte `json:"offline_key,omitempty"`
}

// Split returns r without its secrets, and these.
func (r Record) Split() (Record, Secrets) {
	s := Secrets{DeviceKey: r.DeviceKey, OfflineKey: r.OfflineKey}
	r.DeviceKey, r.OfflineKey = nil, nil
	return r, s
}

// Join returns r with the secrets in their places.
func (r Record) Join(s Secrets) Record {
	r.DeviceKey, r.OfflineKey = s.DeviceKey, s.OfflineKey
	return r
}

// Counts reports whether going from r to after is a change that putting r back
// would undo to somebody's advantage, so that a TPM's counter has to keep it from
// that. All are but the account service's waits, which it counts itself, and the
// time: new fields count until somebody says otherwise here.
func (r Record) Counts(after Record) bool {
	after.Wait, after.TrustedTime = r.Wait, r.TrustedTime
	return !reflect.DeepEqual(r, after)
}
