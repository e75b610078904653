// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"slices"
	"testing"

	"github.com/accountlock/accountlock/internal/service/store"
)

func TestTuplesAreFilledUpWithTheLast(t *testing.T) {
	for name, c := range map[string]struct {
		rows [][]any
		text string
		args []any
	}{
		"one":         {[][]any{{"a"}}, "($1)", []any{"a"}},
		"one of two":  {[][]any{{"a", 1}}, "($1, $2)", []any{"a", 1}},
		"five of one": {[][]any{{"a"}, {"b"}, {"c"}, {"d"}, {"e"}}, "($1), ($2), ($3), ($4), ($5), ($6)", []any{"a", "b", "c", "d", "e", "e"}},
		"as many as there are places": {
			[][]any{{"a"}, {"b"}, {"c"}, {"d"}}, "($1), ($2), ($3), ($4)", []any{"a", "b", "c", "d"},
		},
	} {
		text, args := store.Tuples(c.rows...)
		if text != c.text || !slices.Equal(args, c.args) {
			t.Errorf("%s: got %s %v, want %s %v", name, text, args, c.text, c.args)
		}
	}
	most := make([][]any, store.MaxTuples)
	for i := range most {
		most[i] = []any{i}
	}
	if _, args := store.Tuples(most...); len(args) != store.MaxTuples || args[store.MaxTuples-1] != store.MaxTuples-1 {
		t.Errorf("as many as it takes: %v", args)
	}
}
