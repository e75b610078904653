// SPDX-License-Identifier: Apache-2.0

package totp_test

import (
	"net/url"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/totp"
)

// The key of RFC 6238, appendix B, for SHA-1.
var key = secret.Bytes("12345678901234567890")

func TestTheCodesAreThoseOfTheRFC(t *testing.T) {
	// Appendix B has eight digits; six are the last of them.
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		if got := totp.Code(key, totp.Step(time.Unix(at, 0))); got != want {
			t.Errorf("at %d: %s, not %s", at, got, want)
		}
	}
}

func TestACodeServesOnceAndOneStepEitherWay(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	at := totp.Step(now)
	for off := int64(-3); off <= 3; off++ {
		step, ok := totp.Match(key, totp.Code(key, at+off), now, 0)
		if want := off >= -1 && off <= 1; ok != want || ok && step != at+off {
			t.Errorf("off by %d: %v, step %d", off, ok, step-at)
		}
		if _, ok := totp.Match(key, totp.Code(key, at+off), now, at+off); ok {
			t.Errorf("off by %d: it serves twice", off)
		}
	}
	if _, ok := totp.Match(key, totp.Code(key, at-1), now, at); ok {
		t.Error("a code is taken after the one that follows it")
	}
}

func TestNothingButACodeMatches(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	rapid.Check(t, func(t *rapid.T) {
		typed := rapid.String().Draw(t, "typed")
		step, ok := totp.Match(key, typed, now, 0)
		if ok && totp.Code(key, step) != typed {
			t.Fatalf("%q matches", typed)
		}
	})
}

func TestAnAppReadsWhatThePageShows(t *testing.T) {
	got := totp.URI("Example & Söhne: accounts", "12345678", key)
	u, err := url.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Example & Söhne  accounts:12345678" ||
		u.Query().Get("issuer") != "Example & Söhne  accounts" || u.Query().Get("secret") != "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" {
		t.Errorf("the URI is %s", got)
	}
	if got := totp.Text(key); got != "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ" {
		t.Errorf("the key is shown as %s", got)
	}
	a, errA := totp.NewKey()
	b, errB := totp.NewKey()
	if errA != nil || errB != nil || len(a) != 20 || string(a) == string(b) {
		t.Errorf("two keys are %d bytes and alike, or %v, %v", len(a), errA, errB)
	}
}
