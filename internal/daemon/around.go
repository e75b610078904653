// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi/client"
	"github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/netcheck"
)

// around is what the device finds around it: its network and its clock. It is
// safe for concurrent use.
type around struct {
	time *flow.Time

	mu    sync.Mutex
	peers netcheck.Peers
}

var (
	_ client.Surroundings = (*around)(nil)
	_ netcheck.Peers      = (*bus.Server)(nil)
)

// online lets other services on the bus be asked from now on.
func (a *around) online(s *bus.Server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peers = s
}

func (a *around) machine() netcheck.Machine {
	a.mu.Lock()
	defer a.mu.Unlock()
	return netcheck.Machine{Peers: a.peers}
}

// Network implements client.Surroundings.
func (a *around) Network(ctx context.Context) diagnose.Network { return a.machine().Network(ctx) }

// Clock implements client.Surroundings.
func (a *around) Clock(ctx context.Context) diagnose.Clock {
	c := a.time.Known()
	c.Setter, c.Synced = a.machine().Setter(ctx)
	return c
}

// built is when the program's source was committed, the zero Time where it does not
// say. A clock before that is wrong.
func built() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			t, err := time.Parse(time.RFC3339, s.Value)
			if err == nil {
				return t
			}
		}
	}
	return time.Time{}
}
