// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"net/netip"
	"strings"

	"github.com/accountlock/accountlock/internal/service/letter"
)

// Place is where a recovery is asked for: on a device, or in a browser where Device is
// empty, and from which address if that is known.
type Place struct {
	Device  string
	Address netip.Addr
}

// stored is the place as the database keeps it: neither part has a space.
func (p Place) stored() string {
	if !p.Address.IsValid() {
		return p.Device
	}
	return p.Device + " " + p.Address.Unmap().WithZone("").String()
}

// placeOf reads what stored wrote; an address that is none is left out.
func placeOf(stored string) Place {
	device, address, _ := strings.Cut(stored, " ")
	a, _ := netip.ParseAddr(address) // the zero Addr is none
	return Place{Device: device, Address: a}
}

// words say the place to the owner.
func (p Place) words(t letter.Tongue) string {
	address := p.Address.String()
	switch known := p.Address.IsValid(); {
	case p.Device == "" && known:
		return t.T(letter.Mark("in a browser, from the address {1}"), address)
	case p.Device == "":
		return t.T(letter.Mark("in a browser"))
	case known:
		return t.T(letter.Mark("on the device {1}, from the address {2}"), p.Device, address)
	default:
		return t.T(letter.Mark("on the device {1}"), p.Device)
	}
}
