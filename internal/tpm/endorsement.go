// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"encoding/hex"

	"github.com/google/go-tpm/tpm2"
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
	rsp, err := retry(s, func() (*tpm2.CreatePrimaryResponse, error) {
		return tpm2.CreatePrimary{
			PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
			InPublic:      tpm2.New2B(tpm2.ECCEKTemplate),
		}.Execute(s.c)
	})
	if err != nil {
		return "", named("cannot make the endorsement key", err)
	}
	s.flush(rsp.ObjectHandle)
	return hex.EncodeToString(rsp.Name.Buffer), nil
}
