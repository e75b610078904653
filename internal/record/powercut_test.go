// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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

// cuts writes r to the store on d and visits, after every operation of that which
// changes something and at the end, every disk that a power cut could leave there.
func cuts(t *testing.T, p place, d *record.Disk, st step, visit func(op string, after *record.Disk)) int {
	t.Helper()
	n, seen := 0, -1
	d.Before = func(op string) error {
		if d.Changes != seen {
			seen = d.Changes
			n += d.PowerCuts(func(after *record.Disk) { visit(op, after) })
		}
		return nil
	}
	write(t, p.on(d), st.record, st.ownership)
	d.Before = nil
	return n + d.PowerCuts(func(after *record.Disk) { visit("end", after) })
}

func TestAPowerCutLeavesTheOldRecordOrTheNewOneWhole(t *testing.T) {
	each(t, everywhere, func(t *testing.T, p place) {
		states := powerCuts(t, p, p.disk(), life())
		if states < 150 {
			t.Errorf("only %d states were tried", states)
		}
	})
}

// A store that was erased flash, foreign content, or torn, before the first write.
func TestAPowerCutInTheFirstWriteOverAnythingLeavesNothingInBetween(t *testing.T) {
	each(t, onPartition, func(t *testing.T, p place) {
		for _, kind := range contents {
			t.Run(kind, func(t *testing.T) {
				d := p.filled(contentOf(kind, p.size))
				powerCuts(t, p, d, life()[:1])
				t.Logf("%d times not every selection of the sectors could be visited", d.Sampled)
			})
		}
	})
}

// powerCuts lives a life on d and cuts the power at every moment of it.
func powerCuts(t *testing.T, p place, d *record.Disk, life []step) int {
	t.Helper()
	began := time.Now()
	before := p.on(d).Read()
	states, wrong := 0, 0
	for _, st := range life {
		mirrored := false // the new record is on the medium: the old one must not come back
		n := cuts(t, p, d, st, func(op string, after *record.Disk) {
			if !p.mended(t, after) {
				wrong++
			}
			s := p.on(after)
			r := s.Read()
			if op == "end" {
				mirrored = true
			}
			isNew := r.Store == lock.StoreValid && reflect.DeepEqual(r.Record, st.record)
			isOld := r.Store == before.Store && reflect.DeepEqual(r.Record, before.Record)
			if !isNew && (!isOld || mirrored) {
				t.Fatalf("%s: power cut before %q: %s with %+v (%v)", st.name, op, r.Store, r.Slots, r.Err)
			}
			checkDecisions(t, st, before, r)
			// Whatever it was, the next start can write and read again.
			write(t, s, st.record, true)
			if again := s.Read(); !reflect.DeepEqual(again.Record, st.record) || again.OneCopy {
				t.Fatalf("%s: power cut before %q: cannot go on: %+v", st.name, op, again)
			}
			if why := androidRefuses(after.Content(where)); p.android && why != "" {
				t.Fatalf("%s: written again, and an Android would not take it: %s", st.name, why)
			}
		})
		before = p.on(d).Read()
		states += n
		if why := androidRefusesAt(p, d); why != "" {
			t.Fatalf("%s: an Android would not take it: %s", st.name, why)
		}
	}
	t.Logf("%d states after a power cut, each read, decided and written again, in %s", states, time.Since(began).Round(time.Millisecond))
	if p.android {
		t.Logf("in %d of them the digest was wrong until the next start", wrong)
	}
	return states
}

func androidRefusesAt(p place, d *record.Disk) string {
	if !p.android {
		return ""
	}
	return androidRefuses(d.Content(where))
}

// checkDecisions: for the marker from before, the one from after and none, a
// power cut gives the decision from before, the one from after, or 'locked'.
func checkDecisions(t *testing.T, st step, old, r record.Reading) {
	t.Helper()
	before := lock.Evidence{Provisioned: true, Store: old.Store, Record: old.Record, OneCopy: old.OneCopy, TPM: old.TPM}
	after := lock.Evidence{Provisioned: true, Store: lock.StoreValid, Record: st.record}
	now := lock.Evidence{Provisioned: true, Store: r.Store, Record: r.Record, OneCopy: r.OneCopy, TPM: r.TPM}
	for i, marker := range [][]byte{nil, []byte("of the record"), nil} {
		before.Marker, after.Marker, now.Marker = marker, marker, marker
		if i == 2 {
			before.Policy, after.Policy, now.Policy = lock.AllowOffline, lock.AllowOffline, lock.AllowOffline
		}
		b, a, got := lock.Decide(before).Status, lock.Decide(after).Status, lock.Decide(now).Status
		if got != b && got != a && got.Open() {
			t.Fatalf("%s: decides %s, where before was %s and after is %s", st.name, got, b, a)
		}
	}
}

// Records of many sectors, every one of which differs from the old record's.
func TestLargeRecordsAreNotTornEither(t *testing.T) {
	each(t, everywhere, func(t *testing.T, p place) {
		sectors := 12
		if raceDetector || p.android {
			sectors = 9 // and the one of the header
		}
		d := p.disk()
		old, st := armed(1), step{"lost", armed(2), true}
		old.LostMessage = strings.Repeat("o", sectors*512-500)
		st.record.LostMessage = strings.Repeat("n", sectors*512-500)
		write(t, p.on(d), old, true)
		n := cuts(t, p, d, st, func(op string, after *record.Disk) {
			r := p.on(after).Read()
			if r.Store != lock.StoreValid || !reflect.DeepEqual(r.Record, old) && !reflect.DeepEqual(r.Record, st.record) {
				t.Fatalf("power cut before %q: %s with %+v", op, r.Store, r.Slots)
			}
		})
		if n < 2<<sectors || d.Sampled > 0 {
			t.Errorf("only %d states were tried", n)
		}
		t.Logf("%d states after a power cut in the writing of %d sectors, twice", n, sectors)
	})
}

// Lives that nobody thought of: random records, and after some of the power
// cuts the device goes on from what was left.
func TestNoOrderOfWritesAndPowerCutsIsTorn(t *testing.T) {
	states := 0
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom(everywhere).Draw(t, "medium")
		d := p.disk()
		old := p.on(d).Read()
		for range rapid.IntRange(1, 5).Draw(t, "writes") {
			want, ownership := anyRecord(t), rapid.Bool().Draw(t, "ownership")
			goOnFrom := rapid.IntRange(-10, 40).Draw(t, "power cut to go on from")
			var left *record.Disk
			n, seen := 0, -1
			d.Before = func(op string) error {
				if d.Changes == seen {
					return nil
				}
				seen = d.Changes
				d.PowerCuts(func(after *record.Disk) {
					if n++; n == goOnFrom {
						left = after
					}
					r := p.on(after).Read()
					isNew := r.Store == lock.StoreValid && reflect.DeepEqual(r.Record, want)
					isOld := r.Store == old.Store && reflect.DeepEqual(r.Record, old.Record)
					if !isNew && !isOld {
						t.Fatalf("power cut before %q: %s with %+v", op, r.Store, r.Slots)
					}
				})
				return nil
			}
			if err := p.on(d).Write(want, ownership); err != nil {
				t.Fatal(err)
			}
			d.Before = nil
			states += n
			now := p.on(d).Read()
			if now.Sequence <= old.Sequence {
				t.Fatalf("the sequence number went from %d to %d", old.Sequence, now.Sequence)
			}
			if left != nil {
				d = left
			}
			old = p.on(d).Read()
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
	n := cuts(t, inFile, d, st, func(_ string, after *record.Disk) {
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
	each(t, everywhere, func(t *testing.T, p place) {
		failures := 0
		for _, cause := range []error{unix.EIO, unix.ENOSPC, record.ErrTorn} {
			d := p.disk()
			before := p.on(d).Read()
			for _, st := range life() {
				for nth := 0; failOne(t, p, d, st, nth, cause, &before); nth++ {
					failures++
				}
				before = p.on(d).Read()
			}
			if names := d.Names(); len(names) != 1 {
				t.Errorf("%v is left in the folder", names)
			}
		}
		t.Logf("%d failed operations", failures)
	})
}

// failOne writes st with its nth operation failing, and reports whether there was
// one.
func failOne(t *testing.T, p place, d *record.Disk, st step, nth int, cause error, before *record.Reading) bool {
	t.Helper()
	s := p.on(d)
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
		return false
	}
	// A failed operation need not matter: one of two slots may read.
	if err != nil && (fault.CodeOf(err) != fault.StorageFailed || !strings.Contains(err.Error(), where) || !errors.Is(err, cause)) {
		t.Fatalf("%s: %q failed: not named: %v", st.name, failed, err)
	}
	d.PowerCuts(func(after *record.Disk) {
		r := p.on(after).Read()
		isNew := r.Store == lock.StoreValid && reflect.DeepEqual(r.Record, st.record)
		isOld := r.Store == before.Store && reflect.DeepEqual(r.Record, before.Record)
		if !isNew && (!isOld || err == nil) {
			t.Fatalf("%s: %q failed, then the power: %s with %+v (%v)", st.name, failed, r.Store, r.Slots, err)
		}
	})
	if r := s.Read(); r.Store == lock.StoreValid && reflect.DeepEqual(r.Record, st.record) {
		// It got through before it failed; there is no 'before' any more.
		*before = r
	}
	return true
}

func TestAReadThatFailsIsNeverBlank(t *testing.T) {
	each(t, everywhere, func(t *testing.T, p place) {
		d := p.disk()
		write(t, p.on(d), armed(1), true)
		for nth := range 7 {
			for _, all := range []bool{false, true} {
				count := 0
				d.Before = func(string) error {
					if count++; count-1 == nth || all && count > nth {
						return unix.EIO
					}
					return nil
				}
				r := p.on(d).Read()
				if r.Store == lock.StoreBlank || r.Store == lock.StoreDamaged || r.Store == lock.StoreValid && !reflect.DeepEqual(r.Record, armed(1)) {
					t.Errorf("operation %d failed: %s", nth, r.Store)
				}
				if r.Store == lock.StoreUnreadable && !errors.Is(r.Err, unix.EIO) {
					t.Errorf("operation %d failed: the error is not named: %v", nth, r.Err)
				}
			}
		}
	})
}
