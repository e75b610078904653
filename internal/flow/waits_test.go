// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/secret"
)

func TestAFlowSaysWhichOfItsWaysWaits(t *testing.T) {
	w, d, _ := lockedWithCode(t)
	f := begin(t, d, lock.KindUnlock)
	if got := f.View().Prompt.Waits; len(got) != 0 {
		t.Errorf("nothing was tried, and %v waits", got)
	}
	busy := fault.New(fault.RateLimited, nil)
	busy.RetryAfter = 5 * time.Minute
	w.with(func(s *fakeService) { s.down = busy })
	if err := f.Submit(t.Context(), flow.Input{}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, f.Submit(t.Context(), flow.Input{"password": secret.Bytes("wrong")}), fault.RateLimited)
	w.with(func(s *fakeService) { s.down = nil })
	now := fixedClock{since: d.since}.Now()
	if got := f.View().Prompt.Waits; len(got) != 1 || got["password"] != now.Add(5*time.Minute).Unix() {
		t.Errorf("after too many passwords %v waits", got)
	}
	// The way by approval is open, and its limits hold up no other.
	if err := f.Choose(t.Context(), "approve"); err != nil {
		t.Error(err)
	}
	*d.since += 6 * time.Minute
	if got := f.View().Prompt.Waits; len(got) != 0 {
		t.Errorf("after the wait %v waits", got)
	}
	d.stop()
	d.m.Close()
}
