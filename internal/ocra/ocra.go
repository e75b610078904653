// SPDX-License-Identifier: Apache-2.0

// Package ocra owns the OATH Challenge-Response Algorithm of RFC 6287: what
// answers a challenge, given a key that both sides have. It is a pure function
// of its arguments.
//
// It must not know what a challenge is for, count attempts or keep a key.
// Session information (RFC 6287, 6.3, "S") is left out: nothing here uses it.
package ocra

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6287 names it; the suite that accountlock uses is over SHA-256
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// questionSize is what a question is padded to, in bytes (RFC 6287, 5.1).
const questionSize = 128

// Suite is an OCRASuite (RFC 6287, 6): which function answers, how many digits
// the answer has and what goes into it. The zero Suite is none.
type Suite struct {
	name     string
	hash     func() hash.Hash
	digits   int
	counter  bool
	format   byte // of the question: A, N or H
	question int  // its greatest length, in characters
	pin      func() hash.Hash
	step     time.Duration
}

// Input is what a response is computed over. Parts that the suite does not name
// are left aside.
type Input struct {
	Counter uint64
	// Question is the challenge, in the suite's form.
	Question string
	// PIN is hashed here, by the function that the suite names.
	PIN []byte
	// Time is cut into the suite's steps since the epoch.
	Time time.Time
}

var (
	errSuite    = errors.New("cannot use the OCRA suite")
	errQuestion = errors.New("cannot use the OCRA question")
)

var functions = map[string]func() hash.Hash{"SHA1": sha1.New, "SHA256": sha256.New, "SHA512": sha512.New}

// Parse reads a suite such as OCRA-1:HOTP-SHA256-8:QN10.
func Parse(name string) (Suite, error) {
	s := Suite{name: name}
	parts := strings.Split(name, ":")
	if len(parts) != 3 || parts[0] != "OCRA-1" {
		return Suite{}, fmt.Errorf("%w %q: it has not three parts", errSuite, name)
	}
	if err := s.function(parts[1]); err != nil {
		return Suite{}, fmt.Errorf("%w %q: %w", errSuite, name, err)
	}
	if err := s.inputs(strings.Split(parts[2], "-")); err != nil {
		return Suite{}, fmt.Errorf("%w %q: %w", errSuite, name, err)
	}
	return s, nil
}

// MustParse is Parse for a suite that is written in the program.
func MustParse(name string) Suite {
	s, err := Parse(name)
	if err != nil {
		panic(err)
	}
	return s
}

func (s *Suite) function(text string) error {
	parts := strings.Split(text, "-")
	if len(parts) != 3 || parts[0] != "HOTP" || functions[parts[1]] == nil {
		return fmt.Errorf("%q is no function", text)
	}
	n, err := strconv.Atoi(parts[2])
	if err != nil || n < 4 || n > 10 {
		return fmt.Errorf("%q is no number of digits", parts[2])
	}
	s.hash, s.digits = functions[parts[1]], n
	return nil
}

// inputs reads [C] QFxx [PH] [TG], in that order.
func (s *Suite) inputs(parts []string) error {
	if parts[0] == "C" {
		s.counter, parts = true, parts[1:]
	}
	if len(parts) == 0 || len(parts[0]) != 4 || parts[0][0] != 'Q' || !strings.ContainsRune("ANH", rune(parts[0][1])) {
		return errors.New("it names no question")
	}
	n, err := strconv.Atoi(parts[0][2:])
	if err != nil || n < 4 || n > 64 {
		return fmt.Errorf("%q is no length of a question", parts[0][2:])
	}
	s.format, s.question, parts = parts[0][1], n, parts[1:]
	if len(parts) > 0 && strings.HasPrefix(parts[0], "P") {
		if s.pin = functions[parts[0][1:]]; s.pin == nil {
			return fmt.Errorf("%q is no hash of a PIN", parts[0])
		}
		parts = parts[1:]
	}
	if len(parts) > 0 && strings.HasPrefix(parts[0], "T") {
		if s.step = timeStep(parts[0][1:]); s.step == 0 {
			return fmt.Errorf("%q is no time step", parts[0])
		}
		parts = parts[1:]
	}
	if len(parts) > 0 {
		return fmt.Errorf("%q is not understood", parts[0])
	}
	return nil
}

// timeStep reads 1 to 59 seconds or minutes, or up to 48 hours; 0 is none of them.
func timeStep(text string) time.Duration {
	if text == "" {
		return 0
	}
	unit, most := time.Second, 59
	switch text[len(text)-1] {
	case 'S':
	case 'M':
		unit = time.Minute
	case 'H':
		unit, most = time.Hour, 48
	default:
		return 0
	}
	n, err := strconv.Atoi(text[:len(text)-1])
	if err != nil || n < 1 || n > most {
		return 0
	}
	return time.Duration(n) * unit
}

// Digits is how many digits a response has.
func (s Suite) Digits() int { return s.digits }

// Response answers in under key. A question that the suite does not take is an
// error.
func (s Suite) Response(key []byte, in Input) (string, error) {
	q, err := s.pad(in.Question)
	if err != nil {
		return "", err
	}
	data := append([]byte(s.name), 0)
	if s.counter {
		data = binary.BigEndian.AppendUint64(data, in.Counter)
	}
	data = append(data, q...)
	if s.pin != nil {
		h := s.pin()
		h.Write(in.PIN)
		data = h.Sum(data)
	}
	if s.step > 0 {
		data = binary.BigEndian.AppendUint64(data, uint64(in.Time.Unix()/int64(s.step/time.Second))) //nolint:gosec // the bits are what the RFC asks for
	}
	mac := hmac.New(s.hash, key)
	mac.Write(data)
	return truncate(mac.Sum(nil), s.digits), nil
}

// pad brings a question to the 128 bytes of the data input. A number is
// written in hexadecimal and, as the RFC's own program does it, filled up on
// the right digit by digit, not byte by byte.
func (s Suite) pad(question string) ([]byte, error) {
	// In mutual use (RFC 6287, 7.2) the question is both sides' one behind the other.
	if question == "" || len(question) > 2*s.question {
		return nil, fmt.Errorf("%w: it has %d characters", errQuestion, len(question))
	}
	digits := question
	switch s.format {
	case 'A':
		digits = hex.EncodeToString([]byte(question))
	case 'N':
		if strings.Trim(question, "0123456789") != "" {
			return nil, fmt.Errorf("%w: it is no number", errQuestion)
		}
		n, _ := new(big.Int).SetString(question, 10)
		digits = n.Text(16)
	}
	out, err := hex.DecodeString(digits + strings.Repeat("0", 2*questionSize-len(digits)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errQuestion, err)
	}
	return out, nil
}

// truncate is the dynamic truncation of RFC 4226, 5.3.
func truncate(mac []byte, digits int) string {
	at := mac[len(mac)-1] & 0xf
	n := uint64(binary.BigEndian.Uint32(mac[at:]) & 0x7fffffff)
	mod := uint64(1)
	for range digits {
		mod *= 10
	}
	return fmt.Sprintf("%0*d", digits, n%mod)
}

// OfflineCode is the suite of accountlock's offline codes: a challenge of ten
// digits and a response of eight.
var OfflineCode = MustParse("OCRA-1:HOTP-SHA256-8:QN10")

// OfflineQuestion is how many digits a challenge for OfflineCode has.
const OfflineQuestion = 10
