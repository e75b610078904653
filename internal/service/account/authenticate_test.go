// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"context"
	"database/sql"
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
	for i, typed := range []string{"nobody@example.org", "+4915155509999", "99999999", "not an identifier", "", strings.Repeat("x", 5000)} {
		w.counts.take()
		before := w.Stats()
		unknown := w.try(at(typed, wrong, fmt.Sprint("U", i)), fault.InvalidCredentials)
		if !reflect.DeepEqual(known, unknown) {
			t.Errorf("%.20q: %+v, but a wrong password: %+v", typed, unknown, known)
		}
		gotCounts, gotStats := w.counts.take(), diff(w.Stats(), before)

		before = w.Stats()
		w.try(at(jane.ID, wrong, fmt.Sprint("K", i)), fault.InvalidCredentials)
		if c, s := w.counts.take(), diff(w.Stats(), before); c != gotCounts || s != gotStats || s.Hashes != 1 {
			t.Errorf("%.20q: %+v and %+v, but a wrong password: %+v and %+v", typed, gotCounts, gotStats, c, s)
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

func TestFourGuessesAtADeviceAreFreeAndTheNextOnesCostMore(t *testing.T) {
	w := newWorld(t, nil)
	w.jane()
	guess := at("jane@example.org", wrong, "D1")
	guess.Locked = true
	for n, left := range []int{3, 2, 1, 0} {
		if f := w.try(guess, fault.InvalidCredentials); f.AttemptsLeft != left || f.RetryAfter != 0 || !f.Counted {
			t.Fatalf("guess %d: %+v", n+1, f)
		}
	}
	for n, delay := range []time.Duration{1, 5, 15, 30, 90, 243, 729, 2187, 4320, 4320} {
		delay *= time.Minute
		f := w.try(guess, fault.InvalidCredentials)
		if f.AttemptsLeft != 0 || f.RetryAfter != delay || !f.Counted {
			t.Fatalf("guess %d: %+v, want %s", n+5, f, delay)
		}
		w.clock.pass(delay - time.Millisecond)
		for range 3 { // asking again neither counts nor begins the wait anew
			if f := w.try(guess, fault.RateLimited); f.RetryAfter != time.Millisecond || f.Counted {
				t.Fatalf("guess %d: %+v", n+5, f)
			}
		}
		w.clock.pass(time.Millisecond)
		if delay > 12*time.Hour {
			break // from here on forgetting, one a day, is as fast as guessing
		}
	}
}

func TestRightPasswordDuringAWaitIsNotLookedAt(t *testing.T) {
	w := newWorld(t, nil)
	w.jane()
	for range 5 {
		w.try(at("jane@example.org", wrong, "D1"), fault.InvalidCredentials)
	}
	before := w.Stats()
	w.try(at("jane@example.org", right, "D1"), fault.RateLimited)
	if w.Stats() != before {
		t.Fatal("a password was hashed during a wait")
	}
	w.clock.pass(time.Minute)
	w.try(at("jane@example.org", right, "D1"), "")
}

func TestSuccessTakesBackTheMistakesOfThisAccountAtThisDeviceOnly(t *testing.T) {
	w := newWorld(t, nil)
	w.jane()
	w.create(account.NewAccount{Emails: []string{"thief@example.org"}})
	for range 4 {
		w.try(at("jane@example.org", wrong, "D1"), fault.InvalidCredentials)
	}
	w.try(at("jane@example.org", right, "D1"), "")
	if f := w.try(at("jane@example.org", wrong, "D1"), fault.InvalidCredentials); f.AttemptsLeft != 3 {
		t.Fatalf("after the owner's success: %+v", f)
	}
	// Signing in to one's own account must not give new guesses at another's.
	for range 3 {
		w.try(at("jane@example.org", wrong, "D1"), fault.InvalidCredentials)
	}
	w.try(at("thief@example.org", right, "D1"), "")
	if f := w.try(at("jane@example.org", wrong, "D1"), fault.InvalidCredentials); f.RetryAfter != time.Minute {
		t.Fatalf("a thief's own sign-in cleared his guesses: %+v", f)
	}
}

func TestGuessesOfALockedDeviceNeverHoldTheAccount(t *testing.T) {
	w := newWorld(t, nil)
	w.jane()
	for i := range 100 {
		guess := at("jane@example.org", wrong, fmt.Sprint("D", i))
		guess.Locked, guess.Address = true, address(i)
		w.try(guess, fault.InvalidCredentials)
	}
	w.try(at("jane@example.org", right, "elsewhere"), "")
}

func TestGuessesFromEverywhereHoldTheAccountAndNotItsLockedDevice(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	for i, typed := range []string{"jane@example.org", "+4915155501042", jane.ID, "jane@example.org", jane.ID} {
		for j := range 4 {
			guess := account.Attempt{Identifier: typed, Password: accountapi.Secret(wrong), Address: address(10*i + j)}
			w.try(guess, fault.InvalidCredentials)
		}
	}
	for n, delay := range []time.Duration{1, 5, 15, 15, 15} {
		delay *= time.Minute
		if f := w.try(at("jane@example.org", wrong, fmt.Sprint("D", n)), fault.InvalidCredentials); f.RetryAfter != delay {
			t.Fatalf("guess %d at the account: %+v, want %s", n+21, f, delay)
		}
		if f := w.try(at(jane.ID, right, "new"), fault.RateLimited); f.RetryAfter != delay {
			t.Fatalf("after guess %d at the account: %+v", n+21, f)
		}
		locked := at(jane.ID, right, "hers")
		locked.Locked = true
		w.try(locked, "")
		w.clock.pass(delay)
	}
	w.try(at(jane.ID, right, "new"), "")
}

func TestUnknownIdentifierIsHeldAsAnAccountIs(t *testing.T) {
	w := newWorld(t, nil)
	w.jane()
	var answers [2][]*fault.Error
	for k, typed := range []string{"jane@example.org", "nobody@example.org"} {
		for i := range 25 {
			_, err := w.Authenticate(t.Context(), account.Attempt{Identifier: typed, Password: accountapi.Secret(wrong), Address: address(1000*k + i)})
			answers[k] = append(answers[k], fault.As(err))
		}
	}
	if !reflect.DeepEqual(answers[0], answers[1]) {
		t.Fatalf("known %+v\nunknown %+v", answers[0], answers[1])
	}
	if last := answers[0][24]; last.Code != fault.RateLimited {
		t.Fatalf("the last guess got %+v", last)
	}
}

func TestGuessesAtOneIdentifierDoNotShowInTheFiguresOfAnother(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	w.try(account.Attempt{Identifier: "jane@example.org", Password: accountapi.Secret(wrong), Address: address(1)}, fault.InvalidCredentials)
	same := w.try(account.Attempt{Identifier: jane.ID, Password: accountapi.Secret(wrong), Address: address(2)}, fault.InvalidCredentials)
	other := w.try(account.Attempt{Identifier: "99999999", Password: accountapi.Secret(wrong), Address: address(3)}, fault.InvalidCredentials)
	if same.AttemptsLeft != other.AttemptsLeft {
		t.Fatalf("%d free guesses are left at one account, %d at another", same.AttemptsLeft, other.AttemptsLeft)
	}
}

func TestAddressIsHeldAfterFortyGuessesAndAWholePrefixIsOneAddress(t *testing.T) {
	for name, of := range map[string]func(i int) account.Attempt{
		"an IPv4 address": func(int) account.Attempt { return account.Attempt{Address: address(1)} },
		"an IPv4 address, mapped or not": func(i int) account.Attempt {
			if i%2 == 0 {
				return account.Attempt{Address: addr("::ffff:192.0.2.1")}
			}
			return account.Attempt{Address: addr("192.0.2.1")}
		},
		"a /64 of IPv6": func(i int) account.Attempt {
			return account.Attempt{Address: addr(fmt.Sprintf("2001:db8:1:1::%x", i+1))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			guess := func(i int, code fault.Code) *fault.Error {
				a := of(i)
				a.Identifier, a.Password, a.DeviceID = fmt.Sprintf("u%d@example.org", i), accountapi.Secret(wrong), fmt.Sprint("D", i)
				return w.try(a, code)
			}
			for i := range 40 {
				if f := guess(i, fault.InvalidCredentials); f.RetryAfter != 0 {
					t.Fatalf("guess %d: %+v", i+1, f)
				}
			}
			if f := guess(40, fault.InvalidCredentials); f.RetryAfter != time.Minute {
				t.Fatalf("guess 41: %+v", f)
			}
			guess(41, fault.RateLimited)
			elsewhere := at("x@example.org", wrong, "E")
			elsewhere.Address = addr("2001:db8:1:2::1")
			w.try(elsewhere, fault.InvalidCredentials)
		})
	}
}

func TestGuessesAreForgottenOneADay(t *testing.T) {
	w := newWorld(t, nil)
	for range 4 {
		w.try(at("x@example.org", wrong, "D1"), fault.InvalidCredentials)
	}
	w.clock.pass(48 * time.Hour)
	if f := w.try(at("x@example.org", wrong, "D1"), fault.InvalidCredentials); f.AttemptsLeft != 1 {
		t.Fatalf("after two days: %+v", f)
	}
	w.clock.pass(30 * 24 * time.Hour)
	if f := w.try(at("x@example.org", wrong, "D1"), fault.InvalidCredentials); f.AttemptsLeft != 3 {
		t.Fatalf("after a month: %+v", f)
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
	slow := w.open(func(c *account.Config) {
		c.HashSlots, c.Hash = 1, account.HashParams{MemoryKiB: 64 << 10, Passes: 16, Lanes: 1}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for i := range 6 {
		device := "D1"
		if i == 0 {
			device = "the one that takes the only slot"
		}
		wg.Go(func() {
			_, err := slow.Authenticate(ctx, at(fmt.Sprintf("u%d@example.org", i), wrong, device))
			if c := fault.CodeOf(err); c != fault.InvalidCredentials && c != fault.ServiceUnavailable {
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
	until := w.clock.now().Add(2 * time.Hour)
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
		if c.code == fault.AccountBlocked && (f.RetryAfter != 2*time.Hour || !strings.Contains(f.Message, "2026-07-31 14:00 UTC")) {
			t.Errorf("the block does not say until when: %+v", f)
		}
	}
	w.clock.pass(2 * time.Hour)
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
		c.HashSlots, c.HashQueue, c.Hash = 1, 1, account.HashParams{MemoryKiB: 64 << 10, Passes: 8, Lanes: 1}
	})
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
	wg.Wait()
	if f := w.try(at("x@example.org", wrong, "D3"), fault.InvalidCredentials); f.AttemptsLeft != 3 {
		t.Errorf("the attempt turned away was counted: %+v", f)
	}
}
