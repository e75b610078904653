// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/ocra"
	"github.com/accountlock/accountlock/internal/record"
	"github.com/accountlock/accountlock/internal/secret"
)

// guessed is a locked device without a network, in the hands of somebody who
// guesses the codes that it verifies itself.
type guessed struct {
	p    place
	disk *record.Disk
	boot lock.Boot
	now  time.Time
	// log is what was done to the outside, in order.
	log []string

	flows *flow.Manager
}

const rightCode = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

func newGuessed(t interface{ Fatal(...any) }, p place) *guessed {
	g := &guessed{p: p, disk: p.disk(), boot: lock.Boot{ID: "boot 0", Since: time.Hour}, now: time.Unix(1_800_000_000, 0)}
	r := armed(1)
	h := sha256.Sum256([]byte(rightCode))
	r.RecoveryHash, r.OfflineKey = h[:], bytesOf(32, 3)
	if err := p.on(g.disk).Write(r, true); err != nil {
		t.Fatal(err)
	}
	g.start()
	return g
}

// start starts the daemon on what the disk holds. Its marker was wiped.
func (g *guessed) start() {
	store := g.p.on(g.disk)
	r := store.Read()
	k := flow.NewKeeper(flow.Ports{
		Trust: g, Record: store, Marker: g, Gate: g, Diary: g, Events: g, Clock: g, Hardware: g, Random: rand.Reader,
	}, lock.Evidence{
		Provisioned: true, Store: r.Store, Record: r.Record, OneCopy: r.OneCopy, Policy: lock.RequireOnline,
	}, slog.New(slog.DiscardHandler))
	g.flows = flow.NewManager(context.Background(), k, slog.New(slog.DiscardHandler))
}

func (g *guessed) open() bool { return g.flows.Keeper().Snapshot().Status.Open() }

func (g *guessed) record() lock.Record { return g.p.on(g.disk).Read().Record }

// guess types a code, as text or, where it is a function, as that says of the
// challenge.
func (g *guessed) guess(method string, code func(challenge string) string) *fault.Error {
	f, err := g.flows.Begin(":1.1", lock.KindUnlock, flow.Options{})
	if err != nil {
		return fault.As(err)
	}
	defer func() { _ = f.Cancel() }()
	if err := f.Choose(context.Background(), method); err != nil {
		return fault.As(err)
	}
	err = f.Submit(context.Background(), flow.Input{"code": secret.Bytes(code(f.View().Prompt.Challenge))})
	if err == nil {
		return nil
	}
	return fault.As(err)
}

// The ports. There is neither account service nor journal: nothing here may ask them.

func (g *guessed) KeySet() lock.KeySet { return lock.KeySet{} }
func (g *guessed) Write([]byte) error {
	g.log = append(g.log, "marker")
	return nil
}
func (g *guessed) Poke(context.Context) error                         { return nil }
func (g *guessed) LastCheckIn(context.Context) (int64, error)         { return 0, nil }
func (g *guessed) SetLastCheckIn(context.Context, int64) error        { return nil }
func (g *guessed) Note(context.Context, string, string) error         { return nil }
func (g *guessed) WipeAccount(context.Context) error                  { return nil }
func (g *guessed) AddEvent(context.Context, flow.Event) error         { return nil }
func (g *guessed) AddStart(context.Context, string, flow.Event) error { return nil }
func (g *guessed) DropEvents(context.Context, string) error           { return nil }
func (g *guessed) Boot() lock.Boot                                    { return g.boot }
func (g *guessed) Now() time.Time                                     { return g.now }
func (g *guessed) Identities([]byte) []flow.Identity                  { return nil }
func (g *guessed) Model() string                                      { return "" }
func (g *guessed) Token() string                                      { return "" }
func (g *guessed) NextEvents(context.Context, string) (string, []flow.Event, error) {
	return "", nil, nil
}

// ways are the codes that the device verifies itself: wrong ones, the right one,
// and what is counted of them.
var ways = []struct {
	method string
	wrong  func(n int) func(string) string
	right  func(challenge string) string
	failed func(lock.Record) uint32
}{
	{
		"recovery-code",
		func(n int) func(string) string {
			return func(string) string {
				return strings.NewReplacer("0", "b", "1", "d", "2", "e", "3", "f", "4", "g", "5", "h", "6", "i", "7", "j", "8", "k", "9", "l").
					Replace(fmt.Sprintf("%064d", n))
			}
		},
		func(string) string { return rightCode },
		func(r lock.Record) uint32 { return r.Attempts.Failed },
	},
	{
		"offline-code",
		func(n int) func(string) string {
			return func(challenge string) string {
				right, _ := ocra.OfflineCode.Response(bytesOf(32, 3), ocra.Input{Question: challenge})
				if code := fmt.Sprintf("%08d", n); code != right {
					return code
				}
				return "99999999"
			}
		},
		func(challenge string) string {
			right, _ := ocra.OfflineCode.Response(bytesOf(32, 3), ocra.Input{Question: challenge})
			return right
		},
		func(r lock.Record) uint32 { return r.Offline.Attempts.Failed },
	},
}

// leastTime is how long a guesser must have held the device to have had n codes
// looked at: 4 free, then 1, 5, 15, 30, 90, 243 minutes, tripling on.
func leastTime(n int) time.Duration {
	minutes := []int{0, 0, 0, 0, 1, 5, 15, 30, 90, 243}
	var sum time.Duration
	for i, wait := 0, 0; i < n-1; i++ {
		if wait *= 3; i < len(minutes) {
			wait = minutes[i]
		}
		sum += time.Duration(wait) * time.Minute
	}
	return sum
}

// Whatever a guesser does with time, power, resets and clocks: no more codes are
// looked at than the waits allow in the time that has really passed, what is
// counted never goes back, and nothing opens.
func TestNobodyGuessesFasterThanTheWaitsAllow(t *testing.T) {
	looks, cutShort := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		way := rapid.SampledFrom(ways).Draw(t, "way")
		g := newGuessed(t, rapid.SampledFrom(everywhere).Draw(t, "medium"))
		var held time.Duration // by the guesser
		looked, next, boots := 0, 0, 0
		counted := uint32(0)
		try := func(n int) {
			err := g.guess(way.method, way.wrong(n))
			switch {
			case err == nil || g.open():
				t.Fatal("a wrong code opens")
			case err.Code == fault.InvalidCode && err.Counted:
				looked++
			case err.Code == fault.InvalidCode, err.Code == fault.RateLimited:
			default:
				t.Fatalf("a wrong code: %v", err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"a wrong code":   func(*rapid.T) { next++; try(next) },
			"the same again": func(*rapid.T) { try(next) },
			"what is no code": func(t *rapid.T) {
				if err := g.guess(way.method, func(string) string { return "x" }); err == nil || err.Counted {
					t.Fatalf("what is no code: %v", err)
				}
			},
			"time passes": func(t *rapid.T) {
				d := time.Duration(rapid.Int64Range(0, int64(6*time.Hour)).Draw(t, "passed"))
				held, g.boot.Since = held+d, g.boot.Since+d
			},
			"the clock is set": func(t *rapid.T) {
				g.now = time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "to"), 0)
			},
			"kill -9, a reset, a new start": func(*rapid.T) { g.start() },
			"a reboot": func(*rapid.T) {
				boots++
				g.boot = lock.Boot{ID: fmt.Sprint("boot ", boots)}
				g.start()
			},
			"the power fails while a code is typed": func(t *rapid.T) {
				next++
				at := rapid.IntRange(0, 30).Draw(t, "at")
				var left *record.Disk
				n := 0
				g.disk.Before = func(string) error {
					g.disk.PowerCuts(func(after *record.Disk) {
						if n++; n-1 <= at {
							left = after
						}
					})
					return nil
				}
				_ = g.guess(way.method, way.wrong(next)) // it never came to an answer
				g.disk.Before = nil
				if left != nil && n > at {
					cutShort++
					g.disk = left
				}
				boots++
				g.boot = lock.Boot{ID: fmt.Sprint("boot ", boots)}
				g.start()
				looked = min(looked+1, int(way.failed(g.record()))) // if it was counted, it may have been looked at
			},
			"": func(t *rapid.T) {
				r := g.record()
				if g.open() || way.failed(r) < counted || int(way.failed(r)) < looked {
					t.Fatalf("open %v, %d counted after %d, %d looked at", g.open(), way.failed(r), counted, looked)
				}
				counted = way.failed(r)
				if held+2*time.Second < leastTime(looked) {
					t.Fatalf("%d codes were looked at in %s", looked, held)
				}
			},
		})
		looks += looked
	})
	t.Logf("%d codes looked at, the power cut in %d of them", looks, cutShort)
}

// The right code, whenever the waits let it be looked at, opens and clears the count.
func TestTheRightCodeOpensAfterTheWaitsAndClearsTheCount(t *testing.T) {
	for _, way := range ways {
		for _, p := range everywhere {
			t.Run(way.method+" on "+p.name, func(t *testing.T) {
				g := newGuessed(t, p)
				for n := 1; n <= 6; n++ {
					g.boot.Since += 10 * time.Minute
					if err := g.guess(way.method, way.wrong(n)); err == nil || err.Code != fault.InvalidCode {
						t.Fatalf("wrong code %d: %v", n, err)
					}
				}
				if err := g.guess(way.method, way.right); err == nil || err.Code != fault.RateLimited || err.RetryAfter != 5*time.Minute || g.open() {
					t.Fatalf("the right code during the wait: %v", err)
				}
				g.boot.Since += 5 * time.Minute
				if err := g.guess(way.method, way.right); err != nil || !g.open() {
					t.Fatalf("the right code after the wait: %v", err)
				}
				if n := way.failed(g.record()); n != 0 {
					t.Errorf("%d attempts are still counted", n)
				}
			})
		}
	}
}

// The order of what reaches the medium: wherever the power fails before anything
// follows from a code, the attempt is on the medium, flushed and read back.
func TestTheCountIsOnTheMediumBeforeTheCodeIsLookedAt(t *testing.T) {
	for _, way := range ways {
		for _, p := range everywhere {
			t.Run(way.method+" on "+p.name, func(t *testing.T) {
				g := newGuessed(t, p)
				_ = g.guess(way.method, way.wrong(1)) // a challenge is there now
				g.log = nil
				g.disk.Before = func(op string) error {
					least := ^uint32(0)
					g.disk.PowerCuts(func(after *record.Disk) { least = min(least, way.failed(p.on(after).Read().Record)) })
					g.log = append(g.log, fmt.Sprintf("%s with %d counted", op, least))
					return nil
				}
				if err := g.guess(way.method, way.right); err != nil {
					t.Fatal(err)
				}
				g.disk.Before = nil
				marker := slices.Index(g.log, "marker")
				// The right code shows by the marker that it writes next.
				if marker < 1 || !strings.HasSuffix(g.log[marker-1], "with 2 counted") {
					t.Fatalf("in this order:\n%s", strings.Join(g.log, "\n"))
				}
				flushed := slices.IndexFunc(g.log, func(s string) bool { return strings.HasPrefix(s, "flush") })
				if flushed < 0 || flushed > marker || !strings.HasSuffix(g.log[flushed], "with 1 counted") {
					t.Fatalf("in this order:\n%s", strings.Join(g.log, "\n"))
				}
				// A medium that takes nothing has no code looked at.
				g = newGuessed(t, p)
				g.start()
				g.disk.Before = func(op string) error {
					if strings.HasPrefix(op, "flush") {
						return fault.New(fault.StorageFailed, nil)
					}
					return nil
				}
				if err := g.guess(way.method, way.right); err == nil || err.Code != fault.StorageFailed || g.open() {
					t.Fatalf("it cannot be counted: %v, open %v", err, g.open())
				}
			})
		}
	}
}
