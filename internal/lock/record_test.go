// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/lock"
)

func TestEachEffectChangesWhatItIsFor(t *testing.T) {
	same := lock.Link{ID: "l-1", Generation: 4}
	other := lock.Link{ID: "l-2", Generation: 1}
	full := lock.Change{
		Link: same, AccountID: "87654321", Hint: "b***@example.org", MarkerHash: []byte("new hash"), RecoveryHash: []byte("new recovery"),
		LostMessage: "please", LostContact: "+2", Time: 500,
	}
	to := func(l lock.Link) lock.Change { c := full; c.Link = l; return c }
	waiting := func(r *lock.Record) { r.Wait = lock.Wait{Seconds: 5, BootID: "b", Until: 9} }
	for _, c := range []struct {
		name   string
		from   lock.Record
		effect lock.Effect
		change lock.Change
		want   func(r *lock.Record)
	}{
		{"arm takes the new link whole", armed(disarmed, lost, rebuilt, distrusted, waiting), lock.Arm, to(other), func(r *lock.Record) {
			*r = lock.Record{
				DeviceID: r.DeviceID, DeviceKey: r.DeviceKey, Armed: true, AccountID: "87654321", Hint: "b***@example.org", Link: other,
				LinkedAt: 500, MarkerHash: []byte("new hash"), RecoveryHash: []byte("new recovery"),
			}
		}},
		{"rearm of the same link keeps its date and recovery code", armed(lost, rebuilt, distrusted, waiting), lock.Rearm, full, func(r *lock.Record) {
			unlockedBy(r)
			r.Link, r.AccountID, r.Hint, r.MarkerHash = same, "87654321", "b***@example.org", []byte("new hash")
		}},
		{"rearm for another link does not take over the old one's", armed(), lock.Rearm, to(other), func(r *lock.Record) {
			r.Link, r.AccountID, r.Hint, r.MarkerHash = other, "87654321", "b***@example.org", []byte("new hash")
			r.RecoveryHash, r.LinkedAt = nil, 500
		}},
		{"disarm keeps the link and the account", armed(lost, rebuilt, distrusted, waiting), lock.Disarm, full, func(r *lock.Record) {
			unlockedBy(r)
			r.Armed, r.Link = false, same
		}},
		{"disarm without a link keeps the record's", armed(), lock.Disarm, to(lock.Link{}), func(r *lock.Record) { r.Armed = false }},
		{"forget leaves nothing of the account", armed(lost, rebuilt, distrusted, waiting), lock.Forget, full, func(r *lock.Record) {
			*r = lock.Record{DeviceID: r.DeviceID, DeviceKey: r.DeviceKey, MarkerHash: r.MarkerHash}
		}},
		{"mark-lost arms and takes the message", armed(disarmed), lock.MarkLost, full, func(r *lock.Record) {
			r.Armed, r.Lost, r.LostMessage, r.LostContact, r.Link = true, true, "please", "+2", same
		}},
		{"mark-lost for a link that the record does not know", armed(disarmed, withoutLink), lock.MarkLost, to(other), func(r *lock.Record) {
			r.Armed, r.Lost, r.LostMessage, r.LostContact, r.Link = true, true, "please", "+2", other
			r.AccountID, r.Hint, r.RecoveryHash, r.LinkedAt = "", "b***@example.org", nil, 0
		}},
		{"clear-lost-message ends the message, not the lock", armed(lost), lock.ClearLostMessage, full, func(r *lock.Record) {
			r.LostMessage, r.LostContact = "", ""
		}},
		{"rebuild arms", lock.Record{DeviceID: "d-1"}, lock.Rebuild, to(other), func(r *lock.Record) {
			r.Armed, r.Rebuilt, r.Link, r.Hint = true, true, other, "b***@example.org"
		}},
		{"distrust arms and takes the link in force", armed(disarmed), lock.Distrust, to(other), func(r *lock.Record) {
			r.Armed, r.Distrusted, r.Link, r.Hint = true, true, other, "b***@example.org"
			r.AccountID, r.RecoveryHash, r.LinkedAt = "", nil, 0
		}},
		{"the gate's effects leave the record alone", armed(lost), lock.OpenGate, full, func(*lock.Record) {}},
		{"so does shutting it", armed(), lock.ShutGate, full, func(*lock.Record) {}},
		{"and an effect that nobody knows", armed(), "other", full, func(*lock.Record) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, want := c.from, c.from
			c.want(&want)
			want.TrustedTime = 500
			got := c.from.Apply([]lock.Effect{c.effect}, c.change)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %s\nwant %s", dump(t, got), dump(t, want))
			}
			if !reflect.DeepEqual(before, c.from) {
				t.Error("the record that it was applied to has changed")
			}
		})
	}
}

func unlockedBy(r *lock.Record) {
	r.Lost, r.LostMessage, r.LostContact, r.Rebuilt, r.Distrusted, r.Wait = false, "", "", false, false, lock.Wait{}
}

func dump(t *testing.T, r lock.Record) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTheTrustedTimeDoesNotGoBack(t *testing.T) {
	r := lock.Record{TrustedTime: 100}
	for _, c := range []struct{ time, want int64 }{{0, 100}, {99, 100}, {100, 100}, {101, 101}} {
		if got := r.Apply(nil, lock.Change{Time: c.time}).TrustedTime; got != c.want {
			t.Errorf("%d after 100: got %d", c.time, got)
		}
	}
}

// The decision at the next boot is the status that the transition ended in:
// nobody gets in, and nobody is kept out, by a reboot.
func TestARebootDecidesWhatTheTransitionDid(t *testing.T) {
	forStatus := map[lock.Status]lock.Record{
		{State: lock.Unlinked}:             armed(disarmed, withoutLink),
		{State: lock.Linked}:               armed(),
		{State: lock.SignedOut}:            armed(disarmed),
		lock.LockedFor(lock.FactoryReset):  armed(func(r *lock.Record) { r.MarkerHash = hash([]byte("other")) }),
		lock.LockedFor(lock.Lost):          armed(lost),
		lock.LockedFor(lock.RecordMissing): armed(rebuilt),
		lock.LockedFor(lock.RecordDamaged): armed(distrusted),
	}
	for _, s := range lock.Statuses() {
		for _, e := range lock.Events() {
			after, effects, err := lock.Transition(s, e)
			if err != nil {
				continue
			}
			r := forStatus[s].Apply(effects, lock.Change{Link: lock.Link{ID: "l-2", Generation: 9}, MarkerHash: hash(marker), Time: 7})
			got := lock.Decide(lock.Evidence{Provisioned: true, Store: lock.StoreValid, Record: r, Marker: marker}).Status
			// A lost device whose record is contradicted as well is locked for either.
			if got != after && (s != lock.LockedFor(lock.Lost) || got.Open() || after.Open()) {
				t.Errorf("%s, %s: %s now, %s after a reboot", s, e, after, got)
			}
		}
	}
}

func TestTheDeviceKeyIsNotPrinted(t *testing.T) {
	r := armed()
	r.DeviceKey = []byte("very secret device key")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, r); strings.Contains(text, "secret") || strings.Contains(text, "118 101 114") || strings.Contains(text, "0x76") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

// The JSON form is a format: names may be added, none renamed or left out.
func TestTheRecordsNamesAreAFormat(t *testing.T) {
	const golden = `{"device_id":"d","device_key":"AQ==","device_key_tpm":"CQ==","identity":"Ag==","armed":true,"account_id":"1","hint":"h","link":{"id":"l","generation":2},` +
		`"linked_at":3,"marker_hash":"Aw==","recovery_hash":"BA==","lost":true,"lost_message":"m","lost_contact":"c","rebuilt":true,"distrusted":true,"doubt":"bad-mac",` +
		`"key_set":{"number":4,"keys":[{"id":"k","public":"BQ=="}]},"wait":{"seconds":5,"boot_id":"b","until":6},"trusted_time":7}`
	r := lock.Record{
		DeviceID: "d", DeviceKey: []byte{1}, DeviceKeyTPM: []byte{9}, Identity: []byte{2}, Armed: true, AccountID: "1", Hint: "h", Link: lock.Link{ID: "l", Generation: 2},
		LinkedAt: 3, MarkerHash: []byte{3}, RecoveryHash: []byte{4}, Lost: true, LostMessage: "m", LostContact: "c", Rebuilt: true, Distrusted: true, Doubt: lock.TPMBadMAC,
		KeySet: lock.KeySet{Number: 4, Keys: []lock.ServiceKey{{ID: "k", Public: []byte{5}}}}, Wait: lock.Wait{Seconds: 5, BootID: "b", Until: 6}, TrustedTime: 7,
	}
	if got := dump(t, r); got != golden {
		t.Errorf("got %s", got)
	}
	var back lock.Record
	if err := json.Unmarshal([]byte(golden), &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("reads back as %s, %v", dump(t, back), err)
	}
	if got := dump(t, lock.Record{}); got != "{}" {
		t.Errorf("nothing is written as %s", got)
	}
}

func TestARecordIsBlankUntilSomethingWasWritten(t *testing.T) {
	if !(lock.Record{}).Blank() || !(lock.Record{TrustedTime: 1, KeySet: lock.KeySet{Number: 1}}).Blank() {
		t.Error("nothing is not blank")
	}
	for _, r := range []lock.Record{{DeviceID: "d"}, {DeviceKey: []byte{1}}, {Armed: true}, {Link: lock.Link{ID: "l"}}} {
		if r.Blank() {
			t.Errorf("%s is blank", dump(t, r))
		}
	}
}

// Applying the same effects twice, as after a crash, changes no more.
func TestEffectsMayBeAppliedTwice(t *testing.T) {
	effects := []lock.Effect{
		lock.Arm, lock.Rearm, lock.Disarm, lock.Forget, lock.MarkLost, lock.ClearLostMessage, lock.Rebuild, lock.Distrust,
	}
	rapid.Check(t, func(t *rapid.T) {
		e := []lock.Effect{rapid.SampledFrom(effects).Draw(t, "effect")}
		c := lock.Change{
			Link:      lock.Link{ID: rapid.SampledFrom([]string{"", "l-1", "l-2"}).Draw(t, "link"), Generation: rapid.Uint64Range(0, 5).Draw(t, "generation")},
			AccountID: "2", Hint: "h", Time: rapid.Int64Range(0, 9).Draw(t, "time"),
		}
		once := armed(lost).Apply(e, c)
		if twice := once.Apply(e, c); !reflect.DeepEqual(once, twice) {
			t.Fatalf("%s: %s then %s", e, once, twice)
		}
	})
}
