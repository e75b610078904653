// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
)

func TestEveryIdentifierOfAnAccountSignsIn(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	for name, typed := range map[string]string{
		"the account ID":                  jane.ID,
		"the account ID with spaces":      jane.ID[:3] + " " + jane.ID[3:],
		"the address as it was given":     "Jane@Example.org",
		"the address in capitals":         "JANE@EXAMPLE.ORG",
		"the number in E.164":             "+4915155501042",
		"the number as it is dialled":     "01515 5501042",
		"the number, grouped and slashed": "(01515) 550/10-42",
	} {
		t.Run(name, func(t *testing.T) {
			a, err := w.Authenticate(t.Context(), at(typed, right, "D1"))
			if err != nil || a.ID != jane.ID || len(a.Identifiers) != 2 {
				t.Fatalf("%q: %+v, %v", typed, a, err)
			}
		})
	}
	t.Run("the account that the device is linked to", func(t *testing.T) {
		a, err := w.Authenticate(t.Context(), account.Attempt{AccountID: jane.ID, Password: accountapi.Secret(right)})
		if err != nil || a.ID != jane.ID {
			t.Fatalf("%+v, %v", a, err)
		}
	})
}

func TestPasswordIsComparedInNFC(t *testing.T) {
	w := newWorld(t, nil)
	w.create(account.NewAccount{Emails: []string{"a@example.org"}, Password: accountapi.Secret("gr\u00fcne Wiesen")})
	w.try(at("a@example.org", "gru\u0308ne Wiesen", ""), "")
	w.try(at("a@example.org", "grune Wiesen", ""), fault.InvalidCredentials)
}

func TestWrongPasswordAndUnknownIdentifierAreAnsweredAlike(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	known := w.try(at("jane@example.org", wrong, "D1"), fault.InvalidCredentials)
	for i, typed := range []string{"nobody@example.org", "+4915155509999", "99999999", "not an identifier", "", strings.Repeat("x", 5000), "jane\xff", "jane\x00@example.org", "x" + strings.Repeat("é", 200)} {
		w.counts.Take()
		before := w.Stats()
		unknown := w.try(at(typed, wrong, fmt.Sprint("U", i)), fault.InvalidCredentials)
		if !reflect.DeepEqual(known, unknown) {
			t.Errorf("%.20q: %+v, but a wrong password: %+v", typed, unknown, known)
		}
		gotCounts, gotStats := w.counts.Take(), diff(w.Stats(), before)

		before = w.Stats()
		w.try(at(jane.ID, wrong, fmt.Sprint("K", i)), fault.InvalidCredentials)
		if c, s := w.counts.Take(), diff(w.Stats(), before); c != gotCounts || s != gotStats || s.Hashes != 1 {
			t.Errorf("%.20q: %+v and %+v, but a wrong password: %+v and %+v", typed, gotCounts, gotStats, c, s)
		}
	}
}

func TestAnIdentifierThatNoDatabaseStoresIsUnknownAndCounted(t *testing.T) {
	w := newWorld(t, nil)
	w.jane()
	for _, typed := range []string{"jane\xff@example.org", "jane@example.org\x00", "x" + strings.Repeat("é", 200)} {
		if f := w.try(at(typed, right, "D1"), fault.InvalidCredentials); !f.Counted {
			t.Errorf("%.20q was not counted", typed)
		}
		if got, err := w.Resolve(t.Context(), typed, ""); err != nil || got.AccountID != "" {
			t.Errorf("%.20q: %+v %v", typed, got, err)
		}
	}
	for typed, want := range map[string]string{"\x00b": "\ufffdb", "\xff": "\ufffd", "aé": "a\ufffd", "é": "é"} {
		if got := account.Storable(typed, 2); got != want {
			t.Errorf("%q becomes %q", typed, got)
		}
	}
}

func diff(a, b account.Stats) account.Stats {
	return account.Stats{Hashes: a.Hashes - b.Hashes, Work: a.Work - b.Work}
}

func TestRightPasswordForAnUnknownIdentifierDoesNotExist(t *testing.T) {
	w := newWorld(t, nil)
	w.jane()
	for _, p := range []string{"", "\xff\xfe", strings.Repeat("x", 1025)} {
		if f := w.try(at("nobody@example.org", p, "D1"), fault.InvalidArgument); f.Counted {
			t.Errorf("%q was counted", p)
		}
	}
}

func TestHundredGuessesAtOnceAreNoMoreThanOneAfterTheOther(t *testing.T) {
	w := newWorld(t, nil)
	w.jane()
	// Two services on one database stand for two processes.
	services := []*account.Service{w.Service, w.open(nil)}
	var mu sync.Mutex
	got := map[fault.Code]int{}
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range 100 {
		wg.Go(func() {
			<-start
			_, err := services[i%2].Authenticate(t.Context(), at("jane@example.org", fmt.Sprint(wrong, i), "D1"))
			mu.Lock()
			defer mu.Unlock()
			got[fault.CodeOf(err)]++
		})
	}
	close(start)
	wg.Wait()
	if got[fault.InvalidCredentials] != 5 || got[fault.RateLimited] != 95 {
		t.Fatalf("got %v, want 5 looked at and 95 held", got)
	}
	if n := services[0].Stats().Hashes + services[1].Stats().Hashes; n != 5+1 { // and one of Create
		t.Fatalf("%d hashes, want 6", n)
	}
}

func TestAttemptIsCountedBeforeThePasswordIsLookedAtAndTakenBackIfItNeverIs(t *testing.T) {
	w := newWorld(t, nil)
	w.jane()
	slow := w.open(func(c *account.Config) { c.HashSlots = 1 })
	defer slow.HoldSlot()() // no password is looked at
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			_, err := slow.Authenticate(ctx, at(fmt.Sprintf("u%d@example.org", i), wrong, "D1"))
			// Whoever still counted the guess when it was given up says no more than that.
			if c := fault.CodeOf(err); c != fault.ServiceUnavailable && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	for w.mostFailures() < 5 {
		time.Sleep(time.Millisecond) // for the goroutines to get there
	}
	// Another process sees five guesses of this device, none of which was looked at.
	w.try(at("jane@example.org", right, "D1"), fault.RateLimited)
	cancel()
	wg.Wait()
	w.try(at("jane@example.org", right, "D1"), "")
}

// mostFailures is the highest of all tallies.
func (w *world) mostFailures() (n int64) {
	w.t.Helper()
	err := w.db.Read(w.t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT COALESCE(MAX(failures), 0) FROM throttles`).Scan(&n)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestBlockedAndDeletedAreToldAfterTheRightPasswordOnly(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	gone := w.create(account.NewAccount{Emails: []string{"gone@example.org"}})
	until := w.clock.Now().Add(2 * time.Hour)
	if _, err := w.Block(t.Context(), jane.ID, until); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		typed string
		code  fault.Code
	}{{"jane@example.org", fault.AccountBlocked}, {jane.ID, fault.AccountBlocked}, {"gone@example.org", fault.AccountDeleted}, {gone.ID, fault.AccountDeleted}} {
		w.try(at(c.typed, wrong, "D"+c.typed), fault.InvalidCredentials)
		f := w.try(at(c.typed, right, "D"+c.typed), c.code)
		if f.Counted {
			t.Errorf("%s was counted", c.code)
		}
		if c.code == fault.AccountBlocked && (f.RetryAfter != 2*time.Hour || !strings.Contains(f.Message, "2031-04-05 08:07 UTC")) {
			t.Errorf("the block does not say until when: %+v", f)
		}
	}
	w.clock.Advance(2 * time.Hour)
	w.try(at("jane@example.org", right, ""), "")
}

func TestHashIsMadeAnewWhenTheParametersHaveChanged(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	costly := account.HashParams{MemoryKiB: 256, Passes: 2, Lanes: 1}
	later := w.open(func(c *account.Config) { c.Hash = costly })
	hashes := func() uint64 {
		before := later.Stats()
		if _, err := later.Authenticate(t.Context(), at(jane.ID, right, "")); err != nil {
			t.Fatal(err)
		}
		return diff(later.Stats(), before).Hashes
	}
	if n := hashes(); n != 3 { // the old one, what it lacks in work, the new one
		t.Errorf("%d hashes at the first sign-in", n)
	}
	if n := hashes(); n != 1 {
		t.Errorf("%d hashes at the second", n)
	}
	w.try(at(jane.ID, right, ""), "") // a process with the old parameters still verifies
}

func TestHashOfOldParametersCostsNoLessThanNone(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	for _, p := range []account.HashParams{{MemoryKiB: 256, Passes: 2, Lanes: 1}, {MemoryKiB: 100, Passes: 3, Lanes: 1}, {MemoryKiB: 65, Passes: 1, Lanes: 1}} {
		later := w.open(func(c *account.Config) { c.Hash = p })
		work := func(typed, device string) uint64 {
			before := later.Stats()
			if _, err := later.Authenticate(t.Context(), at(typed, wrong, device)); fault.CodeOf(err) != fault.InvalidCredentials {
				t.Fatal(err)
			}
			return diff(later.Stats(), before).Work
		}
		known, unknown := work(jane.ID, fmt.Sprint("K", p)), work("nobody@example.org", fmt.Sprint("U", p))
		if slack := known - min(known, unknown); known < unknown-8 || slack > 8 {
			t.Errorf("%+v: %d KiB passed over for an old hash, %d for no account", p, known, unknown)
		}
	}
}

func TestFullQueueTurnsAwayAtOnceAndUncounted(t *testing.T) {
	w := newWorld(t, func(c *account.Config) {
		c.HashSlots, c.HashQueue = 1, 1
	})
	release := w.HoldSlot()
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() { w.try(at("x@example.org", wrong, fmt.Sprint("D", i)), fault.InvalidCredentials) })
	}
	for w.Stats().Waiting < 2 {
		time.Sleep(time.Millisecond) // for the goroutines to get there
	}
	if f := w.try(at("x@example.org", wrong, "D3"), fault.ServiceUnavailable); f.RetryAfter <= 0 || f.Counted {
		t.Errorf("got %+v", f)
	}
	release()
	wg.Wait()
	if f := w.try(at("x@example.org", wrong, "D3"), fault.InvalidCredentials); f.AttemptsLeft != 3 {
		t.Errorf("the attempt turned away was counted: %+v", f)
	}
}
