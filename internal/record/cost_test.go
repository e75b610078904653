// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/record"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

// What each operation of the daemon costs the medium, from its first step to its
// last: slots of 8192 bytes, and on `pdb:` a page of 4096 with the header beside
// each.
func TestWhatEachOperationCostsTheMedium(t *testing.T) {
	svc := apitest.Start(t)
	table := &strings.Builder{}
	row := func(name string, p place, c record.Cost) {
		fmt.Fprintf(table, "| %s | %s | %d | %d | %d | %d |\n", name, p.name, c.Writes, c.WrittenBytes, c.Flushes, c.ReadBytes)
	}
	for _, p := range everywhere {
		t.Run(p.name, func(t *testing.T) {
			for _, op := range operations {
				s := newSystem(t, p, nil, svc)
				l := op.before(t, s)
				before := s.kept.Cost
				op.run(t, l)
				must(t, l.idle())
				cost := s.kept.Cost.Since(before)
				row(op.name, p, cost)
				l.close()
				// The figure of the design: two slot writes and two flushes, and one of each
				// more for a counted attempt; a link also rehearses, and the first contact makes the store.
				most := map[string]int{"first contact": 7, "link": 3, "a wrong recovery code": 1, "the recovery code": 3}[op.name]
				if most == 0 {
					most = 2
				}
				written := most * slotBytes
				if p.android {
					written += most * 4096
				}
				if cost.Flushes > most || cost.WrittenBytes > written {
					t.Errorf("%s costs %+v, and may cost %d flushes and %d bytes", op.name, cost, most, written)
				}
			}
		})
	}
	t.Logf("on a partition of 64 KiB\n| operation | medium | writes | bytes written | flushes | bytes read |\n%s", table)
}
