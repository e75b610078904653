// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/secret"
)

func beginReset(t testing.TB, d *daemon, unlink bool) *flow.Flow {
	t.Helper()
	f, err := d.m.Begin(":1.1", lock.KindReset, flow.Options{Unlink: unlink})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// steps answers a reset and returns the steps that it went through.
func steps(t testing.TB, f *flow.Flow) (out []flow.Step) {
	t.Helper()
	for {
		step := f.View().Step
		out = append(out, step)
		in := flow.Input{"confirm": true}
		switch step {
		case flow.StepPassword:
			in = flow.Input{"password": secret.Bytes(rightPassword)}
		case flow.StepConfirm:
			if len(f.View().Prompt.Consequences) == 0 {
				t.Fatal("nothing is said of what the reset does")
			}
		case flow.StepWorking:
			time.Sleep(time.Millisecond)
			out = out[:len(out)-1]
			continue
		default:
			return out
		}
		if err := f.Submit(context.Background(), in); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
}

// wiped is the device after the reset that was begun, in the boot that follows.
func (w *world) wipedAndBooted(t testing.TB) *daemon {
	t.Helper()
	w.factoryReset()
	w.bootID += "+"
	return w.boot(t)
}

func TestATrustedResetAsksForThePasswordThenOpensWithoutTheAccount(t *testing.T) {
	w, d := linked(t)
	link := w.record.Link.ID
	f := beginReset(t, d, false)
	if got := steps(t, f); !slices.Equal(got, []flow.Step{"password", "confirm", "done"}) {
		t.Fatalf("the steps are %v", got)
	}
	if w.resets != 1 || !w.record.Reset.Allowed || !w.record.Armed {
		t.Fatalf("%d resets, %+v", w.resets, w.record.Reset)
	}
	d = w.wipedAndBooted(t)
	if d.state().State != lock.Unlinked || w.record.Reset != (lock.Reset{Left: link}) || w.record.AccountID != "" || len(w.record.OfflineKey) != 0 {
		t.Fatalf("%s %+v", d.state(), w.record)
	}
	// The service still holds the link, and that locks nothing.
	if err := d.m.CheckIn(context.Background()); err != nil || d.state().State != lock.Unlinked {
		t.Fatalf("%v %s", err, d.state())
	}
	// Until the owner marks it lost.
	w.svc.status = lock.StatusLost
	if err := d.m.CheckIn(context.Background()); err != nil || d.state() != lock.LockedFor(lock.Lost) {
		t.Fatalf("%v %s", err, d.state())
	}
}

func TestAResetThatOthersBeginIsNotPromised(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		w, d := linked(t)
		w.elsewhere = elsewhere
		f := beginReset(t, d, false)
		if err := f.Submit(t.Context(), flow.Input{"password": secret.Bytes(rightPassword)}); err != nil {
			t.Fatal(err)
		}
		if text := f.View().Prompt.Text; strings.Contains(text, "begins at once") == elsewhere || strings.Contains(text, "begun elsewhere") != elsewhere {
			t.Errorf("elsewhere %v: %q", elsewhere, text)
		}
		if got := steps(t, f); !slices.Equal(got, []flow.Step{"confirm", "done"}) || !w.record.Reset.Allowed {
			t.Errorf("elsewhere %v: %v, %+v", elsewhere, got, w.record.Reset)
		}
	}
}

func TestAResetThatDidNotHappenAllowsNoLaterOne(t *testing.T) {
	w, d := linked(t)
	steps(t, beginReset(t, d, false))
	// The daemon alone is started again, and leaves it allowed.
	d = w.boot(t)
	if !w.record.Reset.Allowed || d.state().State != lock.Linked {
		t.Fatalf("%+v %s", w.record.Reset, d.state())
	}
	w.bootID = "the next"
	d = w.boot(t)
	if w.record.Reset.Allowed || d.state().State != lock.Linked {
		t.Fatalf("%+v %s", w.record.Reset, d.state())
	}
	if d = w.wipedAndBooted(t); d.state() != lock.LockedFor(lock.FactoryReset) {
		t.Fatalf("a thief's reset gives %s", d.state())
	}
}

func TestAResetMayEndTheOwnershipToo(t *testing.T) {
	for name, start := range map[string]func(testing.TB) (*world, *daemon){
		"linked": linked,
		"signed out": func(t testing.TB) (*world, *daemon) {
			w, d := linked(t)
			d.run(t, lock.KindSignOut)
			return w, d
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, d := start(t)
			f := beginReset(t, d, true)
			if got := steps(t, f); !slices.Equal(got, []flow.Step{"password", "confirm", "done"}) {
				t.Fatalf("the steps are %v", got)
			}
			if w.svc.status != lock.StatusUnlinked || w.record.Armed || w.record.Link.ID != "" || w.resets != 1 || len(w.ops) != 0 {
				t.Fatalf("%s %+v, %d resets, %v", w.svc.status, w.record, w.resets, w.ops)
			}
			if d = w.wipedAndBooted(t); d.state().State != lock.Unlinked {
				t.Fatal(d.state())
			}
		})
	}
}

func TestAPersonMayReadLongBeforeConfirming(t *testing.T) {
	for _, unlink := range []bool{false, true} {
		w, d := linked(t)
		f := beginReset(t, d, unlink)
		if err := f.Submit(context.Background(), flow.Input{"password": secret.Bytes(rightPassword)}); err != nil {
			t.Fatal(err)
		}
		*d.since += 5 * time.Minute
		steps(t, f)
		if w.resets != 1 {
			t.Fatalf("unlink %v: %+v", unlink, f.View())
		}
	}
}

func TestWhereNothingIsLockedAResetAsksForTheWordAlone(t *testing.T) {
	for name, start := range map[string]func(testing.TB) (*world, *daemon){
		"unlinked": ready,
		"signed out": func(t testing.TB) (*world, *daemon) {
			w, d := linked(t)
			d.run(t, lock.KindSignOut)
			return w, d
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, d := start(t)
			w.svc.down = errDown // nor is a network needed
			f := beginReset(t, d, false)
			if len(f.View().Methods) != 0 {
				t.Fatalf("%v", f.View().Methods)
			}
			if got := steps(t, f); !slices.Equal(got, []flow.Step{"confirm", "done"}) || w.resets != 1 || w.record.Reset.Allowed {
				t.Fatalf("%v, %d resets, %+v", got, w.resets, w.record.Reset)
			}
		})
	}
	// Unlinking what is not linked is nothing to refuse a reset over.
	w, d := ready(t)
	if got := steps(t, beginReset(t, d, true)); len(got) != 2 || w.resets != 1 {
		t.Fatalf("%v", got)
	}
}

func TestADeviceThatWasLinkedMeanwhileAsksForThePasswordAfterAll(t *testing.T) {
	w, d := ready(t)
	f := beginReset(t, d, false)
	d.run(t, lock.KindLink)
	if err := f.Submit(context.Background(), flow.Input{"confirm": true}); err != nil {
		t.Fatal(err)
	}
	if f.View().Step != flow.StepPassword || w.resets != 0 {
		t.Fatalf("%s, %d resets", f.View().Step, w.resets)
	}
	if got := steps(t, f); !slices.Equal(got, []flow.Step{"password", "confirm", "done"}) || w.resets != 1 {
		t.Fatalf("%v", got)
	}
}

func TestNothingIsAllowedWhereTheResetDoesNotBegin(t *testing.T) {
	t.Run("no way to reset", func(t *testing.T) {
		w, d := linked(t)
		w.noReset = flow.ErrNoReset
		if _, err := d.m.Begin(":1.1", lock.KindReset, flow.Options{}); !errors.Is(err, flow.ErrNoReset) {
			t.Fatal(err)
		}
		w.noReset = nil
		f := beginReset(t, d, true)
		if err := f.Submit(context.Background(), flow.Input{"password": secret.Bytes(rightPassword)}); err != nil {
			t.Fatal(err)
		}
		w.noReset = flow.ErrNoReset
		if err := f.Submit(context.Background(), flow.Input{"confirm": true}); !errors.Is(err, flow.ErrNoReset) || w.svc.status != lock.StatusLinked {
			t.Fatalf("%v %s", err, w.svc.status)
		}
	})
	t.Run("the reset fails", func(t *testing.T) {
		w, d := linked(t)
		w.fail["reset"] = errors.New("no such target")
		f := beginReset(t, d, false)
		_ = f.Submit(context.Background(), flow.Input{"password": secret.Bytes(rightPassword)})
		if err := f.Submit(context.Background(), flow.Input{"confirm": true}); err == nil || f.View().Step != flow.StepFailed {
			t.Fatalf("%v %s", err, f.View().Step)
		}
		if w.record.Reset != (lock.Reset{}) || d.state().State != lock.Linked {
			t.Fatalf("%+v %s", w.record.Reset, d.state())
		}
	})
	t.Run("the medium fails", func(t *testing.T) {
		w, d := linked(t)
		f := beginReset(t, d, false)
		_ = f.Submit(context.Background(), flow.Input{"password": secret.Bytes(rightPassword)})
		w.fail["record"] = fault.New(fault.StorageFailed, nil)
		wantCode(t, f.Submit(context.Background(), flow.Input{"confirm": true}), fault.StorageFailed)
		if w.resets != 0 || w.record.Reset.Allowed {
			t.Fatalf("%d resets, %+v", w.resets, w.record.Reset)
		}
	})
	t.Run("a wrong password, a no, a grant for something else", func(t *testing.T) {
		w, d := linked(t)
		f := beginReset(t, d, false)
		wantCode(t, f.Submit(context.Background(), flow.Input{"password": secret.Bytes("wrong")}), fault.InvalidCredentials)
		_ = f.Submit(context.Background(), flow.Input{"password": secret.Bytes(rightPassword)})
		if err := f.Submit(context.Background(), flow.Input{"confirm": false}); err != nil || f.View().Step != flow.StepFailed {
			t.Fatalf("%v %s", err, f.View().Step)
		}
		for name, twist := range map[string]func(*flow.Grant){
			"purpose": func(g *flow.Grant) { g.Purpose = "unlink" },
			"link":    func(g *flow.Grant) { g.Link.ID = "another" },
			"no link": func(g *flow.Grant) { g.Link.ID = "" },
		} {
			w.svc.twist = twist
			f := beginReset(t, d, false)
			_ = f.Submit(context.Background(), flow.Input{"password": secret.Bytes(rightPassword)})
			if e := fault.As(f.Submit(context.Background(), flow.Input{"confirm": true})); e == nil || e.Code != fault.GrantRefused {
				t.Fatalf("%s: %v", name, e)
			}
		}
		if w.resets != 0 || w.record.Reset.Allowed {
			t.Fatalf("%d resets, %+v", w.resets, w.record.Reset)
		}
	})
	t.Run("locked", func(t *testing.T) {
		_, d := locked(t)
		_, err := d.m.Begin(":1.1", lock.KindReset, flow.Options{})
		wantCode(t, err, fault.Locked)
	})
}

// TestAKillAtEveryPointOfAResetLeavesItAllowedOrNot ends the daemon at each effect;
// what it leaves is a device that is linked and asks, or one whose reset was allowed.
func TestAKillAtEveryPointOfAResetLeavesItAllowedOrNot(t *testing.T) {
	for _, unlink := range []bool{false, true} {
		points, ended := 0, false
		for trip := 1; !ended; trip++ {
			synctest.Test(t, func(t *testing.T) { ended = killedReset(t, unlink, trip) })
			points++
		}
		if points < 8 {
			t.Fatalf("only %d points were tried", points)
		}
		t.Logf("unlink %v: %d points", unlink, points-1)
	}
}

// killedReset runs a reset whose daemon ends at the given effect, starts it again, and
// wipes the device. It reports whether the reset came to its end before that.
func killedReset(t *testing.T, unlink bool, trip int) (ended bool) {
	w, d := linked(t)
	w.mu.Lock()
	w.trip, w.count = trip, 0
	w.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if f, err := d.m.Begin(":1.1", lock.KindReset, flow.Options{Unlink: unlink}); err == nil {
			_ = person(f, rightPassword)
		}
	}()
	<-done
	w.mu.Lock()
	ended = !w.dead
	w.dead = true // whatever still runs of this life ends now
	begun, allowed := w.resets > 0, w.record.Reset.Allowed || !w.record.Armed
	w.mu.Unlock()
	d.stop()
	if begun && !allowed {
		t.Fatalf("point %d: a reset was begun that is not allowed", trip)
	}
	d = w.boot(t)
	if err := d.m.Resume(context.Background()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // until what was taken up is at work, or done
	for d.k.WorkingForTest() {
		time.Sleep(time.Millisecond)
		synctest.Wait()
	}
	if unlink {
		// Both sides agree, whatever the moment.
		if err := d.m.CheckIn(context.Background()); err != nil {
			t.Fatalf("point %d: %v", trip, err)
		}
		if (w.svc.status == lock.StatusUnlinked) != (d.state().State == lock.Unlinked) {
			t.Fatalf("point %d: the service says %s, the device %s", trip, w.svc.status, d.state())
		}
	}
	allowed = w.record.Reset.Allowed || !w.record.Armed
	if d = w.wipedAndBooted(t); d.state().Open() != allowed {
		t.Fatalf("point %d: allowed %v, after the reset %s", trip, allowed, d.state())
	}
	return ended
}
