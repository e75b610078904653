// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"fmt"
	"testing"

	"github.com/accountlock/accountlock/internal/flow"
)

func TestEventsAreKeptUnderOneNameUntilTheyAreDropped(t *testing.T) {
	j := open(t, t.TempDir())
	for i := range 700 {
		if err := j.AddEvent(t.Context(), flow.Event{Kind: "locked", Time: int64(i), Detail: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	first, events, err := j.NextEvents(t.Context(), "first")
	if err != nil || first != "first" || len(events) != 100 || events[0].Time != 200 {
		t.Fatalf("%q, %d events, %v: the newest 500 are kept, and told a hundred at once", first, len(events), err)
	}
	// What happens meanwhile, and another life of the daemon, do not change a batch.
	if err := j.AddEvent(t.Context(), flow.Event{Kind: "unlocked"}); err != nil {
		t.Fatal(err)
	}
	again, same, err := j.NextEvents(t.Context(), "second")
	if err != nil || again != "first" || len(same) < 99 {
		t.Fatalf("%q, %d events, %v", again, len(same), err)
	}
	if err := j.DropEvents(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	if next, rest, err := j.NextEvents(t.Context(), "third"); err != nil || next != "third" || rest[0].Time != 300 {
		t.Fatalf("%q %v %v", next, rest[0], err)
	}
	if err := j.WipeAccount(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, left, err := j.NextEvents(t.Context(), "fourth"); err != nil || len(left) != 0 {
		t.Fatalf("after the account's data was wiped: %v %v", left, err)
	}
}

func TestAStartIsNotedOnceABoot(t *testing.T) {
	j := open(t, t.TempDir())
	for _, boot := range []string{"a", "a", "b", "b"} {
		if err := j.AddStart(t.Context(), boot, flow.Event{Kind: "started", Detail: boot}); err != nil {
			t.Fatal(err)
		}
	}
	_, events, err := j.NextEvents(t.Context(), "name")
	if err != nil || len(events) != 2 {
		t.Fatalf("%v %v", events, err)
	}
}
