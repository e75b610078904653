// SPDX-License-Identifier: Apache-2.0

package accountapi

import "testing"

// FuzzPlainSignatureInput holds the short way of reading a Signature-Input against the library's: what it
// takes means the same there.
func FuzzPlainSignatureInput(f *testing.F) {
	for _, params := range []string{
		`keyid="k";nonce="n";alg="ed25519"`,
		`keyid="";nonce="";alg=""`,
		`keyid="k;nonce=";nonce="n";alg="ed25519"`,
		`keyid="k";nonce="n\"";alg="ed25519"`,
		`keyid="k";nonce="n";alg="ed25519";keyid="other"`,
		`keyid="k";nonce="n";alg="ed25519", sig2=("@method")`,
		`keyid="k";nonce="ü";alg="ed25519"`,
		` keyid="k";nonce="n";alg="ed25519"`,
		`nonce="n";keyid="k";alg="ed25519"`,
	} {
		f.Add(plainInput + params)
	}
	f.Fuzz(func(t *testing.T, field string) {
		var short, long RequestSignature
		signed, ok := plain(field, &short)
		if !ok {
			return
		}
		want, err := long.read(field)
		if err != nil || signed != want || short.KeyID != long.KeyID || short.Nonce != long.Nonce || short.alg != long.alg {
			t.Errorf("%q: %+v over %q, and by the library %+v over %q, %v", field, short, signed, long, want, err)
		}
	})
}
