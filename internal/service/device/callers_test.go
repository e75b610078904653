// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
)

// stuck is a database that answers nobody until it is let go.
type stuck struct {
	DB

	letGo chan struct{}
}

func (s stuck) Select(ctx context.Context, _ string, _ []any, begin func(), _ func(*sql.Rows) error) error {
	begin()
	select {
	case <-s.letGo:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestWhoeverLeavesTheLineIsNotWaitedFor(t *testing.T) {
	s := stuck{letGo: make(chan struct{})}
	c := &callers{db: s}
	first := make(chan error, 1)
	go func() {
		_, err := c.find(t.Context(), "first", "key")
		first <- err
	}()
	waits := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.asking && len(c.waiting) == 0
	}
	for !waits() {
		time.Sleep(time.Millisecond)
	}
	gone, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range maxWaiting - 1 {
		all.Go(func() {
			if _, err := c.find(gone, "gone", "key"); !errors.Is(err, context.Canceled) {
				t.Errorf("whose client has gone: %v", err)
			}
		})
	}
	last := make(chan error, 1)
	go func() {
		_, err := c.find(t.Context(), "last", "key")
		last <- err
	}()
	for full := false; !full; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		full = len(c.waiting) == maxWaiting
		c.mu.Unlock()
	}
	if _, err := c.find(t.Context(), "one more", "key"); fault.CodeOf(err) != fault.ServiceUnavailable {
		t.Errorf("beyond what the line takes: %v", err)
	}
	leave()
	all.Wait()
	close(s.letGo)
	for _, who := range []chan error{first, last} {
		select {
		case err := <-who:
			if fault.CodeOf(err) != fault.DeviceUnknown {
				t.Errorf("who waited: %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("the turn was lost with who left")
		}
	}
}

// TestTheTurnOfWhoLeavesGoesOn leaves at the very moment that somebody is called.
func TestTheTurnOfWhoLeavesGoesOn(t *testing.T) {
	s := stuck{letGo: make(chan struct{})}
	close(s.letGo)
	c := &callers{db: s}
	var all sync.WaitGroup
	for i := range 2000 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%50)*time.Microsecond)
			defer cancel()
			_, err := c.find(ctx, "somebody", "key")
			if !errors.Is(err, context.DeadlineExceeded) && fault.CodeOf(err) != fault.DeviceUnknown && fault.CodeOf(err) != fault.ServiceUnavailable {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if c.asking || len(c.waiting) != 0 {
		t.Errorf("nobody is there, and the line holds %d, asking %v", len(c.waiting), c.asking)
	}
}
