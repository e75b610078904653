// SPDX-License-Identifier: Apache-2.0

package device

import "strings"

// placeholders are what vendors leave in a serial number that they did not set,
// reduced by plain. Thousands of machines share each: as an identity it would
// make them one device.
var placeholders = map[string]bool{
	"": true, "none": true, "null": true, "nil": true, "na": true, "tbd": true, "unknown": true, "invalid": true,
	"empty": true, "default": true, "defaultstring": true, "oem": true, "undefined": true,
	"notspecified": true, "notapplicable": true, "notavailable": true, "notsettable": true, "notset": true,
	"notprovided": true, "nodata": true, "nottobefilledbyoem": true, "noenclosure": true, "chassisserialnotset": true,
	"tobefilledbyoem": true, "tobefilled": true, "tobesetbyoem": true, "filledbyoem": true, "oemdefault": true,
	"serial": true, "serialnumber": true, "systemserialnumber": true, "productserialnumber": true,
	"baseboardserialnumber": true, "boardserialnumber": true, "mainboardserialnumber": true,
	"chassisserialnumber": true, "type1systemserialnumber": true, "type2boardserialnumber": true,
	"type3chassisserialnumber": true, "productname": true, "systemproductname": true, "systemname": true,
	"123456": true, "1234567": true, "12345678": true, "123456789": true, "1234567890": true,
	"01234567": true, "012345678": true, "0123456789": true, "0123456789abcdef": true, "abcdefgh": true,
	"9876543210": true, "987654321": true, "123490en400015": true, "mb1234567890": true,
	// UUIDs that firmware vendors' sample code ships.
	"0300020004000500": true, "03000200040005000006000700080009": true,
	"00020003000400050006000700080009": true, "12345678123456789012345678901234": true,
	"12345678123412341234123456789abc": true, "1234567812345678123456789abcdef0": true,
	"123456781234567890abcddeefaabbcc": true, "00112233445566778899aabbccddeeff": true,
	"fefefefefefefefefefefefefefefefe": true,
}

// placeholder reports whether v names no single machine: a known placeholder,
// or one character over and over (zeros, F, X, dots).
func placeholder(v string) bool {
	p := plain(v)
	return placeholders[p] || strings.Count(p, p[:1]) == len(p)
}

// plain returns v in lower case, without everything but letters and digits.
func plain(v string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		case r > 0x7f:
			return r
		}
		return -1
	}, v)
}
