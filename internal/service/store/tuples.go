// SPDX-License-Identifier: Apache-2.0

package store

import (
	"strconv"
	"strings"
)

// MaxTuples is how many Tuples takes.
const MaxTuples = 64

// tuples are the texts that Tuples has, by width and number.
var tuples = func() map[[2]int]string {
	out := map[[2]int]string{}
	for _, width := range []int{1, 2} {
		for _, n := range tupleNumbers {
			all := make([]string, n)
			for i := range all {
				one := make([]string, width)
				for j := range one {
					one[j] = "$" + strconv.Itoa(i*width+j+1)
				}
				all[i] = "(" + strings.Join(one, ", ") + ")"
			}
			out[[2]int{width, n}] = strings.Join(all, ", ")
		}
	}
	return out
}()

// tupleNumbers are few, so that the databases keep the queries prepared.
var tupleNumbers = []int{1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, MaxTuples}

// Tuples returns '($1, $2), ($3, $4), …' for one to MaxTuples rows of values, each as wide as the
// first (one or two), and the values in order. There may be more in it than were given: the last one
// again, which what it is for must take.
func Tuples(rows ...[]any) (text string, args []any) {
	width, n := len(rows[0]), 0
	for _, n = range tupleNumbers {
		if n >= len(rows) {
			break
		}
	}
	args = make([]any, 0, n*width)
	for i := range n {
		args = append(args, rows[min(i, len(rows)-1)]...)
	}
	return tuples[[2]int{width, n}], args
}
