// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
)

func TestPasswordsThatAreFine(t *testing.T) {
	for name, p := range map[string]string{
		"eight characters":             "kR7;vq2n",
		"a passphrase":                 "two herons by the mill",
		"letters alone":                "pelikantinte",
		"digits alone, of no order":    "7305918264",
		"a common word among others":   "sunshine on leith street",
		"a word with many digits":      "dragon70315982",
		"128 characters":               strings.Repeat("kR7;vq2n", 16),
		"eight characters of 24 bytes": "夏草や兵どもが夢",
		"letters decomposed":           "u\u0308bermu\u0308tig",
		"spaces":                       " a  b  c ",
	} {
		t.Run(name, func(t *testing.T) {
			if err := account.CheckPassword(accountapi.Secret(p)); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

func TestPasswordsThatAreGuessedFirstAreRefused(t *testing.T) {
	for _, p := range []string{
		"password", "PASSWORD", "Password1", "P@ssw0rd!", "p4$$w0rd", "passwordpassword", "password123456789", "1234567890", "87654321",
		"abcdefgh", "qwertyuiop", "qwertzuiop", "1q2w3e4r5t", "aaaaaaaa", "abababab", "123412341234", "iloveyou", "1loveyou!", "Sunshine2024!",
		"letmein1", "trustno1", "accountlock1", "12345sunshine", "Passwort1", "hallo123", "bayern1900", "mustang69",
	} {
		err := account.CheckPassword(accountapi.Secret(p))
		if fault.CodeOf(err) != fault.WeakPassword {
			t.Errorf("%q: %v", p, err)
		} else if p != "password" && strings.Contains(err.Error(), p) {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}

func TestTheServicesOwnWordsAreGuessedFirstToo(t *testing.T) {
	w := newWorld(t, func(c *account.Config) { c.Own = []string{"VendorPhone7", "7"} })
	jane := w.jane()
	for _, p := range []string{"vendorphone7", "Vendorphone7!", "V3ndorphone7", "vendorphone", "VendorPhone2027", "vendorphonevendorphone"} {
		for way, err := range w.choosing(jane, p) {
			if fault.CodeOf(err) != fault.WeakPassword {
				t.Errorf("%s as %s: %v", p, way, err)
			}
		}
	}
	if err := w.MayHave(t.Context(), jane.ID, accountapi.Secret("Vendorphone7!")); fault.CodeOf(err) != fault.WeakPassword {
		t.Errorf("before the change: %v", err)
	}
	for _, p := range []string{"the vendor phones at 7", "7305918264"} {
		if err := w.MayHave(t.Context(), jane.ID, accountapi.Secret(p)); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestPasswordsOfTheWrongLengthAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		password string
		code     fault.Code
	}{
		"seven characters":           {"kR7;vq2", fault.WeakPassword},
		"seven characters, 21 bytes": {"夏草や兵どもが", fault.WeakPassword},
		"seven after composing":      {"u\u0308bermu\u0308", fault.WeakPassword},
		"129 characters":             {strings.Repeat("kR7;vq2n", 16) + "x", fault.WeakPassword},
		"more than 1024 bytes":       {strings.Repeat("x", 1025), fault.InvalidArgument},
		"none":                       {"", fault.InvalidArgument},
		"no text":                    {"kR7;vq2n\xff", fault.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			if err := account.CheckPassword(accountapi.Secret(c.password)); fault.CodeOf(err) != c.code {
				t.Errorf("got %v, want %s", err, c.code)
			}
		})
	}
}

func TestPasswordMayNotBeTheNameOfItsAccount(t *testing.T) {
	var ids []account.Identifier
	for _, s := range []string{"Wilhelmina@example.org", "+4915155501042", "9876543210"} {
		id, err := account.ParseIdentifier(s, "")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	for _, p := range []string{"wilhelmina@EXAMPLE.org", "Wilhelmina", "example.org", "+4915155501042", "01515 5501042", "1515-5501042", "9876543210"} {
		if err := account.CheckPassword(accountapi.Secret(p), ids...); fault.CodeOf(err) != fault.WeakPassword {
			t.Errorf("%q: %v", p, err)
		}
	}
	if err := account.CheckPassword(accountapi.Secret("Wilhelmina's cat"), ids...); err != nil {
		t.Error(err)
	}
}

func TestCheckingAPasswordLeavesItAsItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "password")
		p := accountapi.Secret(s)
		err := account.CheckPassword(p)
		if string(p) != s {
			t.Fatal("changed")
		}
		if c := fault.CodeOf(err); c != "" && c != fault.WeakPassword && c != fault.InvalidArgument {
			t.Fatalf("got %v", err)
		}
	})
}
