// SPDX-License-Identifier: Apache-2.0

package support

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"

	"github.com/accountlock/accountlock/internal/fault"
)

// numberDigits is how many digits a case's number has, the check digit included.
const numberDigits = 9

// damm is the table of H. M. Damm's check digit (Total anti-symmetrische
// Quasigruppen, 2004): it finds every single wrong digit and every two neighbours
// that changed places, which is what goes wrong on the telephone.
var damm = [10][10]byte{
	{0, 3, 1, 7, 5, 9, 8, 6, 4, 2}, {7, 0, 9, 2, 1, 5, 4, 8, 6, 3}, {4, 2, 0, 6, 8, 7, 1, 3, 5, 9}, {1, 7, 5, 0, 9, 8, 3, 4, 2, 6},
	{6, 1, 2, 3, 0, 4, 5, 9, 7, 8}, {3, 6, 7, 4, 2, 0, 9, 5, 8, 1}, {5, 8, 6, 9, 7, 2, 0, 1, 3, 4}, {8, 9, 4, 5, 3, 6, 2, 0, 1, 7},
	{9, 4, 3, 8, 6, 1, 7, 2, 0, 5}, {2, 5, 8, 1, 4, 3, 6, 7, 9, 0},
}

// check is the check digit of digits; that of a whole number is 0.
func check(digits string) byte {
	var c byte
	for i := range len(digits) {
		c = damm[c][digits[i]-'0']
	}
	return c
}

// newNumber draws a number. It is a name and no secret: whoever knows it can do
// nothing by it.
func newNumber() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(100_000_000))
	if err != nil {
		return "", fmt.Errorf("cannot draw a case's number: %w", err)
	}
	digits := fmt.Sprintf("%0*d", numberDigits-1, n)
	return grouped(digits + string('0'+check(digits))), nil
}

func grouped(d string) string { return d[:3] + "-" + d[3:6] + "-" + d[6:] }

// ParseNumber returns a case's number as it is written, from what a person read out,
// or fault.InvalidArgument.
func ParseNumber(typed string) (string, error) {
	digits := strings.NewReplacer(" ", "", "-", "", ".", "").Replace(typed)
	switch {
	case len(digits) != numberDigits || strings.Trim(digits, "0123456789") != "":
		return "", fault.Newf(fault.InvalidArgument, "A case's number has nine digits.")
	case check(digits) != 0:
		return "", fault.Newf(fault.InvalidArgument, "This is no case's number: a digit is wrong, or two have changed places.")
	}
	return grouped(digits), nil
}
