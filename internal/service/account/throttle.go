// SPDX-License-Identifier: Apache-2.0

package account

import (
	"math"
	"time"
)

// limit is how wrong guesses are answered by delays. It is arithmetic alone:
// attempts.go keeps the tallies.
type limit struct {
	// free is how many guesses cost no delay.
	free int64
	// delays are those of the guesses that follow. After the last of them each
	// further guess costs three times the one before, up to longest.
	delays  []time.Duration
	longest time.Duration
	// forget is the time in which one guess is forgotten.
	forget time.Duration
	// captcha is from how many guesses on the next one takes a captcha, so that
	// guessing costs before it blocks anybody; 0 is never.
	captcha int64
}

// tally is what is known of one guesser or of one account guessed at.
type tally struct {
	// failures is how many guesses count, those being verified included.
	failures int64
	// since is from when on failures are forgotten, one each limit.forget.
	since time.Time
	// until is before when no guess is taken.
	until time.Time
}

// The limits of the design. A thief has the device and all the time there is,
// so a device forgets least and waits longest, as Android's own lock does;
// whoever knows an account's identifier can make that account wait, so its
// waits stay short; an address may be that of a whole office.
var (
	deviceLimit = limit{
		free:    4,
		delays:  minutes(1, 5, 15, 30, 90, 243),
		longest: 72 * time.Hour,
		forget:  24 * time.Hour,
		captcha: 6,
	}
	accountLimit = limit{
		free:    20,
		delays:  minutes(1, 5, 15),
		longest: 15 * time.Minute,
		forget:  time.Hour,
		captcha: 10,
	}
	addressLimit = limit{
		free:    40,
		delays:  minutes(1, 5, 15, 30, 60),
		longest: time.Hour,
		forget:  5 * time.Minute,
		captcha: 20,
	}
	// pairLimit never delays: it counts the guesses of one device at one
	// account, so that the owner's success takes back the owner's mistakes and
	// no others (see settle).
	pairLimit = limit{free: math.MaxInt64, forget: 24 * time.Hour}
	// sendLimit bounds the codes sent to one account, which cost money and the
	// owner's patience, whatever the number of flows.
	sendLimit = limit{
		free:    10,
		delays:  minutes(5, 15, 60),
		longest: time.Hour,
		forget:  10 * time.Minute,
	}
	// sendersLimit bounds the codes that one network has sent by registering, to
	// whomever: as many as people behind one address need, and no range of numbers.
	sendersLimit = limit{
		free:    20,
		delays:  minutes(5, 15, 60),
		longest: time.Hour,
		forget:  10 * time.Minute,
	}
	// codeLimit bounds wrong codes for one account over all flows: five a code
	// alone would leave no bound to somebody who begins flows over and over.
	codeLimit = limit{
		free:    15,
		delays:  minutes(15, 60, 360),
		longest: 24 * time.Hour,
		forget:  time.Hour,
	}
)

func minutes(m ...int) []time.Duration {
	out := make([]time.Duration, len(m))
	for i, n := range m {
		out[i] = time.Duration(n) * time.Minute
	}
	return out
}

// delay is what the guess number failures costs.
func (l limit) delay(failures int64) time.Duration {
	n := failures - l.free
	switch {
	case n <= 0 || len(l.delays) == 0:
		return 0
	case n <= int64(len(l.delays)):
		return min(l.delays[n-1], l.longest)
	}
	d := l.delays[len(l.delays)-1]
	for i := int64(len(l.delays)); i < n && d < l.longest; i++ {
		d *= 3
	}
	return min(d, l.longest)
}

// wait is how long until the next guess is taken; 0 is now. Asking changes
// nothing.
func (l limit) wait(t tally, now time.Time) time.Duration {
	w := t.until.Sub(now)
	if w > l.longest {
		// Longer than any delay given: the clock was ahead and was set back.
		// fails open, for this one guess: it still counts, and its delay is right.
		return 0
	}
	return max(0, w)
}

// aged is t with what is forgotten by now taken off.
func (l limit) aged(t tally, now time.Time) tally {
	if t.since.After(now) {
		t.since = now // the clock was set back
	}
	n := min(t.failures, int64(now.Sub(t.since)/l.forget))
	t.failures -= n
	t.since = t.since.Add(time.Duration(n) * l.forget)
	if t.failures <= 0 {
		t.failures, t.since = 0, now
	}
	return t
}

// counted is t with one more guess.
func (l limit) counted(t tally, now time.Time) tally {
	t = l.aged(t, now)
	t.failures++
	t.until = time.Time{}
	if d := l.delay(t.failures); d > 0 {
		t.until = now.Add(d)
	}
	return t
}

// takenBack is t with n guesses off. set is the end of the delay that the
// guess taken back had brought; one that another guess has brought stays.
func (l limit) takenBack(t tally, n int64, set, now time.Time) tally {
	t = l.aged(t, now)
	t.failures = max(0, t.failures-n)
	if t.until.Equal(set) {
		t.until = time.Time{}
	}
	return t
}

// suspects reports whether the next guess takes a captcha.
func (l limit) suspects(t tally, now time.Time) bool {
	return l.captcha > 0 && l.aged(t, now).failures >= l.captcha
}

// left is how many guesses are free.
func (l limit) left(t tally) int64 { return max(0, l.free-t.failures) }

// stale is when nothing of t counts any more.
func (l limit) stale(t tally) time.Time {
	at := t.since.Add(time.Duration(min(t.failures, 10_000)) * l.forget)
	if t.until.After(at) {
		return t.until
	}
	return at
}
