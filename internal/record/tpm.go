// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/accountlock/accountlock/internal/lock"
)

// TPM is what reading a store asks of a TPM 2.0, one that is open. Its errors are a
// *lock.TPMError where the TPM said, or kept from saying, something that
// lock.Decide goes by; every call ends in bounded time.
//
// How record and counter go together: a record names the counter's value that it
// belongs to. A change is written with the value after the present one, flushed,
// and only then is the counter advanced. A power cut between the two leaves a
// record that is one ahead, and every reader takes it: nobody but this program,
// at this value, could have made it, and the next write advances the counter
// first. The other way around, a counter that is one ahead of its record would
// have to be taken too, and with it, at any time, the record before the newest.
type TPM interface {
	// Counter returns the counter's value, and 0 for one that was made and never
	// advanced. lock.TPMCounterAbsent and lock.TPMCounterForeign as errors.
	Counter() (uint64, error)
	// Unseal returns what was sealed. lock.TPMKeyLost as an error: not by this TPM.
	Unseal(blob []byte) (secret []byte, err error)
	// Close lets go of the TPM.
	Close()
}

// Binder is a TPM that records can be bound to: what writing a store asks besides.
type Binder interface {
	TPM
	// Arm makes sure that there is a counter with a value, and returns that. One
	// that is made anew has a value that no counter of this TPM ever had.
	Arm() (uint64, error)
	// Advance advances the counter by one and returns its value.
	Advance() (uint64, error)
	// Seal returns secret so that only this TPM can give it back.
	Seal(secret []byte) (blob []byte, err error)
}

var errReadOnly = errors.New("this program only reads what is bound to a TPM")

// Option changes what Open returns.
type Option func(*Store)

// WithTPM binds records to the TPM that open opens, and only reads them where that
// is no Binder. Where open says lock.TPMAbsent, the store has no TPM to go by, which
// required does not allow.
func WithTPM(open func() (TPM, error), required bool) Option {
	return func(s *Store) { s.openTPM, s.tpmRequired = open, required }
}

// witness is a TPM's view of the two slots, at one look.
type witness struct {
	// tpm is nil where there is none, or it cannot be asked.
	tpm TPM
	// absent: the mode allows that there is none, and there is none.
	absent bool
	// err is why it cannot be asked, or could not say one of the things below.
	err error
	// unsealErr is why the key of a bound copy could not be had.
	unsealErr  error
	counter    uint64
	counterErr error
	keys       []*keys
}

func (w *witness) close() {
	for _, k := range w.keys {
		k.wipe()
	}
	if w.tpm != nil {
		w.tpm.Close()
		w.tpm = nil
	}
}

// witness opens the TPM, looks at the MACs of both slots and reads the counter.
// Copies that are not what the TPM bound are damaged beside one that is.
func (s *Store) witness(two *[2]slot) *witness {
	w := &witness{}
	if s.openTPM == nil {
		w.absent = true
		return w
	}
	tpm, err := s.askTPM()
	if err != nil {
		w.err = err
		w.absent = !s.tpmRequired && says(err) == lock.TPMAbsent
		return w
	}
	w.tpm = tpm
	for i := range two {
		w.look(&two[i])
	}
	expose(two)
	w.counter, w.counterErr = tpm.Counter()
	s.remember(w.unsealErr, w.counterErr)
	return w
}

// silence is how long a TPM that did not answer in time is not asked again.
const silence = 30 * time.Second

// askTPM opens the TPM, unless it was silent just now.
func (s *Store) askTPM() (TPM, error) {
	if s.silent != nil && time.Now().Before(s.silentUntil) {
		return nil, s.silent // fails locked
	}
	tpm, err := s.openTPM()
	s.remember(err)
	return tpm, err
}

// remember notes a TPM's silence, and its end.
func (s *Store) remember(errs ...error) {
	s.silent = nil
	for _, err := range errs {
		if err != nil && says(err) == lock.TPMSilent {
			s.silent, s.silentUntil = err, time.Now().Add(silence)
		}
	}
}

// look verifies one slot and decrypts its secrets.
func (w *witness) look(s *slot) {
	if s.State != SlotValid || s.bound == nil {
		return
	}
	k, err := w.keyOf(s.bound.blob)
	if err != nil {
		w.unsealErr = err
		return
	}
	if !k.verify(s.bound) {
		return
	}
	secrets, err := k.open(s.bound)
	if err != nil {
		// fails locked: the MAC is right and this is not; nobody knows why.
		return
	}
	s.bound.vouched = true
	s.record = s.record.Join(secrets)
}

func (w *witness) keyOf(blob []byte) (*keys, error) {
	for _, k := range w.keys {
		if bytes.Equal(k.blob, blob) {
			return k, nil
		}
	}
	root, err := w.tpm.Unseal(blob)
	if err != nil {
		return nil, err
	}
	defer clear(root)
	if len(root) != rootSize {
		return nil, &lock.TPMError{Says: lock.TPMKeyLost, Err: fmt.Errorf("the sealed key has %d bytes", len(root))}
	}
	k, err := newKeys(root, blob)
	if err != nil {
		return nil, err
	}
	w.keys = append(w.keys, k)
	return k, nil
}

// expose marks as damaged what stands beside a copy that the TPM vouches for
// and claims to be as good or newer.
func expose(two *[2]slot) {
	vouched := func(s *slot) bool { return s.bound != nil && s.bound.vouched }
	for i := range two {
		s, other := &two[i], &two[1-i]
		if s.State != SlotValid || vouched(s) || !vouched(other) {
			continue
		}
		switch {
		case s.bound != nil:
			// fails locked: forged, or of a key that is no more.
			two[i] = damagedSlot(s.Sequence, errors.New("its MAC is not right beside that of the other copy"))
		case s.Sequence > other.Sequence:
			// fails locked: the record was bound before this came.
			two[i] = damagedSlot(s.Sequence, errors.New("it has no MAC, beside an older copy that has one"))
		}
	}
}

// says returns what an error of a TPM amounts to.
func says(err error) lock.TPM {
	var t *lock.TPMError
	if errors.As(err, &t) {
		return t.Says
	}
	return lock.TPMFailing
}

// testify puts into r what the TPM says about it. Whatever it does not vouch for
// loses all that could open the device.
func (w *witness) testify(r *Reading, best *slot) {
	r.TPM, r.TPMErr = w.verdict(r.Store, best)
	r.TPMCounter = w.counter
	if r.Store != lock.StoreValid {
		return
	}
	if best.bound != nil {
		r.Counter = best.bound.counter
	}
	if !r.TPM.Vouched() {
		// fails locked
		r.Record = r.Record.Unvouched(r.TPM)
	}
}

func (w *witness) verdict(store lock.Store, best *slot) (lock.TPM, error) {
	isBound := store == lock.StoreValid && best.bound != nil
	switch {
	case w.absent && isBound:
		return lock.TPMAbsent, w.err
	case w.absent:
		return lock.TPMUnused, nil
	case w.err != nil:
		return says(w.err), w.err
	case w.counterErr != nil && says(w.counterErr).MayPass():
		return says(w.counterErr), w.counterErr
	case store != lock.StoreValid:
		return w.ofBlank()
	case isBound:
		return w.ofBound(best.bound)
	case w.counter > 0 || says(w.counterErr) == lock.TPMCounterForeign:
		return lock.TPMStripped, w.counterErr
	default:
		return lock.TPMUnbound, nil
	}
}

func (w *witness) ofBlank() (lock.TPM, error) {
	switch {
	case w.counterErr != nil:
		return says(w.counterErr), w.counterErr
	case w.counter == 0:
		return lock.TPMNeverArmed, nil
	default:
		return lock.TPMArmedBefore, nil
	}
}

func (w *witness) ofBound(b *bound) (lock.TPM, error) {
	switch {
	case !b.vouched && w.unsealErr != nil:
		return says(w.unsealErr), w.unsealErr
	case !b.vouched:
		return lock.TPMBadMAC, nil
	case w.counterErr != nil:
		return says(w.counterErr), w.counterErr
	case w.counter == 0:
		return lock.TPMCounterAbsent, nil
	case b.counter < w.counter:
		return lock.TPMRolledBack, nil
	case b.counter > w.counter+1:
		return lock.TPMCounterBehind, nil
	default:
		return lock.TPMVouches, nil
	}
}

// plan is how a record is to be written: under which key and for which value of
// the counter. A nil plan writes it unbound.
type plan struct {
	keys    *keys
	counter uint64
	// fresh: the key is new, so both copies have to be written.
	fresh bool
	// advance: the counter is to be advanced once the record is on the medium.
	advance bool
}

// plan decides how r is to be written over what was read.
func (w *witness) plan(reading Reading, best *slot, r lock.Record, ownership bool) (*plan, error) {
	if w.absent {
		if reading.TPM == lock.TPMAbsent && r.Distrusted {
			return nil, ErrHeld
		}
		return nil, nil
	}
	if reading.TPM.MayPass() {
		if r.Distrusted && reading.Store == lock.StoreValid {
			return nil, errors.Join(ErrHeld, reading.TPMErr)
		}
		return nil, errors.Join(&lock.TPMError{Says: reading.TPM}, reading.TPMErr)
	}
	if reading.Store == lock.StoreValid && reading.TPM == lock.TPMVouches {
		return w.goOn(best.bound, reading.Record, r, ownership)
	}
	return w.bind()
}

// goOn is the plan for a record that the TPM vouches for.
func (w *witness) goOn(b *bound, before, r lock.Record, ownership bool) (*plan, error) {
	k, err := w.keyOf(b.blob)
	if err != nil {
		return nil, err
	}
	if _, err := w.binder(); err != nil {
		return nil, err
	}
	if b.counter == w.counter+1 {
		// A power cut left the record one step ahead.
		if err := w.advance(); err != nil {
			return nil, err
		}
	}
	p := &plan{keys: k, counter: w.counter}
	if ownership || before.Counts(r) {
		p.counter, p.advance = w.counter+1, true
	}
	return p, nil
}

func (w *witness) binder() (Binder, error) {
	if b, ok := w.tpm.(Binder); ok {
		return b, nil
	}
	return nil, errReadOnly
}

// advance advances the counter by one.
func (w *witness) advance() error {
	tpm, err := w.binder()
	if err != nil {
		return err
	}
	n, err := tpm.Advance()
	if err != nil {
		return fmt.Errorf("cannot advance the TPM's counter: %w", err)
	}
	if n != w.counter+1 {
		return &lock.TPMError{Says: lock.TPMRolledBack, Err: fmt.Errorf("it went from %d to %d", w.counter, n)}
	}
	w.counter = n
	return nil
}

// bind is the plan for the first record that this TPM vouches for, or the first
// one after it did not: under a new key, so that no copy of an older one counts.
func (w *witness) bind() (*plan, error) {
	tpm, err := w.binder()
	if err != nil {
		return nil, err
	}
	root, err := newRoot()
	if err != nil {
		return nil, err
	}
	defer clear(root)
	blob, err := tpm.Seal(root)
	if err != nil {
		return nil, fmt.Errorf("cannot seal the record's key: %w", err)
	}
	if w.counter, err = tpm.Arm(); err != nil {
		return nil, fmt.Errorf("cannot make the TPM's counter: %w", err)
	}
	k, err := newKeys(root, blob)
	if err != nil {
		return nil, err
	}
	w.keys = append(w.keys, k)
	return &plan{keys: k, counter: w.counter + 1, fresh: true, advance: true}, nil
}
