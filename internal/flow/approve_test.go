// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
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

// asking runs a test in a bubble, with a locked device that has shown its owner a code.
func asking(t *testing.T, test func(*testing.T, *world, *daemon, *flow.Flow)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, d := locked(t)
		f := begin(t, d, lock.KindUnlock)
		if err := f.Choose(t.Context(), "approve"); err != nil {
			t.Fatal(err)
		}
		test(t, w, d, f)
		d.stop()
		d.m.Close()
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// with changes the service while flows may be asking it.
func (w *world) with(change func(*fakeService)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.svc)
}

// polls are the questions whether the owner has approved.
func (w *world) polls() []flow.Answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.svc.polls)
}

// calls is how often the service was asked for anything.
func (w *world) calls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.svc.calls
}

// unlocks is how many flows of that kind the service has.
func (w *world) unlocks() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.svc.flows {
		if f.kind == lock.KindUnlock {
			n++
		}
	}
	return n
}

func wantEnd(t *testing.T, f *flow.Flow, code fault.Code) {
	t.Helper()
	if v := f.View(); v.Step != flow.StepFailed || v.Error == nil || v.Error.Code != code || v.Error.Remedy == "" || v.Error.Counted {
		t.Errorf("the flow is at %s with %v, want %s", v.Step, v.Error, code)
	}
}

func TestAnApprovalOpensTheDevice(t *testing.T) {
	asking(t, func(t *testing.T, w *world, d *daemon, f *flow.Flow) {
		v := f.View()
		if v.Step != flow.StepApprove || v.Prompt.UserCode != "CODE-1" || v.Prompt.URI != "https://accounts.example.org/approve" ||
			v.Prompt.URIComplete != v.Prompt.URI+"?code=CODE-1" || len(v.Prompt.Fields) != 0 || v.Prompt.AccountHint == "" {
			t.Fatalf("the prompt is %+v", v.Prompt)
		}
		wantCode(t, f.Submit(t.Context(), flow.Input{}), fault.WrongStep)
		if e := f.View().Error; e == nil || e.Code != fault.WrongStep {
			t.Fatalf("the refusal that is shown is %v", e)
		}
		pass(31 * time.Second)
		if n := len(w.polls()); n != 6 {
			t.Errorf("asked %d times in 31 s", n)
		}
		for i, p := range w.polls() {
			if p.Nonce == "" || p.Key == "" || i > 0 && (p.Nonce == w.polls()[i-1].Nonce || p.Key == w.polls()[i-1].Key) {
				t.Errorf("question %d has nonce and key of another", i)
			}
		}
		w.with(func(s *fakeService) {
			s.poll = func(flow.Answer) (flow.Remote, error) { return flow.Remote{Step: "done"}, nil }
		})
		pass(5 * time.Second)
		if v := f.View(); v.Step != flow.StepDone || d.state().State != lock.Linked {
			t.Fatalf("at %s: %v, %v", v.Step, v.Error, d.state())
		}
		n := len(w.polls())
		pass(time.Hour)
		if len(w.polls()) != n {
			t.Error("it goes on asking")
		}
	})
}

func TestSlowDownIsKept(t *testing.T) {
	asking(t, func(t *testing.T, w *world, d *daemon, f *flow.Flow) {
		slow := true
		w.with(func(s *fakeService) {
			s.poll = func(flow.Answer) (flow.Remote, error) {
				if slow {
					return flow.Remote{}, fault.New(fault.RateLimited, nil)
				}
				return flow.Remote{Step: "approve", Interval: 5 * time.Second}, nil
			}
		})
		pass(5 * time.Second)
		w.with(func(*fakeService) { slow = false })
		pass(9 * time.Second)
		if n := len(w.polls()); n != 1 {
			t.Errorf("asked %d times before the longer pause was over", n)
		}
		pass(time.Second)
		pass(10 * time.Second)
		if n := len(w.polls()); n != 3 {
			t.Errorf("asked %d times, want 3: the pause stays", n)
		}
		if v := f.View(); v.Step != flow.StepApprove || v.Error != nil {
			t.Errorf("a person is told %v", v.Error)
		}
		if d.k.Snapshot().RetryAfter != 0 {
			t.Error("the pause is kept as a wait of the password")
		}
	})
}

func TestASlowDownThatAsksForMoreIsHeededWithinAMinute(t *testing.T) {
	asking(t, func(t *testing.T, w *world, _ *daemon, _ *flow.Flow) {
		w.with(func(s *fakeService) {
			s.poll = func(flow.Answer) (flow.Remote, error) {
				e := fault.New(fault.RateLimited, nil)
				e.RetryAfter = 72 * time.Hour
				return flow.Remote{}, e
			}
		})
		pass(5 * time.Second)
		pass(59 * time.Second)
		if n := len(w.polls()); n != 1 {
			t.Errorf("asked %d times", n)
		}
		pass(time.Second)
		if n := len(w.polls()); n != 2 {
			t.Errorf("asked %d times after a minute", n)
		}
	})
}

func TestAnOutageIsToldAndOutlivedWhileItWaits(t *testing.T) {
	asking(t, func(t *testing.T, w *world, d *daemon, f *flow.Flow) {
		w.with(func(s *fakeService) { s.down, s.after, s.calls = fault.New(fault.ServiceUnavailable, nil), 0, 0 })
		pass(5 * time.Second)
		if v := f.View(); v.Step != flow.StepApprove || v.Error == nil || v.Error.Code != fault.ServiceUnavailable {
			t.Fatalf("at %s: %v", v.Step, v.Error)
		}
		calls := w.calls()
		pass(2 * time.Minute)
		if n := w.calls() - calls; n < 2 || n > 4 {
			t.Errorf("asked %d times in two minutes of an outage", n)
		}
		w.with(func(s *fakeService) { s.down = nil })
		pass(time.Minute)
		if v := f.View(); v.Step != flow.StepApprove || v.Error != nil {
			t.Errorf("after the outage at %s: %v", v.Step, v.Error)
		}
		w.with(func(s *fakeService) {
			s.poll = func(flow.Answer) (flow.Remote, error) { return flow.Remote{Step: "done"}, nil }
		})
		pass(5 * time.Second)
		if d.state().State != lock.Linked {
			t.Errorf("at %s: %v", f.View().Step, f.View().Error)
		}
	})
}

func TestAConsentWhoseAnswerWasLostIsAskedForUnderTheSameKey(t *testing.T) {
	asking(t, func(t *testing.T, w *world, _ *daemon, f *flow.Flow) {
		lost := true
		w.with(func(s *fakeService) {
			s.poll = func(flow.Answer) (flow.Remote, error) {
				if lost {
					lost = false
					return flow.Remote{}, fault.New(fault.NetworkUnavailable, nil)
				}
				return flow.Remote{Step: "done"}, nil
			}
		})
		pass(5 * time.Second)
		pass(10 * time.Second)
		if p := w.polls(); len(p) != 2 || p[0].Key != p[1].Key || p[0].Nonce != p[1].Nonce {
			t.Errorf("it was asked as %v", p)
		}
		if f.View().Step != flow.StepDone {
			t.Errorf("at %s: %v", f.View().Step, f.View().Error)
		}
	})
}

func TestARefusalEndsTheFlowByItsName(t *testing.T) {
	for refused, want := range map[fault.Code]fault.Code{
		fault.Declined: fault.Declined, fault.CodeExpired: fault.CodeExpired,
		// The service no longer knows the flow.
		fault.Timeout: fault.CodeExpired, fault.WrongStep: fault.CodeExpired,
		fault.AccountBlocked: fault.AccountBlocked, fault.GrantRefused: fault.GrantRefused,
	} {
		asking(t, func(t *testing.T, w *world, d *daemon, f *flow.Flow) {
			w.with(func(s *fakeService) {
				s.poll = func(flow.Answer) (flow.Remote, error) { return flow.Remote{}, fault.New(refused, nil) }
			})
			pass(5 * time.Second)
			wantEnd(t, f, want)
			if d.state().State != lock.Locked || w.unlocks() != 0 {
				t.Errorf("%s: %v, and the service still has %d flows", refused, d.state(), w.unlocks())
			}
		})
	}
}

func TestADeviceThatIsReleasedMeanwhileOpens(t *testing.T) {
	asking(t, func(t *testing.T, w *world, d *daemon, f *flow.Flow) {
		w.with(func(s *fakeService) { s.status = lock.StatusUnlinked })
		w.with(func(s *fakeService) {
			s.poll = func(flow.Answer) (flow.Remote, error) { return flow.Remote{}, fault.New(fault.NotLinked, nil) }
		})
		pass(5 * time.Second)
		if f.View().Step != flow.StepDone || d.state().State != lock.Unlinked {
			t.Errorf("at %s, %v: %v", f.View().Step, d.state(), f.View().Error)
		}
	})
}

func TestNobodyWaitsForACodeForEver(t *testing.T) {
	asking(t, func(t *testing.T, _ *world, d *daemon, f *flow.Flow) {
		pass(14 * time.Minute)
		if f.View().Step != flow.StepApprove || !d.m.Busy() {
			t.Fatalf("after 14 minutes: %s", f.View().Step)
		}
		pass(time.Minute + time.Second)
		wantEnd(t, f, fault.CodeExpired)
	})
}

func TestAnApprovalsGrantThatDoesNotFitOpensNothing(t *testing.T) {
	asking(t, func(t *testing.T, w *world, d *daemon, f *flow.Flow) {
		w.with(func(s *fakeService) { s.twist = func(g *flow.Grant) { g.Purpose = "rehearsal" } })
		w.with(func(s *fakeService) {
			s.poll = func(flow.Answer) (flow.Remote, error) { return flow.Remote{Step: "done"}, nil }
		})
		pass(5 * time.Second)
		wantEnd(t, f, fault.GrantRefused)
		if d.state().State != lock.Locked {
			t.Error(d.state())
		}
	})
	asking(t, func(t *testing.T, w *world, d *daemon, f *flow.Flow) {
		w.with(func(s *fakeService) {
			s.poll = func(flow.Answer) (flow.Remote, error) { return flow.Remote{Step: "password"}, nil }
		})
		pass(5 * time.Second)
		wantEnd(t, f, fault.ServiceUnavailable)
	})
}

func TestAnotherWayEndsTheWaitingAndItsCode(t *testing.T) {
	asking(t, func(t *testing.T, w *world, d *daemon, f *flow.Flow) {
		if err := f.Choose(t.Context(), "password"); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if len(w.polls()) != 0 || w.unlocks() != 0 {
			t.Errorf("%d questions, %d flows at the service", len(w.polls()), w.unlocks())
		}
		if err := person(f, rightPassword); err != nil || d.state().State != lock.Linked {
			t.Errorf("by the password: %v, %v", err, d.state())
		}
	})
}

func TestCancellingEndsTheWaiting(t *testing.T) {
	asking(t, func(t *testing.T, w *world, d *daemon, f *flow.Flow) {
		d.m.OwnerGone(f.Owner)
		pass(time.Minute)
		if len(w.polls()) != 0 || w.unlocks() != 0 || d.m.Busy() {
			t.Errorf("%d questions, %d flows at the service, busy: %t", len(w.polls()), w.unlocks(), d.m.Busy())
		}
	})
}

func TestANewCodeTakesTheOldOnesPlace(t *testing.T) {
	asking(t, func(t *testing.T, w *world, _ *daemon, f *flow.Flow) {
		for i, again := range []func() error{
			func() error { return f.Choose(t.Context(), "approve") },
			func() error { return f.Resend(t.Context()) },
		} {
			if err := again(); err != nil {
				t.Fatal(err)
			}
			if got, want := f.View().Prompt.UserCode, []string{"CODE-2", "CODE-3"}[i]; got != want {
				t.Errorf("the code is %s, want %s", got, want)
			}
		}
		pass(21 * time.Second)
		if n := len(w.polls()); n != 4 {
			t.Errorf("asked %d times in 21 s: more than one waits", n)
		}
		w.with(func(s *fakeService) { s.down, s.after, s.calls = fault.New(fault.RateLimited, nil), 0, 0 })
		wantCode(t, f.Resend(t.Context()), fault.RateLimited)
		w.with(func(s *fakeService) { s.down = nil })
		pass(time.Minute)
		if f.View().Step != flow.StepIdentify || w.unlocks() != 0 || len(w.polls()) != 4 {
			t.Errorf("without another code: at %s, %d flows at the service, %d questions", f.View().Step, w.unlocks(), len(w.polls()))
		}
		if err := f.Choose(t.Context(), "approve"); err != nil {
			t.Fatal(err)
		}
		w.with(func(s *fakeService) { s.flows = map[string]*fakeFlow{} }) // the service has lost them
		if err := f.Resend(t.Context()); err != nil || f.View().Prompt.UserCode != "CODE-6" {
			t.Errorf("%v, %s", err, f.View().Prompt.UserCode)
		}
	})
}

func TestACodeThatCannotBeHadLeavesTheFlowWhereItWas(t *testing.T) {
	w, d := locked(t)
	f := begin(t, d, lock.KindUnlock)
	if err := f.Submit(t.Context(), flow.Input{}); err != nil || f.View().Step != flow.StepPassword {
		t.Fatal(err, f.View().Step)
	}
	wantCode(t, f.Submit(t.Context(), flow.Input{"password": secret.Bytes("wrong")}), fault.InvalidCredentials)
	w.with(func(s *fakeService) { s.down = fault.New(fault.NetworkUnavailable, nil) })
	wantCode(t, f.Choose(t.Context(), "approve"), fault.NetworkUnavailable)
	if v := f.View(); v.Step != flow.StepPassword || v.Error == nil || v.Error.Code != fault.NetworkUnavailable {
		t.Fatalf("at %s: %v", v.Step, v.Error)
	}
	w.with(func(s *fakeService) { s.down = fault.New(fault.RateLimited, nil) })
	wantCode(t, f.Choose(t.Context(), "approve"), fault.RateLimited)
	if d.k.Snapshot().RetryAfter != 0 {
		t.Error("too many codes hold the password up")
	}
	w.with(func(s *fakeService) { s.down = nil })
	if err := f.Submit(t.Context(), flow.Input{"password": secret.Bytes(rightPassword)}); err != nil || d.state().State != lock.Linked {
		t.Errorf("the password: %v, %v", err, d.state())
	}
}

func TestApprovalIsOfferedWhereItMayHelp(t *testing.T) {
	w, d := locked(t)
	f := begin(t, d, lock.KindUnlock)
	if !slices.Contains(f.View().Methods, "approve") {
		t.Errorf("an unlock offers %v", f.View().Methods)
	}
	w.with(func(s *fakeService) { s.noApproval = true })
	wantCode(t, f.Choose(t.Context(), "approve"), fault.Declined)
	if slices.Contains(f.View().Methods, "approve") {
		t.Errorf("a service without it: %v", f.View().Methods)
	}
	w.with(func(s *fakeService) { s.noApproval = false })

	w, d = locked(t)
	w.with(func(s *fakeService) { s.status = lock.StatusLost })
	if err := d.m.CheckIn(context.Background()); err != nil {
		t.Fatal(err)
	}
	f = begin(t, d, lock.KindUnlock)
	if slices.Contains(f.View().Methods, "approve") {
		t.Errorf("a lost device offers %v", f.View().Methods)
	}
	calls := w.calls()
	wantCode(t, f.Choose(t.Context(), "approve"), fault.Declined)
	if w.calls() != calls {
		t.Error("a lost device asks for a code")
	}
	if e := f.View().Error; e == nil || !strings.Contains(e.Remedy, "Sign in on it") {
		t.Errorf("the flow says %+v", e)
	}
	_, d = linked(t)
	f = begin(t, d, lock.KindSignOut)
	wantCode(t, f.Choose(t.Context(), "approve"), fault.InvalidArgument)
}
