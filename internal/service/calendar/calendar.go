// SPDX-License-Identifier: Apache-2.0

// Package calendar owns what a working day is where a person lives: the weekend,
// the public holidays and the time zone of a region. Pure: it reads no clock.
//
// Holidays are those of the whole region (github.com/rickar/cal); where that knows
// none, weekends alone count. A region of several time zones goes by one of them,
// and one that is not known by UTC.
package calendar

import (
	"fmt"
	"time"
	_ "time/tzdata" // a server's own may be missing

	"github.com/rickar/cal/v2"
	"github.com/rickar/cal/v2/ar"
	"github.com/rickar/cal/v2/at"
	"github.com/rickar/cal/v2/au"
	"github.com/rickar/cal/v2/be"
	"github.com/rickar/cal/v2/bg"
	"github.com/rickar/cal/v2/br"
	"github.com/rickar/cal/v2/ca"
	"github.com/rickar/cal/v2/ch"
	"github.com/rickar/cal/v2/cz"
	"github.com/rickar/cal/v2/de"
	"github.com/rickar/cal/v2/dk"
	"github.com/rickar/cal/v2/es"
	"github.com/rickar/cal/v2/fr"
	"github.com/rickar/cal/v2/gb"
	"github.com/rickar/cal/v2/gr"
	"github.com/rickar/cal/v2/hr"
	"github.com/rickar/cal/v2/ie"
	"github.com/rickar/cal/v2/it"
	"github.com/rickar/cal/v2/jp"
	"github.com/rickar/cal/v2/lt"
	"github.com/rickar/cal/v2/lv"
	"github.com/rickar/cal/v2/nl"
	"github.com/rickar/cal/v2/no"
	"github.com/rickar/cal/v2/nz"
	"github.com/rickar/cal/v2/pl"
	"github.com/rickar/cal/v2/ro"
	"github.com/rickar/cal/v2/ru"
	"github.com/rickar/cal/v2/se"
	"github.com/rickar/cal/v2/si"
	"github.com/rickar/cal/v2/sk"
	"github.com/rickar/cal/v2/ua"
	"github.com/rickar/cal/v2/us"
	"github.com/rickar/cal/v2/za"
)

// region is what is known of one; a nil weekend is Saturday and Sunday.
type region struct {
	zone     string
	weekend  []time.Weekday
	holidays []*cal.Holiday
}

var (
	friSat = []time.Weekday{time.Friday, time.Saturday}
	friday = []time.Weekday{time.Friday}
)

// regions are those with holidays, another weekend, or many people far from UTC.
var regions = map[string]region{
	"AR": {zone: "America/Argentina/Buenos_Aires", holidays: ar.Holidays},
	"AT": {zone: "Europe/Vienna", holidays: at.Holidays},
	"AU": {zone: "Australia/Sydney", holidays: au.HolidaysNSW},
	"BE": {zone: "Europe/Brussels", holidays: be.Holidays},
	"BG": {zone: "Europe/Sofia", holidays: bg.Holidays},
	"BR": {zone: "America/Sao_Paulo", holidays: br.Holidays},
	"CA": {zone: "America/Toronto", holidays: ca.Holidays},
	"CH": {zone: "Europe/Zurich", holidays: ch.Holidays},
	"CZ": {zone: "Europe/Prague", holidays: cz.Holidays},
	"DE": {zone: "Europe/Berlin", holidays: de.Holidays},
	"DK": {zone: "Europe/Copenhagen", holidays: dk.Holidays},
	"ES": {zone: "Europe/Madrid", holidays: es.Holidays},
	"FR": {zone: "Europe/Paris", holidays: fr.Holidays},
	"GB": {zone: "Europe/London", holidays: gb.Holidays},
	"GR": {zone: "Europe/Athens", holidays: gr.Holidays},
	"HR": {zone: "Europe/Zagreb", holidays: hr.Holidays},
	"IE": {zone: "Europe/Dublin", holidays: ie.Holidays},
	"IT": {zone: "Europe/Rome", holidays: it.Holidays},
	"JP": {zone: "Asia/Tokyo", holidays: jp.Holidays},
	"LT": {zone: "Europe/Vilnius", holidays: lt.Holidays},
	"LV": {zone: "Europe/Riga", holidays: lv.Holidays},
	"NL": {zone: "Europe/Amsterdam", holidays: nl.Holidays},
	"NO": {zone: "Europe/Oslo", holidays: no.Holidays},
	"NZ": {zone: "Pacific/Auckland", holidays: nz.Holidays},
	"PL": {zone: "Europe/Warsaw", holidays: pl.Holidays},
	"RO": {zone: "Europe/Bucharest", holidays: ro.Holidays},
	"RU": {zone: "Europe/Moscow", holidays: ru.Holidays},
	"SE": {zone: "Europe/Stockholm", holidays: se.Holidays},
	"SI": {zone: "Europe/Ljubljana", holidays: si.Holidays},
	"SK": {zone: "Europe/Bratislava", holidays: sk.Holidays},
	"UA": {zone: "Europe/Kyiv", holidays: ua.Holidays},
	"US": {zone: "America/New_York", holidays: us.Holidays},
	"ZA": {zone: "Africa/Johannesburg", holidays: za.Holidays},

	"CN": {zone: "Asia/Shanghai"},
	"ID": {zone: "Asia/Jakarta"},
	"IN": {zone: "Asia/Kolkata"},
	"KR": {zone: "Asia/Seoul"},
	"MX": {zone: "America/Mexico_City"},
	"PH": {zone: "Asia/Manila"},
	"PK": {zone: "Asia/Karachi"},
	"SG": {zone: "Asia/Singapore"},
	"TH": {zone: "Asia/Bangkok"},
	"TR": {zone: "Europe/Istanbul"},
	"VN": {zone: "Asia/Ho_Chi_Minh"},

	"AE": {zone: "Asia/Dubai"}, // Saturday and Sunday since 2022
	"BD": {zone: "Asia/Dhaka", weekend: friSat},
	"BH": {zone: "Asia/Bahrain", weekend: friSat},
	"DJ": {zone: "Africa/Djibouti", weekend: friday},
	"DZ": {zone: "Africa/Algiers", weekend: friSat},
	"EG": {zone: "Africa/Cairo", weekend: friSat},
	"IL": {zone: "Asia/Jerusalem", weekend: friSat},
	"IQ": {zone: "Asia/Baghdad", weekend: friSat},
	"IR": {zone: "Asia/Tehran", weekend: friday},
	"JO": {zone: "Asia/Amman", weekend: friSat},
	"KW": {zone: "Asia/Kuwait", weekend: friSat},
	"LY": {zone: "Africa/Tripoli", weekend: friSat},
	"MV": {zone: "Indian/Maldives", weekend: friSat},
	"NP": {zone: "Asia/Kathmandu", weekend: []time.Weekday{time.Saturday}},
	"OM": {zone: "Asia/Muscat", weekend: friSat},
	"QA": {zone: "Asia/Qatar", weekend: friSat},
	"SA": {zone: "Asia/Riyadh", weekend: friSat},
	"SD": {zone: "Africa/Khartoum", weekend: friSat},
	"SY": {zone: "Asia/Damascus", weekend: friSat},
	"YE": {zone: "Asia/Aden", weekend: friSat},
}

// maxDaysOff bounds the search: no calendar has so many days off in a row.
const maxDaysOff = 30

// Calendar knows the working days of one region.
type Calendar struct {
	zone    *time.Location
	weekend []time.Weekday
	off     *cal.Calendar
}

// For returns the calendar of a region (ISO 3166-1 alpha-2, in capitals).
func For(code string) (*Calendar, error) {
	r, ok := regions[code]
	if !ok {
		r.zone = "UTC"
	}
	zone, err := time.LoadLocation(r.zone)
	if err != nil {
		return nil, fmt.Errorf("cannot find the time zone of %s: %w", code, err)
	}
	c := &Calendar{zone: zone, weekend: r.weekend, off: &cal.Calendar{}}
	if c.weekend == nil {
		c.weekend = []time.Weekday{time.Saturday, time.Sunday}
	}
	c.off.AddHoliday(r.holidays...)
	return c, nil
}

// Regions returns the codes that more is known of than that there are weekends.
func Regions() []string {
	out := make([]string, 0, len(regions))
	for code := range regions {
		out = append(out, code)
	}
	return out
}

// Works reports whether the day of t, in the region, is a working day.
func (c *Calendar) Works(t time.Time) bool {
	t = t.In(c.zone)
	for _, d := range c.weekend {
		if t.Weekday() == d {
			return false
		}
	}
	actual, observed, _ := c.off.IsHoliday(t)
	return !actual && !observed
}

// After returns when so many working days have passed after start: the same time
// of day, in the region, of the n-th working day after it. On a day off, waiting
// begins with the next working day. A clock that is put forward over that time shows
// the time it is put forward to. It is never earlier than n times 24 hours after
// start, whichever way clocks were put, and never earlier for who starts later.
func (c *Calendar) After(start time.Time, n int) time.Time {
	local := start.In(c.zone)
	if n > 0 && !c.Works(local) {
		local = c.midnight(c.next(local))
	}
	day := local
	for range n {
		day = c.next(day)
	}
	y, m, d := day.Date()
	end := time.Date(y, m, d, local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), c.zone)
	if least := start.Add(time.Duration(n) * 24 * time.Hour); end.Before(least) {
		return least
	}
	return end
}

// next returns noon of the next working day: noon is on its day whatever clocks do
// at night.
func (c *Calendar) next(t time.Time) time.Time {
	y, m, d := t.Date()
	for days := 1; ; days++ {
		if noon := time.Date(y, m, d+days, 12, 0, 0, 0, c.zone); days == maxDaysOff || c.Works(noon) {
			return noon
		}
	}
}

func (c *Calendar) midnight(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, c.zone)
}

// Local returns t as clocks of the region show it.
func (c *Calendar) Local(t time.Time) time.Time { return t.In(c.zone) }
