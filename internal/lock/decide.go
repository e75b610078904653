// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"crypto/sha256"
	"crypto/subtle"
)

// Store says what reading the record store found.
type Store string

// What reading can find.
const (
	// StoreValid: at least one copy is whole.
	StoreValid Store = "valid"
	// StoreBlank: the store is there and nothing was ever written to it.
	StoreBlank Store = "blank"
	// StoreDamaged: something is there, and no copy of it is whole.
	StoreDamaged Store = "damaged"
	// StoreUnreadable: the medium, its mount or its folder failed or is absent.
	StoreUnreadable Store = "unreadable"
	// StoreNewer: the newest copy has a format version that this program does
	// not know. It is never overwritten.
	StoreNewer Store = "newer"
)

// MissingPolicy says what a blank store means (`[policy] missing_record`).
type MissingPolicy string

// The policies.
const (
	// RequireOnline: locked until the account service states that the device
	// is not linked. The default.
	RequireOnline MissingPolicy = "require-online"
	// AllowOffline: open, and locked again once a statement says `linked`.
	AllowOffline MissingPolicy = "allow-offline"
)

// Evidence is everything that the decision at boot rests on.
type Evidence struct {
	// Provisioned: an account service is configured.
	Provisioned bool
	// Store is what the record store held; Record is valid with StoreValid.
	Store  Store
	Record Record
	// OneCopy: one slot is whole and the other one is damaged.
	OneCopy bool
	// Marker is the content of the reset marker; nil when there is none.
	Marker []byte
	Policy MissingPolicy
	// TPM is what the TPM says about the store.
	TPM TPM
}

// Decision is the answer, with the rule that gave it.
type Decision struct {
	Status Status
	// Rule names the row of the decision table, for `explain` and logs.
	Rule string
}

// Decide is the decision at boot, from the record store, the reset marker and the
// TPM alone. What it does not know it locks.
func Decide(e Evidence) Decision {
	if !e.Provisioned {
		return Decision{unlinked, "no account service is configured, so there is no lock"}
	}
	switch e.Store {
	case StoreBlank:
		switch {
		case e.TPM == TPMNeverArmed:
			return Decision{unlinked, e.TPM.Rule()}
		case e.TPM == TPMArmedBefore:
			// fails locked: whatever the policy is, this is no new device.
			return Decision{missing, e.TPM.Rule()}
		case e.TPM != TPMUnused && e.TPM != TPMCounterAbsent:
			// fails locked: the TPM is there, or should be, and cannot be asked.
			return Decision{damaged, e.TPM.Rule()}
		}
		if e.Policy == AllowOffline {
			return Decision{unlinked, "the record store is blank and the policy is allow-offline"}
		}
		// fails locked: nobody can tell yet whether the device is linked.
		return Decision{missing, "the record store is blank and the policy is require-online"}
	case StoreValid:
		if !e.TPM.Vouched() {
			// fails locked: whoever wrote this record, it says nothing.
			return Decision{damaged, e.TPM.Rule()}
		}
		return decideByRecord(e)
	case StoreNewer:
		// fails locked: a record that cannot be read says nothing.
		return Decision{damaged, "the record has a newer format than this program knows"}
	case StoreUnreadable:
		return Decision{damaged, "the record store cannot be read"}
	case StoreDamaged:
	}
	// fails locked
	return Decision{damaged, "no copy of the record is whole"}
}

func decideByRecord(e Evidence) Decision {
	r := e.Record
	match := MarkerMatches(r, e.Marker)
	switch {
	case !r.Armed && e.OneCopy && !match:
		// fails locked: the damaged copy may have said 'armed'.
		return Decision{damaged, "one copy is damaged, the other says 'disarmed' and the reset marker does not vouch for it"}
	case !r.Armed:
		return Decision{Status{State: r.state()}, "the record is disarmed"}
	case r.Lost:
		return Decision{lostLock, "the record is armed and marked lost"}
	case r.Distrusted && r.Doubt != TPMUnused:
		return Decision{damaged, r.Doubt.Rule()}
	case r.Distrusted:
		return Decision{damaged, "the account service's word contradicts the record"}
	case r.Rebuilt:
		return Decision{missing, "the record was missing and the account service has not said that the device is free"}
	case match:
		return Decision{linked, "the record is armed and the reset marker matches"}
	case resetHappened(e):
		return Decision{unlinked, "the record is armed and its owner allowed the reset that wiped the marker"}
	default:
		// fails locked
		return Decision{resetLock, "the record is armed and the reset marker is missing or another one"}
	}
}

// MarkerMatches reports whether marker is the one that belongs to the record.
// A record without a hash is matched by nothing: fails locked.
func MarkerMatches(r Record, marker []byte) bool {
	if len(r.MarkerHash) != sha256.Size || len(marker) == 0 {
		return false
	}
	h := sha256.Sum256(marker)
	return subtle.ConstantTimeCompare(h[:], r.MarkerHash) == 1
}

// Hold returns r as a device so decided goes on with it. A record that is
// disarmed, or nothing at all, while the device is locked over the record itself,
// is armed in memory before anything is written: fails locked, since the next
// write for whatever reason, a wait or a new key, would otherwise put two whole
// disarmed copies in the place of the damaged or erased one, and the boot after
// that would open. Only the account check or the service's statement ends it.
func (d Decision) Hold(r Record) Record {
	switch d.Status {
	case missing:
		if !r.Armed {
			r.Armed, r.Rebuilt = true, true
		}
	case damaged:
		if !r.Armed {
			r.Armed, r.Distrusted = true, true
		}
	}
	return r
}
