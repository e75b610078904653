// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"regexp"
	"testing"

	"github.com/godbus/dbus/v5"
	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// The forms once were these expressions; the daemon does without their machine.
func TestLocalesAndRegionsAreTheFormsThatTheyWere(t *testing.T) {
	locale := regexp.MustCompile(`^[A-Za-z]{2,8}([-_.@][A-Za-z0-9]{1,12}){0,4}$`)
	region := regexp.MustCompile(`^[A-Z]{2}$`)
	check := func(t interface {
		Helper()
		Fatalf(format string, args ...any)
	}, s string) {
		t.Helper()
		if got := bus.IsLocale(s); got != locale.MatchString(s) {
			t.Fatalf("%q: a locale is %v", s, got)
		}
		if got := bus.IsRegion(s); got != region.MatchString(s) {
			t.Fatalf("%q: a region is %v", s, got)
		}
	}
	for _, s := range []string{"", "d", "de", "de_AT.UTF-8", "zh-Hans", "de_", "de__AT", "deutsches", "de-a-b-c-d", "de-a-b-c-d-e", "d1", "de\n", "DE", "DE\n", "dé"} {
		check(t, s)
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.StringMatching(`[A-Za-z0-9é]{0,9}([-_.@ ][A-Za-z0-9]{0,13}){0,6}`).Draw(t, "locale"))
		check(t, rapid.StringMatching(`[A-Za-z]{1,3}`).Draw(t, "region"))
	})
}

// A program hands on what its own surroundings say.
func TestWhoHasSetNoLanguageIsSpokenToAllTheSame(t *testing.T) {
	for s, want := range map[string]string{"": "", "C": "", "POSIX": "", "C.UTF-8": "", "C.utf8": "", "de_AT.UTF-8": "de_AT.UTF-8"} {
		o, err := bus.Options(lock.KindUnlock, map[string]dbus.Variant{"locale": dbus.MakeVariant(s), "region": dbus.MakeVariant("")})
		if err != nil || o.Locale != want || o.Region != "" {
			t.Errorf("%q: %+v, %v", s, o, err)
		}
	}
	for _, s := range []string{"c", "C.UTF-8.more", "CC.", "POSIX.", ".", "1"} {
		if o, err := bus.Options(lock.KindUnlock, map[string]dbus.Variant{"locale": dbus.MakeVariant(s)}); fault.CodeOf(err) != fault.InvalidArgument {
			t.Errorf("%q: %+v, %v", s, o, err)
		}
	}
}
