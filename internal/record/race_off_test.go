// SPDX-License-Identifier: Apache-2.0

//go:build !race

package record_test

// raceDetector: the tests run several times slower; enumerations are smaller.
const raceDetector = false
