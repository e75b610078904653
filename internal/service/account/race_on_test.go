// SPDX-License-Identifier: Apache-2.0

//go:build race

package account_test

// raced tells that the race detector slows Go code down, and not the assembly
// that Argon2id is: a ratio of the two says nothing then.
const raced = true
