// SPDX-License-Identifier: Apache-2.0

// Package tpm owns what accountlock asks of a TPM 2.0: a key that only this TPM
// unseals, a counter that goes one way, a device key that never leaves it, and
// the name that its endorsement key gives the device.
//
// It must not know the lock record, nor decide what an answer means: it names
// it (lock.TPM). Nothing in it depends on PCRs, which a firmware update changes.
// It needs no password: the storage hierarchy's is empty, as it is on a machine
// whose vendor has not set one; where one has, that is named.
package tpm

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/tpm/wire"
)

// Session is an open TPM. It is for one goroutine, and to be closed.
type Session struct {
	c *wire.Conn
	// storage is the parent of all keys, once it was needed.
	storage *parent
}

// Open opens the TPM at path, a device or `swtpm:` and the path of a socket. It
// says nothing to it yet. Its errors, and those of a Session, are *lock.TPMError
// where the TPM, or its absence, is the cause.
func Open(path string) (*Session, error) { return open(path, wire.Wait) }

func open(path string, wait time.Duration) (*Session, error) {
	c, err := wire.Dial(path, wait)
	if err != nil {
		return nil, err
	}
	return &Session{c: c}, nil
}

// Close takes what was loaded out of the TPM and lets go of it.
func (s *Session) Close() {
	if s.storage != nil && s.storage.transient {
		s.flush(s.storage.Handle)
	}
	s.c.Close()
}

// flush takes an object out of the TPM. /dev/tpmrm0 would do so by itself; a
// failure costs one of its few places until the next start at most.
func (s *Session) flush(h tpm2.TPMHandle) {
	_, _ = tpm2.FlushContext{FlushHandle: h}.Execute(s.c)
}

// parent is the storage root key.
type parent struct {
	tpm2.NamedHandle

	public    tpm2.TPMTPublic
	transient bool
}

// storageRoot is where a machine keeps its storage root key, if it does (TCG TPM
// v2.0 Provisioning Guidance, 7.8).
const storageRoot tpm2.TPMHandle = 0x81000001

// parentKey returns the storage root key: the one that the machine keeps, or
// the one that the reference template gives, which is the same each time.
func (s *Session) parentKey() (*parent, error) {
	if s.storage != nil {
		return s.storage, nil
	}
	rsp, err := retry(s, func() (*tpm2.ReadPublicResponse, error) {
		return tpm2.ReadPublic{ObjectHandle: storageRoot}.Execute(s.c)
	})
	if errors.Is(err, tpm2.TPMRCHandle) {
		return s.primaryKey()
	}
	if err != nil {
		return nil, named("cannot read the storage root key", err)
	}
	public, err := rsp.OutPublic.Contents()
	if err != nil {
		return nil, named("cannot read the storage root key", err)
	}
	if !usable(public) {
		return s.primaryKey()
	}
	s.storage = &parent{NamedHandle: tpm2.NamedHandle{Handle: storageRoot, Name: rsp.Name}, public: *public}
	return s.storage, nil
}

// usable reports whether a key that the machine keeps is of a kind that package
// reader knows, too: P-256 or RSA, its name by SHA-256. Otherwise the gate could not
// read what the daemon has sealed.
func usable(p *tpm2.TPMTPublic) bool {
	if p.NameAlg != tpm2.TPMAlgSHA256 {
		return false
	}
	if ecc, err := p.Parameters.ECCDetail(); err == nil && p.Type == tpm2.TPMAlgECC {
		return ecc.CurveID == tpm2.TPMECCNistP256 && ecc.Scheme.Scheme == tpm2.TPMAlgNull && ecc.KDF.Scheme == tpm2.TPMAlgNull
	}
	rsa, err := p.Parameters.RSADetail()
	return err == nil && p.Type == tpm2.TPMAlgRSA && rsa.Scheme.Scheme == tpm2.TPMAlgNull && rsa.KeyBits >= 2048
}

// primaryKey makes the storage root key by the reference template, for as long
// as the session lasts.
func (s *Session) primaryKey() (*parent, error) {
	rsp, err := retry(s, func() (*tpm2.CreatePrimaryResponse, error) {
		return tpm2.CreatePrimary{
			PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			InPublic:      tpm2.New2B(tpm2.ECCSRKTemplate),
		}.Execute(s.c)
	})
	if err != nil {
		return nil, named("cannot make the storage root key", err)
	}
	public, err := rsp.OutPublic.Contents()
	if err != nil {
		s.flush(rsp.ObjectHandle)
		return nil, named("cannot read the storage root key", err)
	}
	s.storage = &parent{tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name}, *public, true}
	return s.storage, nil
}

// keepParent has the machine keep the storage root key, so that every boot after
// this finds it instead of making it. Where that fails it is made each time.
func (s *Session) keepParent() error {
	p, err := s.parentKey()
	if err != nil || !p.transient {
		return err
	}
	_, err = tpm2.EvictControl{
		Auth: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}, ObjectHandle: &p.NamedHandle, PersistentHandle: storageRoot,
	}.Execute(s.c)
	if err == nil {
		s.flush(p.Handle)
		p.Handle, p.transient = storageRoot, false
	}
	return nil
}

// retry calls f once more where there was no room left in the TPM. A socket has
// no resource manager, and whoever was killed before us left things there.
func retry[R any](s *Session, f func() (*R, error)) (*R, error) {
	rsp, err := f()
	full := errors.Is(err, tpm2.TPMRCObjectMemory) || errors.Is(err, tpm2.TPMRCSessionMemory) || errors.Is(err, tpm2.TPMRCSessionHandles)
	if !full || s.c.Managed() {
		return rsp, err
	}
	for _, first := range []uint32{0x80000000, 0x02000000} { // transient objects, loaded sessions
		held, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 16}.Execute(s.c)
		if err != nil {
			return nil, err
		}
		list, err := held.CapabilityData.Data.Handles()
		if err != nil {
			return nil, err
		}
		for _, h := range list.Handle {
			if s.storage == nil || h != s.storage.Handle {
				s.flush(h)
			}
		}
	}
	return f()
}

// named returns an error of the TPM by what it amounts to.
func named(what string, err error) error {
	says := lock.TPMFailing
	var known *lock.TPMError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, tpm2.TPMRCLockout):
		says = lock.TPMLockedOut
	case errors.Is(err, tpm2.TPMRCBadAuth), errors.Is(err, tpm2.TPMRCAuthFail), errors.Is(err, tpm2.TPMRCAuthMissing), errors.Is(err, tpm2.TPMRCAuthUnavailable):
		says = lock.TPMOwned
	}
	return &lock.TPMError{Says: says, Err: fmt.Errorf("%s: %w", what, err)}
}
