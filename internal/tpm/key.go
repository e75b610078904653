// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/google/go-tpm/tpm2"
)

// Keys makes and uses device keys in the TPM at Device: ECDSA on P-256, which
// every TPM 2.0 has and, unlike Ed25519, signs with. They never leave it.
type Keys struct{ Device string }

// NewKey makes a key and returns its blob, which this TPM alone can use.
func (k Keys) NewKey() ([]byte, error) {
	s, err := Open(k.Device)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.keepParent(); err != nil {
		return nil, err
	}
	return s.create(tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, SignEncrypt: true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme: tpm2.TPMTECCScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			CurveID: tpm2.TPMECCNistP256,
		}),
	}, tpm2.TPM2BSensitiveCreate{})
}

// Signer returns the key in a blob. Nothing is asked of the TPM until it signs,
// and then in a session of its own.
func (k Keys) Signer(blob []byte) (crypto.Signer, error) {
	public, _, err := split(blob)
	if err != nil {
		return nil, fmt.Errorf("cannot use the device's key in the TPM: %w", err)
	}
	key, err := ecdsaKey(public)
	if err != nil {
		return nil, fmt.Errorf("cannot use the device's key in the TPM: %w", err)
	}
	return &signer{k, blob, key}, nil
}

func ecdsaKey(public tpm2.TPM2BPublic) (*ecdsa.PublicKey, error) {
	contents, err := public.Contents()
	if err != nil {
		return nil, err
	}
	point, err := contents.Unique.ECC()
	if err != nil {
		return nil, err
	}
	return p256(point)
}

// p256 returns a point on P-256 as a key. A TPM may leave zeros in front out.
func p256(point *tpm2.TPMSECCPoint) (*ecdsa.PublicKey, error) {
	raw := make([]byte, 65)
	raw[0] = 4
	if len(point.X.Buffer) > 32 || len(point.Y.Buffer) > 32 {
		return nil, errors.New("the key is not on P-256")
	}
	copy(raw[33-len(point.X.Buffer):33], point.X.Buffer)
	copy(raw[65-len(point.Y.Buffer):], point.Y.Buffer)
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
}

type signer struct {
	keys   Keys
	blob   []byte
	public *ecdsa.PublicKey
}

// Public implements crypto.Signer.
func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign implements crypto.Signer, for SHA-256 alone.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size {
		return nil, errors.New("the device's key in the TPM signs SHA-256 alone")
	}
	session, err := Open(s.keys.Device)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	var out []byte
	err = session.with(s.blob, func(object tpm2.NamedHandle, _ *tpm2.TPMTPublic) error {
		rsp, err := tpm2.Sign{
			KeyHandle:  tpm2.AuthHandle{Handle: object.Handle, Name: object.Name, Auth: tpm2.PasswordAuth(nil)},
			Digest:     tpm2.TPM2BDigest{Buffer: digest},
			Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck},
		}.Execute(session.c)
		if err != nil {
			return named("cannot sign", err)
		}
		sig, err := rsp.Signature.Signature.ECDSA()
		if err != nil {
			return named("cannot sign", err)
		}
		out, err = asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig.SignatureR.Buffer), new(big.Int).SetBytes(sig.SignatureS.Buffer)})
		return err
	})
	return out, err
}
