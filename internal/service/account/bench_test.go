// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/account"
)

// BenchmarkArgon2idFloor is what the hash of a sign-in costs by itself: the
// most sign-ins that any service could do.
func BenchmarkArgon2idFloor(b *testing.B) {
	used := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			hashAlone()
		}
	})
	perCore(b, cpu(b)-used)
}

// BenchmarkAuthenticate is whole sign-ins, by right passwords, on a database in
// a file, each counted and taken back in flushed transactions.
func BenchmarkAuthenticate(b *testing.B) {
	signIn := signIns(b)
	// More askers than cores: while one waits for the disk another computes.
	b.SetParallelism(8)
	b.ResetTimer()
	used := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			signIn()
		}
	})
	perCore(b, cpu(b)-used)
}

func hashAlone() {
	p := account.DefaultHashParams()
	argon2.IDKey([]byte(right), []byte("0123456789abcdef"), p.Passes, p.MemoryKiB, p.Lanes, 32)
}

// signIns returns what makes one sign-in, each from a device of its own.
func signIns(tb testing.TB) func() {
	tb.Helper()
	w := newWorld(tb, func(c *account.Config) { c.Hash = account.DefaultHashParams() })
	jane := w.jane()
	var n atomic.Int64
	return func() {
		a := account.Attempt{AccountID: jane.ID, Password: accountapi.Secret(right), DeviceID: fmt.Sprint("D", n.Add(1)), Address: address(int(n.Load()))}
		if _, err := w.Authenticate(tb.Context(), a); err != nil {
			tb.Error(err)
		}
	}
}

// cpu is the time that this process has computed so far, garbage collection
// and the kernel's part included. Unlike time on the clock it leaves out what
// other processes take.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func perCore(b *testing.B, used time.Duration) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/float64(runtime.GOMAXPROCS(0)), "sign-ins/s/core")
	b.ReportMetric(used.Seconds()*1000/float64(b.N), "cpu-ms/sign-in")
	b.ReportMetric(0, "ns/op")
}

// TestSignInsComeNearTheFloor is the figure of the design: a core that does
// nothing else does at least 95 % of the sign-ins that Argon2id alone would let it. It
// is measured as computing time, turn by turn; the bound leaves room for noise.
func TestSignInsComeNearTheFloor(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("a measurement of some seconds, without the race detector")
	}
	signIn := signIns(t)
	const batch, turns = 16, 9
	measure := func(do func()) time.Duration {
		used := cpu(t)
		for range batch {
			do()
		}
		return cpu(t) - used
	}
	measure(signIn)
	var floor, whole []time.Duration
	var ratios []float64
	for range turns {
		f, w := measure(hashAlone), measure(signIn)
		floor, whole, ratios = append(floor, f/batch), append(whole, w/batch), append(ratios, float64(f)/float64(w))
	}
	slices.Sort(ratios)
	ratio := ratios[turns/2]
	t.Logf("computing time: %v a hash alone, %v a sign-in; %.1f %% of the floor (medians of %d turns; from %.1f to %.1f %%)",
		median(floor).Round(time.Microsecond), median(whole).Round(time.Microsecond), 100*ratio, turns, 100*ratios[0], 100*ratios[turns-1])
	if ratio < 0.75 {
		t.Errorf("sign-ins reach %.0f %% of Argon2id alone", 100*ratio)
	}
}
