// SPDX-License-Identifier: Apache-2.0

// Package reader reads, with a TPM 2.0, what a record is bound to: the key that
// was sealed, and the counter. It is what package tpm is for the gate, which
// every boot waits for: it knows the nine commands that this takes, and no library.
//
// It must not change anything that the TPM keeps. What it answers is what package
// tpm answers; tests hold the two together.
package reader

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/tpm/wire"
)

// Session is an open TPM. It is for one goroutine, and to be closed.
type Session struct {
	c conn
	// storage is the parent of all keys, once it was needed.
	storage *parent
}

// conn is the way to a TPM: a *wire.Conn.
type conn interface {
	// Send sends one command and returns its answer. A TPM that does not answer is
	// a *lock.TPMError.
	Send(command []byte) ([]byte, error)
	Managed() bool
	Close()
}

var _ conn = (*wire.Conn)(nil)

// Open opens the TPM at path, a device or `swtpm:` and the path of a socket. It
// says nothing to it yet. Its errors, and those of a Session, are *lock.TPMError.
func Open(path string) (*Session, error) {
	c, err := wire.Dial(path, wire.Wait)
	if err != nil {
		return nil, err
	}
	return &Session{c: c}, nil
}

// Close takes what was loaded out of the TPM and lets go of it.
func (s *Session) Close() {
	if s.storage != nil && s.storage.transient {
		s.flush(s.storage.handle)
	}
	s.c.Close()
}

// The counter (docs/record.md): an NV index of eight bytes that is read and
// advanced without a password, outside of the dictionary-attack protection.
const (
	counterIndex      = 0x018acc10
	counterSize       = 8
	counterAttributes = 1<<4 | 1<<2 | 1<<18 | 1<<25 // counter, AUTHWRITE, AUTHREAD, NO_DA
	counterWritten    = 1 << 29
)

// Counter returns the counter's value, and 0 for one that was never advanced.
// lock.TPMCounterAbsent and lock.TPMCounterForeign as errors.
func (s *Session) Counter() (uint64, error) {
	written, err := s.findCounter()
	if err != nil || !written {
		return 0, err
	}
	p, err := s.call(ccNVRead, []uint32{counterIndex, counterIndex}, emptyPassword, message(nil).u16(counterSize).u16(0), false)
	if err != nil {
		return 0, named("cannot read the counter", err)
	}
	value := p.parameters.sized()
	if len(value) != counterSize {
		return 0, wire.Failing(fmt.Errorf("the counter has %d bytes", len(value)))
	}
	return binary.BigEndian.Uint64(value), nil
}

func (s *Session) findCounter() (written bool, err error) {
	p, err := s.call(ccNVReadPublic, []uint32{counterIndex}, nil, nil, false)
	if errors.Is(err, rcHandle) {
		return false, &lock.TPMError{Says: lock.TPMCounterAbsent}
	}
	if err != nil {
		return false, named("cannot look for the counter", err)
	}
	public := answer{b: p.parameters.sized()}
	public.u32() // the index
	public.u16() // the algorithm of its name
	attributes := public.u32()
	public.sized() // no policy
	size := public.u16()
	if err := errors.Join(p.parameters.err, public.err); err != nil {
		return false, named("cannot look for the counter", err)
	}
	if attributes&^counterWritten != counterAttributes || size != counterSize {
		return false, &lock.TPMError{Says: lock.TPMCounterForeign, Err: fmt.Errorf("NV index %#x", counterIndex)}
	}
	return attributes&counterWritten != 0, nil
}

// call sends one command and takes its answer apart.
func (s *Session) call(cc uint32, handles []uint32, authorisation, parameters message, givesHandle bool) (*parsed, error) {
	b, err := s.c.Send(frame(cc, handles, authorisation, parameters))
	if err != nil {
		return nil, err
	}
	return parse(b, givesHandle, authorisation != nil)
}

// loading is call for what needs room in the TPM: once more where there was none.
// A socket has no resource manager, and whoever was killed before us left things
// there.
func (s *Session) loading(cc uint32, handles []uint32, authorisation, parameters message, givesHandle bool) (*parsed, error) {
	p, err := s.call(cc, handles, authorisation, parameters, givesHandle)
	full := errors.Is(err, rcObjectMemory) || errors.Is(err, rcSessionMemory) || errors.Is(err, rcSessionHandles)
	if !full || s.c.Managed() {
		return p, err
	}
	for _, first := range []uint32{0x80000000, 0x02000000} { // transient objects, loaded sessions
		if err := s.empty(first); err != nil {
			return nil, err
		}
	}
	return s.call(cc, handles, authorisation, parameters, givesHandle)
}

// empty takes out of the TPM what has a handle from first on, up to 16 of them.
func (s *Session) empty(first uint32) error {
	const handles, most = 1, 16
	p, err := s.call(ccGetCapability, nil, nil, message(nil).u32(handles).u32(first).u32(most), false)
	if err != nil {
		return err
	}
	a := &p.parameters
	a.take(1) // whether there are more
	a.u32()   // it is handles
	for range min(a.u32(), most) {
		if h := a.u32(); a.err == nil && (s.storage == nil || h != s.storage.handle) {
			s.flush(h)
		}
	}
	return a.err
}

// flush takes an object out of the TPM. /dev/tpmrm0 would do so by itself; a
// failure costs one of its few places until the next start at most.
func (s *Session) flush(handle uint32) {
	_, _ = s.call(ccFlushContext, nil, nil, message(nil).u32(handle), false)
}

// named returns an error of the TPM by what it amounts to.
func named(what string, err error) error {
	says := lock.TPMFailing
	var known *lock.TPMError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, rcLockout):
		says = lock.TPMLockedOut
	case errors.Is(err, rcBadAuth), errors.Is(err, rcAuthFail), errors.Is(err, rcAuthMissing), errors.Is(err, rcAuthUnavailable):
		says = lock.TPMOwned
	}
	return &lock.TPMError{Says: says, Err: fmt.Errorf("%s: %w", what, err)}
}
