// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
)

// ownerWatch notices when a connection that has flows leaves the bus. It asks
// to be told of those connections alone, so that nobody else's coming and going
// wakes an idle daemon.
type ownerWatch struct {
	s  *Server
	mu sync.Mutex
	on map[string]bool
}

func (w *ownerWatch) start(s *Server) {
	w.s, w.on = s, map[string]bool{}
	ch := make(chan *dbus.Signal, 64)
	s.conn.Signal(ch)
	go w.listen(ch)
}

func (w *ownerWatch) listen(ch <-chan *dbus.Signal) {
	defer close(w.s.lostName)
	for sig := range ch {
		switch sig.Name {
		case "org.freedesktop.DBus.NameOwnerChanged":
			if len(sig.Body) != 3 || sig.Sender != "org.freedesktop.DBus" {
				continue
			}
			name, _ := sig.Body[0].(string)
			now, _ := sig.Body[2].(string)
			if now == "" {
				w.s.Flows.OwnerGone(name)
				w.forget(name)
			}
		case "org.freedesktop.DBus.NameLost":
			if len(sig.Body) == 1 && sig.Body[0] == Name && sig.Sender == "org.freedesktop.DBus" {
				return
			}
		}
	}
}

func match(owner string) []dbus.MatchOption {
	return []dbus.MatchOption{
		dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchInterface("org.freedesktop.DBus"),
		dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, owner),
	}
}

// watch begins to listen for owner, and makes sure that it has not left before.
func (w *ownerWatch) watch(c *call) error {
	w.mu.Lock()
	known := w.on[c.sender]
	w.on[c.sender] = true
	w.mu.Unlock()
	if known {
		return nil
	}
	err := w.s.conn.AddMatchSignalContext(c.ctx, match(c.sender)...)
	if err == nil {
		var here bool
		err = w.s.conn.BusObject().CallWithContext(c.ctx, "org.freedesktop.DBus.NameHasOwner", 0, c.sender).Store(&here)
		if err == nil && !here {
			err = fmt.Errorf("the caller has left the bus")
		}
	}
	if err != nil {
		w.forget(c.sender)
		return fault.New(fault.Internal, err)
	}
	return nil
}

// forget stops listening for owner, unless it still has flows.
func (w *ownerWatch) forget(owner string) {
	w.mu.Lock()
	known := w.on[owner]
	delete(w.on, owner)
	w.mu.Unlock()
	if known {
		go func() { _ = w.s.conn.RemoveMatchSignal(match(owner)...) }()
	}
}

func externalAuth() dbus.Auth { return dbus.AuthExternal(strconv.Itoa(os.Geteuid())) }

// bucket limits how often the account service is asked at a client's word: ten
// at once, then one every six seconds.
type bucket struct {
	mu     sync.Mutex
	tokens float64
	last   time.Time
}

const (
	bucketSize = 10
	bucketStep = 6 * time.Second
)

func newBucket() *bucket { return &bucket{tokens: bucketSize, last: time.Now()} }

// take returns how long to wait, 0 where a token was there.
func (b *bucket) take() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.tokens = min(bucketSize, b.tokens+now.Sub(b.last).Seconds()/bucketStep.Seconds())
	b.last = now
	if b.tokens < 1 {
		return time.Duration((1 - b.tokens) * float64(bucketStep))
	}
	b.tokens--
	return 0
}
