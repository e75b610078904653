// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"bytes"
	"encoding/hex"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Endorsement returns the name of the TPM's endorsement key on P-256 (TCG EK
// Credential Profile, template L-2), in hex. It is the same for as long as the TPM
// is, clearing it included, and says nothing of who asks: anybody who may use the
// TPM, or once did, can tell it.
func Endorsement(path string) (string, error) {
	s, err := Open(path)
	if err != nil {
		return "", err
	}
	defer s.Close()
	ek, err := s.endorsement()
	if err != nil {
		return "", err
	}
	s.flush(ek.ObjectHandle)
	return hex.EncodeToString(ek.Name.Buffer), nil
}

// endorsement makes the endorsement key, which is the same each time. The caller
// flushes it.
func (s *Session) endorsement() (*tpm2.CreatePrimaryResponse, error) {
	rsp, err := retry(s, func() (*tpm2.CreatePrimaryResponse, error) {
		return tpm2.CreatePrimary{
			PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
			InPublic:      tpm2.New2B(tpm2.ECCEKTemplate),
		}.Execute(s.c)
	})
	if err != nil {
		return nil, named("cannot make the endorsement key", err)
	}
	return rsp, nil
}

// Attest returns what the account service makes a challenge from, for a key that
// NewKey has made: the public areas (TPMT_PUBLIC) of the endorsement key and of the
// key, and the endorsement key's certificate (DER), nil where the TPM has none.
func (k Keys) Attest(blob []byte) (endorsement, key, certificate []byte, err error) {
	public, _, err := split(blob)
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := Open(k.Device)
	if err != nil {
		return nil, nil, nil, err
	}
	defer s.Close()
	ek, err := s.endorsement()
	if err != nil {
		return nil, nil, nil, err
	}
	s.flush(ek.ObjectHandle)
	return ek.OutPublic.Bytes(), public.Bytes(), s.certificate(), nil
}

// Activate answers a challenge for the key in a blob: its credential is a
// TPMS_ID_OBJECT, secret the encrypted seed (TPM 2.0 Part 1, Credential Protection).
// A challenge for another TPM, or another key, is an error.
func (k Keys) Activate(blob, credential, secret []byte) ([]byte, error) {
	s, err := Open(k.Device)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var out []byte
	err = s.with(blob, func(object tpm2.NamedHandle, _ *tpm2.TPMTPublic) error {
		ek, err := s.endorsement()
		if err != nil {
			return err
		}
		defer s.flush(ek.ObjectHandle)
		rsp, err := tpm2.ActivateCredential{
			ActivateHandle: tpm2.AuthHandle{Handle: object.Handle, Name: object.Name, Auth: tpm2.PasswordAuth(nil)},
			KeyHandle:      tpm2.AuthHandle{Handle: ek.ObjectHandle, Name: ek.Name, Auth: tpm2.Policy(tpm2.TPMAlgSHA256, 16, byEndorsement)},
			CredentialBlob: tpm2.TPM2BIDObject{Buffer: credential},
			Secret:         tpm2.TPM2BEncryptedSecret{Buffer: secret},
		}.Execute(s.c)
		if err != nil {
			return named("cannot answer the challenge", err)
		}
		out = rsp.CertInfo.Buffer
		return nil
	})
	return out, err
}

// byEndorsement fulfils the policy of the endorsement key: the endorsement
// hierarchy's password, which is empty.
func byEndorsement(t transport.TPM, handle tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
	_, err := tpm2.PolicySecret{
		AuthHandle:    tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		PolicySession: handle, NonceTPM: nonce,
	}.Execute(t)
	return err
}

// certificateIndex is where a TPM's maker leaves the certificate of the endorsement
// key on P-256 (TCG EK Credential Profile, 2.2.1.5).
const certificateIndex tpm2.TPMHandle = 0x01c0000a

// The longest certificate that is read, and how much at a time, which every TPM gives.
const (
	maxCertificate = 4096
	chunk          = 512
)

// certificate returns the endorsement key's certificate, and nil where there is
// none that can be read: the account service says what that means.
func (s *Session) certificate() []byte {
	rsp, err := tpm2.NVReadPublic{NVIndex: certificateIndex}.Execute(s.c)
	if err != nil {
		return nil
	}
	public, err := rsp.NVPublic.Contents()
	if err != nil || public.DataSize > maxCertificate {
		return nil
	}
	index := tpm2.NamedHandle{Handle: certificateIndex, Name: rsp.NVName}
	var out []byte
	for len(out) < int(public.DataSize) {
		part, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index.Handle, Name: index.Name, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    index, Size: min(chunk, public.DataSize-uint16(len(out))), Offset: uint16(len(out)), //nolint:gosec // below maxCertificate
		}.Execute(s.c)
		if err != nil || len(part.Data.Buffer) == 0 {
			return nil
		}
		out = append(out, part.Data.Buffer...)
	}
	return trimmed(out)
}

// trimmed returns a DER value without what an index that is too long has behind it.
func trimmed(der []byte) []byte {
	if len(der) < 4 || !bytes.HasPrefix(der, []byte{0x30, 0x82}) {
		return der
	}
	return der[:min(len(der), 4+int(der[2])<<8+int(der[3]))]
}
