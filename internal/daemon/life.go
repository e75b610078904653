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
	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/netcheck"
)

// life is the time between ready and the end.
type life struct {
	Options

	parts  *parts
	server *bus.Server
	// asked: this daemon has made a check-in of its own; an outage is not
	// answered by asking every second.
	asked bool
	// failures counts the check-ins without an answer since the last one with, and
	// told is how long the service asked to be left alone at the last of them.
	failures int
	told     time.Duration
	// moved is when the network last led, or will next lead, to a check-in.
	moved time.Time
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

// retryFirst and retryMost bound the pauses between a locked device's questions to
// an account service that does not answer.
const (
	retryFirst = 5 * time.Second
	retryMost  = time.Minute
)

// untilRetry returns how long a locked device waits before it asks again: a minute
// where all is well, from five seconds up to that after failures, and longer where the
// service asked for it.
func untilRetry(failures int, told time.Duration) time.Duration {
	if failures == 0 || failures > 4 {
		return max(retryMost, told)
	}
	return max(min(retryFirst<<(failures-1), retryMost), told)
}

// movedAfter is the least time between two check-ins that the network led to: one
// that comes and goes is not followed at every turn.
const movedAfter = 10 * time.Second

// untilMoved returns how soon to ask after a change of the network.
func (l *life) untilMoved() time.Duration {
	l.failures = 0
	if pending := time.Until(l.moved); pending > 0 {
		return pending
	}
	wait := max(overdueAfter, movedAfter-time.Since(l.moved))
	l.moved = time.Now().Add(wait)
	return wait
}

// worthAsking reports whether a change of the network may have changed what is
// known of the account service: it was out of reach, or is now.
func (l *life) worthAsking(ctx context.Context) bool {
	s := l.parts.keeper.Snapshot()
	switch {
	case !l.Config.Provisioned():
		return false
	case diagnose.Local(l.parts.around.Network(ctx)) != "":
		return s.Connectivity != flow.ConnOffline
	default:
		return s.Connectivity != flow.ConnOnline && (!s.Status.Open() || s.Connectivity != flow.ConnUnknown)
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
	asked := make(chan error, 1)
	busy := false
	asking, stopAsking := context.WithCancel(ctx)
	var asks sync.WaitGroup
	defer asks.Wait()
	defer stopAsking()
	moved, err := netcheck.Watch(asking)
	if err != nil {
		l.Log.Info("the kernel does not tell of network changes; the account service is asked at intervals alone", "error", err)
	}
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
			busy = true
			l.parts.tellGate(ctx)
			asks.Go(func() { asked <- l.checkIn(asking) })
		case err := <-asked:
			busy = false
			l.answered(err)
			checkIn.Reset(l.untilCheckIn())
		case <-l.parts.keeper.Lost():
			// Whoever found that out does not ask again: we do.
			if !busy && !l.parts.keeper.Snapshot().Status.Open() {
				l.failures = max(l.failures, 1)
				checkIn.Reset(l.untilCheckIn())
			}
		case _, ok := <-moved:
			if !ok {
				moved = nil
			} else if !busy && l.worthAsking(ctx) {
				checkIn.Reset(l.untilMoved())
			}
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
	l.parts.rest()
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
		return min(interval, untilRetry(l.failures, l.told))
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

func (l *life) checkIn(ctx context.Context) error {
	err := l.parts.flows.CheckIn(ctx)
	if err != nil {
		l.Log.Info("the check-in got no answer that counts", "code", fault.CodeOf(err), "error", err)
	}
	return err
}

// answered keeps what a check-in says of when to make the next.
func (l *life) answered(err error) {
	if err == nil {
		l.failures, l.told = 0, 0
		return
	}
	l.failures++
	l.told = fault.As(err).RetryAfter
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
