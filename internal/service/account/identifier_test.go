// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
)

func TestWhatPeopleTypeIsReadAsTheyMeanIt(t *testing.T) {
	for name, c := range map[string]struct {
		typed, region string
		kind          account.Kind
		value, mask   string
	}{
		"an account ID of eight digits":              {"10000000", "", account.KindAccountID, "10000000", "10••••00"},
		"an account ID of ten digits":                {" 9876543210\n", "", account.KindAccountID, "9876543210", "98••••••10"},
		"an account ID in groups":                    {"987 654-321", "DE", account.KindAccountID, "987654321", "98•••••21"},
		"an account ID in full-width digits":         {"９８７６５４３２１", "", account.KindAccountID, "987654321", "98•••••21"},
		"an account ID in Arabic digits":             {"٩٨٧٦٥٤٣٢١", "", account.KindAccountID, "987654321", "98•••••21"},
		"an account ID in Bengali digits":            {"৯৮৭৬৫৪৩২১", "", account.KindAccountID, "987654321", "98•••••21"},
		"an address":                                 {"jane@example.org", "", account.KindEmail, "jane@example.org", "j•••@example.org"},
		"an address in capitals":                     {"Jane.DOE@EXAMPLE.org", "", account.KindEmail, "jane.doe@example.org", "j•••@example.org"},
		"an address of one letter":                   {"j@example.org", "", account.KindEmail, "j@example.org", "j•••@example.org"},
		"an address with a tag":                      {"jane+tag@example.org", "", account.KindEmail, "jane+tag@example.org", "j•••@example.org"},
		"an address at a domain in German":           {"jane@MÜNCHEN.example", "", account.KindEmail, "jane@xn--mnchen-3ya.example", "j•••@münchen.example"},
		"an address at a domain in ASCII for German": {"jane@xn--mnchen-3ya.example", "", account.KindEmail, "jane@xn--mnchen-3ya.example", "j•••@münchen.example"},
		"an address in Chinese":                      {"用户@例子.广告", "", account.KindEmail, "用户@xn--fsqu00a.xn--4rr70v", "用•••@例子.广告"},
		"a number with its country code":             {"+49 1515 5501042", "", account.KindPhone, "+4915155501042", "+49 ••• ••42"},
		"a number as it is dialled at home":          {"01515-5501042", "DE", account.KindPhone, "+4915155501042", "+49 ••• ••42"},
		"a number as it is dialled from abroad":      {"0049 1515 5501042", "de", account.KindPhone, "+4915155501042", "+49 ••• ••42"},
		"a number with brackets":                     {"(212) 555-0123", "US", account.KindPhone, "+12125550123", "+1 ••• ••23"},
		"digits that are an ID before a number":      {"2125550123", "US", account.KindAccountID, "2125550123", "21••••••23"},
		"a number in full-width digits":              {"＋４９ １５１５ ５５０１０４２", "", account.KindPhone, "+4915155501042", "+49 ••• ••42"},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := account.ParseIdentifier(c.typed, c.region)
			if err != nil || id.Kind != c.kind || id.Value != c.value || id.Mask() != c.mask {
				t.Fatalf("got %s %q, masked %q (%v)", id.Kind, id.Value, id.Mask(), err)
			}
		})
	}
}

func TestAddressKeepsTheLocalPartAsItWasWritten(t *testing.T) {
	id, err := account.ParseIdentifier("Jane.Doe@Example.ORG", "")
	if err != nil || id.Address != "Jane.Doe@example.org" {
		t.Fatalf("got %q (%v)", id.Address, err)
	}
}

func TestWhatIsNoIdentifierIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ typed, region string }{
		"nothing":                          {"", ""},
		"spaces":                           {" \t\n", ""},
		"a word":                           {"jane", ""},
		"seven digits":                     {"1234567", ""},
		"eleven digits":                    {"12345678901", ""},
		"eight digits after a zero":        {"012345678", ""},
		"a number without a country":       {"01515 5501042", ""},
		"a number too short":               {"+49 15", ""},
		"a number in letters":              {"+1 800 FLOWERS", ""},
		"a number with an extension":       {"+49 1515 5501042 ext. 5", ""},
		"bytes that are no text":           {"jane\xff@example.org", ""},
		"a line break":                     {"jane@example.org\r\nBcc: x@example.org", ""},
		"a NUL":                            {"jane\x00@example.org", ""},
		"an address with a name":           {"Jane <jane@example.org>", ""},
		"an address in brackets":           {"<jane@example.org>", ""},
		"two addresses":                    {"jane@example.org, joe@example.org", ""},
		"an address with a comment":        {"jane(doe)@example.org", ""},
		"a quoted local part":              {`"jane doe"@example.org`, ""},
		"no local part":                    {"@example.org", ""},
		"no domain":                        {"jane@", ""},
		"an address at an address literal": {"jane@[192.0.2.1]", ""},
		"a domain of an underscore":        {"jane@exam_ple.org", ""},
		"a local part too long":            {strings.Repeat("j", 65) + "@example.org", ""},
		"a domain too long":                {"jane@" + strings.Repeat("abcdefghi.", 25) + "example", ""},
		"something of a megabyte":          {strings.Repeat("1", 1<<20), ""},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := account.ParseIdentifier(c.typed, c.region)
			if fault.CodeOf(err) != fault.InvalidArgument {
				t.Fatalf("got %+v (%v)", id, err)
			}
			if strings.Contains(err.Error(), "jane") {
				t.Errorf("the error repeats what was typed: %v", err)
			}
		})
	}
}

func TestMaskOfNothingTellsNothing(t *testing.T) {
	for _, id := range []account.Identifier{{}, {Kind: account.KindEmail, Value: "x"}, {Kind: account.KindPhone, Value: "12"}, {Kind: account.KindAccountID, Value: "123"}} {
		if id.Mask() != "•••" {
			t.Errorf("%+v: %q", id, id.Mask())
		}
	}
}

func TestHintIsTheAddressThenTheNumberThenTheID(t *testing.T) {
	mail := account.Identifier{Kind: account.KindEmail, Value: "jane@example.org"}
	phone := account.Identifier{Kind: account.KindPhone, Value: "+4915155501042"}
	for want, ids := range map[string][]account.Identifier{
		"j•••@example.org": {phone, mail},
		"+49 ••• ••42":     {phone},
		"10•••••89":        nil,
	} {
		if got := (account.Account{ID: "104567889", Identifiers: ids}).Hint(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestEveryAccountIDIsReadAsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[1-9][0-9]{7,9}`).Draw(t, "id")
		region := rapid.SampledFrom([]string{"", "DE", "US", "DK", "FR", "IN", "ZZ", "nonsense"}).Draw(t, "region")
		id, err := account.ParseIdentifier(s, region)
		if err != nil || id.Kind != account.KindAccountID || id.Value != s {
			t.Fatalf("got %+v (%v)", id, err)
		}
	})
}

// FuzzParseIdentifier: whatever is taken is bounded, printable, reads as itself
// when it is read again, and is hidden by its mask.
func FuzzParseIdentifier(f *testing.F) {
	for _, s := range []string{
		"10000000", "jane@example.org", "Jane@MÜNCHEN.example", "+49 1515 5501042", "01515/5501042", "2125550123", "(212) 555-0123",
		"٩٨٧٦٥٤٣٢١", "＋４９１５１５５５０１０４２", `"a b"@example.org`, "jane@[::1]", "a@b", "İ@example.org", "ǅ@ẞ.example", "ﬀ@example.org", "a@xn--a", "\xff@x", "",
	} {
		f.Add(s, "DE")
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, s, region string) {
		id, err := account.ParseIdentifier(s, region)
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidArgument || id != (account.Identifier{}) {
				t.Fatalf("%q: %+v (%v)", s, id, err)
			}
			return
		}
		for _, v := range []string{id.Value, id.Address} {
			if len(v) > 254 || !utf8.ValidString(v) || strings.ContainsFunc(v, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
				t.Fatalf("%q became %q", s, v)
			}
		}
		again, err := account.ParseIdentifier(id.Value, region)
		if err != nil || again.Kind != id.Kind || again.Value != id.Value {
			t.Fatalf("%q became %q, which became %q (%v)", s, id.Value, again.Value, err)
		}
		if m := id.Mask(); !strings.Contains(m, "•") || strings.Contains(m, id.Value) || !utf8.ValidString(m) {
			t.Fatalf("%q is masked as %q", id.Value, m)
		}
	})
}
