// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

// A device whose key lies in a TPM.
func TestADeviceMayEnrolAKeyOnP256(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// The same hardware, now with a TPM: the same device, with another key.
	before := d.ID
	d.Key, d.ID, d.Nonce = key, "", ""
	d.Enrol(t)
	if d.ID != before {
		t.Errorf("enrolled as %s instead of %s", d.ID, before)
	}
	if a := send(t, d, statement(t, d)); a.Status != http.StatusOK {
		t.Errorf("a statement: %d", a.Status)
	}
	r := statement(t, d)
	r.Header.Set(accountapi.HeaderSignatureInput, r.Header.Get(accountapi.HeaderSignatureInput)+"x")
	if a := send(t, d, r); a.Status != http.StatusUnauthorized {
		t.Errorf("with a signature that is none: %d", a.Status)
	}
}
