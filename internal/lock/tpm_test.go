// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"reflect"
	"testing"

	"github.com/accountlock/accountlock/internal/lock"
)

// What a TPM says, over every store, record, marker and policy: only a record
// that is vouched for, a new device and, by policy, one whose TPM has no counter
// open.
func TestWhatTheTPMDoesNotVouchForIsLocked(t *testing.T) {
	for _, says := range append(lock.TPMs(), "other") {
		if says.Rule() == "" {
			t.Errorf("%q has no rule", says)
		}
		for _, store := range []lock.Store{lock.StoreValid, lock.StoreBlank, lock.StoreDamaged, lock.StoreUnreadable, lock.StoreNewer} {
			for _, r := range []lock.Record{armed(), armed(disarmed), armed(lost), {}} {
				for _, policy := range []lock.MissingPolicy{lock.RequireOnline, lock.AllowOffline} {
					for _, m := range [][]byte{nil, marker} {
						e := lock.Evidence{Provisioned: true, Store: store, Record: r, Policy: policy, Marker: m, TPM: says}
						without := e
						without.TPM = lock.TPMUnused
						may := lock.Decide(without).Status.Open() && (says.Vouched() || store == lock.StoreBlank && says == lock.TPMCounterAbsent) ||
							store == lock.StoreBlank && says == lock.TPMNeverArmed
						if store == lock.StoreBlank && says == lock.TPMVouches {
							may = false // no such thing
						}
						if got := lock.Decide(e); got.Status.Open() != may {
							t.Errorf("%s, %q, policy %s: decides %s by %q", store, says, policy, got.Status, got.Rule)
						}
					}
				}
			}
		}
	}
}

// The rule that put a record in doubt is the one that is told at the next boots.
func TestTheDoubtIsNamedAtTheNextBootToo(t *testing.T) {
	for _, says := range lock.TPMs() {
		if says.Vouched() {
			continue
		}
		r := armed().Unvouched(says)
		d := lock.Decide(lock.Evidence{Provisioned: true, Store: lock.StoreValid, Record: r, Marker: marker, TPM: lock.TPMVouches})
		if d.Status != lock.LockedFor(lock.RecordDamaged) || d.Rule != says.Rule() {
			t.Errorf("%q: decides %s by %q", says, d.Status, d.Rule)
		}
	}
}

func TestNothingThatCouldOpenTheDeviceIsTakenFromARecordThatNobodyVouchesFor(t *testing.T) {
	r := armed(disarmed, lost)
	r.RecoveryHash, r.KeySet, r.DeviceKey = []byte{1}, lock.KeySet{Number: 9, Keys: []lock.ServiceKey{{ID: "thief"}}}, []byte{2}
	r.Attempts.Failed, r.OfflineKey = 3, []byte{3}
	got := r.Unvouched(lock.TPMBadMAC)
	want := lock.Record{
		Armed: true, Distrusted: true, Doubt: lock.TPMBadMAC,
		DeviceID: r.DeviceID, DeviceKey: r.DeviceKey, AccountID: r.AccountID, Hint: r.Hint, Link: r.Link, LinkedAt: r.LinkedAt,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %s", dump(t, got))
	}
	r.DeviceKey, r.DeviceKeyTPM = nil, []byte{4}
	if got := r.Unvouched(lock.TPMKeyLost); got.DeviceID != "" {
		t.Error("a device whose key is lost goes on under its name without being enrolled")
	}
}

// The one statement that opens a device whose record was never bound: for the
// very link, with the marker that no reset leaves.
func TestAnUnboundRecordIsConfirmedByTheServiceAndTheMarkerTogether(t *testing.T) {
	unbound := armed().Unvouched(lock.TPMUnbound)
	linked := lock.Statement{Status: lock.StatusLinked, Link: armed().Link}
	if !unbound.ConfirmedBy(linked, marker) {
		t.Fatal("it is not confirmed")
	}
	trusted := unbound.Apply([]lock.Effect{lock.Trust}, linked.Change())
	if d := lock.Decide(lock.Evidence{Provisioned: true, Store: lock.StoreValid, Record: trusted, Marker: marker, TPM: lock.TPMVouches}); d.Status.State != lock.Linked {
		t.Errorf("bound, it decides %s", d.Status)
	}
	earlier, ended, elsewhere, isLost := linked, linked, linked, linked
	earlier.Link.Generation--
	ended.Ended = armed().Link.ID
	elsewhere.Link.ID = "l-9"
	isLost.Status = lock.StatusLost
	for name, c := range map[string]struct {
		r      lock.Record
		st     lock.Statement
		marker []byte
	}{
		"after a reset":                    {unbound, linked, nil},
		"with another marker":              {unbound, linked, []byte("other")},
		"from before the record":           {unbound, earlier, marker},
		"of a link that has ended":         {unbound, ended, marker},
		"of another link":                  {unbound, elsewhere, marker},
		"of a lost device":                 {unbound, isLost, marker},
		"of a record that was disarmed":    {armed(disarmed).Unvouched(lock.TPMUnbound), linked, marker},
		"of a record that was lost":        {armed(lost).Unvouched(lock.TPMUnbound), linked, marker},
		"of a record stripped of its MAC":  {armed().Unvouched(lock.TPMStripped), linked, marker},
		"of one that the service disputes": {armed(distrusted), linked, marker},
		"of one that nobody doubts":        {armed(), linked, marker},
	} {
		if c.r.ConfirmedBy(c.st, c.marker) {
			t.Errorf("%s: confirmed", name)
		}
	}
}

func TestEveryChangeCountsButAWaitOfTheServicesAndTheTime(t *testing.T) {
	waiting := armed()
	waiting.Wait, waiting.TrustedTime = lock.Wait{Seconds: 1}, 99
	if armed().Counts(waiting) || armed().Counts(armed()) {
		t.Error("a wait counts")
	}
	guessed := armed()
	guessed.Attempts.Failed++
	for _, r := range []lock.Record{guessed, armed(lost), armed(disarmed), {}} {
		if !armed().Counts(r) {
			t.Errorf("%s does not count", dump(t, r))
		}
	}
}

// Fields that a TPM seals are the ones that are secret.
func TestSplittingARecordLeavesNoSecretInIt(t *testing.T) {
	r := armed()
	r.DeviceKey, r.OfflineKey = []byte("secret"), []byte("another")
	rest, s := r.Split()
	if len(rest.DeviceKey)+len(rest.OfflineKey) > 0 || !reflect.DeepEqual(rest.Join(s), r) {
		t.Errorf("got %s", dump(t, rest))
	}
}
