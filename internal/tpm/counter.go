// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/tpm/wire"
)

// counterIndex is the NV index of the counter, in the owner's part of the range
// (TCG Registry of Reserved TPM 2.0 Handles and Localities, 2.2).
const counterIndex tpm2.TPMHandle = 0x018acc10

// counterAttributes: read and advanced without a password, outside of the
// dictionary-attack protection, so that nobody's guessing locks the owner out.
// Removing it is the storage hierarchy's, and a new one goes on from the highest
// value that any counter of the TPM ever had (TPM 2.0 Part 3, TPM2_NV_Increment).
var counterAttributes = tpm2.TPMANV{NT: tpm2.TPMNTCounter, AuthRead: true, AuthWrite: true, NoDA: true}

const counterSize = 8

// index is the counter as the TPM has it.
type index struct {
	tpm2.NamedHandle

	written bool
}

func (i *index) auth() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: i.Handle, Name: i.Name, Auth: tpm2.PasswordAuth(nil)}
}

// Counter returns the counter's value; 0 is one that was never advanced.
func (s *Session) Counter() (uint64, error) {
	i, err := s.find()
	if err != nil {
		return 0, err
	}
	return s.value(i)
}

// find returns the counter, or lock.TPMCounterAbsent or lock.TPMCounterForeign.
func (s *Session) find() (*index, error) {
	rsp, err := tpm2.NVReadPublic{NVIndex: counterIndex}.Execute(s.c)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, &lock.TPMError{Says: lock.TPMCounterAbsent}
	}
	if err != nil {
		return nil, named("cannot look for the counter", err)
	}
	public, err := rsp.NVPublic.Contents()
	if err != nil {
		return nil, named("cannot look for the counter", err)
	}
	a := public.Attributes
	written := a.Written
	a.Written = false
	if a != counterAttributes || public.DataSize != counterSize {
		return nil, &lock.TPMError{Says: lock.TPMCounterForeign, Err: fmt.Errorf("NV index %#x", uint32(counterIndex))}
	}
	return &index{tpm2.NamedHandle{Handle: counterIndex, Name: rsp.NVName}, written}, nil
}

func (s *Session) value(i *index) (uint64, error) {
	if !i.written {
		return 0, nil
	}
	rsp, err := tpm2.NVRead{AuthHandle: i.auth(), NVIndex: &i.NamedHandle, Size: counterSize}.Execute(s.c)
	if err != nil {
		return 0, named("cannot read the counter", err)
	}
	if len(rsp.Data.Buffer) != counterSize {
		return 0, wire.Failing(fmt.Errorf("the counter has %d bytes", len(rsp.Data.Buffer)))
	}
	return binary.BigEndian.Uint64(rsp.Data.Buffer), nil
}

// Arm makes sure that there is a counter with a value, and returns that.
func (s *Session) Arm() (uint64, error) {
	i, err := s.find()
	var says *lock.TPMError
	if errors.As(err, &says) && says.Says == lock.TPMCounterForeign {
		if err := s.remove(); err != nil {
			return 0, err
		}
		says.Says = lock.TPMCounterAbsent
	}
	switch {
	case says != nil && says.Says == lock.TPMCounterAbsent:
		if err := s.define(); err != nil {
			return 0, err
		}
		return s.Advance()
	case err != nil:
		return 0, err
	case !i.written:
		return s.Advance()
	default:
		return s.value(i)
	}
}

func (s *Session) define() error {
	_, err := tpm2.NVDefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{NVIndex: counterIndex, NameAlg: tpm2.TPMAlgSHA256, Attributes: counterAttributes, DataSize: counterSize}),
	}.Execute(s.c)
	if err != nil {
		return named("cannot make the counter", err)
	}
	return nil
}

// remove removes what lies in the counter's place.
func (s *Session) remove() error {
	rsp, err := tpm2.NVReadPublic{NVIndex: counterIndex}.Execute(s.c)
	if err == nil {
		_, err = tpm2.NVUndefineSpace{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: counterIndex, Name: rsp.NVName},
		}.Execute(s.c)
	}
	if err != nil {
		return named("cannot remove what lies in the counter's place", err)
	}
	return nil
}

// Advance advances the counter by one and returns its value.
func (s *Session) Advance() (uint64, error) {
	i, err := s.find()
	if err != nil {
		return 0, err
	}
	if _, err := (tpm2.NVIncrement{AuthHandle: i.auth(), NVIndex: &i.NamedHandle}).Execute(s.c); err != nil {
		return 0, named("cannot advance the counter", err)
	}
	if !i.written {
		// Its name has changed with its first value.
		if i, err = s.find(); err != nil {
			return 0, err
		}
	}
	return s.value(i)
}
