// SPDX-License-Identifier: Apache-2.0

package account

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/accountlock/accountlock/internal/fault"
)

// Kind is what an identifier is.
type Kind string

// The kinds of identifier.
const (
	KindAccountID Kind = "account-id"
	KindEmail     Kind = "email"
	KindPhone     Kind = "phone"
)

const (
	// maxIdentifier bounds, in bytes, what is parsed (RFC 5321, 4.5.3.1.3:
	// an address has at most 254).
	maxIdentifier = 254
	// maxLocalPart is RFC 5321, 4.5.3.1.1.
	maxLocalPart = 64
	// An account ID is a number of 8 to 10 digits that does not begin with 0.
	minIDDigits, maxIDDigits = 8, 10
)

// Identifier names an account: the account ID itself, an e-mail address or a
// phone number. The zero Identifier names none.
type Identifier struct {
	// Kind is what it is.
	Kind Kind
	// Value is the form in which two identifiers are compared: digits; an
	// address in lower case with its domain in ASCII; a number in E.164.
	Value string
	// Address is where mail or SMS goes: Value, save that the local part of an
	// e-mail address stays as it was written. Empty for an account ID.
	Address string

	// phone is the number in E.164 that digits without a country code are as
	// well, where the region has such numbers.
	phone string
}

// ParseIdentifier reads what a person typed. region (ISO 3166-1 alpha-2, or
// empty) says whose phone numbers are meant where no country code is given.
// Digits that can be an account ID are one; they match a phone number only if
// no account has that ID. The error is fault.InvalidArgument, and says the same
// whether or not an account exists.
func ParseIdentifier(s, region string) (Identifier, error) {
	if len(s) > maxIdentifier || !utf8.ValidString(s) {
		return Identifier{}, notAnIdentifier()
	}
	// Full-width digits and letters, as some keyboards type them, mean the same.
	s = strings.TrimSpace(norm.NFKC.String(s))
	if s == "" || len(s) > maxIdentifier || strings.ContainsFunc(s, unicode.IsControl) {
		return Identifier{}, notAnIdentifier()
	}
	if strings.Contains(s, "@") {
		return parseEmail(s)
	}
	s = asciiDigits(s)
	phone, isPhone := parsePhone(s, region)
	if id := strings.NewReplacer(" ", "", "-", "").Replace(s); isAccountID(id) {
		return Identifier{Kind: KindAccountID, Value: id, phone: phone.Value}, nil
	}
	if !isPhone {
		return Identifier{}, notAnIdentifier()
	}
	return phone, nil
}

func notAnIdentifier() error {
	return fault.Newf(fault.InvalidArgument, "This is no account ID, e-mail address or phone number.")
}

func isAccountID(s string) bool {
	if len(s) < minIDDigits || len(s) > maxIDDigits || s[0] == '0' {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// parseEmail takes the addresses that people have: no display name, no quoted
// local part, no address literal.
func parseEmail(s string) (Identifier, error) {
	addr, err := mail.ParseAddress(s)
	if err != nil || addr.Name != "" || addr.Address != s {
		return Identifier{}, notAnIdentifier()
	}
	at := strings.LastIndexByte(s, '@')
	local, domain := s[:at], s[at+1:]
	if len(local) > maxLocalPart || strings.ContainsFunc(local, notInLocalPart) {
		return Identifier{}, notAnIdentifier()
	}
	// The same domain is written in letters of any script or in ASCII (RFC 5891).
	domain, err = idna.Lookup.ToASCII(domain)
	if err != nil || domain == "" || len(local)+1+len(domain) > maxIdentifier {
		return Identifier{}, notAnIdentifier()
	}
	// RFC 5321 lets a host tell case apart in the local part; none that people
	// use does, and a second account for the same mailbox would be a trap.
	value := norm.NFKC.String(strings.ToLower(local)) + "@" + domain
	return Identifier{Kind: KindEmail, Value: value, Address: local + "@" + domain}, nil
}

func notInLocalPart(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`"(),:;<>[\]@`, r)
}

func parsePhone(s, region string) (Identifier, bool) {
	if strings.Trim(s, "+0123456789 ()-./") != "" {
		return Identifier{}, false // phonenumbers would take letters as a keypad does
	}
	if region == "" {
		region = "ZZ" // 'no region': only numbers with their country code
	}
	n, err := phonenumbers.Parse(s, strings.ToUpper(region))
	if err != nil || !phonenumbers.IsValidNumber(n) {
		return Identifier{}, false
	}
	e164 := phonenumbers.Format(n, phonenumbers.E164)
	return Identifier{Kind: KindPhone, Value: e164, Address: e164}, true
}

// asciiDigits writes the decimal digits of every script as 0 to 9.
func asciiDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf || !unicode.IsDigit(r) {
			return r
		}
		// Unicode has them in runs of ten, zero first.
		for _, run := range unicode.Nd.R16 {
			if lo, hi := rune(run.Lo), rune(run.Hi); lo <= r && r <= hi {
				return '0' + (r-lo)%10
			}
		}
		for _, run := range unicode.Nd.R32 {
			if lo, hi := rune(run.Lo), rune(run.Hi); lo <= r && r <= hi { //nolint:gosec // code points fit
				return '0' + (r-lo)%10
			}
		}
		return r
	}, s)
}

// key is what the database finds an identifier by.
func (id Identifier) key() string { return string(id.Kind) + ":" + id.Value }

// other returns the second thing that id may be: the phone number that its
// digits are. Without one it returns id.
func (id Identifier) other() Identifier {
	if id.phone == "" {
		return id
	}
	return Identifier{Kind: KindPhone, Value: id.phone, Address: id.phone}
}
