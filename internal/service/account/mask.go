// SPDX-License-Identifier: Apache-2.0

package account

import (
	"strings"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/net/idna"
)

const dots = "•••"

// Mask returns the identifier as it may be shown to somebody who has not proved
// to be its owner: 'j•••@example.org', '+49 ••• ••42', '10•••••89'.
func (id Identifier) Mask() string {
	switch id.Kind {
	case KindEmail:
		return maskEmail(id.Value)
	case KindPhone:
		return maskPhone(id.Value)
	case KindAccountID:
		return maskAccountID(id.Value)
	}
	return dots
}

func maskEmail(v string) string {
	at := strings.LastIndexByte(v, '@')
	if at < 1 {
		return dots
	}
	_, first := utf8.DecodeRuneInString(v)
	domain, err := idna.Display.ToUnicode(v[at+1:])
	if err != nil {
		domain = v[at+1:]
	}
	return v[:first] + dots + "@" + domain
}

func maskPhone(v string) string {
	n, err := phonenumbers.Parse(v, "ZZ")
	if err != nil {
		return dots
	}
	national := phonenumbers.GetNationalSignificantNumber(n)
	if len(national) < 4 {
		return dots
	}
	country := strings.TrimSuffix(v, national)
	return country + " " + dots + " ••" + national[len(national)-2:]
}

func maskAccountID(v string) string {
	if len(v) < minIDDigits {
		return dots
	}
	return v[:2] + strings.Repeat("•", len(v)-4) + v[len(v)-2:]
}
