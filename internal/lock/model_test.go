// SPDX-License-Identifier: Apache-2.0

package lock_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/lock"
)

// move is one thing that can happen.
type move struct {
	name string
	do   func(w *world)
}

// String is what rapid shows of it.
func (m move) String() string { return m.name }

func moves() []move {
	var all []move
	add := func(name string, do func(*world)) { all = append(all, move{name, do}) }
	for _, k := range []lock.Kind{lock.KindLink, lock.KindUnlock, lock.KindSignOut, lock.KindUnlink} {
		add("begin "+string(k), func(w *world) { w.begin(k) })
	}
	for cut := range 4 {
		but := []string{"", ", but the power fails in the first slot", ", but the power fails between the slots", ", but the power fails in the second slot"}[cut]
		add("go on"+but, func(w *world) { w.goOn(cut) })
		add("check in"+but, func(w *world) {
			if w.op == nil {
				w.contact(cut)
			}
		})
		add("write the record for another reason"+but, func(w *world) { w.change(w.record, w.status, false, cut) })
	}
	add("reboot", func(w *world) { w.boot() })
	add("factory reset", func(w *world) { w.marker, w.op, w.reset = nil, nil, true; w.boot() })
	for i := range 2 {
		add(fmt.Sprintf("slot %d is damaged", i), func(w *world) { w.slots[i].damaged = !w.blank; w.boot() })
	}
	add("the record store is lost", func(w *world) { w.blank, w.slots = true, [2]slotModel{}; w.boot() })
	add("the owner marks it lost", func(w *world) { w.serviceChange("lost", "linked", "lost") })
	add("the owner marks it found", func(w *world) { w.serviceChange("linked", "lost") })
	add("it is released", func(w *world) { w.serviceChange("unlinked", "linked", "lost", "signed-out") })
	add("the account is deleted", func(w *world) { w.serviceChange("account-deleted", "linked", "lost", "signed-out") })
	add("the reservation expires", func(w *world) { w.expire() })
	return all
}

// worldKey is what of a world can make a difference to what comes: two worlds
// of one key go the same ways. Names and numbers count only as far as they are
// equal or in order; of the service's links only the newest and the one before
// it can come up again.
type worldKey struct {
	newest, previous string
	status           lock.Status
	reset, marker    bool
	record           recordKey
	blank            bool
	slots            [2]slotKey
	op               operationKey
}

type recordKey struct {
	armed, lost, rebuilt, distrusted bool
	link                             linkName
	generation                       int // against the service's of that link
	marker, operation                bool
}

type slotKey struct {
	damaged bool
	order   int
	record  recordKey
}

type operationKey struct {
	kind   lock.Kind
	step   int
	link   linkName
	marker bool
}

type linkName int

const (
	noLink linkName = iota
	newestLink
	previousLink
	otherLink
)

func (w *world) key() worldKey {
	previous := serviceLink{status: "none"}
	if n := len(w.links); n > 1 {
		previous = w.links[n-2]
	}
	newest := *w.newest()
	name := func(id string) linkName {
		switch id {
		case "":
			return noLink
		case newest.ID:
			return newestLink
		case previous.ID:
			return previousLink
		}
		return otherLink
	}
	record := func(r lock.Record) recordKey {
		k := recordKey{
			armed: r.Armed, lost: r.Lost, rebuilt: r.Rebuilt, distrusted: r.Distrusted, link: name(r.Link.ID),
			marker:    lock.MarkerMatches(r, w.marker),
			operation: w.op != nil && bytes.Equal(w.op.hash, r.MarkerHash),
		}
		switch k.link {
		case newestLink:
			k.generation = cmp.Compare(r.Link.Generation, newest.Generation)
		case previousLink:
			k.generation = cmp.Compare(r.Link.Generation, previous.Generation)
		case noLink, otherLink:
		}
		return k
	}
	k := worldKey{
		newest: newest.status, previous: previous.status, status: w.status, reset: w.reset, marker: w.marker != nil,
		record: record(w.record), blank: w.blank,
	}
	for i, s := range w.slots {
		if !w.blank && !s.damaged {
			k.slots[i] = slotKey{false, max(-2, min(2, s.sequence-w.slots[1-i].sequence)), record(s.record)}
		} else if !w.blank {
			k.slots[i].damaged = true
		}
	}
	if w.op != nil {
		k.op = operationKey{w.op.kind, w.op.step, name(w.op.link), lock.MarkerMatches(lock.Record{MarkerHash: w.op.hash}, w.marker)}
	}
	return k
}

func TestTheInvariantsHoldInEveryReachableState(t *testing.T) {
	type visited struct {
		w    *world
		from int
		by   string
	}
	all := []visited{{w: newWorld(), from: -1}}
	known := map[worldKey]bool{all[0].w.key(): true}
	pairs := map[string]bool{}
	steps, every := 0, moves()
	path := func(i int) string {
		var names []string
		for ; all[i].from >= 0; i = all[i].from {
			names = append(names, all[i].by)
		}
		slices.Reverse(names)
		return strings.Join(names, "\n  ")
	}
	w := &world{}
	for i := 0; i < len(all); i++ {
		for _, m := range every {
			steps++
			w.become(all[i].w)
			m.do(w)
			key := w.key()
			if known[key] {
				continue
			}
			known[key] = true
			pairs[w.status.String()+", "+w.newest().status+" at the service"] = true
			all = append(all, visited{w.clone(), i, m.name})
			if err := w.check(); err != nil {
				t.Fatalf("%v after:\n  %s", err, path(len(all)-1))
			}
		}
	}
	t.Logf("%d states reached by %d moves, all of them looked at; %d pairs of a status here and at the service", len(all), steps, len(pairs))
	if len(pairs) < 30 {
		t.Errorf("the model does not get around: %v", pairs)
	}
}

// The same moves in a long random order, without taking any two states for one.
func TestTheInvariantsHoldOnAnyWay(t *testing.T) {
	every := moves()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for _, m := range rapid.SliceOfN(rapid.SampledFrom(every), 100, 400).Draw(t, "moves") {
			m.do(w)
			if err := w.check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
