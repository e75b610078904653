// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/lock"
)

var linkStatuses = []lock.LinkStatus{
	lock.StatusLinked, lock.StatusLost, lock.StatusSignedOut, lock.StatusUnlinked, lock.StatusAccountDeleted,
}

func TestWhatAStatementSaysToARecord(t *testing.T) {
	link := func(id string, generation uint64) lock.Link { return lock.Link{ID: id, Generation: generation} }
	of := func(id string, generation uint64) lock.Record {
		return armed(func(r *lock.Record) { r.Link = link(id, generation) })
	}
	// want has one event for each of linked, lost, signed-out, unlinked and
	// account-deleted; "" is none.
	for _, c := range []struct {
		name   string
		record lock.Record
		link   lock.Link
		ended  string
		want   [5]lock.Event
	}{
		{"about the record's link", of("l-1", 3), link("l-1", 3), "", [5]lock.Event{
			lock.StatedLinked, lock.StatedLost, lock.StatedSignedOut, lock.StatedUnlinked, lock.StatedUnlinked}},
		{"about the record's link, after a change there", of("l-1", 3), link("l-1", 9), "", [5]lock.Event{
			lock.StatedLinked, lock.StatedLost, lock.StatedSignedOut, lock.StatedUnlinked, lock.StatedUnlinked}},
		{"held back: from before the record's generation", of("l-1", 3), link("l-1", 2), "", [5]lock.Event{}},
		{"about another link", of("l-1", 3), link("l-2", 9), "", [5]lock.Event{}},
		{"about another link, and one that is not the record's has ended", of("l-1", 3), link("l-2", 9), "l-0", [5]lock.Event{}},
		{"the record's link has ended, another one is in force", of("l-1", 3), link("l-2", 1), "l-1", [5]lock.Event{
			lock.StatedElsewhere, lock.StatedElsewhere, lock.StatedSignedOut, lock.StatedUnlinked, lock.StatedUnlinked}},
		{"the record's link has ended, none is in force", of("l-1", 3), lock.Link{}, "l-1", [5]lock.Event{
			lock.StatedElsewhere, lock.StatedElsewhere, lock.StatedSignedOut, lock.StatedUnlinked, lock.StatedUnlinked}},
		{"the service knows no link at all", of("l-1", 3), lock.Link{}, "", [5]lock.Event{
			"", "", "", lock.StatedUnlinked, lock.StatedUnlinked}},
		{"to a record without a link", of("", 0), link("l-1", 1), "", [5]lock.Event{
			lock.StatedLinked, lock.StatedLost, lock.StatedSignedOut, lock.StatedUnlinked, lock.StatedUnlinked}},
		{"to a record without a link, and none is known", of("", 0), lock.Link{}, "", [5]lock.Event{
			lock.StatedLinked, lock.StatedLost, lock.StatedSignedOut, lock.StatedUnlinked, lock.StatedUnlinked}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, status := range linkStatuses {
				s := lock.Statement{Status: status, Link: c.link, Ended: c.ended}
				if e, ok := s.EventFor(c.record); e != c.want[i] || ok != (e != "") {
					t.Errorf("%s: got %q, %v", status, e, ok)
				}
			}
			for _, status := range []lock.LinkStatus{"", "free", "Unlinked"} {
				if e, ok := (lock.Statement{Status: status, Link: c.link, Ended: c.ended}).EventFor(c.record); ok {
					t.Errorf("the word %q makes %q", status, e)
				}
			}
		})
	}
}

// A statement that is not about the record's link opens nothing, whatever else
// it says.
func TestAStatementAboutAnotherLinkOrAnEarlierTimeSaysNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := armed()
		s := lock.Statement{
			Status: rapid.SampledFrom(linkStatuses).Draw(t, "status"),
			Link: lock.Link{
				ID:         rapid.SampledFrom([]string{"l-1", "l-2", "l-3"}).Draw(t, "link"),
				Generation: rapid.Uint64Range(0, 9).Draw(t, "generation"),
			},
			Ended: rapid.SampledFrom([]string{"", "l-0", "l-2"}).Draw(t, "ended"),
		}
		if e, ok := s.EventFor(r); ok != (s.Link.ID == "l-1" && s.Link.Generation >= 3) {
			t.Fatalf("%+v makes %q", s, e)
		}
	})
}

func TestAStatementsChangeCarriesAllButTheAccount(t *testing.T) {
	s := lock.Statement{
		Status: lock.StatusLost, Link: lock.Link{ID: "l-1", Generation: 2}, Ended: "l-0", Hint: "h", LostMessage: "m", LostContact: "c", Time: 5,
	}
	want := lock.Change{Link: s.Link, Hint: "h", LostMessage: "m", LostContact: "c", Time: 5}
	if got := s.Change(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}
