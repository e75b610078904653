// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/lock"
)

var update = flag.Bool("update", false, "write the golden files anew")

const goldenTable = "testdata/transitions.golden"

// TestEveryPairOfStatusAndEventIsAsTheGoldenTableSays holds the whole of what
// can happen against a table that is read by people: a change of a row there is
// a change of what the lock means.
func TestEveryPairOfStatusAndEventIsAsTheGoldenTableSays(t *testing.T) {
	var b strings.Builder
	b.WriteString("# status | event | status after | effects, in order\n")
	for _, s := range lock.Statuses() {
		b.WriteString("\n")
		for _, e := range lock.Events() {
			fmt.Fprintf(&b, "%-21s | %-16s | ", s, e)
			after, effects, err := lock.Transition(s, e)
			if err != nil {
				b.WriteString("refused\n")
				continue
			}
			words := make([]string, len(effects))
			for i, f := range effects {
				words[i] = string(f)
			}
			fmt.Fprintf(&b, "%-21s | %s\n", after, strings.Join(words, " "))
		}
	}
	if *update {
		if err := os.WriteFile(goldenTable, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenTable)
	if err != nil {
		t.Fatal(err)
	}
	got, lines := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(lines)) {
		g, w := at(got, i), at(lines, i)
		if strings.TrimRight(g, " ") != strings.TrimRight(w, " ") {
			t.Errorf("line %d:\n got %s\nwant %s", i+1, g, w)
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(no line)"
}

func TestARefusedPairChangesNothingAndNamesBoth(t *testing.T) {
	n := 0
	for _, s := range lock.Statuses() {
		for _, e := range lock.Events() {
			after, effects, err := lock.Transition(s, e)
			if err == nil {
				continue
			}
			n++
			var r *lock.Refusal
			if !errors.As(err, &r) || r.Status != s || r.Event != e || after != s || len(effects) != 0 {
				t.Errorf("%s, %s: %v, %v, %v", s, e, after, effects, err)
			}
			if text := err.Error(); !strings.Contains(text, string(e)) || !strings.Contains(text, s.String()) {
				t.Errorf("%s, %s: the refusal says %q", s, e, text)
			}
		}
	}
	if n == 0 {
		t.Error("nothing is refused")
	}
	for _, s := range []lock.Status{{}, {State: "other"}, {State: lock.Locked}, {State: lock.Linked, Reason: lock.Lost}} {
		for _, e := range append(lock.Events(), "", "other") {
			if _, _, err := lock.Transition(s, e); err == nil {
				t.Errorf("%q takes %q", s, e)
			}
		}
	}
}

// What must hold of every row, whatever the table says.
func TestNoRowOpensOrLocksWithoutItsEffect(t *testing.T) {
	for _, s := range lock.Statuses() {
		for _, e := range lock.Events() {
			after, effects, err := lock.Transition(s, e)
			if err != nil {
				continue
			}
			opens, shuts := slices.Contains(effects, lock.OpenGate), slices.Contains(effects, lock.ShutGate)
			if opens != (!s.Open() && after.Open()) || shuts != (s.Open() && !after.Open()) {
				t.Errorf("%s, %s to %s: the gate is told %v", s, e, after, effects)
			}
			if i := max(slices.Index(effects, lock.OpenGate), slices.Index(effects, lock.ShutGate)); i >= 0 && i != len(effects)-1 {
				t.Errorf("%s, %s: the gate is told before the record is written: %v", s, e, effects)
			}
			// The record must say the same at the next boot as the status does now.
			if r := (lock.Record{}).Apply(effects, lock.Change{}); !after.Open() && len(effects) > 1 && !r.Armed {
				t.Errorf("%s, %s to %s: the record is not armed", s, e, after)
			}
		}
	}
}

func TestTheCallerMayChangeTheEffectsItWasGiven(t *testing.T) {
	first := lock.LockedFor(lock.Lost)
	_, effects, err := lock.Transition(first, lock.UnlockDone)
	if err != nil {
		t.Fatal(err)
	}
	effects[0] = "spoilt"
	if _, again, _ := lock.Transition(first, lock.UnlockDone); again[0] == "spoilt" {
		t.Error("the table was changed")
	}
}

func TestKindsMayBeginWhereTheDesignSaysSo(t *testing.T) {
	states := []lock.State{lock.Unlinked, lock.Linked, lock.SignedOut, lock.Locked}
	for kind, want := range map[lock.Kind][]lock.State{
		lock.KindUnlock:  {lock.Locked},
		lock.KindLink:    {lock.Unlinked, lock.SignedOut},
		lock.KindSignOut: {lock.Linked},
		lock.KindUnlink:  {lock.Linked, lock.SignedOut},
		lock.KindRecover: states,
		lock.KindReset:   {lock.Unlinked, lock.Linked, lock.SignedOut},
		"other":          nil,
	} {
		for _, s := range append(states, "other") {
			err := lock.MayBegin(kind, s)
			var r *lock.KindRefusal
			if allowed := slices.Contains(want, s); allowed != (err == nil) {
				t.Errorf("%s while %s: %v", kind, s, err)
			} else if !allowed && (!errors.As(err, &r) || r.Kind != kind || r.State != s || !strings.Contains(err.Error(), string(kind))) {
				t.Errorf("%s while %s: not named: %v", kind, s, err)
			}
		}
	}
}

func TestOnlyThreeStatusesAreOpen(t *testing.T) {
	open := 0
	for _, s := range lock.Statuses() {
		if s.Open() {
			open++
		}
		if s.Open() != (s.State != lock.Locked) || (s.Reason == lock.NotLocked) != s.Open() {
			t.Errorf("%s: open %v", s, s.Open())
		}
	}
	if open != 3 || (lock.Status{}).Open() || (lock.Status{State: "other"}).Open() {
		t.Errorf("%d statuses are open", open)
	}
}
