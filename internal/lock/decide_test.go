// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/lock"
)

// marker is the reset marker of the records here.
var marker = []byte("0123456789abcdef0123456789abcdef")

func hash(m []byte) []byte {
	h := sha256.Sum256(m)
	return h[:]
}

// armed is the record of a linked device whose marker is marker.
func armed(change ...func(*lock.Record)) lock.Record {
	r := lock.Record{
		DeviceID: "d-1", DeviceKey: []byte("key"), Armed: true, AccountID: "12345678", Hint: "a***@example.org",
		Link: lock.Link{ID: "l-1", Generation: 3}, LinkedAt: 100, MarkerHash: hash(marker), RecoveryHash: []byte("recovery"),
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func disarmed(r *lock.Record)            { r.Armed = false }
func lost(r *lock.Record)                { r.Lost, r.LostMessage, r.LostContact = true, "call me", "+1" }
func rebuilt(r *lock.Record)             { r.Rebuilt = true }
func resetAllowed(r *lock.Record)        { *r = r.AllowReset(lock.Boot{ID: "before"}) }
func distrusted(r *lock.Record)          { r.Distrusted = true }
func withoutLink(r *lock.Record)         { r.Link = lock.Link{} }
func withoutHash(r *lock.Record)         { r.MarkerHash = nil }
func withShortHash(r *lock.Record)       { r.MarkerHash = r.MarkerHash[:31] }
func withEmptyHash(r *lock.Record)       { r.MarkerHash = hash(nil) }
func withoutReason(r lock.Status) string { return strings.TrimPrefix(r.String(), "locked ") }

// TestTheDecisionTable is lock.md's table, row by row. Each row is tried with
// every marker that it does not name.
func TestTheDecisionTable(t *testing.T) {
	other := []byte("another marker, of 32 bytes too.")
	any := [][]byte{nil, {}, marker, other, marker[:31], append(append([]byte(nil), marker...), 0)}
	missing, matching := [][]byte{nil, {}, other, marker[:31]}, [][]byte{marker}
	for _, row := range []struct {
		name    string
		store   lock.Store
		record  lock.Record
		oneCopy bool
		policy  lock.MissingPolicy
		markers [][]byte
		want    string
	}{
		{"armed, the marker matches", lock.StoreValid, armed(), false, "", matching, "linked"},
		{"armed, the marker is missing or another one", lock.StoreValid, armed(), false, "", missing, "factory-reset"},
		{"armed without the hash of a marker", lock.StoreValid, armed(withoutHash), false, "", any, "factory-reset"},
		{"armed with half a hash", lock.StoreValid, armed(withShortHash), false, "", any, "factory-reset"},
		{"armed with the hash of no bytes", lock.StoreValid, armed(withEmptyHash), false, "", missing, "factory-reset"},
		{"armed and lost", lock.StoreValid, armed(lost), false, "", any, "lost"},
		{"armed, lost and rebuilt", lock.StoreValid, armed(lost, rebuilt), false, "", any, "lost"},
		{"armed, lost and distrusted", lock.StoreValid, armed(lost, distrusted), false, "", any, "lost"},
		{"armed and rebuilt from the service's word", lock.StoreValid, armed(rebuilt), false, "", any, "record-missing"},
		{"armed and contradicted by the service's word", lock.StoreValid, armed(distrusted), false, "", any, "record-damaged"},
		{"armed, rebuilt and contradicted", lock.StoreValid, armed(rebuilt, distrusted), false, "", any, "record-damaged"},
		{"disarmed", lock.StoreValid, armed(disarmed), false, "", any, "signed-out"},
		{"unlinked", lock.StoreValid, armed(disarmed, withoutLink), false, "", any, "unlinked"},
		{"a record of nothing", lock.StoreValid, lock.Record{}, false, "", any, "unlinked"},
		{"armed, the reset allowed, the marker wiped", lock.StoreValid, armed(resetAllowed), false, "", [][]byte{nil, {}}, "unlinked"},
		{"armed, the reset allowed, another marker", lock.StoreValid, armed(resetAllowed), false, "", [][]byte{other, marker[:31]}, "factory-reset"},
		{"armed, the reset allowed, the marker matches", lock.StoreValid, armed(resetAllowed), false, "", matching, "linked"},
		{"armed, lost, the reset allowed", lock.StoreValid, armed(lost, resetAllowed), false, "", any, "lost"},
		{"armed, rebuilt, the reset allowed", lock.StoreValid, armed(rebuilt, resetAllowed), false, "", any, "record-missing"},
		{"armed, contradicted, the reset allowed", lock.StoreValid, armed(distrusted, resetAllowed), false, "", any, "record-damaged"},
		{"one copy, armed, the reset allowed", lock.StoreValid, armed(resetAllowed), true, "", missing, "factory-reset"},
		{"one copy, armed, the marker matches", lock.StoreValid, armed(), true, "", matching, "linked"},
		{"one copy, armed, the marker does not match", lock.StoreValid, armed(), true, "", missing, "factory-reset"},
		{"one copy, disarmed, the marker matches", lock.StoreValid, armed(disarmed), true, "", matching, "signed-out"},
		{"one copy, disarmed, the marker does not match", lock.StoreValid, armed(disarmed), true, "", missing, "record-damaged"},
		{"one copy, unlinked, the marker matches", lock.StoreValid, armed(disarmed, withoutLink), true, "", matching, "unlinked"},
		{"one copy, unlinked, the marker does not match", lock.StoreValid, armed(disarmed, withoutLink), true, "", missing, "record-damaged"},
		{"one copy, disarmed, no marker ever belonged to it", lock.StoreValid, armed(disarmed, withoutHash), true, "", any, "record-damaged"},
		{"blank, by policy require-online", lock.StoreBlank, lock.Record{}, false, lock.RequireOnline, any, "record-missing"},
		{"blank, by policy allow-offline", lock.StoreBlank, lock.Record{}, false, lock.AllowOffline, any, "unlinked"},
		{"blank, without a policy", lock.StoreBlank, lock.Record{}, false, "", any, "record-missing"},
		{"blank, by a policy that nobody knows", lock.StoreBlank, lock.Record{}, false, "open", any, "record-missing"},
		{"damaged", lock.StoreDamaged, lock.Record{}, false, "", any, "record-damaged"},
		{"not readable", lock.StoreUnreadable, lock.Record{}, false, "", any, "record-damaged"},
		{"of a newer format", lock.StoreNewer, lock.Record{}, false, "", any, "record-damaged"},
		{"a finding that nobody knows", "", lock.Record{}, false, "", any, "record-damaged"},
		// What is in Record does not count where the store is not valid.
		{"damaged, with a record from somewhere", lock.StoreDamaged, armed(disarmed), false, lock.AllowOffline, any, "record-damaged"},
		{"not readable, by policy allow-offline", lock.StoreUnreadable, armed(disarmed), false, lock.AllowOffline, any, "record-damaged"},
		{"newer, by policy allow-offline", lock.StoreNewer, armed(disarmed), false, lock.AllowOffline, any, "record-damaged"},
		{"armed, by policy allow-offline", lock.StoreValid, armed(), false, lock.AllowOffline, missing, "factory-reset"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, m := range row.markers {
				e := lock.Evidence{
					Provisioned: true, Store: row.store, Record: row.record, OneCopy: row.oneCopy, Marker: m, Policy: row.policy,
				}
				d := lock.Decide(e)
				if got := withoutReason(d.Status); got != row.want {
					t.Errorf("marker %q: got %s", m, got)
				}
				if d.Rule == "" {
					t.Error("no rule is named")
				}
				e.Provisioned = false
				if d := lock.Decide(e); d.Status != (lock.Status{State: lock.Unlinked}) {
					t.Errorf("not provisioned: got %s", d.Status)
				}
			}
		})
	}
}

// What must hold for any evidence, also for one that nobody thought of.
func TestOnADeviceThatWasResetNothingOpensButWhatTheTableNames(t *testing.T) {
	stores := []lock.Store{lock.StoreValid, lock.StoreBlank, lock.StoreDamaged, lock.StoreUnreadable, lock.StoreNewer, "", "other"}
	rapid.Check(t, func(t *rapid.T) {
		e := lock.Evidence{
			Provisioned: true,
			Store:       rapid.SampledFrom(stores).Draw(t, "store"),
			OneCopy:     rapid.Bool().Draw(t, "one copy"),
			Policy:      rapid.SampledFrom([]lock.MissingPolicy{lock.RequireOnline, lock.AllowOffline, ""}).Draw(t, "policy"),
			Marker:      rapid.SampledFrom([][]byte{nil, {}, []byte("other")}).Draw(t, "marker"),
			Record: lock.Record{
				Armed: rapid.Bool().Draw(t, "armed"), Lost: rapid.Bool().Draw(t, "lost"),
				Rebuilt: rapid.Bool().Draw(t, "rebuilt"), Distrusted: rapid.Bool().Draw(t, "distrusted"),
				MarkerHash: rapid.SampledFrom([][]byte{nil, {}, hash(marker), hash(nil)}).Draw(t, "hash"),
				Reset:      lock.Reset{Allowed: rapid.Bool().Draw(t, "reset allowed")},
				Link:       lock.Link{ID: rapid.SampledFrom([]string{"", "l-1"}).Draw(t, "link")},
			},
		}
		open := e.Store == lock.StoreValid && !e.Record.Armed && !e.OneCopy || e.Store == lock.StoreBlank && e.Policy == lock.AllowOffline ||
			e.Store == lock.StoreValid && e.Record.Reset.Allowed && !e.OneCopy && len(e.Marker) == 0 &&
				!e.Record.Lost && !e.Record.Rebuilt && !e.Record.Distrusted
		if got := lock.Decide(e).Status; got.Open() != open || got.State == lock.Linked {
			t.Fatalf("decides %s", got)
		}
	})
}

func TestAMarkerMatchesItsOwnHashOnly(t *testing.T) {
	r := armed()
	for _, m := range [][]byte{nil, {}, marker[:31], append(append([]byte{}, marker...), 0), r.MarkerHash} {
		if lock.MarkerMatches(r, m) {
			t.Errorf("%q matches", m)
		}
	}
	if !lock.MarkerMatches(r, marker) || lock.MarkerMatches(armed(withEmptyHash), nil) || lock.MarkerMatches(lock.Record{}, nil) {
		t.Error("the marker does not match, or nothing matches")
	}
}

func TestADeviceThatIsLockedOverItsRecordHoldsAnArmedOne(t *testing.T) {
	for name, c := range map[string]struct {
		e    lock.Evidence
		want lock.Status
	}{
		"erased":                      {lock.Evidence{Store: lock.StoreBlank}, lock.LockedFor(lock.RecordMissing)},
		"damaged":                     {lock.Evidence{Store: lock.StoreDamaged}, lock.LockedFor(lock.RecordDamaged)},
		"disarmed, one copy":          {lock.Evidence{Store: lock.StoreValid, Record: armed(disarmed), OneCopy: true}, lock.LockedFor(lock.RecordDamaged)},
		"disarmed and distrusted":     {lock.Evidence{Store: lock.StoreValid, Record: armed(disarmed, distrusted), OneCopy: true}, lock.LockedFor(lock.RecordDamaged)},
		"disarmed":                    {lock.Evidence{Store: lock.StoreValid, Record: armed(disarmed)}, lock.Status{State: lock.SignedOut}},
		"armed, of a device reset":    {lock.Evidence{Store: lock.StoreValid, Record: armed()}, lock.LockedFor(lock.FactoryReset)},
		"armed, and known to be lost": {lock.Evidence{Store: lock.StoreValid, Record: armed(lost)}, lock.LockedFor(lock.Lost)},
	} {
		t.Run(name, func(t *testing.T) {
			c.e.Provisioned = true
			d := lock.Decide(c.e)
			held := d.Hold(c.e.Record)
			// Written whole, as it is held, it says the same at the next boot.
			next := lock.Decide(lock.Evidence{Provisioned: true, Store: lock.StoreValid, Record: held, Marker: c.e.Marker})
			if d.Status != c.want || next.Status != c.want {
				t.Errorf("decides %s, and written again %s", d.Status, next.Status)
			}
			if held.Link != c.e.Record.Link || held.AccountID != c.e.Record.AccountID {
				t.Error("the rest of the record has changed")
			}
		})
	}
}
