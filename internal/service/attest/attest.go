// SPDX-License-Identifier: Apache-2.0

// Package attest owns how a device proves which hardware it is: by a challenge that
// only its TPM can answer (credential activation, TPM 2.0 Part 1), or by the word of
// its vendor.
//
// It must not decide what a proof is good for (package device does), and keeps
// nothing: a challenge is made from the service secret, and known again by it.
package attest

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/device"
)

// period is how long one challenge stays the same. An answer is good in the period
// after it, too.
const period = time.Hour

// Verifier makes challenges and verifies what answers them. It is safe for
// concurrent use.
type Verifier struct {
	key     []byte
	trusted Trusted
	now     func() time.Time
}

// New returns a verifier. secret is the service secret, the same for every server
// on the database.
func New(secret []byte, trusted Trusted, now func() time.Time) *Verifier {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("accountlock attestation v1"))
	return &Verifier{key: h.Sum(nil), trusted: trusted, now: now}
}

// Claim is what a device says about its TPM.
type Claim struct {
	// Key is the device's key, and KeyID its thumbprint.
	Key   crypto.PublicKey
	KeyID string
	// Endorsement and DeviceKey are TPMT_PUBLIC areas, Certificate the endorsement
	// key's certificate (DER), if there is one.
	Endorsement, DeviceKey, Certificate []byte
}

// Challenge is a credential for TPM2_ActivateCredential: TPMS_ID_OBJECT and the
// encrypted seed.
type Challenge struct{ Credential, Secret []byte }

// Challenge returns what only the TPM with the claim's endorsement key can answer,
// if the device's key lies in it. A claim that is not as it should be is
// fault.InvalidArgument.
func (v *Verifier) Challenge(c Claim) (Challenge, error) {
	ek, name, err := endorsement(c.Endorsement)
	if err != nil {
		return Challenge{}, refused(err)
	}
	if err := v.trusted.endorses(ek, c.Certificate, v.now()); err != nil {
		return Challenge{}, refused(err)
	}
	object, err := deviceKey(c.DeviceKey, c.Key)
	if err != nil {
		return Challenge{}, refused(err)
	}
	key, err := tpm2.ImportEncapsulationKey(ek)
	if err != nil {
		return Challenge{}, refused(err)
	}
	var out Challenge
	out.Credential, out.Secret, err = tpm2.CreateCredential(rand.Reader, key, object, v.answer(c.KeyID, identity(name), 0))
	if err != nil {
		return Challenge{}, refused(err)
	}
	return out, nil
}

func refused(err error) error {
	f := fault.Newf(fault.InvalidArgument, "The account service does not take this TPM's endorsement key: %v.", err)
	f.Remedy = "The device goes on as one that proves nothing."
	return f
}

// Proofs is what an enrolment brings.
type Proofs struct {
	KeyID      string
	Identities []device.Identity
	// Answer is that to a challenge, in base64url; Token the vendor's. Either may be
	// empty.
	Answer, Token string
}

// Verify returns what is proven of the identities. What does not hold proves nothing:
// fails unproven, which is the stricter.
func (v *Verifier) Verify(p Proofs) (device.Proof, []device.Identity) {
	if ids := v.byTPM(p); len(ids) > 0 {
		return device.ByTPM, ids
	}
	if ids := v.trusted.byToken(p.Token, p.Identities, v.now()); len(ids) > 0 {
		return device.ByToken, ids
	}
	return device.Unproven, nil
}

func (v *Verifier) byTPM(p Proofs) []device.Identity {
	answer, err := base64.RawURLEncoding.DecodeString(p.Answer)
	if err != nil || len(answer) != sha256.Size {
		return nil
	}
	i := slices.IndexFunc(p.Identities, func(id device.Identity) bool { return id.Source == string(accountapi.Tpm) })
	if i < 0 {
		return nil
	}
	for ago := range int64(2) {
		if subtle.ConstantTimeCompare(answer, v.answer(p.KeyID, p.Identities[i], ago)) == 1 {
			return p.Identities[i : i+1]
		}
	}
	return nil
}

// answer is that to the challenge of a period ago: who learns it has the TPM that
// the identity names, with the device's key in it.
func (v *Verifier) answer(keyID string, id device.Identity, ago int64) []byte {
	h := hmac.New(sha256.New, v.key)
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(v.now().Unix()/int64(period.Seconds())-ago))) //nolint:gosec // a time after 1970
	h.Write([]byte(keyID + "\x00" + id.Digest))
	return h.Sum(nil)
}

// public reads a TPMT_PUBLIC, and nothing behind it.
func public(area []byte) (*tpm2.TPMTPublic, error) {
	p, err := tpm2.Unmarshal[tpm2.TPMTPublic](area)
	if err != nil || !bytes.Equal(tpm2.Marshal(p), area) {
		return nil, errors.New("it is no public area")
	}
	return p, nil
}

// endorsement reads an endorsement key, and returns its name, too.
func endorsement(area []byte) (*tpm2.TPMTPublic, []byte, error) {
	ek, err := public(area)
	if err != nil {
		return nil, nil, err
	}
	want := tpm2.ECCEKTemplate
	ecc, err := ek.Parameters.ECCDetail()
	if err != nil || ek.Type != want.Type || ek.NameAlg != want.NameAlg || ek.ObjectAttributes != want.ObjectAttributes ||
		ecc.CurveID != tpm2.TPMECCNistP256 || !slices.Equal(ek.AuthPolicy.Buffer, want.AuthPolicy.Buffer) {
		return nil, nil, errors.New("it is not by the template L-2")
	}
	name, err := tpm2.ObjectName(ek)
	if err != nil {
		return nil, nil, errors.New("it has no name")
	}
	return ek, name.Buffer, nil
}

// deviceKey returns the name of the object that holds the device's key, if that is
// in a TPM and cannot leave it.
func deviceKey(area []byte, key crypto.PublicKey) ([]byte, error) {
	object, err := public(area)
	if err != nil {
		return nil, err
	}
	a := object.ObjectAttributes
	if !a.FixedTPM || !a.FixedParent || !a.SensitiveDataOrigin || !a.SignEncrypt || a.Decrypt {
		return nil, errors.New("the device's key was not made by a TPM for signing, or may leave it")
	}
	point, err := object.Unique.ECC()
	if err != nil || object.Type != tpm2.TPMAlgECC || len(point.X.Buffer) > 32 || len(point.Y.Buffer) > 32 {
		return nil, errors.New("the device's key is not on P-256")
	}
	raw := make([]byte, 65)
	raw[0] = 4
	copy(raw[33-len(point.X.Buffer):], point.X.Buffer)
	copy(raw[65-len(point.Y.Buffer):], point.Y.Buffer)
	if !slices.Equal(raw, accountapi.KeyBytes(key)) {
		return nil, errors.New("the device's key is another one")
	}
	name, err := tpm2.ObjectName(object)
	if err != nil {
		return nil, fmt.Errorf("the device's key has no name: %w", err)
	}
	return name.Buffer, nil
}

// identity is how the account API names a TPM, by the name of its endorsement key.
func identity(name []byte) device.Identity {
	sum := sha256.Sum256([]byte("accountlock-identity-v1\x00" + string(accountapi.Tpm) + "\x00" + hex.EncodeToString(name)))
	return device.Identity{Source: string(accountapi.Tpm), Digest: base64.RawURLEncoding.EncodeToString(sum[:])}
}
