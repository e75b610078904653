// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/service/device"
)

const (
	// seenFlush is how often it is written down which devices were seen.
	seenFlush = 10 * time.Second
	// maxSeen bounds how many are held until then; of more it is not noted.
	maxSeen = 10_000
)

// sightings holds which devices were seen until that is written down, many in
// one transaction. What a crash loses of it the next request brings again.
type sightings struct {
	mu      sync.Mutex
	devices map[string]time.Time
}

// note holds that a device was seen, unless that was written down lately.
func (s *sightings) note(c device.Caller, now time.Time) {
	if c.DeviceID == "" || now.Sub(c.SeenAt) < device.SeenEvery {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.devices == nil {
		s.devices = map[string]time.Time{}
	}
	if len(s.devices) < maxSeen {
		s.devices[c.DeviceID] = now
	}
}

// flush writes down what is held.
func (s *sightings) flush(ctx context.Context, to *device.Registry) error {
	s.mu.Lock()
	devices := s.devices
	s.devices = nil
	s.mu.Unlock()
	if len(devices) == 0 {
		return nil
	}
	return to.Seen(ctx, devices)
}
