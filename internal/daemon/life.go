// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
)

// life is the time between ready and the end.
type life struct {
	Options

	parts  *parts
	server *bus.Server
	// asked: this daemon has made a check-in of its own; an outage is not
	// answered by asking every second.
	asked bool
}

// drainTime is how long calls that came before the name was given back may
// still be answered.
const drainTime = 200 * time.Millisecond

// mend puts the record store in order for others who read there. Nothing waits
// for it: what decides about the lock is whole without it.
func (l *life) mend() {
	if !l.Config.Provisioned() {
		return
	}
	if err := l.parts.store.Mend(); err != nil {
		l.Log.Warn("cannot put the record store in order for others who read it", "error", err)
	}
}

func (l *life) live(ctx context.Context) error {
	s := l.parts.keeper.Snapshot()
	l.Log.Info("the daemon is ready", "state", s.Status.String(), "rule", s.Rule)
	l.notify(sd.SdNotifyReady)
	l.mend()
	watchdog, stopWatchdog := l.watchdog()
	defer stopWatchdog()
	checkIn := time.NewTimer(l.untilCheckIn())
	defer checkIn.Stop()
	// Whoever leaves ends a check-in under way and waits for it: the journal that it
	// writes is closed next.
	asked := make(chan struct{}, 1)
	asking, stopAsking := context.WithCancel(ctx)
	var asks sync.WaitGroup
	defer asks.Wait()
	defer stopAsking()
	idle := time.NewTimer(l.idleAfter())
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			l.notify(sd.SdNotifyStopping)
			return l.leave()
		case <-l.server.Lost():
			return ErrBusLost
		case <-watchdog:
			l.proveLife(ctx)
		case <-checkIn.C:
			// Beside the loop: an outage must not keep the watchdog waiting.
			l.asked = true
			asks.Go(func() {
				l.checkIn(asking)
				asked <- struct{}{}
			})
		case <-asked:
			checkIn.Reset(l.untilCheckIn())
		case <-idle.C:
			if l.isIdle(ctx) {
				l.Log.Debug("leaving: nothing to do")
				l.notify(sd.SdNotifyStopping)
				return l.leave()
			}
			idle.Reset(l.idleAfter())
		}
	}
}

// leave gives the name back first, so that a call that comes now starts the
// daemon again instead of being lost, and answers what is already here.
func (l *life) leave() error {
	if err := l.server.Release(); err != nil {
		l.Log.Debug("cannot release the name", "error", err)
		return nil
	}
	time.Sleep(drainTime)
	return nil
}

// never is a timer that does not fire in a daemon's life.
const never = 100 * 365 * 24 * time.Hour

// idleAfter returns when to look next whether there is nothing to do.
func (l *life) idleAfter() time.Duration {
	limit := l.Config.Daemon.IdleExit
	if limit == 0 {
		return never
	}
	return max(limit-l.server.Idle(), limit/10, 10*time.Millisecond)
}

// isIdle reports whether the daemon may leave: an open device, no flow, no
// operation and no call for a while.
func (l *life) isIdle(ctx context.Context) bool {
	s := l.parts.keeper.Snapshot()
	if !s.Status.Open() || l.parts.flows.Busy() || l.server.Idle() < l.Config.Daemon.IdleExit {
		return false
	}
	// At the default, leave only where the bus can bring us back: a name that
	// nobody owns and nobody can start means 'locked' to whoever asks.
	return l.Config.Daemon.IdleExit != config.Default(nil).Daemon.IdleExit || l.server.Activatable(ctx)
}

// overdueAfter is how soon an overdue check-in is made, so that neither the start
// nor whoever started the daemon waits for it.
const overdueAfter = time.Second

// untilCheckIn returns when the account service is to be asked next. A reset
// wipes the time of the last check-in, so each is followed by one, even of an
// unlinked device: an erased or forged record does not go unnoticed.
func (l *life) untilCheckIn() time.Duration {
	s := l.parts.keeper.Snapshot()
	interval := l.Config.Daemon.CheckInInterval
	switch {
	case !l.Config.Provisioned():
		return never
	case !s.Status.Open():
		// Locked: somebody stands before it, and its release may be on its way.
		return min(interval, time.Minute)
	case l.asked || s.Status.State == lock.Unlinked && s.LastCheckIn > 0:
		return interval
	}
	return untilNext(time.Duration(time.Now().Unix()-s.LastCheckIn)*time.Second, interval)
}

// untilNext returns how long this daemon's first check-in waits when the last one
// that was answered is so long ago. A clock that went back makes it overdue.
func untilNext(since, interval time.Duration) time.Duration {
	if since < 0 || since >= interval {
		return min(overdueAfter, interval)
	}
	return interval - since
}

func (l *life) checkIn(ctx context.Context) {
	if err := l.parts.flows.CheckIn(ctx); err != nil {
		l.Log.Info("the check-in got no answer that counts", "code", fault.CodeOf(err), "error", err)
	}
}

// watchdog returns ticks at half the time that systemd gave (sd_watchdog_enabled(3)).
func (l *life) watchdog() (<-chan time.Time, func()) {
	d, err := sd.SdWatchdogEnabled(false)
	if err != nil || d == 0 {
		return nil, func() {}
	}
	t := time.NewTicker(d / 2)
	return t.C, t.Stop
}

// proveLife pings the watchdog only if the bus answers; that the main loop and
// the keeper's lock work is shown by getting here.
func (l *life) proveLife(ctx context.Context) {
	_ = l.parts.keeper.Snapshot()
	if err := l.server.Ping(ctx); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		l.Log.Error("the bus does not answer; leaving the watchdog unfed", "error", err)
		return
	}
	l.notify(sd.SdNotifyWatchdog)
}

func (l *life) notify(state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		l.Log.Warn("cannot notify systemd", "state", state, "error", err)
	}
}
