// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

func TestABoundRecordIsVouchedForAndItsSecretsAreSealed(t *testing.T) {
	d := newDevice()
	write(t, d.store(), armed(1), true)
	r := d.store().Read()
	if r.Store != lock.StoreValid || r.TPM != lock.TPMVouches || r.Err != nil || !reflect.DeepEqual(r.Record, armed(1)) || !r.Slots[0].Bound || !r.Slots[1].Bound {
		t.Fatalf("got %s, %s, %v, %+v", r.Store, r.TPM, r.Err, r.Slots)
	}
	if r.Counter != r.TPMCounter || r.Counter != 2 || r.Ahead() {
		t.Errorf("the record names %d, the TPM has %d", r.Counter, r.TPMCounter)
	}
	raw := d.content()
	for _, secret := range [][]byte{armed(1).DeviceKey, []byte("MDEyMzQ1Njc4OWFiY2RlZj")} {
		if bytes.Contains(raw, secret) {
			t.Error("the device key can be read")
		}
	}
	if d.chip.open != 0 {
		t.Errorf("%d times the TPM was left open", d.chip.open)
	}
}

// What the counter costs: one step for what must not come undone, none for a
// wait of the account service or a rehearsal.
func TestTheCounterIsAdvancedOnceForEachChangeThatMustNotComeUndone(t *testing.T) {
	d := newDevice()
	write(t, d.store(), armed(1), true)
	waiting, guessed, keys := armed(1), armed(1), armed(1)
	waiting.Wait = lock.Wait{Seconds: 9}
	guessed.Attempts.Failed = 1
	keys.KeySet = keySet(1)
	write(t, d.store(), armed(1), false) // the first one flushes the folder, too
	for _, c := range []struct {
		name      string
		record    lock.Record
		ownership bool
		advances  uint64
		writes    uint64
	}{
		{"a rehearsal", armed(1), false, 0, 1}, {"a wait", waiting, false, 0, 1}, {"a counted attempt", guessed, false, 1, 1},
		{"the same again", guessed, false, 0, 1}, {"a key set", keys, false, 1, 1}, {"a change of ownership", armed(2), true, 1, 2},
		{"the same change again", armed(2), true, 1, 2},
	} {
		s := d.store()
		write(t, s, c.record, c.ownership)
		if got := s.Stats(); got.Advances != c.advances || got.SlotWrites != c.writes || got.Flushes != c.writes {
			t.Errorf("%s costs %+v", c.name, got)
		}
		if r := d.store().Read(); r.TPM != lock.TPMVouches || r.Ahead() || !reflect.DeepEqual(r.Record, c.record) {
			t.Errorf("%s: %s, counter %d and %d", c.name, r.TPM, r.Counter, r.TPMCounter)
		}
	}
}

// thief is what is done to a bound, armed device between two boots.
type thief struct {
	name string
	do   func(t *testing.T, d *device)
	says lock.TPM
	// required has the mode require instead of auto.
	required bool
	want     lock.Status
}

var damagedLock = lock.LockedFor(lock.RecordDamaged)

func thieves() []thief {
	wasDisarmed := func(d *device) []byte {
		r := armed(1)
		r.Armed = false
		_ = d.store().Write(r, true)
		old := d.content()
		_ = d.store().Write(armed(2), true)
		return old
	}
	forged := func(n uint64) []byte {
		r := armed(9)
		r.Armed = false
		return makeFrame(1, n, mustJSON(r))
	}
	return []thief{
		{"nothing", func(*testing.T, *device) {}, lock.TPMVouches, false, lock.LockedFor(lock.FactoryReset)},
		{"both slots from before", func(_ *testing.T, d *device) { d.put(wasDisarmed(d)) }, lock.TPMRolledBack, false, damagedLock},
		{"one slot from before, the other one destroyed", func(_ *testing.T, d *device) {
			old := wasDisarmed(d)
			clear(old[slotBytes:])
			d.put(old)
		}, lock.TPMRolledBack, false, damagedLock},
		{"a forged record without a MAC", func(_ *testing.T, d *device) { d.put(image(forged(98), forged(99))) }, lock.TPMStripped, false, damagedLock},
		{"a forged copy without a MAC beside a real one", func(_ *testing.T, d *device) {
			c := d.content()
			copy(c, image(forged(98), nil)[:slotBytes])
			d.put(c)
		}, lock.TPMVouches, false, lock.LockedFor(lock.FactoryReset)},
		{"a record bound to another TPM", func(_ *testing.T, d *device) {
			other := &device{record.NewDisk("/p"), &chip{seed: 0x11}, inFile}
			r := armed(1)
			r.Armed = false
			_ = other.store().Write(r, true)
			d.put(other.content())
		}, lock.TPMKeyLost, false, damagedLock},
		{"a bit of the payload, with the checksum made good", func(_ *testing.T, d *device) {
			c := d.content()
			for i := range 2 {
				s := c[i*slotBytes : (i+1)*slotBytes]
				_, sequence, text, _ := wholeFrame(s)
				text = bytes.Replace(bytes.Clone(text), []byte(`"armed":true`), []byte(`"armed":null`), 1)
				copy(s, makeFrame(2, sequence, text))
			}
			d.put(c)
		}, lock.TPMBadMAC, false, damagedLock},
		{"the counter deleted", func(_ *testing.T, d *device) { d.chip.defined = false }, lock.TPMCounterAbsent, false, damagedLock},
		{"the counter made anew", func(_ *testing.T, d *device) { d.chip.value = 0 }, lock.TPMCounterAbsent, false, damagedLock},
		{"the counter made anew and advanced", func(_ *testing.T, d *device) { d.chip.value = 0; _, _ = d.chip.Advance(); _, _ = d.chip.Advance() }, lock.TPMRolledBack, false, damagedLock},
		{"something else in the counter's place", func(_ *testing.T, d *device) { d.chip.foreign = true }, lock.TPMCounterForeign, false, damagedLock},
		{"the TPM cleared", func(_ *testing.T, d *device) { d.chip.clear() }, lock.TPMKeyLost, false, damagedLock},
		{"another TPM", func(_ *testing.T, d *device) { d.chip = &chip{seed: 1, defined: true, value: 2} }, lock.TPMKeyLost, false, damagedLock},
		{"the TPM hidden, auto", func(_ *testing.T, d *device) { d.chip.fail = &lock.TPMError{Says: lock.TPMAbsent} }, lock.TPMAbsent, false, damagedLock},
		{"the TPM hidden, require", func(_ *testing.T, d *device) { d.chip.fail = &lock.TPMError{Says: lock.TPMAbsent} }, lock.TPMAbsent, true, damagedLock},
		{"the TPM hidden and the record forged, auto: tier 0", func(_ *testing.T, d *device) {
			d.chip.fail = &lock.TPMError{Says: lock.TPMAbsent}
			d.put(image(forged(98), forged(99)))
		}, lock.TPMUnused, false, lock.Status{State: lock.SignedOut}},
		{"the TPM hidden and the record forged, require", func(_ *testing.T, d *device) {
			d.chip.fail = &lock.TPMError{Says: lock.TPMAbsent}
			d.put(image(forged(98), forged(99)))
		}, lock.TPMAbsent, true, damagedLock},
		{"the TPM silent", func(_ *testing.T, d *device) { d.chip.fail = errSilent }, lock.TPMSilent, false, damagedLock},
		{"the TPM locked out", func(_ *testing.T, d *device) { d.chip.fail = &lock.TPMError{Says: lock.TPMLockedOut} }, lock.TPMLockedOut, false, damagedLock},
		{"an error that nobody knows", func(_ *testing.T, d *device) { d.chip.fail = errors.New("what") }, lock.TPMFailing, false, damagedLock},
		{"the store erased", func(_ *testing.T, d *device) { d.put(make([]byte, 2*slotBytes)) }, lock.TPMArmedBefore, false, lock.LockedFor(lock.RecordMissing)},
		{"the store erased and the TPM cleared", func(_ *testing.T, d *device) { d.put(make([]byte, 2*slotBytes)); d.chip.clear() }, lock.TPMCounterAbsent, false, lock.LockedFor(lock.RecordMissing)},
		{"the store erased and the TPM silent", func(_ *testing.T, d *device) { d.put(make([]byte, 2*slotBytes)); d.chip.fail = errSilent }, lock.TPMSilent, false, damagedLock},
		{"the TPM cleared and a record forged", func(_ *testing.T, d *device) { d.chip.clear(); d.put(image(forged(98), forged(99))) }, lock.TPMUnbound, false, damagedLock},
	}
}

func TestWhatAThiefDoesToABoundRecordIsNamedAndOpensNothingAtTierOne(t *testing.T) {
	for _, c := range thieves() {
		t.Run(c.name, func(t *testing.T) {
			d := newDevice()
			write(t, d.store(), armed(1), true)
			c.do(t, d)
			before := d.content()
			s := record.NewOn(d.disk, where, d.chip.option(c.required))
			r := s.Read()
			got := lock.Decide(lock.Evidence{Provisioned: true, Store: r.Store, Record: r.Record, OneCopy: r.OneCopy, TPM: r.TPM, Policy: lock.RequireOnline})
			if r.TPM != c.says || got.Status != c.want {
				t.Errorf("the TPM says %q, %v; decides %s", r.TPM, r.TPMErr, got.Status)
			}
			if !r.TPM.Vouched() && r.Store == lock.StoreValid {
				if got.Rule != r.TPM.Rule() {
					t.Errorf("the rule is %q", got.Rule)
				}
				if len(r.Record.RecoveryHash)+len(r.Record.KeySet.Keys) > 0 || !r.Record.Armed || !r.Record.Distrusted {
					t.Error("what nobody vouches for is believed")
				}
			}
			if !bytes.Equal(before, d.content()) {
				t.Error("reading has written")
			}
			wayBack(t, d, s, r)
		})
	}
}

// wayBack: what the device writes of itself while it is locked does not open it
// at the next boot either; what the account's owner makes it write is bound, and
// vouched for from then on.
func wayBack(t *testing.T, d *device, s *record.Store, r record.Reading) {
	t.Helper()
	if r.TPM.Vouched() {
		return
	}
	held := lock.Decide(lock.Evidence{Provisioned: true, Store: r.Store, Record: r.Record, TPM: r.TPM}).Hold(r.Record)
	held.DeviceKey = []byte("another key that was made since.")
	old := d.content()
	err := s.Write(held, false)
	if r.TPM.MayPass() && r.Store == lock.StoreValid {
		if !errors.Is(err, record.ErrHeld) || !bytes.Equal(old, d.content()) {
			t.Errorf("a record whose TPM may come back was written over: %v", err)
		}
	} else if err != nil && !r.TPM.MayPass() {
		t.Errorf("cannot write: %v", err)
	}
	again := s.Read()
	next := lock.Decide(lock.Evidence{Provisioned: true, Store: again.Store, Record: again.Record, OneCopy: again.OneCopy, TPM: again.TPM})
	if next.Status.Open() {
		t.Errorf("open at the next boot: %s", next.Rule)
	}
	// The fault ends, where it can; then the owner comes.
	d.chip.fail = nil
	write(t, d.store(), armed(3), true)
	if r := d.store().Read(); r.TPM != lock.TPMVouches || !reflect.DeepEqual(r.Record, armed(3)) || r.OneCopy {
		t.Errorf("after the account check: %s, %+v", r.TPM, r.Slots)
	}
}

func TestATPMThatCannotBeAskedIsNamedInTheErrorOfAWrite(t *testing.T) {
	d := newDevice()
	write(t, d.store(), armed(1), true)
	d.chip.fail = errSilent
	err := d.store().Write(armed(2), true)
	var says *lock.TPMError
	if fault.CodeOf(err) != fault.StorageFailed || !errors.As(err, &says) || says.Says != lock.TPMSilent || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("got %v", err)
	}
	d.chip.fail = nil
	if r := d.store().Read(); !reflect.DeepEqual(r.Record, armed(1)) {
		t.Error("it was written")
	}
}

// The gate has no more than that: it reads what the daemon has bound.
func TestAProgramThatOnlyReadsWithATPMWritesNothing(t *testing.T) {
	type reader struct{ record.TPM }
	d := newDevice()
	write(t, d.store(), armed(1), true)
	s := record.NewOn(d.disk, where, record.WithTPM(func() (record.TPM, error) { return reader{d.chip}, nil }, true))
	before := d.content()
	if r := s.Read(); r.TPM != lock.TPMVouches || !reflect.DeepEqual(r.Record, armed(1)) {
		t.Errorf("reads %s", r.TPM)
	}
	d.chip.value-- // as a power cut leaves it
	if r := s.Read(); r.TPM != lock.TPMVouches || !r.Ahead() {
		t.Errorf("one step ahead it reads %s", r.TPM)
	}
	for name, err := range map[string]error{"writing": s.Write(armed(2), true), "settling": s.Settle()} {
		if fault.CodeOf(err) != fault.StorageFailed {
			t.Errorf("%s: %v", name, err)
		}
	}
	d.put(make([]byte, 2*slotBytes))
	if err := s.Write(armed(2), true); fault.CodeOf(err) != fault.StorageFailed {
		t.Errorf("binding: %v", err)
	}
	d.put(before)
	if r := d.store().Read(); !reflect.DeepEqual(r.Record, armed(1)) || d.chip.value != 1 {
		t.Error("something has changed")
	}
}

// A TPM that does not answer takes ten seconds each time that it is asked.
func TestATPMThatDidNotAnswerIsNotAskedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice()
		write(t, d.store(), armed(1), true)
		asked := 0
		s := record.NewOn(d.disk, where, record.WithTPM(func() (record.TPM, error) {
			asked++
			if d.chip.fail != nil {
				return nil, d.chip.fail
			}
			d.chip.open++
			return d.chip, nil
		}, true))
		d.chip.fail = errSilent
		for range 3 {
			if r := s.Read(); r.TPM != lock.TPMSilent || r.Record.MarkerHash != nil {
				t.Errorf("reads %s", r.TPM)
			}
		}
		if err := s.Write(armed(2), true); fault.CodeOf(err) != fault.StorageFailed {
			t.Errorf("writes: %v", err)
		}
		if asked != 1 {
			t.Errorf("it was asked %d times", asked)
		}
		d.chip.fail = nil
		time.Sleep(31 * time.Second)
		if r := s.Read(); r.TPM != lock.TPMVouches || asked != 2 {
			t.Errorf("half a minute later: %s, asked %d times", r.TPM, asked)
		}
	})
}

// An owner whose TPM is gone for good gets the device back, at tier 0.
func TestWithoutItsTPMTheOwnersRecordIsWrittenUnboundInModeAuto(t *testing.T) {
	d := newDevice()
	write(t, d.store(), armed(1), true)
	d.chip.fail = &lock.TPMError{Says: lock.TPMAbsent}
	write(t, d.store(), armed(2), true)
	if r := d.store().Read(); r.TPM != lock.TPMUnused || !reflect.DeepEqual(r.Record, armed(2)) {
		t.Errorf("got %s", r.TPM)
	}
	if err := record.NewOn(d.disk, where, d.chip.option(true)).Write(armed(3), true); fault.CodeOf(err) != fault.StorageFailed {
		t.Errorf("in mode require it is written: %v", err)
	}
}

func TestABlankStoreBesideACounterThatWasNeverAdvancedIsANewDevice(t *testing.T) {
	d := newDevice()
	d.chip.defined = true
	r := d.store().Read()
	if got := lock.Decide(lock.Evidence{Provisioned: true, Store: r.Store, TPM: r.TPM, Policy: lock.RequireOnline}).Status; got != (lock.Status{State: lock.Unlinked}) {
		t.Errorf("decides %s", got)
	}
}

// The migration of version 1: read, kept from opening anything until the account
// service has spoken, then bound.
func TestAnUnboundRecordIsBoundByTheNextWriteUnderTheServicesWord(t *testing.T) {
	d := newDevice()
	write(t, record.NewOn(d.disk, where), armed(1), true)
	r := d.store().Read()
	if r.TPM != lock.TPMUnbound || !bytes.Equal(r.Record.MarkerHash, armed(1).MarkerHash) || r.Record.DeviceID != "d-1" {
		t.Fatalf("got %s, %+v", r.TPM, r.Record)
	}
	bound := r.Record.Apply([]lock.Effect{lock.Trust}, lock.Change{})
	write(t, d.store(), bound, true)
	if r := d.store().Read(); r.TPM != lock.TPMVouches || !reflect.DeepEqual(r.Record, bound) || r.Record.Distrusted {
		t.Errorf("got %s", r.TPM)
	}
	// Without the TPM configured it stays what it is, and says so.
	if r := record.NewOn(d.disk, where).Read(); r.TPM != lock.TPMAbsent || r.Record.Link.ID != "l-1" {
		t.Errorf("switched off: %s", r.TPM)
	}
}

// Every instant of a device's life with a TPM at which the power can fail: the
// medium in each state that it could be in, and the counter before or after its
// step.
func TestAPowerCutBetweenRecordAndCounterLeavesTheOldRecordOrTheNewOne(t *testing.T) {
	each(t, everywhere, func(t *testing.T, p place) {
		d := newDeviceAt(p)
		began, states, mixed := time.Now(), 0, 0
		// gone are the whole stores that later ones have replaced, as a thief kept them.
		var gone [][]byte
		old := d.store().Read()
		for _, st := range life() {
			before := d.content()
			visit := func(op string) {
				states += d.disk.PowerCuts(func(after *record.Disk) {
					afterThePowerCut(t, st, &device{after, d.chip.same(), p}, op, old)
				})
			}
			seen := -1
			d.disk.Before = func(op string) error {
				if d.disk.Changes != seen {
					seen = d.disk.Changes
					visit(op)
				}
				return nil
			}
			d.chip.before = func(op string) { seen = d.disk.Changes; visit(op) }
			d.chip.after = func() { seen = -1 }
			write(t, d.store(), st.record, st.ownership)
			d.disk.Before, d.chip.before, d.chip.after = nil, nil, nil
			visit("end")
			if r := d.store().Read(); !reflect.DeepEqual(r.Record, st.record) || r.Ahead() {
				t.Fatalf("%s: not done: %s, %+v", st.name, r.TPM, r.Slots)
			}
			// A wait alone takes no step: the record before it may come back, and does no harm.
			if old.Store != lock.StoreBlank && (st.ownership || old.Record.Counts(st.record)) {
				gone = append(gone, before)
			}
			mixed += tryAll(t, d, st, gone)
			old = d.store().Read()
		}
		t.Logf("%d states of medium and counter, each read, settled, decided and written again, and %d stores from before tried whole and in parts, in %s",
			states, mixed, time.Since(began).Round(time.Millisecond))
	})
}

// afterThePowerCut is a device that starts again with what is left.
func afterThePowerCut(t *testing.T, st step, left *device, op string, old record.Reading) {
	blank := old.Store == lock.StoreBlank
	t.Helper()
	s := left.store()
	r := s.Read()
	isNew := r.Store == lock.StoreValid && r.TPM == lock.TPMVouches && reflect.DeepEqual(r.Record, st.record)
	isOld := !blank && r.Store == lock.StoreValid && r.TPM == lock.TPMVouches && reflect.DeepEqual(r.Record, old.Record)
	// Before the first record there is nothing to vouch for; the policy decides.
	wasBlank := blank && r.Store == lock.StoreBlank && (r.TPM == lock.TPMCounterAbsent || r.TPM == lock.TPMNeverArmed || r.TPM == lock.TPMArmedBefore)
	if op == "end" && !isNew || !isNew && !isOld && !wasBlank {
		t.Fatalf("%s: power cut before %q: %s, %s, counter %d and %d, %+v", st.name, op, r.Store, r.TPM, r.Counter, r.TPMCounter, r.Slots)
	}
	checkDecisions(t, st, old, r)
	if err := s.Settle(); err != nil {
		t.Fatalf("%s: power cut before %q: cannot settle: %v", st.name, op, err)
	}
	if again := left.store().Read(); again.Ahead() || again.TPM != r.TPM || !reflect.DeepEqual(again.Record, r.Record) {
		t.Fatalf("%s: power cut before %q: settled it reads %s", st.name, op, again.TPM)
	}
	write(t, left.store(), st.record, true)
	if again := left.store().Read(); again.TPM != lock.TPMVouches || !reflect.DeepEqual(again.Record, st.record) || again.OneCopy {
		t.Fatalf("%s: power cut before %q: cannot go on: %s, %+v", st.name, op, again.TPM, again.Slots)
	}
}

// tryAll puts every store from before back, whole, and each of its slots beside
// what is there now and beside nothing. Where the device is armed none opens it.
func tryAll(t *testing.T, d *device, st step, gone [][]byte) int {
	t.Helper()
	now := d.content()
	tried := 0
	try := func(content []byte) {
		tried++
		thiefs := &device{record.NewDisk("/p"), d.chip.same(), d.place}
		thiefs.put(content)
		r := thiefs.store().Read()
		got := lock.Decide(lock.Evidence{Provisioned: true, Store: r.Store, Record: r.Record, OneCopy: r.OneCopy, TPM: r.TPM, Policy: lock.RequireOnline})
		// But for a wait, which takes no step of the counter.
		if r.TPM == lock.TPMVouches && r.Record.Counts(st.record) || st.record.Armed && got.Status.Open() {
			t.Fatalf("%s: a store from before: %s, %s, decides %s", st.name, r.Store, r.TPM, got.Status)
		}
	}
	for _, old := range gone {
		try(old)
		for i := range 2 {
			for _, beside := range [][]byte{now, d.place.image(nil, nil)} {
				for to := range 2 {
					mixed := bytes.Clone(beside)
					copy(d.place.slot(mixed, to), d.place.slot(old, i))
					try(mixed)
				}
			}
		}
	}
	return tried
}
