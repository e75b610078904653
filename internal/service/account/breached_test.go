// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"crypto/sha1" //nolint:gosec // the list's own
	"database/sql"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/breached"
)

// stolen is a password that nobody would guess, and that was stolen somewhere; the ü is
// one character in the list, and two in decomposed.
const (
	stolen     = "ü-Wagen 70315982 am Bach"
	decomposed = "u\u0308-Wagen 70315982 am Bach"
)

// withList has the service know a list of stolen passwords, and returns where it is.
func withList(t *testing.T) (*world, string) {
	t.Helper()
	h := sha1.Sum([]byte(stolen)) //nolint:gosec // see above
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte(hex.EncodeToString(h[:])+":4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := breached.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(t, func(c *account.Config) { c.Breached = list }), path
}

// choosing are the ways to choose a password.
func (w *world) choosing(a account.Account, password string) map[string]error {
	p := accountapi.Secret(password)
	_, created := w.Create(w.t.Context(), account.NewAccount{Password: p})
	_, member := w.HashPassword(w.t.Context(), p, "alice")
	return map[string]error{
		"a new account": created, "another password": w.SetPassword(w.t.Context(), a.ID, p), "staff": member,
		"a recovery": w.RecoverPassword(w.t.Context(), a.ID, p, func(*sql.Tx) error { return nil }),
	}
}

func TestAPasswordThatWasStolenAnywhereIsChosenByNobody(t *testing.T) {
	w, _ := withList(t)
	jane := w.jane()
	for _, p := range []string{stolen, decomposed} {
		for way, err := range w.choosing(jane, p) {
			if fault.CodeOf(err) != fault.WeakPassword {
				t.Errorf("%s: %v", way, err)
			}
		}
	}
	for way, err := range w.choosing(jane, stolen+"!") {
		if err != nil {
			t.Errorf("one that is not on the list: %s: %v", way, err)
		}
	}
}

func TestWhoeverHasAStolenPasswordAlreadySignsIn(t *testing.T) {
	w, _ := withList(t)
	before := w.open(nil)
	jane, err := before.Create(t.Context(), account.NewAccount{Password: accountapi.Secret(stolen)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Authenticate(t.Context(), account.Attempt{AccountID: jane.ID, Password: accountapi.Secret(stolen)}); err != nil {
		t.Error(err)
	}
}

func TestWithoutItsListNoNewPasswordIsTakenAndOldOnesAre(t *testing.T) {
	w, path := withList(t)
	jane := w.jane()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for way, err := range w.choosing(jane, "two herons by the mill") {
		if fault.CodeOf(err) != fault.ServiceUnavailable {
			t.Errorf("%s: %v", way, err)
		}
	}
	if _, err := w.Authenticate(t.Context(), account.Attempt{AccountID: jane.ID, Password: accountapi.Secret(right)}); err != nil {
		t.Error(err)
	}
}

func TestWhatIsGuessedFirstAtThisVeryServiceIsRefused(t *testing.T) {
	w := newWorld(t, func(c *account.Config) { c.Own = []string{"Heliotron", "Ünternehmen AG"} })
	jane := w.jane()
	for _, p := range []string{"heliotron", "Heliotron2024!", "h3li0tr0n", "heliotronheliotron", "u\u0308nternehmen ag", "1heliotron"} {
		for way, err := range w.choosing(jane, p) {
			if fault.CodeOf(err) != fault.WeakPassword {
				t.Errorf("%q for %s: %v", p, way, err)
			}
		}
	}
	for way, err := range w.choosing(jane, "heliotron by the mill") {
		if err != nil {
			t.Errorf("a word among others for %s: %v", way, err)
		}
	}
}
