// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
)

// anna is a person of an identity provider.
var anna = account.Federated{Issuer: "https://id.example.org", Subject: "anna", Emails: []string{"anna@example.org"}, Phones: []string{"+49 1515 5501042"}}

func (w *world) federated(f account.Federated) account.Account {
	w.t.Helper()
	a, err := w.SignInFederated(w.t.Context(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func TestIssuerAndSubjectAloneSayWhoseAnAccountIs(t *testing.T) {
	w := newWorld(t, nil)
	first := w.federated(anna)
	if again := w.federated(anna); again.ID != first.ID || len(again.Identifiers) != 2 {
		t.Errorf("%+v, then %+v", first, again)
	}
	elsewhere := anna
	elsewhere.Issuer = "https://evil.example.org"
	if other := w.federated(elsewhere); other.ID == first.ID || len(other.Identifiers) != 0 {
		t.Errorf("another provider's person of the same name and addresses: %+v", other)
	}
	moved := anna
	moved.Emails, moved.Phones = []string{"new@example.org"}, nil
	if a := w.federated(moved); a.ID != first.ID || len(a.Identifiers) != 1 || a.Identifiers[0].Address != "new@example.org" {
		t.Errorf("after the addresses have changed: %+v", a)
	}
}

func TestAnAddressTakesNobodysAccountOver(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	mallory := w.federated(account.Federated{Issuer: anna.Issuer, Subject: "mallory", Emails: []string{"jane@example.org"}, Phones: anna.Phones})
	if mallory.ID == jane.ID || len(mallory.Identifiers) != 0 {
		t.Errorf("mallory has %+v", mallory)
	}
	if _, err := w.Authenticate(t.Context(), at("jane@example.org", right, "D1")); err != nil {
		t.Errorf("jane: %v", err)
	}
}

func TestABlockedAccountIsSignedInByNoProvider(t *testing.T) {
	w := newWorld(t, nil)
	a := w.federated(anna)
	if _, err := w.Block(t.Context(), a.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.SignInFederated(t.Context(), anna); fault.CodeOf(err) != fault.AccountBlocked {
		t.Error(err)
	}
}

func TestAOneTimePasswordIsGoodOnceAndForTenMinutes(t *testing.T) {
	w := newWorld(t, nil)
	a := w.federated(anna)
	refused := func(password, when string) {
		t.Helper()
		if _, err := w.Authenticate(t.Context(), at(a.ID, password, "D9")); fault.CodeOf(err) != fault.InvalidCredentials {
			t.Errorf("%s: %v", when, err)
		}
	}
	draw := func() string {
		t.Helper()
		p, until, err := w.OneTimePassword(t.Context(), a.ID)
		if err != nil || len(p) != 19 || !until.Equal(w.clock.Now().Add(account.PassTime)) {
			t.Fatalf("%d letters until %v, %v", len(p), until, err)
		}
		return string(p)
	}
	refused(right, "before one was made")
	old := draw()
	w.clock.Advance(account.PassTime)
	refused(old, "ten minutes later")
	first, second := draw(), draw()
	refused(first, "that a newer one has replaced")

	// Of many who come with it at once, one is let in.
	var in atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := w.Authenticate(t.Context(), account.Attempt{Identifier: a.ID, Password: []byte(second)}); err == nil {
				in.Add(1)
			}
		})
	}
	all.Wait()
	if in.Load() != 1 {
		t.Errorf("%d were let in by one password", in.Load())
	}
}

func TestAnAccountWithAPasswordOfItsOwnGetsNoOther(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	if _, _, err := w.OneTimePassword(t.Context(), jane.ID); fault.CodeOf(err) != fault.InvalidArgument {
		t.Error(err)
	}
	if _, err := w.Authenticate(t.Context(), at(jane.ID, right, "D1")); err != nil {
		t.Error(err)
	}
}

func TestWhoDeletedTheirAccountIsSomebodyNew(t *testing.T) {
	w := newWorld(t, nil)
	a := w.federated(anna)
	if err := w.Delete(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if next := w.federated(anna); next.ID == a.ID || len(next.Identifiers) != 2 {
		t.Errorf("after %s: %+v", a.ID, next)
	}
}
