// SPDX-License-Identifier: Apache-2.0

package calendar_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/service/calendar"
)

func TestThreeWorkingDays(t *testing.T) {
	for name, c := range map[string]struct{ region, from, until string }{
		"within a week":                        {"DE", "2026-11-23T15:00:00+01:00", "2026-11-26T15:00:00+01:00"},
		"over a weekend":                       {"DE", "2026-11-27T15:00:00+01:00", "2026-12-02T15:00:00+01:00"},
		"from a Sunday":                        {"DE", "2026-11-29T15:00:00+01:00", "2026-12-03T00:00:00+01:00"},
		"over Christmas":                       {"DE", "2026-12-23T09:00:00+01:00", "2026-12-29T09:00:00+01:00"},
		"over Christmas, observed on a Monday": {"GB", "2026-12-23T09:00:00Z", "2026-12-30T09:00:00Z"},
		"over Easter":                          {"GB", "2027-03-25T09:00:00Z", "2027-04-01T09:00:00+01:00"},
		"over Thanksgiving":                    {"US", "2026-11-25T10:00:00-05:00", "2026-12-01T10:00:00-05:00"},
		"with a weekend on Friday":             {"SA", "2026-11-25T12:00:00+03:00", "2026-11-30T12:00:00+03:00"},
		"from such a Friday":                   {"EG", "2026-11-27T12:00:00+02:00", "2026-12-02T00:00:00+02:00"},
		"with Friday alone":                    {"IR", "2026-11-25T12:00:00+03:30", "2026-11-29T12:00:00+03:30"},
		"with Saturday alone":                  {"NP", "2026-11-26T12:00:00+05:45", "2026-11-30T12:00:00+05:45"},
		"after Golden Week":                    {"JP", "2026-05-01T12:00:00+09:00", "2026-05-11T12:00:00+09:00"},
		"clocks put back":                      {"DE", "2026-10-23T15:00:00+02:00", "2026-10-28T15:00:00+01:00"},
		"clocks put forward":                   {"FR", "2027-03-25T15:00:00+01:00", "2027-03-31T15:00:00+02:00"},
		"clocks put forward in the south":      {"NZ", "2026-09-24T15:00:00+12:00", "2026-09-29T15:00:00+13:00"},
		"into the hour that is left out":       {"US", "2027-03-09T02:30:00-05:00", "2027-03-12T02:30:00-05:00"},
		"the day is the region's":              {"JP", "2026-11-27T16:00:00Z", "2026-12-02T15:00:00Z"},
		"a region that is not known":           {"ZZ", "2026-11-27T15:00:00Z", "2026-12-02T15:00:00Z"},
		"no region":                            {"", "2026-11-23T15:00:00Z", "2026-11-26T15:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			from, err := time.Parse(time.RFC3339, c.from)
			if err != nil {
				t.Fatal(err)
			}
			want, err := time.Parse(time.RFC3339, c.until)
			if err != nil {
				t.Fatal(err)
			}
			cal, err := calendar.For(c.region)
			if err != nil {
				t.Fatal(err)
			}
			if got := cal.After(from, 3); !got.Equal(want) {
				t.Errorf("from %s until %s, want %s", c.from, got.Format(time.RFC3339), c.until)
			}
		})
	}
}

func TestNoRegionShortensTheWaitBelowThreeDays(t *testing.T) {
	for _, code := range append(calendar.Regions(), "", "ZZ") {
		cal, err := calendar.For(code)
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			n := rapid.IntRange(0, 3).Draw(t, "days")
			start := time.Unix(rapid.Int64Range(1_790_000_000, 2_100_000_000).Draw(t, "start"), 0)
			end := cal.After(start, n)
			wait := end.Sub(start)
			if wait < time.Duration(n)*24*time.Hour || wait > 21*24*time.Hour {
				t.Fatalf("%s: from %s the wait is %s", code, start, wait)
			}
			if later := cal.After(start.Add(time.Hour), n); later.Before(end) {
				t.Fatalf("%s: who asks later waits less long: %s, %s", code, end, later)
			}
		})
	}
}
