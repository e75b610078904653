// SPDX-License-Identifier: Apache-2.0

package device_test

import (
	"testing"

	"github.com/accountlock/accountlock/internal/service/device"
)

func TestAnOwnerIsToldNoModelThatCouldBeReadAsAnAddress(t *testing.T) {
	const id = "ABCD-2345-WXYZ"
	name := func(model string) string { return device.Notice{DeviceID: id, Model: model}.Name() }
	for _, model := range []string{"Pixel 7a", "SM-G991B/DS", "MacBookPro18,3", "X1 Carbon Gen 9", "v2.1", "Mi 9T Pro.", "Redmi 9 (4.0)", "Fairphone é 小米"} {
		if got := name(model); got != model+" ("+id+")" {
			t.Errorf("%q is told as %q", model, got)
		}
	}
	for _, model := range []string{
		"", "http://192.0.2.1/x", "unlock at evil.example", "call help@evil", "WWW.2", "t.me/x", "bit4.ly", "пример.рф",
		"Pixel\n7a", "Pixel\r", "Pixel\x00", "Pixel \u202ea7",
	} {
		if got := name(model); got != id {
			t.Errorf("%q is told as %q", model, got)
		}
	}
}
