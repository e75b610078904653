// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/apitest"
	servicedevice "github.com/accountlock/accountlock/internal/service/device"
)

// operation is one that the power fails in.
type operation struct {
	name string
	// before brings the device to where the operation begins; run is the operation.
	before func(t *testing.T, s *system) *daemon
	run    func(t *testing.T, l *daemon)
	// after checks what is left when the operation has ended.
	after func(t *testing.T, l logical)
}

// enrolled is a device that the account service knows and that is unlinked.
func enrolled(t *testing.T, s *system) *daemon {
	t.Helper()
	l := s.start()
	must(t, l.settle())
	if l.state().State != lock.Unlinked {
		t.Fatalf("a new device is %s", l.state())
	}
	return l
}

var recoveryCode = map[*system]string{}

func linkedDevice(t *testing.T, s *system) *daemon {
	t.Helper()
	l := enrolled(t, s)
	code, err := l.person(lock.KindLink, s.svc.Owner)
	must(t, err)
	recoveryCode[s] = code
	return l
}

func lockedDevice(t *testing.T, s *system) *daemon {
	t.Helper()
	linkedDevice(t, s).close()
	s.factoryReset()
	l := s.start()
	if l.state() != lock.LockedFor(lock.FactoryReset) {
		t.Fatalf("after a reset it is %s", l.state())
	}
	return l
}

func (l *daemon) byCode(code string) error {
	f, err := l.flows.Begin(":1.1", lock.KindUnlock, flow.Options{})
	if err != nil {
		return err
	}
	if err := f.Choose(context.Background(), "recovery-code"); err != nil {
		return err
	}
	return f.Submit(context.Background(), flow.Input{"code": secret.Bytes(code)})
}

func owner(kind lock.Kind) func(*testing.T, *daemon) {
	return func(t *testing.T, l *daemon) {
		t.Helper()
		_, err := l.person(kind, l.svc.Owner)
		must(t, err)
	}
}

func says(change func(l *daemon) error) func(*testing.T, *daemon) {
	return func(t *testing.T, l *daemon) {
		t.Helper()
		must(t, change(l))
		must(t, l.flows.CheckIn(context.Background()))
	}
}

var operations = []operation{
	{"first contact", func(_ *testing.T, s *system) *daemon { return s.start() }, func(t *testing.T, l *daemon) { t.Helper(); must(t, l.settle()) }, nil},
	{"link", enrolled, owner(lock.KindLink), nil},
	{"unlock", lockedDevice, owner(lock.KindUnlock), nil},
	{"sign-out", linkedDevice, owner(lock.KindSignOut), nil},
	{"unlink", linkedDevice, owner(lock.KindUnlink), nil},
	{"lost", linkedDevice, says(func(l *daemon) error {
		_, err := l.svc.Devices.Lose(context.Background(), l.keeper.Snapshot().DeviceID, "Please call me.", "+44 20 7946 0000")
		return err
	}), nil},
	{"released", lockedDevice, says(func(l *daemon) error {
		_, err := l.svc.Devices.Release(context.Background(), l.keeper.Snapshot().DeviceID)
		return err
	}), nil},
	{"a wrong recovery code", lockedDevice, func(t *testing.T, l *daemon) {
		t.Helper()
		if err := l.byCode("cbdefghi-cbdefghi-cbdefghi-cbdefghi-cbdefghi-cbdefghi-cbdefghi-cbdefghi"); fault.CodeOf(err) != fault.InvalidCode {
			t.Fatalf("a wrong code: %v", err)
		}
	}, func(t *testing.T, l logical) {
		t.Helper()
		if l.record.Record.Attempts.Failed != 1 {
			t.Fatalf("the answer was given, and %d attempts are counted", l.record.Record.Attempts.Failed)
		}
	}},
	{"the recovery code", lockedDevice, func(t *testing.T, l *daemon) { t.Helper(); must(t, l.byCode(recoveryCode[l.system])) }, func(t *testing.T, l logical) {
		t.Helper()
		if r := l.record.Record; len(r.RecoveryHash) > 0 {
			t.Fatal("the code is not spent")
		}
	}},
}

// The power fails at every moment of every operation, and between the two sides:
// the next start and one check-in later both agree, and the invariants of the
// design hold on the way.
func TestAPowerCutAnywhereInTheSystemLeavesBothSidesAgreeing(t *testing.T) {
	if raceDetector {
		t.Skip("there is nothing more to find with the race detector, only slower")
	}
	svc := apitest.Start(t)
	if svc.Database.Path == "" {
		t.Skip("the account service is put back to a moment by copying its SQLite tables")
	}
	total, bound, began := 0, 0, time.Now()
	for i, op := range operations {
		places := everywhere[i%len(everywhere):][:1]
		if everything() {
			places = everywhere
		}
		for _, p := range places {
			t.Run(op.name+" on "+p.name, func(t *testing.T) { total += cutOperation(t, svc, p, nil, op) })
			t.Run(op.name+" on "+p.name+" with a TPM", func(t *testing.T) {
				n := cutOperation(t, svc, p, &chip{seed: 0x5a}, op)
				total, bound = total+n, bound+n
			})
		}
	}
	t.Logf("%d states of the whole system after a power cut, %d of them with a TPM, in %s", total, bound, time.Since(began).Round(time.Millisecond))
}

// everything reports whether every operation is to be cut on every medium, and
// more of what SQLite has not flushed is to be told apart: `make powercuts`.
func everything() bool { return os.Getenv("ACCOUNTLOCK_POWERCUTS") == "all" }

func cutOperation(t *testing.T, svc *apitest.Service, p place, c *chip, op operation) int {
	t.Helper()
	began := time.Now()
	s := newSystem(t, p, c, svc)
	l := op.before(t, s)
	id := l.keeper.Snapshot().DeviceID
	r := s.recorded(id, func() {
		op.run(t, l)
		must(t, l.idle())
	})
	l.close()
	journals, restarts := map[[32]byte]string{}, map[string]bool{}
	for _, st := range r.states {
		found := r.read(st, journals)
		side := r.sides[st.sides]
		if found.record.Err != nil {
			t.Fatalf("power cut before %q: the record reads as %s: %v", st.op, found.record.Store, found.record.Err)
		}
		// Invariant 1: reset now, a device that the service holds does not open.
		if d := decide(found.record, nil); d.Open() && side.status.Binds() {
			t.Fatalf("power cut before %q, then a reset: %s, and the service says %s", st.op, d, side.status)
		}
		if st.last && op.after != nil {
			op.after(t, found)
		}
		key := fmt.Sprintf("%d %s %x %+v %d", st.sides, found.pending, found.marker, found.record.Record.GoString(), found.record.Sequence)
		key += fmt.Sprintf(" %v %v %d %d", found.record.OneCopy, recordText(found.record.Record), found.record.Counter, found.record.TPMCounter)
		if restarts[key] {
			continue
		}
		restarts[key] = true
		s.restore(side)
		s.checkStart(t, r, st, id)
	}
	if r.physical < 50 || len(restarts) < 3 {
		t.Errorf("only %d states, %d starts", r.physical, len(restarts))
	}
	t.Logf("%d moments, %d states, %d of them different, %d journals read, %d starts and check-ins, in %s",
		r.moments, r.physical, len(r.states), len(journals), len(restarts), time.Since(began).Round(time.Millisecond))
	return r.physical
}

// recordText is all of a record, to compare.
func recordText(r lock.Record) string {
	type plain lock.Record
	return fmt.Sprintf("%#v", plain(r))
}

// checkStart starts the device from what was left, lets it check in, and compares
// both sides, and what the boot after that decides.
func (s *system) checkStart(t *testing.T, r *recorder, st left, id string) {
	t.Helper()
	kept, c, dir := r.disk(st), st.chip.same(), r.folder(st)
	l := s.startOn(kept, c, dir)
	defer func() { l.close() }()
	fatal := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("power cut before %q: %s", st.op, fmt.Sprintf(format, args...))
	}
	must(t, s.p.on(kept).Mend())
	if why := androidRefusesAt(s.p, kept); why != "" {
		fatal("mended, and an Android would not take it: %s", why)
	}
	if err := l.settle(); err != nil {
		fatal("%v", err)
	}
	says := s.serviceSays(id)
	if says == servicedevice.Linked && l.state() == lock.LockedFor(lock.FactoryReset) {
		// The owner was not in yet: the account check is as good as ever.
		if _, err := l.person(lock.KindUnlock, s.svc.Owner); err != nil {
			fatal("the owner cannot unlock: %v", err)
		}
	}
	want := map[servicedevice.Status]lock.Status{
		servicedevice.Linked: {State: lock.Linked}, servicedevice.Lost: lock.LockedFor(lock.Lost),
		servicedevice.SignedOut: {State: lock.SignedOut}, servicedevice.Unlinked: {State: lock.Unlinked},
		servicedevice.Pending: {State: lock.Unlinked}, servicedevice.None: {State: lock.Unlinked},
	}[says]
	if l.state() != want {
		fatal("the service says %q, the device is %s; at the cut it said %q", says, l.state(), r.sides[st.sides].status)
	}
	if ops, err := l.journal.Pending(context.Background()); err != nil || len(ops) > 0 {
		fatal("left in the journal: %v, %v", ops, err)
	}
	l.close()
	again := s.startOn(kept, c, dir)
	l = again
	if again.state() != want {
		fatal("%s, and after another start %s", want, again.state())
	}
	now := s.store(kept, c).Read()
	if now.Ahead() {
		fatal("the record is still ahead of the counter: %d and %d", now.Counter, now.TPMCounter)
	}
	if d := decide(now, nil); d.Open() == says.Binds() {
		fatal("the service says %q, and after a reset it is %s", says, d)
	}
}
