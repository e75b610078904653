// SPDX-License-Identifier: Apache-2.0

package ocra_test

import (
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/ocra"
)

// The keys of RFC 6287, appendix C.
var (
	seed20 = []byte("12345678901234567890")
	seed32 = []byte("12345678901234567890123456789012")
	seed64 = []byte("1234567890123456789012345678901234567890123456789012345678901234")
	pin    = []byte("1234")
	// moment is 2008-03-25 12:06:30 UTC, 132d0b6 minutes since the epoch.
	moment = time.Unix(0x132d0b6*60, 0)
)

// vectors are all of RFC 6287, appendix C: question, response, and the counter
// where there is one.
var vectors = []struct {
	section, suite string
	key            []byte
	pairs          string
}{
	{"C.1", "OCRA-1:HOTP-SHA1-6:QN08", seed20, `00000000 237653, 11111111 243178, 22222222 653583, 33333333 740991,
		44444444 608993, 55555555 388898, 66666666 816933, 77777777 224598, 88888888 750600, 99999999 294470`},
	{"C.1", "OCRA-1:HOTP-SHA256-8:C-QN08-PSHA1", seed32, `12345678 65347737, 12345678 86775851, 12345678 78192410, 12345678 71565254,
		12345678 10104329, 12345678 65983500, 12345678 70069104, 12345678 91771096, 12345678 75011558, 12345678 08522129`},
	{"C.1", "OCRA-1:HOTP-SHA256-8:QN08-PSHA1", seed32, `00000000 83238735, 11111111 01501458, 22222222 17957585, 33333333 86776967, 44444444 86807031`},
	{"C.1", "OCRA-1:HOTP-SHA512-8:C-QN08", seed64, `00000000 07016083, 11111111 63947962, 22222222 70123924, 33333333 25341727, 44444444 33203315,
		55555555 34205738, 66666666 44343969, 77777777 51946085, 88888888 20403879, 99999999 31409299`},
	{"C.1", "OCRA-1:HOTP-SHA512-8:QN08-T1M", seed64, `00000000 95209754, 11111111 55907591, 22222222 22048402, 33333333 24218844, 44444444 36209546`},
	{"C.2.1 server", "OCRA-1:HOTP-SHA256-8:QA08", seed32, `CLI22220SRV11110 28247970, CLI22221SRV11111 01984843, CLI22222SRV11112 65387857,
		CLI22223SRV11113 03351211, CLI22224SRV11114 83412541`},
	{"C.2.1 client", "OCRA-1:HOTP-SHA256-8:QA08", seed32, `SRV11110CLI22220 15510767, SRV11111CLI22221 90175646, SRV11112CLI22222 33777207,
		SRV11113CLI22223 95285278, SRV11114CLI22224 28934924`},
	{"C.2.2 server", "OCRA-1:HOTP-SHA512-8:QA08", seed64, `CLI22220SRV11110 79496648, CLI22221SRV11111 76831980, CLI22222SRV11112 12250499,
		CLI22223SRV11113 90856481, CLI22224SRV11114 12761449`},
	{"C.2.2 client", "OCRA-1:HOTP-SHA512-8:QA08-PSHA1", seed64, `SRV11110CLI22220 18806276, SRV11111CLI22221 70020315, SRV11112CLI22222 01600026,
		SRV11113CLI22223 18951020, SRV11114CLI22224 32528969`},
	{"C.3.1", "OCRA-1:HOTP-SHA256-8:QA08", seed32, `SIG10000 53095496, SIG11000 04110475, SIG12000 31331128, SIG13000 76028668, SIG14000 46554205`},
	{"C.3.2", "OCRA-1:HOTP-SHA512-8:QA10-T1M", seed64, `SIG1000000 77537423, SIG1100000 31970405, SIG1200000 10235557, SIG1300000 95213541, SIG1400000 65360607`},
}

func TestTheVectorsOfTheRFC(t *testing.T) {
	tried := 0
	for _, v := range vectors {
		s, err := ocra.Parse(v.suite)
		if err != nil {
			t.Fatal(err)
		}
		for counter, pair := range strings.Split(v.pairs, ",") {
			f := strings.Fields(pair)
			got, err := s.Response(v.key, ocra.Input{Counter: uint64(counter), Question: f[0], PIN: pin, Time: moment})
			if err != nil || got != f[1] {
				t.Errorf("%s %s, question %s, counter %d: %s (%v), want %s", v.section, v.suite, f[0], counter, got, err, f[1])
			}
			tried++
		}
	}
	t.Logf("%d vectors", tried)
}

func TestAQuestionMustFitItsSuite(t *testing.T) {
	for suite, questions := range map[string][]string{
		"OCRA-1:HOTP-SHA256-8:QN10": {"", "12345678901234567890x", "123456789012345678901", "-1", "+1", "12 34", "１２３"},
		"OCRA-1:HOTP-SHA256-8:QH08": {"", "xyz", "0123456789abcdef0"},
		"OCRA-1:HOTP-SHA256-8:QA08": {"", "01234567890123456"},
	} {
		for _, q := range questions {
			if r, err := ocra.MustParse(suite).Response(seed32, ocra.Input{Question: q}); err == nil {
				t.Errorf("%s took %q and answered %s", suite, q, r)
			}
		}
	}
}

func TestWhatIsNoSuiteIsRefused(t *testing.T) {
	for _, name := range []string{
		"", "OCRA-1", "OCRA-2:HOTP-SHA256-8:QN10", "OCRA-1:HOTP-MD5-8:QN10", "OCRA-1:HOTP-SHA256-11:QN10", "OCRA-1:HOTP-SHA256-3:QN10",
		"OCRA-1:HOTP-SHA256:QN10", "OCRA-1:HOTP-SHA256-8:C", "OCRA-1:HOTP-SHA256-8:", "OCRA-1:HOTP-SHA256-8:QX10", "OCRA-1:HOTP-SHA256-8:QN99",
		"OCRA-1:HOTP-SHA256-8:QN10-PMD5", "OCRA-1:HOTP-SHA256-8:QN10-T60M", "OCRA-1:HOTP-SHA256-8:QN10-T", "OCRA-1:HOTP-SHA256-8:QN10-T1D",
		"OCRA-1:HOTP-SHA256-8:QN10-S064", "OCRA-1:HOTP-SHA256-8:QN10-T1M-PSHA1",
	} {
		if _, err := ocra.Parse(name); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

func TestAResponseHasItsDigitsWhateverTheKey(t *testing.T) {
	s := ocra.MustParse("OCRA-1:HOTP-SHA256-8:QN10")
	seen := map[string]bool{}
	for i := range 200 {
		r, err := s.Response([]byte{byte(i)}, ocra.Input{Question: "0000000000"})
		if err != nil || len(r) != s.Digits() || strings.Trim(r, "0123456789") != "" {
			t.Fatalf("%q %v", r, err)
		}
		seen[r] = true
	}
	if len(seen) < 199 {
		t.Errorf("200 keys give %d responses", len(seen))
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.suite, "12345678")
	}
	f.Fuzz(func(t *testing.T, suite, question string) {
		s, err := ocra.Parse(suite)
		if err != nil {
			return
		}
		if r, err := s.Response(seed32, ocra.Input{Question: question}); err == nil && len(r) != s.Digits() {
			t.Fatalf("%q: %q", suite, r)
		}
	})
}
