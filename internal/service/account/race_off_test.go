// SPDX-License-Identifier: Apache-2.0

//go:build !race

package account_test

const raced = false
