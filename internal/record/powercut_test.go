// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

const where = "/p/record"

// step is one write of a device's life.
type step struct {
	name      string
	record    lock.Record
	ownership bool
}

// life is a device from its first start to its second owner.
func life() []step {
	enrolled := lock.Record{DeviceID: "d-1", DeviceKey: bytesOf(32, 7), Identity: bytesOf(32, 9)}
	linked := armed(1)
	waiting := linked
	waiting.Wait = lock.Wait{Seconds: 60, BootID: "b", Until: 100}
	lost := linked
	lost.Lost, lost.LostMessage, lost.Link.Generation = true, strings.Repeat("Please call me. ", 64), 2
	found := armed(3)
	found.MarkerHash = bytesOf(32, 5)
	out := found
	out.Armed = false
	second := armed(1)
	second.Link.ID, second.KeySet = "l-2", keySet(40)
	free := enrolled
	free.KeySet = second.KeySet
	return []step{
		{"enrol", enrolled, false}, {"key set", withKeys(enrolled, 2), false}, {"link", linked, true},
		{"wait", waiting, false}, {"lost", lost, true}, {"unlock", found, true}, {"sign-out", out, true},
		{"link of another account", second, true}, {"unlink", free, true},
	}
}

func bytesOf(n int, b byte) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b + byte(i)
	}
	return out
}

func keySet(n int) lock.KeySet {
	k := lock.KeySet{Number: 3}
	for i := range n {
		k.Keys = append(k.Keys, lock.ServiceKey{ID: strings.Repeat("k", 10), Public: bytesOf(32, byte(i))})
	}
	return k
}

func withKeys(r lock.Record, n int) lock.Record {
	r.KeySet = keySet(n)
	return r
}

// cuts writes r to the store on d and visits, before every operation of that
// and after the last one, every disk that a power cut could leave there.
func cuts(t *testing.T, d *record.Disk, st step, visit func(op string, after *record.Disk)) int {
	t.Helper()
	n := 0
	d.Before = func(op string) error {
		n += d.PowerCuts(func(after *record.Disk) { visit(op, after) })
		return nil
	}
	write(t, record.NewOn(d, where), st.record, st.ownership)
	d.Before = nil
	return n + d.PowerCuts(func(after *record.Disk) { visit("end", after) })
}

func TestAPowerCutLeavesTheOldRecordOrTheNewOneWhole(t *testing.T) {
	d := record.NewDisk("/p")
	var old lock.Record
	blank, states := true, 0
	for _, st := range life() {
		mirrored := false // the new record is on the medium: the old one must not come back
		n := cuts(t, d, st, func(op string, after *record.Disk) {
			s := record.NewOn(after, where)
			r := s.Read()
			if op == "end" {
				mirrored = true
			}
			isNew := r.Store == lock.StoreValid && reflect.DeepEqual(r.Record, st.record)
			isOld := r.Store == lock.StoreValid && reflect.DeepEqual(r.Record, old) || blank && r.Store == lock.StoreBlank
			if !isNew && (!isOld || mirrored) {
				t.Fatalf("%s: power cut before %q: %s with %+v (%v)", st.name, op, r.Store, r.Slots, r.Err)
			}
			checkDecisions(t, st, old, blank, r)
			// Whatever it was, the next start can write and read again.
			write(t, s, st.record, true)
			if again := s.Read(); !reflect.DeepEqual(again.Record, st.record) || again.OneCopy {
				t.Fatalf("%s: power cut before %q: cannot go on: %+v", st.name, op, again)
			}
		})
		old, blank = st.record, false
		states += n
		t.Logf("%s: %d states", st.name, n)
	}
	t.Logf("%d states after a power cut, each read, decided and written again", states)
}

// checkDecisions: for the marker from before, the one from after and none, a
// power cut gives the decision from before, the one from after, or 'locked'.
func checkDecisions(t *testing.T, st step, old lock.Record, blank bool, r record.Reading) {
	t.Helper()
	before := lock.Evidence{Provisioned: true, Store: lock.StoreValid, Record: old}
	if blank {
		before.Store = lock.StoreBlank
	}
	after := lock.Evidence{Provisioned: true, Store: lock.StoreValid, Record: st.record}
	now := lock.Evidence{Provisioned: true, Store: r.Store, Record: r.Record, OneCopy: r.OneCopy}
	for _, marker := range [][]byte{nil, []byte("of the record")} {
		before.Marker, after.Marker, now.Marker = marker, marker, marker
		b, a, got := lock.Decide(before).Status, lock.Decide(after).Status, lock.Decide(now).Status
		if got != b && got != a && got.Open() {
			t.Fatalf("%s: decides %s, where before was %s and after is %s", st.name, got, b, a)
		}
	}
}

// Records of many sectors, every one of which differs from the old record's.
func TestLargeRecordsAreNotTornEither(t *testing.T) {
	sectors := 13
	if raceDetector {
		sectors = 9
	}
	d := record.NewDisk("/p")
	old, st := armed(1), step{"lost", armed(2), true}
	old.LostMessage = strings.Repeat("o", sectors*512-500)
	st.record.LostMessage = strings.Repeat("n", sectors*512-500)
	write(t, record.NewOn(d, where), old, true)
	n := cuts(t, d, st, func(op string, after *record.Disk) {
		r := record.NewOn(after, where).Read()
		if r.Store != lock.StoreValid || !reflect.DeepEqual(r.Record, old) && !reflect.DeepEqual(r.Record, st.record) {
			t.Fatalf("power cut before %q: %s with %+v", op, r.Store, r.Slots)
		}
	})
	if n < 2<<sectors {
		t.Errorf("only %d states were tried", n)
	}
	t.Logf("%d states after a power cut in the writing of %d sectors, twice", n, sectors)
}

// Lives that nobody thought of: random records, and after some of the power
// cuts the device goes on from what was left.
func TestNoOrderOfWritesAndPowerCutsIsTorn(t *testing.T) {
	states := 0
	rapid.Check(t, func(t *rapid.T) {
		d := record.NewDisk("/p")
		old := record.NewOn(d, where).Read()
		for range rapid.IntRange(1, 5).Draw(t, "writes") {
			want, ownership := anyRecord(t), rapid.Bool().Draw(t, "ownership")
			goOnFrom := rapid.IntRange(-10, 40).Draw(t, "power cut to go on from")
			var left *record.Disk
			n := 0
			d.Before = func(op string) error {
				d.PowerCuts(func(after *record.Disk) {
					if n++; n == goOnFrom {
						left = after
					}
					r := record.NewOn(after, where).Read()
					isNew := r.Store == lock.StoreValid && reflect.DeepEqual(r.Record, want)
					isOld := r.Store == old.Store && reflect.DeepEqual(r.Record, old.Record)
					if !isNew && !isOld {
						t.Fatalf("power cut before %q: %s with %+v", op, r.Store, r.Slots)
					}
				})
				return nil
			}
			if err := record.NewOn(d, where).Write(want, ownership); err != nil {
				t.Fatal(err)
			}
			d.Before = nil
			states += n
			now := record.NewOn(d, where).Read()
			if now.Sequence <= old.Sequence {
				t.Fatalf("the sequence number went from %d to %d", old.Sequence, now.Sequence)
			}
			if left != nil {
				d = left
			}
			old = record.NewOn(d, where).Read()
		}
	})
	t.Logf("%d states after a power cut", states)
}

// anyRecord draws a record of up to five sectors.
func anyRecord(t *rapid.T) lock.Record {
	var r lock.Record
	r.DeviceID = rapid.StringMatching(`[a-z0-9-]{0,40}`).Draw(t, "device")
	r.Armed = rapid.Bool().Draw(t, "armed")
	r.Lost = rapid.Bool().Draw(t, "lost")
	r.Link.Generation = rapid.Uint64().Draw(t, "generation")
	r.LostMessage = strings.Repeat(rapid.StringMatching(`[ -~]{1,7}`).Draw(t, "word"), rapid.IntRange(0, 250).Draw(t, "words"))
	if n := rapid.IntRange(0, 64).Draw(t, "key size"); n > 0 {
		r.DeviceKey = rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "key")
	}
	return r
}

// A test of the test: without flushes the enumeration must find lost records.
func TestTheEnumerationFindsAMediumThatDoesNotFlush(t *testing.T) {
	d := record.NewDisk("/p")
	old, st := armed(1), step{"unlock", armed(2), true}
	old.LostMessage, st.record.LostMessage = strings.Repeat("o", 1500), strings.Repeat("n", 1500)
	write(t, record.NewOn(d, where), old, true)
	d.Lies = true
	lost := 0
	n := cuts(t, d, st, func(_ string, after *record.Disk) {
		if record.NewOn(after, where).Read().Store != lock.StoreValid {
			lost++
		}
	})
	if lost == 0 {
		t.Fatalf("none of %d states lost the record", n)
	}
	t.Logf("%d of %d states lost the record", lost, n)
}

// Each operation of each write fails once, in each of several ways; then the
// power fails too. The old record or the new one is there, and once the medium
// works again so does the store.
func TestAFailedOperationLeavesTheOldRecordOrTheNewOne(t *testing.T) {
	failures := 0
	for _, cause := range []error{errors.New("input/output error"), record.ErrTorn} {
		d := record.NewDisk("/p")
		var old lock.Record
		blank := true
		for _, st := range life() {
			for nth := 0; ; nth++ {
				s := record.NewOn(d, where)
				count, failed := 0, ""
				d.Before = func(op string) error {
					if count++; count-1 == nth {
						failed = op
						return cause
					}
					return nil
				}
				err := s.Write(st.record, st.ownership)
				d.Before = nil
				if failed == "" {
					if err != nil {
						t.Fatalf("%s: %v", st.name, err)
					}
					break
				}
				failures++
				// A failed operation need not matter: one of two slots may read.
				if err != nil && (fault.CodeOf(err) != fault.StorageFailed || !strings.Contains(err.Error(), where)) {
					t.Fatalf("%s: %q failed: not named: %v", st.name, failed, err)
				}
				d.PowerCuts(func(after *record.Disk) {
					r := record.NewOn(after, where).Read()
					isNew := r.Store == lock.StoreValid && reflect.DeepEqual(r.Record, st.record)
					isOld := r.Store == lock.StoreValid && reflect.DeepEqual(r.Record, old) || blank && r.Store == lock.StoreBlank
					if !isNew && (!isOld || err == nil) {
						t.Fatalf("%s: %q failed, then the power: %s with %+v (%v)", st.name, failed, r.Store, r.Slots, err)
					}
				})
				if r := s.Read(); r.Store == lock.StoreValid && reflect.DeepEqual(r.Record, st.record) {
					// It got through before it failed; there is no 'before' any more.
					old, blank = st.record, false
				}
			}
			old, blank = st.record, false
		}
		if names := d.Names(); len(names) != 1 {
			t.Errorf("%v is left in the folder", names)
		}
	}
	t.Logf("%d failed operations", failures)
}

func TestAReadThatFailsIsNeverBlank(t *testing.T) {
	d := record.NewDisk("/p")
	write(t, record.NewOn(d, where), armed(1), true)
	broken := errors.New("input/output error")
	for nth := range 6 {
		for _, all := range []bool{false, true} {
			count := 0
			d.Before = func(string) error {
				if count++; count-1 == nth || all && count > nth {
					return broken
				}
				return nil
			}
			r := record.NewOn(d, where).Read()
			if r.Store == lock.StoreBlank || r.Store == lock.StoreDamaged || r.Store == lock.StoreValid && !reflect.DeepEqual(r.Record, armed(1)) {
				t.Errorf("operation %d failed: %s", nth, r.Store)
			}
			if r.Store == lock.StoreUnreadable && !errors.Is(r.Err, broken) {
				t.Errorf("operation %d failed: the error is not named: %v", nth, r.Err)
			}
		}
	}
}
