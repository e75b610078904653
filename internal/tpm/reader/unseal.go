// SPDX-License-Identifier: Apache-2.0

package reader

import (
	"errors"

	"github.com/accountlock/accountlock/internal/lock"
)

// storageRoot is where a machine keeps its storage root key, if it does (TCG TPM
// v2.0 Provisioning Guidance, 7.8).
const storageRoot = 0x81000001

// template is the public area of the storage root key by the TCG's reference
// template for P-256 (Provisioning Guidance, 7.5.1).
var template = message(nil).
	u16(algECC).u16(algSHA256).
	u32(0x30472). // fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt
	sized(nil).
	u16(algAES).u16(128).u16(algCFB).u16(algNull).u16(curveP256).u16(algNull).
	sized(make([]byte, 32)).sized(make([]byte, 32))

// parent is the storage root key.
type parent struct {
	handle    uint32
	key       saltKey
	transient bool
}

// Unseal returns what was sealed. lock.TPMKeyLost as an error: not by this TPM.
func (s *Session) Unseal(blob []byte) ([]byte, error) {
	public, private, err := split(blob)
	if err != nil {
		return nil, &lock.TPMError{Says: lock.TPMKeyLost, Err: err}
	}
	p, err := s.parentKey()
	if err != nil {
		return nil, err
	}
	loaded, err := s.load(p, public, private)
	if foreign(err) && !p.transient {
		// Something else has become the machine's storage root key since.
		if other, perr := s.primaryKey(); perr == nil {
			loaded, err = s.load(other, public, private)
		}
	}
	if foreign(err) {
		return nil, &lock.TPMError{Says: lock.TPMKeyLost, Err: err}
	}
	if err != nil {
		return nil, named("cannot load a key", err)
	}
	defer s.flush(loaded.handle)
	out, err := s.unseal(loaded.handle, loaded.parameters.sized())
	if err != nil {
		return nil, named("cannot unseal the record's key", err)
	}
	return out, nil
}

// split takes a blob apart: the TPM2B_PUBLIC, then the TPM2B_PRIVATE.
func split(blob []byte) (public, private []byte, err error) {
	a := answer{b: blob}
	public, private = a.sized(), a.sized()
	if a.err != nil || len(a.b) > 0 || len(public) == 0 || len(private) == 0 {
		return nil, nil, errors.New("the blob is not two parts")
	}
	return public, private, nil
}

func (s *Session) load(p *parent, public, private []byte) (*parsed, error) {
	return s.loading(ccLoad, []uint32{p.handle}, emptyPassword, message(nil).sized(private).sized(public), true)
}

// unseal asks for what is sealed in a loaded object of that name, in a session
// that encrypts the answer.
func (s *Session) unseal(handle uint32, name []byte) ([]byte, error) {
	session, err := s.startSession(s.storage)
	if err != nil {
		return nil, err
	}
	p, err := s.call(ccUnseal, []uint32{handle}, session.authorise(ccUnseal, name), nil, false)
	if err != nil {
		s.flush(session.handle) // a success ends it
		return nil, err
	}
	return session.open(ccUnseal, p)
}

// parentKey returns the storage root key: the one that the machine keeps, or the
// one that the template gives, which is the same each time.
func (s *Session) parentKey() (*parent, error) {
	if s.storage != nil {
		return s.storage, nil
	}
	p, err := s.loading(ccReadPublic, []uint32{storageRoot}, nil, nil, false)
	if errors.Is(err, rcHandle) {
		return s.primaryKey()
	}
	if err != nil {
		return nil, named("cannot read the storage root key", err)
	}
	public := p.parameters.sized()
	if p.parameters.err != nil {
		return nil, named("cannot read the storage root key", p.parameters.err)
	}
	key, err := parseKey(public)
	if err != nil {
		// Of a kind that is not used here (package tpm does the same).
		return s.primaryKey()
	}
	s.storage = &parent{handle: storageRoot, key: key}
	return s.storage, nil
}

// primaryKey makes the storage root key by the template, for as long as the
// session lasts.
func (s *Session) primaryKey() (*parent, error) {
	const noSensitive, noPCRs = 0, 0
	parameters := message(nil).u16(4).u16(noSensitive).u16(noSensitive).sized(template).sized(nil).u32(noPCRs)
	p, err := s.loading(ccCreatePrimary, []uint32{rhOwner}, emptyPassword, parameters, true)
	if err != nil {
		return nil, named("cannot make the storage root key", err)
	}
	public := p.parameters.sized()
	key, err := parseKey(public)
	if err = errors.Join(p.parameters.err, err); err != nil {
		s.flush(p.handle)
		return nil, named("cannot read the storage root key", err)
	}
	s.storage = &parent{p.handle, key, true}
	return s.storage, nil
}
