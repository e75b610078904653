// SPDX-License-Identifier: Apache-2.0

package lock

// TPM is what a TPM 2.0 says about the record store. The values are shown by
// `explain` and `doctor`; names may be added, none renamed.
type TPM string

// What a TPM can say, or keep from saying.
const (
	// TPMUnused: no TPM is configured, or there is none and the mode is `auto`, and
	// no record is bound to one: tier 0.
	TPMUnused TPM = ""
	// TPMVouches: the record's MAC is right and the counter fits.
	TPMVouches TPM = "vouches"
	// TPMNeverArmed: the store is blank and the counter was made and never
	// advanced: this device never had a record.
	TPMNeverArmed TPM = "never-armed"
	// TPMArmedBefore: the store is blank and the counter was advanced before: there
	// was a record.
	TPMArmedBefore TPM = "armed-before"
	// TPMUnbound: the record has no MAC, and this TPM has never bound one.
	TPMUnbound TPM = "unbound"
	// TPMStripped: the record has no MAC, and this TPM has bound one before.
	TPMStripped TPM = "stripped"
	// TPMBadMAC: the record's MAC is wrong.
	TPMBadMAC TPM = "bad-mac"
	// TPMRolledBack: the counter is ahead of the record, which is an older one.
	TPMRolledBack TPM = "rolled-back"
	// TPMCounterBehind: the record is ahead of the counter by more than the one
	// step that a power cut can leave.
	TPMCounterBehind TPM = "counter-behind"
	// TPMCounterAbsent: there is no counter, or one that was made anew.
	TPMCounterAbsent TPM = "counter-absent"
	// TPMCounterForeign: something else lies where the counter should.
	TPMCounterForeign TPM = "counter-foreign"
	// TPMKeyLost: the TPM does not know the record's key: it was cleared, or it is
	// another TPM.
	TPMKeyLost TPM = "key-lost"
	// TPMAbsent: a TPM is required, or the record is bound to one, and there is none
	// that may be used.
	TPMAbsent TPM = "absent"
	// TPMSilent: the TPM did not answer in time.
	TPMSilent TPM = "silent"
	// TPMLockedOut: the TPM refuses for a while, since somebody guessed at it
	// (dictionary-attack lockout).
	TPMLockedOut TPM = "locked-out"
	// TPMOwned: the storage hierarchy has a password, which accountlock has not.
	TPMOwned TPM = "owner-auth"
	// TPMFailing: the TPM fails in another way.
	TPMFailing TPM = "failing"
)

// TPMs returns every value there is, for tests and tables.
func TPMs() []TPM {
	return []TPM{
		TPMUnused, TPMVouches, TPMNeverArmed, TPMArmedBefore, TPMUnbound, TPMStripped, TPMBadMAC, TPMRolledBack, TPMCounterBehind,
		TPMCounterAbsent, TPMCounterForeign, TPMKeyLost, TPMAbsent, TPMSilent, TPMLockedOut, TPMOwned, TPMFailing,
	}
}

// Vouched reports whether the record may be believed as far as the TPM goes.
// Anything that is not one of the two is not: fails locked.
func (t TPM) Vouched() bool { return t == TPMUnused || t == TPMVouches }

// MayPass reports whether what the TPM says may be another thing at the next
// look, the record being as it is: it is not to be overwritten for that.
func (t TPM) MayPass() bool {
	switch t {
	case TPMAbsent, TPMSilent, TPMLockedOut, TPMOwned, TPMFailing:
		return true
	default:
		return false
	}
}

// Rule is the row of the decision table that a TPM's word makes, for people.
func (t TPM) Rule() string {
	switch t {
	case TPMUnused:
		return "no TPM is used"
	case TPMVouches:
		return "the TPM vouches for the record"
	case TPMNeverArmed:
		return "the record store is blank and the TPM's counter says 'never armed'"
	case TPMArmedBefore:
		return "the record store is blank and the TPM's counter says that there was a record"
	case TPMUnbound:
		return "the record is not bound to this device's TPM yet; the account service's word binds it"
	case TPMStripped:
		return "the record has no MAC, although this device's TPM has bound one"
	case TPMBadMAC:
		return "the record's MAC is wrong: it was changed or forged"
	case TPMRolledBack:
		return "the TPM's counter is ahead of the record: an older record was put back"
	case TPMCounterBehind:
		return "the TPM's counter is behind the record: the record is another TPM's"
	case TPMCounterAbsent:
		return "the TPM's counter is absent or was made anew: the TPM was cleared, or the counter deleted"
	case TPMCounterForeign:
		return "something else lies in the place of the TPM's counter"
	case TPMKeyLost:
		return "the TPM does not know the record's key: it was cleared, or it is another TPM"
	case TPMAbsent:
		return "a TPM is required, or the record is bound to one, and there is none"
	case TPMSilent:
		return "the TPM does not answer in time"
	case TPMLockedOut:
		return "the TPM is in its dictionary-attack lockout"
	case TPMOwned:
		return "the TPM's storage hierarchy has a password"
	default:
		return "the TPM fails"
	}
}

// TPMError is the error of a TPM that does not do what it is asked.
type TPMError struct {
	// Says is what that amounts to.
	Says TPM
	// Err is the cause; nil where there is no more to say.
	Err error
}

// Error implements error.
func (e *TPMError) Error() string {
	if e.Err == nil {
		return e.Says.Rule()
	}
	return e.Says.Rule() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *TPMError) Unwrap() error { return e.Err }

// Found is what looking at a record store found.
type Found struct {
	Store   Store
	Record  Record
	OneCopy bool
	TPM     TPM
}

// Unvouched returns r as a device may go on with it while no TPM vouches for it:
// armed and distrusted, with nothing in it that could open the device or make it
// trust somebody else. What names the device and its link stays, so that the
// account service knows it again; it decides.
//
// fails locked: whoever could write the record may have written the rest.
func (r Record) Unvouched(says TPM) Record {
	out := Record{
		Armed: true, Distrusted: true, Doubt: says,
		DeviceID: r.DeviceID, DeviceKey: r.DeviceKey, Identity: r.Identity,
		AccountID: r.AccountID, Hint: r.Hint, Link: r.Link, LinkedAt: r.LinkedAt,
	}
	if says == TPMUnbound && r.Armed && !r.Lost && !r.Rebuilt && !r.Distrusted {
		// A marker that fits is evidence of its own: see ConfirmedBy.
		out.MarkerHash = r.MarkerHash
	}
	if len(out.DeviceKey) == 0 {
		// It lay sealed in the record: the device is enrolled again, under a new key.
		out.DeviceID = ""
	}
	return out
}

// ConfirmedBy reports whether the account service's statement is the word that
// binds the record to a TPM that never bound one, and that opens the device: the
// service names the very link as linked, and the reset marker says that nobody
// has reset the device since. Neither alone would do. Whoever writes the record
// store cannot write the marker (tier 1), and the recovery code and whatever
// else could open the device later is not taken over from the unbound record.
func (r Record) ConfirmedBy(s Statement, marker []byte) bool {
	return r.Distrusted && r.Doubt == TPMUnbound && MarkerMatches(r, marker) &&
		s.Status == StatusLinked && s.Ended == "" && r.Link.ID != "" &&
		s.Link.ID == r.Link.ID && s.Link.Generation >= r.Link.Generation
}
