// SPDX-License-Identifier: Apache-2.0

package device_test

import (
	"bytes"
	"crypto/rand"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/device"
)

var (
	statuses = []device.Status{device.None, device.Pending, device.Linked, device.Lost, device.SignedOut, device.Unlinked, device.AccountDeleted}
	changes  = []device.Change{device.Commit, device.Unlock, device.SignOut, device.Unlink, device.Lose, device.Find, device.Release, device.DeleteAccount, device.AllowReset, device.Supersede}
)

// TestEveryChangeOfEveryStatus holds the whole table: a pair that is not here is
// refused with the code beside its change.
func TestEveryChangeOfEveryStatus(t *testing.T) {
	type pair struct {
		from   device.Status
		change device.Change
	}
	allowed := map[pair]device.Status{
		{device.Pending, device.Commit}:          device.Linked,
		{device.Linked, device.Unlock}:           device.Linked,
		{device.Lost, device.Unlock}:             device.Linked,
		{device.Linked, device.SignOut}:          device.SignedOut,
		{device.Linked, device.Unlink}:           device.Unlinked,
		{device.SignedOut, device.Unlink}:        device.Unlinked,
		{device.Linked, device.Lose}:             device.Lost,
		{device.Lost, device.Lose}:               device.Lost,
		{device.Lost, device.Find}:               device.Linked,
		{device.Linked, device.Release}:          device.Unlinked,
		{device.Lost, device.Release}:            device.Unlinked,
		{device.SignedOut, device.Release}:       device.Unlinked,
		{device.Linked, device.DeleteAccount}:    device.AccountDeleted,
		{device.Lost, device.DeleteAccount}:      device.AccountDeleted,
		{device.SignedOut, device.DeleteAccount}: device.AccountDeleted,
		{device.SignedOut, device.Supersede}:     device.Unlinked,
		{device.Linked, device.Supersede}:        device.Unlinked,
		{device.Linked, device.AllowReset}:       device.Linked,
	}
	refusal := func(from device.Status, c device.Change) fault.Code {
		switch {
		case c == device.Commit && (from == device.Linked || from == device.Lost):
			return fault.AlreadyLinked
		case c == device.Commit:
			return fault.Timeout
		case c == device.Find && from == device.Linked:
			return fault.InvalidArgument
		default:
			return fault.NotLinked
		}
	}
	for _, from := range statuses {
		for _, c := range changes {
			before := device.Link{ID: "l", Hint: "h", Status: from, Generation: 3, LostMessage: "m", LostContact: "c", ReservedUntil: time.Unix(9, 0), ResetAllowed: true}
			after, err := before.After(c)
			to, ok := allowed[pair{from, c}]
			if !ok {
				if got, want := fault.CodeOf(err), refusal(from, c); got != want || after != before {
					t.Errorf("%s of %q: %v and %+v, want %s and no change", c, from, err, after, want)
				}
				if (device.May(from, c) == nil) != (err == nil) {
					t.Errorf("%s of %q: May says otherwise", c, from)
				}
				continue
			}
			if err != nil || after.Status != to || after.Generation != 4 || !after.ReservedUntil.IsZero() {
				t.Errorf("%s of %q: %+v, %v; want %s, generation 4", c, from, after, err, to)
			}
			if (after.LostMessage != "") != (to == device.Lost) {
				t.Errorf("%s of %q leaves the message %q", c, from, after.LostMessage)
			}
			if after.ResetAllowed != (c == device.AllowReset) {
				t.Errorf("%s of %q: a reset is allowed: %t", c, from, after.ResetAllowed)
			}
			if (after.Hint != "") != to.InForce() {
				t.Errorf("%s of %q leaves the hint %q", c, from, after.Hint)
			}
		}
	}
}

func TestDeviceIDs(t *testing.T) {
	pattern := regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2}$`)
	seen := map[string]bool{}
	letters := map[rune]int{}
	for range 2000 {
		id, err := device.NewID(rand.Reader)
		if err != nil || !pattern.MatchString(id) || seen[id] {
			t.Fatalf("%q, %v, seen before: %t", id, err, seen[id])
		}
		seen[id] = true
		for _, r := range strings.ReplaceAll(id, "-", "") {
			letters[r]++
		}
	}
	if len(letters) != 32 {
		t.Errorf("%d characters are used, want 32", len(letters))
	}
	if _, err := device.NewID(bytes.NewReader(nil)); err == nil {
		t.Error("an ID was made without randomness")
	}
	for typed, want := range map[string]string{
		"7K2M-0QXA-9TBD": "7K2M-0QXA-9TBD", "7k2m0qxa9tbd": "7K2M-0QXA-9TBD", " 7K2M 0QXA 9TBD ": "7K2M-0QXA-9TBD",
		"7K2M-OQXA-9TBD": "7K2M-0QXA-9TBD", "iL00-0000-0000": "1100-0000-0000",
		"": "", "7K2M-0QXA-9TB": "", "7K2M-0QXA-9TBDD": "", "7K2U-0QXA-9TBD": "", "7K2M-0QXA-9TB!": "", "７K2M-0QXA-9TB": "",
	} {
		if got, ok := device.ParseID(typed); got != want && ok || ok != (want != "") {
			t.Errorf("%q is read as %q, %t; want %q", typed, got, ok, want)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("7K2M-0QXA-9TBD")
	f.Add("ıııııııııııı")
	f.Fuzz(func(t *testing.T, typed string) {
		id, ok := device.ParseID(typed)
		if !ok {
			return
		}
		if again, ok := device.ParseID(id); !ok || again != id {
			t.Errorf("%q is read as %q, which is read as %q, %t", typed, id, again, ok)
		}
	})
}

func TestWhichDeviceAnEnrolmentIs(t *testing.T) {
	type c = device.Candidate
	for name, x := range map[string]struct {
		matches []c
		want    string
		key     device.KeyStatus
	}{
		"one that is free takes the key":           {[]c{{DeviceID: "a", Source: "dmi"}}, "a", device.Active},
		"one that is signed out takes the key":     {[]c{{DeviceID: "a", Status: device.SignedOut}}, "a", device.Active},
		"one that is linked keeps its key":         {[]c{{DeviceID: "a", Status: device.Linked}}, "a", device.PendingKey},
		"one that is lost keeps its key":           {[]c{{DeviceID: "a", Status: device.Lost}}, "a", device.PendingKey},
		"the device's own key stays active":        {[]c{{DeviceID: "a", Status: device.Linked, HoldsKey: true}}, "a", device.Active},
		"a linked one goes before one that is not": {[]c{{DeviceID: "a", Source: "tpm", HoldsKey: true}, {DeviceID: "b", Source: "file", Status: device.Linked}}, "b", device.PendingKey},
		"a lost one goes before a signed-out one":  {[]c{{DeviceID: "a", Source: "tpm", Status: device.SignedOut}, {DeviceID: "b", Source: "file", Status: device.Lost}}, "b", device.PendingKey},
		"of two that are linked, the key's":        {[]c{{DeviceID: "a", Source: "tpm", Status: device.Linked}, {DeviceID: "b", Source: "dmi", Status: device.Linked, HoldsKey: true}}, "b", device.Active},
		"of two, the one by the stronger source":   {[]c{{DeviceID: "a", Source: "dmi"}, {DeviceID: "b", Source: "devicetree"}}, "b", device.Active},
		"a source counts more than a key alone":    {[]c{{DeviceID: "a"}, {DeviceID: "b", Source: "file"}}, "b", device.Active},
		"of two by one source, the older":          {[]c{{DeviceID: "a", Source: "dmi", EnrolledAt: 2}, {DeviceID: "b", Source: "dmi", EnrolledAt: 1}}, "b", device.Active},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := device.Choose(x.matches)
			if !ok || got.DeviceID != x.want {
				t.Errorf("got %+v, want %s", got, x.want)
			}
			if k := device.KeyAfterEnrolment(got); k != x.key {
				t.Errorf("the key is %s, want %s", k, x.key)
			}
		})
	}
	if _, ok := device.Choose(nil); ok {
		t.Error("a device was found among none")
	}
}

func TestWhatIsStated(t *testing.T) {
	link := func(s device.Status) device.Link {
		return device.Link{ID: "L", Hint: "o…@example.org", Status: s, Generation: 5, LostMessage: "m"}
	}
	for name, x := range map[string]struct {
		link    device.Link
		asked   string
		trusted bool
		status  accountapi.ClaimsStatus
		ended   bool
		hint    bool
		named   bool
	}{
		"never linked":                              {device.Link{}, "", true, accountapi.ClaimsStatusUnlinked, false, false, false},
		"never linked, asked about a link":          {device.Link{}, "X", true, accountapi.ClaimsStatusUnlinked, true, false, false},
		"linked":                                    {link(device.Linked), "", true, accountapi.ClaimsStatusLinked, false, true, true},
		"linked, asked about this link":             {link(device.Linked), "L", true, accountapi.ClaimsStatusLinked, false, true, true},
		"linked, asked about another":               {link(device.Linked), "X", true, accountapi.ClaimsStatusLinked, true, true, true},
		"linked, to a key that is pending":          {link(device.Linked), "L", false, accountapi.ClaimsStatusLinked, false, false, true},
		"lost":                                      {link(device.Lost), "L", true, accountapi.ClaimsStatusLost, false, true, true},
		"signed out":                                {link(device.SignedOut), "L", true, accountapi.ClaimsStatusSignedOut, false, true, true},
		"signed out, asked about a reservation":     {link(device.SignedOut), "R", true, accountapi.ClaimsStatusSignedOut, true, true, true},
		"unlinked, asked about the link that ended": {link(device.Unlinked), "L", true, accountapi.ClaimsStatusUnlinked, true, true, true},
		"of an account that was deleted":            {link(device.AccountDeleted), "L", true, accountapi.ClaimsStatusAccountDeleted, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := device.State("7K2M-0QXA-9TBD", x.link, x.asked, x.trusted)
			if *got.Status != x.status || got.Aud != "7K2M-0QXA-9TBD" || got.Purpose != accountapi.ClaimsPurposeStatement {
				t.Errorf("got %+v", got)
			}
			if (got.Ended != nil) != x.ended || (got.Ended != nil && *got.Ended != x.asked) {
				t.Errorf("ended is %v", got.Ended)
			}
			if (got.Hint != nil) != x.hint || (got.Link != nil) != x.named || (got.Lost != nil) != (x.status == accountapi.ClaimsStatusLost) {
				t.Errorf("got %+v", got)
			}
			if got.Link != nil && (got.Link.AccountId != nil || got.Link.Generation != 5) {
				t.Errorf("link: %+v", got.Link)
			}
		})
	}
}
