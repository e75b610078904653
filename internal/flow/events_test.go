// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"testing"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

func (w *world) AddEvent(_ context.Context, e flow.Event) error {
	return w.effect("diary", func() error { w.events = append(w.events, e); return nil })
}

func (w *world) AddStart(_ context.Context, bootID string, e flow.Event) error {
	return w.effect("diary", func() error {
		if w.started != bootID {
			w.events, w.started = append(w.events, e), bootID
		}
		return nil
	})
}

func (w *world) NextEvents(_ context.Context, fresh string) (string, []flow.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) > 0 && w.batch == "" {
		w.batch = fresh
	}
	return w.batch, w.events, nil
}

func (w *world) DropEvents(context.Context, string) error {
	return w.effect("diary", func() error { w.events, w.batch = nil, ""; return nil })
}

// kinds lists what the service was told, in no order of batches.
func (w *world) kinds() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	for _, batch := range w.told {
		for _, e := range batch {
			out[e.Kind+" "+e.Detail]++
		}
	}
	return out
}

func TestTheOwnerIsToldWhatHappenedOnTheDeviceOnce(t *testing.T) {
	w, d := locked(t)
	if err := person(begin(t, d, lock.KindUnlock), "wrong"); fault.CodeOf(err) != fault.InvalidCredentials {
		t.Fatal(err)
	}
	w.fail["events"] = fault.New(fault.ServiceUnavailable, nil)
	if err := d.m.CheckIn(t.Context()); err != nil {
		t.Fatalf("a service that takes no events fails no check-in: %v", err)
	}
	delete(w.fail, "events")
	d.stop()
	d = w.boot(t)
	for range 2 {
		if err := d.m.CheckIn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := w.kinds()
	for _, want := range []string{"attempt-refused password: InvalidCredentials", "started locked factory-reset"} {
		if got[want] != 1 {
			t.Errorf("%q was told %d times: %v", want, got[want], got)
		}
	}
}
