// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"errors"

	"github.com/google/go-tpm/tpm2"

	"github.com/accountlock/accountlock/internal/lock"
)

// secrecy is a session that encrypts what is sent (in) or comes back between us
// and the TPM, under a salt for the storage root key: who listens on the wires
// between processor and TPM hears nothing.
func (p *parent) secrecy(way tpm2.AuthOption) tpm2.Session {
	return tpm2.HMAC(tpm2.TPMAlgSHA256, 16, way, tpm2.Salted(p.Handle, p.public))
}

// Seal returns secret, at most 128 bytes, so that this TPM alone gives it back.
func (s *Session) Seal(secret []byte) ([]byte, error) {
	if err := s.keepParent(); err != nil {
		return nil, err
	}
	return s.create(tpm2.TPMTPublic{
		Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, UserWithAuth: true, NoDA: true},
	}, tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: secret})}})
}

// create makes an object below the storage root key and returns its blob: the
// TPM2B_PUBLIC, then the TPM2B_PRIVATE.
func (s *Session) create(public tpm2.TPMTPublic, sensitive tpm2.TPM2BSensitiveCreate) ([]byte, error) {
	p, err := s.parentKey()
	if err != nil {
		return nil, err
	}
	rsp, err := retry(s, func() (*tpm2.CreateResponse, error) {
		return tpm2.Create{
			ParentHandle: tpm2.AuthHandle{Handle: p.Handle, Name: p.Name, Auth: tpm2.PasswordAuth(nil)},
			InSensitive:  sensitive, InPublic: tpm2.New2B(public),
		}.Execute(s.c, p.secrecy(tpm2.AESEncryption(128, tpm2.EncryptIn)))
	})
	if err != nil {
		return nil, named("cannot make a key", err)
	}
	return append(tpm2.Marshal(rsp.OutPublic), tpm2.Marshal(rsp.OutPrivate)...), nil
}

// Unseal returns what Seal was given.
func (s *Session) Unseal(blob []byte) ([]byte, error) {
	var out []byte
	err := s.with(blob, func(object tpm2.NamedHandle, _ *tpm2.TPMTPublic) error {
		rsp, err := retry(s, func() (*tpm2.UnsealResponse, error) {
			return tpm2.Unseal{ItemHandle: tpm2.AuthHandle{
				Handle: object.Handle, Name: object.Name,
				Auth: s.storage.secrecy(tpm2.AESEncryption(128, tpm2.EncryptOut)),
			}}.Execute(s.c)
		})
		if err != nil {
			return named("cannot unseal the record's key", err)
		}
		out = rsp.OutData.Buffer
		return nil
	})
	return out, err
}

// with loads the object in blob for as long as f takes.
func (s *Session) with(blob []byte, f func(tpm2.NamedHandle, *tpm2.TPMTPublic) error) error {
	public, private, err := split(blob)
	if err != nil {
		return &lock.TPMError{Says: lock.TPMKeyLost, Err: err}
	}
	p, err := s.parentKey()
	if err != nil {
		return err
	}
	rsp, err := s.load(p, public, private)
	if foreign(err) && !p.transient {
		// Something else has become the machine's storage root key since.
		if other, perr := s.primaryKey(); perr == nil {
			rsp, err = s.load(other, public, private)
		}
	}
	if foreign(err) {
		return &lock.TPMError{Says: lock.TPMKeyLost, Err: err}
	}
	if err != nil {
		return named("cannot load a key", err)
	}
	defer s.flush(rsp.ObjectHandle)
	contents, err := public.Contents()
	if err != nil {
		return &lock.TPMError{Says: lock.TPMKeyLost, Err: err}
	}
	return f(tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name}, contents)
}

func (s *Session) load(p *parent, public tpm2.TPM2BPublic, private tpm2.TPM2BPrivate) (*tpm2.LoadResponse, error) {
	return retry(s, func() (*tpm2.LoadResponse, error) {
		return tpm2.Load{
			ParentHandle: tpm2.AuthHandle{Handle: p.Handle, Name: p.Name, Auth: tpm2.PasswordAuth(nil)}, InPublic: public, InPrivate: private,
		}.Execute(s.c)
	})
}

// foreign reports whether the TPM does not take an object for one of its own:
// errors over the parameters, which are the blob, and not over the parent.
func foreign(err error) bool {
	var f tpm2.TPMFmt1Error
	if !errors.As(err, &f) {
		return false
	}
	isParameter, _ := f.Parameter()
	return isParameter
}

func split(blob []byte) (public tpm2.TPM2BPublic, private tpm2.TPM2BPrivate, err error) {
	if len(blob) < 2 {
		return public, private, errors.New("the blob is too short")
	}
	n := 2 + int(blob[0])<<8 + int(blob[1])
	if n > len(blob) {
		return public, private, errors.New("the blob is too short")
	}
	p, err := tpm2.Unmarshal[tpm2.TPM2BPublic](blob[:n])
	if err != nil {
		return public, private, errors.New("the blob has no public part")
	}
	q, err := tpm2.Unmarshal[tpm2.TPM2BPrivate](blob[n:])
	if err != nil || len(blob) != n+2+len(q.Buffer) {
		return public, private, errors.New("the blob has no private part")
	}
	return *p, *q, nil
}
