// SPDX-License-Identifier: Apache-2.0

package device

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// Identity is one name that the hardware gives itself, as the account service
// gets it.
type Identity struct {
	// Source is where it is from: tpm, devicetree, dmi, record or file.
	Source string
	// Digest is base64url without padding of SHA-256 over
	// `accountlock-identity-v1`, a zero byte, Source, a zero byte and the value.
	Digest string
}

// maxIdentities is how many the account API takes.
const maxIdentities = 16

// minValue is the shortest serial number that is taken for one.
const minValue = 4

// minRandom is the shortest random identity of a record that is sent.
const minRandom = 16

// dmiFields are the names that the firmware of a PC-like machine carries. Most
// are readable for root alone.
var dmiFields = []string{"product_uuid", "product_serial", "board_serial", "chassis_serial"}

// Identities asks the sources of `[device] identity`, in that order, and returns
// what answers, each digest once and at most 16. A source that is absent, that
// this user may not read or that holds a placeholder of its vendor answers
// nothing. random is the record's own identity, for the source `record`.
func (m Machine) Identities(sources []string, random []byte) []Identity {
	var out []Identity
	seen := map[Identity]bool{}
	add := func(source, value string) {
		id := Identity{Source: source, Digest: digest(source, value)}
		if !seen[id] && len(out) < maxIdentities {
			seen[id] = true
			out = append(out, id)
		}
	}
	for _, s := range sources {
		switch path, isFile := strings.CutPrefix(s, "file:"); {
		case isFile:
			// The vendor's own word is taken as it is.
			if v := m.value(path); v != "" {
				add("file", v)
			}
		case s == "devicetree":
			if v := m.value("proc/device-tree/serial-number"); usable(v) {
				add(s, v)
			}
		case s == "dmi":
			for _, field := range dmiFields {
				if v := m.dmi(field); usable(v) {
					add(s, v)
				}
			}
		case s == "record" && len(random) >= minRandom:
			add(s, string(random))
		case s == "tpm" && m.TPM != nil:
			if v, err := m.TPM(); err == nil {
				add(s, v)
			}
		}
	}
	return out
}

func (m Machine) dmi(field string) string {
	v := m.value("sys/class/dmi/id/" + field)
	if field == "product_uuid" {
		// Kernels differ in how they write it; the account service sees one device.
		v = strings.ToLower(v)
	}
	return v
}

func digest(source, value string) string {
	sum := sha256.Sum256([]byte("accountlock-identity-v1\x00" + source + "\x00" + value))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func usable(v string) bool { return len(v) >= minValue && !placeholder(v) }
