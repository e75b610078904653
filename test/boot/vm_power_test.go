// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// seed is what chance goes by: $ACCOUNTLOCK_BOOT_SEED, to see the same again, or
// the clock. It is printed.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if s := os.Getenv("ACCOUNTLOCK_BOOT_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ACCOUNTLOCK_BOOT_SEED=%d", n)
	return n
}

// powerCuts is how many there are.
const powerCuts = 10

func TestAPowerCutAtARandomInstantOfAnUnlockLeavesTheOldStateOrTheNew(t *testing.T) {
	fullTier(t)
	t.Parallel()
	chance := rand.New(rand.NewPCG(seed(t), 1))
	m := linkedVM(t, "block:/dev/disk/by-partlabel/frp", false)

	// An unlock that nothing cuts short says how long one takes here.
	m.Wipe()
	m.Boot()
	shut(t, m, "factory-reset")
	unlock(t, m.Console, m.Service.Demo.Person)
	began := time.Now()
	m.Must("until test -e /run/accountlock/open; do sleep 0.05; done")
	span := time.Since(began)
	m.Cut()

	found := map[string]int{}
	for i := range powerCuts {
		m.Wipe()
		m.Boot()
		shut(t, m, "factory-reset")
		unlock(t, m.Console, m.Service.Demo.Person)
		after := time.Duration(chance.Float64() * float64(span))
		time.Sleep(after) // the instant of the cut, not a wait for anything
		m.Cut()

		m.Boot()
		booted(m)
		state := says(m)
		t.Logf("cut %d after %v of %v: %s", i, after.Round(time.Millisecond), span.Round(time.Millisecond), state)
		found[state]++
		switch state {
		case "locked factory-reset":
			shut(t, m, "factory-reset")
			unlock(t, m.Console, m.Service.Demo.Person)
		case "open linked":
		default:
			t.Fatalf("neither the old state nor the new: %q\n%s", state, m.State())
		}
		opened(t, m)
		m.Cut()
	}
	t.Logf("after %d cuts: %v", powerCuts, found)
}
