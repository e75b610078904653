// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"net/http"
	"slices"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

const (
	// A difference counts from here: to hash a password as it should be hashed takes longer.
	leastGap   = 20 * time.Millisecond
	leastShare = 0.3
	// A look is two pairs of guesses, and the close one that follows where they stand apart
	// eight more: the guesses without a wait are not this check's alone.
	lookPairs, closePairs = 2, 8
	// Of the 64 comparisons of a close look so many may go the other way. Times that are
	// alike come in such an order once in some thousand looks (Mann and Whitney's U), the
	// gap aside, and there is none but after a first look of the same finding.
	closeSlack = 4
)

// times are how long refusals took: of a wrong password, and of an identifier that nobody
// has.
type times struct{ known, none []time.Duration }

// takesAsLong compares how long the two take.
func takesAsLong(p *probe) {
	first := p.refusalTimes(lookPairs)
	if !first.apart(0) {
		return
	}
	second := p.refusalTimes(closePairs)
	if second.apart(closeSlack) && second.gap() > 0 == (first.gap() > 0) {
		p.failf("a wrong password is refused after %v, and an identifier that nobody has after %v (medians of %d): whoever guesses learns which of them is an account's",
			median(second.known).Round(time.Millisecond), median(second.none).Round(time.Millisecond), closePairs)
	}
}

// gap is how much longer a wrong password takes, by the medians.
func (t times) gap() time.Duration { return median(t.known) - median(t.none) }

// apart reports whether the two differ by what counts, with so many comparisons at the
// most that go the other way.
func (t times) apart(slack int) bool {
	slow, fast := t.known, t.none
	if t.gap() < 0 {
		slow, fast = fast, slow
	}
	other := 0
	for _, s := range slow {
		for _, f := range fast {
			if s <= f {
				other++
			}
		}
	}
	gap := t.gap().Abs()
	return other <= slack && gap > leastGap && float64(gap) > leastShare*float64(median(slow))
}

// refusalTimes measures both kinds, each pair on a device of which nothing else is known,
// the one first and then the other.
func (p *probe) refusalTimes(pairs int) (t times) {
	for i := range pairs {
		d := p.device()
		if i%2 == 0 {
			t.known = append(t.known, p.refusalTime(d, p.cfg.Owner.Identifier))
		}
		t.none = append(t.none, p.refusalTime(d, nobody()))
		if i%2 == 1 {
			t.known = append(t.known, p.refusalTime(d, p.cfg.Owner.Identifier))
		}
	}
	return t
}

// refusalTime is how long the service takes over a wrong password alone, without what
// comes before it.
func (p *probe) refusalTime(d *device, identifier string) time.Duration {
	t := d.begin(accountapi.FlowKindLink)
	t.next(identify(identifier), accountapi.Password)
	begun := p.cfg.Now()
	a := t.reply(password(wrongPassword()))
	if a.status == http.StatusOK && t.at.Step == accountapi.Captcha {
		t.solve(accountapi.Password)
		begun = p.cfg.Now()
		a = t.reply(password(wrongPassword()))
	}
	took := p.cfg.Now().Sub(begun)
	if a.code() == fault.RateLimited {
		p.skipf("this address has guessed too much lately (Retry-After %s): try again after that", a.header.Get("Retry-After"))
	}
	p.want(a, http.StatusForbidden, fault.InvalidCredentials, "a wrong password")
	return took
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return (d[(len(d)-1)/2] + d[len(d)/2]) / 2
}
