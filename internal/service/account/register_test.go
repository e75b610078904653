// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
)

func faultOf(err error) *fault.Error {
	if err == nil {
		return nil
	}
	return fault.As(err)
}

func TestNobodySendsCodesToARangeOfNumbersByRegistering(t *testing.T) {
	w := newWorld(t, nil)
	begin := func(n int, from string) *fault.Error {
		return faultOf(w.BeginRegistration(t.Context(), fmt.Sprint("conversation-", n), fmt.Sprintf("+4915155%06d", n), "", "de", addr(from)))
	}
	const free = 21 // the last of them brings the delay
	for n := range free {
		if f := begin(n, fmt.Sprintf("2001:db8::%x", n+1)); f != nil {
			t.Fatalf("code %d: %v", n+1, f)
		}
	}
	f := begin(free, "2001:db8::ffff")
	if f == nil || f.Code != fault.RateLimited || f.RetryAfter != 5*time.Minute {
		t.Fatalf("one more: %+v", f)
	}
	w.clock.Advance(time.Minute)
	if f := faultOf(w.ResendRegistration(t.Context(), "conversation-0", "de", addr("2001:db8::1"))); f == nil || f.Code != fault.RateLimited {
		t.Fatalf("sent again: %+v", f)
	}
	if n := len(w.sent.all); n != free {
		t.Errorf("%d codes were sent", n)
	}
	if f := begin(free, "2001:db8:0:1::1"); f != nil {
		t.Errorf("from elsewhere: %v", f)
	}
	w.clock.Advance(5 * time.Minute)
	if f := begin(free+1, "2001:db8::1"); f != nil {
		t.Errorf("after the wait: %v", f)
	}
}
