// SPDX-License-Identifier: Apache-2.0

package i18n

import (
	"strconv"
	"time"
)

// Dates is how a language writes a day.
type Dates struct {
	// Days begins with Sunday, Months with January, as time.Weekday and
	// time.Month count.
	Days   []string `toml:"days"`
	Months []string `toml:"months"`
	// Day is a text with {weekday}, {day}, {month} and {year}.
	Day string `toml:"day"`
	// Moment is a text with {day} and {time}.
	Moment string `toml:"moment"`
}

// Day writes a day, such as 'Monday, 3 March 2027'.
func (p *Printer) Day(t time.Time) string {
	return fill(p.dates.Day, []string{
		"weekday", p.dates.Days[t.Weekday()], "month", p.dates.Months[t.Month()-1],
		"day", strconv.Itoa(t.Day()), "year", strconv.Itoa(t.Year()),
	})
}

// Moment writes a time as short as it can be told from now, in now's zone.
func (p *Printer) Moment(t, now time.Time) string {
	t = t.In(now.Location())
	clock := t.Format("15:04")
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return clock
	}
	return fill(p.dates.Moment, []string{"day", p.Day(t), "time", clock})
}
