// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
)

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
		w.clock.Advance(delay - time.Millisecond)
		for range 3 { // asking again neither counts nor begins the wait anew
			if f := w.try(guess, fault.RateLimited); f.RetryAfter != time.Millisecond || f.Counted {
				t.Fatalf("guess %d: %+v", n+5, f)
			}
		}
		w.clock.Advance(time.Millisecond)
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
	w.clock.Advance(time.Minute)
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
		w.clock.Advance(delay)
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
	w.clock.Advance(48 * time.Hour)
	if f := w.try(at("x@example.org", wrong, "D1"), fault.InvalidCredentials); f.AttemptsLeft != 1 {
		t.Fatalf("after two days: %+v", f)
	}
	w.clock.Advance(30 * 24 * time.Hour)
	if f := w.try(at("x@example.org", wrong, "D1"), fault.InvalidCredentials); f.AttemptsLeft != 3 {
		t.Fatalf("after a month: %+v", f)
	}
}

func TestClockThatWasAheadHoldsNobodyForLong(t *testing.T) {
	w := newWorld(t, nil)
	w.clock.Advance(10 * 365 * 24 * time.Hour)
	for range 5 {
		w.try(at("x@example.org", wrong, "D1"), fault.InvalidCredentials)
	}
	w.clock.Advance(-10 * 365 * 24 * time.Hour)
	// One guess is looked at, and the next waits by the right clock.
	if f := w.try(at("x@example.org", wrong, "D1"), fault.InvalidCredentials); f.RetryAfter != 5*time.Minute {
		t.Fatalf("got %+v", f)
	}
	w.try(at("x@example.org", wrong, "D1"), fault.RateLimited)
}

// Whatever somebody at a device does and however long they wait in between: the
// wait that is told is the wait there is; none is longer than three days; in no
// day are more guesses looked at than the free ones and those that the delays leave
// room for; and a tally is swept only when nothing of it counts.
func TestWaitsAreKeptWhateverTheOrderOfGuesses(t *testing.T) {
	// Four are free; after 1, 5, 15, 30, 90, 243 and 729 minutes seven more fit
	// into a day, and the fifth before them; one may be forgotten meanwhile.
	const most = 4 + 1 + 7 + 1
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 7, 31, 12, 0, 0, 0, time.UTC)
		var device account.DeviceTally
		var taken []time.Time
		guess := func() time.Duration {
			ok, wait := device.Guess(now)
			if ok {
				taken = append(taken, now)
			} else if wait <= 0 {
				t.Fatal("held without a wait")
			}
			if wait < 0 || wait > 72*time.Hour {
				t.Fatalf("a wait of %s", wait)
			}
			return wait
		}
		t.Repeat(map[string]func(*rapid.T){
			"guess at once": func(*rapid.T) { guess() },
			"guess and wait as told": func(t *rapid.T) {
				wait := guess()
				if wait == 0 {
					return
				}
				now = now.Add(wait - time.Millisecond)
				if ok, left := device.Guess(now); ok || left != time.Millisecond {
					t.Fatalf("told to wait %s, but a millisecond before its end: %v, %s", wait, ok, left)
				}
				now = now.Add(time.Millisecond)
				if ok, _ := device.Guess(now); !ok {
					t.Fatalf("not looked at after the wait of %s", wait)
				}
				taken = append(taken, now)
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(30*time.Hour)).Draw(t, "for")))
			},
			"": func(t *rapid.T) {
				for i, first := range taken {
					n := 0
					for _, at := range taken[i:] {
						if at.Sub(first) < 24*time.Hour {
							n++
						}
					}
					if n > most {
						t.Fatalf("%d guesses were looked at within a day", n)
					}
				}
				_, wait := func() (bool, time.Duration) { d := device; return d.Guess(now) }()
				if device.Stale(now) && (device.Failures(now) > 0 || (wait > 0 && device.Failures(now) >= 4)) {
					t.Fatalf("%d guesses would be swept", device.Failures(now))
				}
			},
		})
	})
}
