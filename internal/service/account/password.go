// SPDX-License-Identifier: Apache-2.0

package account

import (
	_ "embed"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// The bounds of a password, in characters (Unicode code points after NFC, as
// NIST SP 800-63B-4, 3.1.1.2 counts them).
const (
	MinPassword = 8
	MaxPassword = 128
)

// maxPasswordBytes bounds what is looked at at all, as the account API does.
const maxPasswordBytes = 1024

// normalPassword returns p in Unicode NFC, in bytes of its own, which the caller wipes.
// What no password can be is fault.InvalidArgument, and is not counted: it
// says nothing about any account.
func normalPassword(p accountapi.Secret) (accountapi.Secret, error) {
	if len(p) == 0 || len(p) > maxPasswordBytes || !utf8.Valid(p) {
		return nil, fault.Newf(fault.InvalidArgument, "The password is empty, longer than 1024 bytes, or no text.")
	}
	return norm.NFC.Append(make([]byte, 0, 2*len(p)), p...), nil
}

// CheckPassword refuses, with fault.WeakPassword, a password that no account
// may have: NIST SP 800-63B-4, 3.1.1.2, with the design's bounds of length. There are
// no rules of composition. taken are the identifiers of its account.
func CheckPassword(password accountapi.Secret, taken ...Identifier) error {
	return checkPassword(password, nil, taken)
}

// checkPassword is CheckPassword where own words of a service are guessed first too.
func checkPassword(password accountapi.Secret, own map[string]bool, taken []Identifier) error {
	p, err := normalPassword(password)
	if err != nil {
		return err
	}
	defer p.Wipe()
	switch n := utf8.RuneCount(p); {
	case n < MinPassword:
		return fault.Newf(fault.WeakPassword, "The password has fewer than %d characters.", MinPassword)
	case n > MaxPassword:
		return fault.Newf(fault.WeakPassword, "The password has more than %d characters.", MaxPassword)
	}
	lower := strings.ToLower(string(p))
	for _, id := range taken {
		if namesAccount(lower, id) {
			return fault.Newf(fault.WeakPassword, "The password is the account's own name.")
		}
	}
	if isCommon(lower, own) {
		return fault.Newf(fault.WeakPassword, "The password is one of those that are guessed first.")
	}
	return nil
}

// checkBreached refuses a password, in NFC, that the list has. fails shut: a list that
// cannot be read refuses every new password, and whoever runs the service reads why.
func (s *Service) checkBreached(p accountapi.Secret) error {
	if s.breached == nil {
		return nil
	}
	known, err := s.breached.Has(p)
	switch {
	case err != nil:
		s.log.Error("no new password is taken", "error", err)
		return fault.New(fault.ServiceUnavailable, err)
	case known:
		return fault.Newf(fault.WeakPassword, "The password became known in a theft of data, and guessers have it on their lists.")
	}
	return nil
}

// namesAccount reports whether a password, in lower case, is an identifier, or
// the part of one that somebody would guess.
func namesAccount(lower string, id Identifier) bool {
	if lower == strings.ToLower(id.Value) || lower == strings.ToLower(id.Address) {
		return true
	}
	switch id.Kind {
	case KindEmail:
		local, domain, _ := strings.Cut(id.Value, "@")
		return lower == local || lower == domain
	case KindPhone:
		// With or without the country code, however it is grouped.
		digits := strings.Map(keepDigit, lower)
		return len(digits) >= MinPassword && len(digits) > utf8.RuneCountInString(lower)/2 &&
			strings.HasSuffix(id.Value, strings.TrimLeft(digits, "0"))
	case KindAccountID:
	}
	return false
}

func keepDigit(r rune) rune {
	if r >= '0' && r <= '9' {
		return r
	}
	return -1
}

// commonText holds words that the most frequent passwords are made of, one a
// line, in lower case without digits at the end.
//
//go:embed common.txt
var commonText string

// maxEnd is how many digits and signs before or after a common word do not
// make it uncommon: 'Sunshine2024!'. So do any that count: 'password123456789'.
const maxEnd = 5

// minWord is the length, in bytes, below which nothing is a word.
const minWord = 3

// isCommon reports whether a password, in lower case, is on the list, or among own words, as it is,
// or after what people do to such a word: letters written as digits, digits and
// signs around it, the word twice; or whether it repeats itself or counts.
func isCommon(lower string, own map[string]bool) bool {
	if repeats(lower) || counts(lower) {
		return true
	}
	for _, w := range forms(lower) {
		if half := w[:len(w)/2]; listed(w) || own[w] || half+half == w && (listed(half) || own[half]) {
			return true
		}
	}
	return false
}

// forms are a word, in lower case, and what it may have been made of.
func forms(lower string) []string {
	bare := bareWord(lower)
	return []string{lower, bare, unleet.Replace(lower), unleet.Replace(bare)}
}

func bareWord(s string) string {
	notLetter := func(r rune) bool { return !unicode.IsLetter(r) }
	for _, trim := range []func(string, func(rune) bool) string{strings.TrimRightFunc, strings.TrimLeftFunc} {
		bare := trim(s, notLetter)
		end := strings.TrimSuffix(strings.TrimPrefix(s, bare), bare)
		if len(end) <= maxEnd || counts(end) || repeats(end) {
			s = bare
		}
	}
	return s
}

var unleet = strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "@", "a", "$", "s", "!", "i")

func listed(w string) bool {
	return len(w) >= minWord && strings.Contains(commonText, "\n"+w+"\n")
}

// repeats reports whether s is one piece of at most four characters over and over.
func repeats(s string) bool {
	r := []rune(s)
	for period := 1; period <= 4 && period*2 <= len(r); period++ {
		same := true
		for i := period; i < len(r) && same; i++ {
			same = r[i] == r[i-period]
		}
		if same {
			return true
		}
	}
	return false
}

// counts reports whether each character follows the one before, up or down, in
// the alphabet or along a row of a keyboard.
func counts(s string) bool {
	for _, row := range []string{"01234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiopü", "asdfghjkl", "yxcvbnm", "zxcvbnm", "azertyuiop", "1qaz2wsx3edc4rfv5tgb6yhn", "1q2w3e4r5t6z7u8i9o0p", "1q2w3e4r5t6y7u8i9o0p", "йцукенгшщзхъ"} {
		if strings.Contains(row, s) || strings.Contains(backwards(row), s) {
			return true
		}
	}
	return false
}

func backwards(s string) string {
	r := []rune(s)
	for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
		r[i], r[j] = r[j], r[i]
	}
	return string(r)
}
