// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

// TestUnknownIdentifierTakesAsLongAsAWrongPassword measures both, turn by turn,
// with the hash that is used in earnest. The machine may be noisy, so the bound
// is wide; that the same statements run and the same work of hashing is done
// is what is exact.
func TestUnknownIdentifierTakesAsLongAsAWrongPassword(t *testing.T) {
	rounds := 80
	if testing.Short() {
		rounds = 15
	}
	w := newWorld(t, func(c *account.Config) { c.Hash = account.DefaultHashParams() })
	for i := range rounds {
		w.create(account.NewAccount{Emails: []string{fmt.Sprintf("u%d@example.org", i)}})
	}
	measure := func(domain string, i int) (time.Duration, storetest.Figures, account.Stats) {
		w.counts.Take()
		before := w.Stats()
		attempt := account.Attempt{
			Identifier: fmt.Sprintf("u%d@%s", i, domain), Password: accountapi.Secret(wrong),
			DeviceID: fmt.Sprint(domain, i), Address: address(2*i + len(domain)),
		}
		start := time.Now()
		_, err := w.Authenticate(t.Context(), attempt)
		took := time.Since(start)
		if fault.CodeOf(err) != fault.InvalidCredentials {
			t.Fatal(err)
		}
		return took, w.counts.Take(), diff(w.Stats(), before)
	}
	measure("warm.example", 0)
	var known, unknown []time.Duration
	var asked storetest.Figures
	var work account.Stats
	for i := range rounds {
		// Which goes first changes, lest one always finds what the other left warm.
		for j := range 2 {
			domain, into := "example.org", &known
			if (i+j)%2 == 1 {
				domain, into = "example.net", &unknown
			}
			took, f, s := measure(domain, i)
			*into = append(*into, took)
			if i+j == 0 {
				asked, work = f, s
			}
			if f != asked || s != work {
				t.Fatalf("%s: %+v and %+v, but %+v and %+v before", domain, f, s, asked, work)
			}
		}
	}
	k, u := median(known), median(unknown)
	spread := (quantile(known, 0.75) - quantile(known, 0.25) + quantile(unknown, 0.75) - quantile(unknown, 0.25)) / 2
	gap := time.Duration(math.Abs(float64(k - u)))
	t.Logf("each of %d attempts: %d queries and %d statements in %d transaction, %d hash over %d KiB",
		2*rounds, asked.Queries, asked.Execs, asked.Begins, work.Hashes, work.Work)
	t.Logf("wrong password %v, unknown identifier %v (medians): they differ by %v, %.2f %%; the spread between quartiles is %v",
		k.Round(time.Microsecond), u.Round(time.Microsecond), gap.Round(time.Microsecond), 100*float64(gap)/float64(k), spread.Round(time.Microsecond))
	if gap > max(spread, k/5) {
		t.Errorf("the medians differ by %v, more than the noise of %v", gap, spread)
	}
}

func median(d []time.Duration) time.Duration { return quantile(d, 0.5) }

func quantile(d []time.Duration, q float64) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[int(q*float64(len(s)-1))]
}
