// SPDX-License-Identifier: Apache-2.0

// Package delivery owns mail and SMS between the moment somebody is to be told
// something and the moment a server has taken it over: a queue in the database,
// sealed, tried again with growing pauses, shared by all servers.
//
// A message is handed over at least once. A crash between the hand-over and its
// note repeats it under the same name (Message-ID, Idempotency-Key), by which
// the other side drops it.
//
// It must not know what is in a message, nor how one is carried.
package delivery

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/store"
)

const (
	// Keep is how long a message without an end of its own is tried.
	Keep = 72 * time.Hour
	// CarryTime bounds one hand-over.
	CarryTime = 30 * time.Second
	// MaxWaiting bounds the queue: a mail server that is down for long must not fill
	// the disk. What is refused then is told to whoever asked for it.
	MaxWaiting = 100_000

	// batch messages are taken at once and carried by so many workers: all are done
	// before the lease ends.
	batch   = 16
	workers = 8
	lease   = (batch/workers)*CarryTime + time.Minute
	// tick is how often a server looks for what another one left.
	tick = 5 * time.Second
	// maxPause is the longest pause between two tries.
	maxPause = 30 * time.Minute
)

// Carrier hands one message over, named id, as mail.Sender and sms.Sender do.
type Carrier interface {
	// Carry's error means: try again later; *backoff.PermanentError means: never,
	// *backoff.RetryAfterError: not before. None repeats address or text.
	Carry(ctx context.Context, id string, m account.Message) error
}

// DB runs transactions, as *store.DB does.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Read(ctx context.Context, fn func(*sql.Tx) error) error
}

// Config is what a Queue is made of.
type Config struct {
	DB DB
	// Secret is the service secret, from which the key is derived that seals
	// messages: they hold codes, which are kept nowhere in the clear.
	Secret []byte
	// Carriers are the ways out. A channel without one takes no message.
	Carriers map[account.Channel]Carrier
	Now      func() time.Time
	Log      *slog.Logger
}

// Queue takes messages in and carries them. It is safe for concurrent use, by
// several processes too.
type Queue struct {
	Config
	seal *sealer
	kick chan struct{}
}

var _ account.Notifier = (*Queue)(nil)

// New returns the queue in the database.
func New(cfg Config) (*Queue, error) {
	s, err := newSealer(cfg.Secret)
	if err != nil {
		return nil, err
	}
	return &Queue{Config: cfg, seal: s, kick: make(chan struct{}, 1)}, nil
}

// Send implements account.Notifier: once it returns nil, the message outlives
// a crash. Its errors are those of a channel that is not configured, of a queue
// that is full (fault.ServiceUnavailable) and of the database.
func (q *Queue) Send(ctx context.Context, m account.Message) error {
	if q.Carriers[m.Channel] == nil {
		return fmt.Errorf("no way to send messages by %s is configured", m.Channel)
	}
	if strings.ContainsAny(m.To+m.Subject, "\r\n\x00") {
		// fails closed: it would begin a header of somebody else's choice.
		return errors.New("cannot send a message: its address or subject has a line break")
	}
	id := strings.ToLower(rand.Text())
	sealed, err := q.seal.close(id, m)
	if err != nil {
		return err
	}
	now := q.Now()
	until := m.Until
	if until.IsZero() {
		until = now.Add(Keep)
	}
	err = q.DB.Tx(ctx, func(tx *sql.Tx) error {
		var waiting int64
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM messages LIMIT $1) AS waiting`, MaxWaiting).Scan(&waiting); err != nil {
			return err
		}
		if waiting >= MaxWaiting {
			return fault.New(fault.ServiceUnavailable, errors.New("the queue of messages is full"))
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO messages (id, channel, sealed, tries, next_at, expires_at, created_at)
VALUES ($1, $2, $3, 0, $4, $5, $6)`, id, string(m.Channel), sealed, now.UnixMilli(), until.UnixMilli(), now.UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot take in a message: %w", err)
	}
	select {
	case q.kick <- struct{}{}:
	default:
	}
	return nil
}

// Run carries messages, as they come and as their pauses end, until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		if err := q.Deliver(ctx); err != nil && ctx.Err() == nil {
			q.Log.WarnContext(ctx, "cannot carry messages", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-q.kick:
		case <-t.C:
		}
	}
}

// Deliver carries what is due and is not with another server. Its error is the
// database's; what could not be handed over is logged and waits.
func (q *Queue) Deliver(ctx context.Context) error {
	for ctx.Err() == nil {
		rows, err := q.take(ctx)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := q.carryAll(ctx, rows); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (q *Queue) carryAll(ctx context.Context, rows []row) error {
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		errs  []error
		slots = make(chan struct{}, workers)
	)
	for _, r := range rows {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := q.carry(ctx, r); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// row is one message as the database holds it.
type row struct {
	id, channel, sealed string
	tries               int64
	expires             time.Time
}

func (q *Queue) carry(ctx context.Context, r row) error {
	log := q.Log.With("message", r.id, "channel", r.channel, "try", r.tries+1)
	if !q.Now().Before(r.expires) {
		log.WarnContext(ctx, "a message was given up: its time is over")
		return q.drop(ctx, r)
	}
	m, err := q.seal.open(r.id, r.sealed)
	carrier := q.Carriers[account.Channel(r.channel)]
	switch {
	case err != nil:
		log.WarnContext(ctx, "a message was given up", "error", err)
		return q.drop(ctx, r)
	case carrier == nil:
		err = errors.New("no way to send it is configured")
	default:
		bounded, cancel := context.WithTimeout(ctx, CarryTime)
		err = carrier.Carry(bounded, r.id, m)
		cancel()
	}
	var never *backoff.PermanentError
	switch {
	case err == nil:
		return q.drop(ctx, r)
	case errors.As(err, &never):
		log.WarnContext(ctx, "a message was given up", "error", err)
		return q.drop(ctx, r)
	}
	pause := pauseAfter(r.tries, err)
	log.WarnContext(ctx, "a message waits for its next try", "error", err, "pause", pause.Round(time.Second))
	return q.exec(ctx, `UPDATE messages SET next_at = $1, tries = tries + 1 WHERE id = $2`, q.Now().Add(pause).UnixMilli(), r.id)
}

// pauseAfter is how long a message waits that could not be handed over, tries
// times before.
func pauseAfter(tries int64, err error) time.Duration {
	var asked *backoff.RetryAfterError
	if errors.As(err, &asked) {
		return min(asked.Duration, maxPause)
	}
	b := &backoff.ExponentialBackOff{
		InitialInterval: 5 * time.Second, Multiplier: 2, MaxInterval: maxPause, RandomizationFactor: 0.2,
	}
	pause := b.NextBackOff()
	for range min(tries, 20) {
		pause = b.NextBackOff()
	}
	return pause
}

func (q *Queue) drop(ctx context.Context, r row) error {
	return q.exec(ctx, `DELETE FROM messages WHERE id = $1`, r.id)
}

// exec notes what came of a message, whether or not the server is about to end.
func (q *Queue) exec(ctx context.Context, query string, args ...any) error {
	ctx = context.WithoutCancel(ctx)
	err := q.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot note what came of a message: %w", err)
	}
	return nil
}

// take leases messages that are due to this server.
func (q *Queue) take(ctx context.Context) ([]row, error) {
	now := q.Now()
	var due int64
	err := q.DB.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM messages WHERE next_at <= $1 LIMIT 1) AS due`, now.UnixMilli()).Scan(&due)
	})
	if err != nil || due == 0 {
		return nil, err
	}
	var out []row
	err = q.DB.Tx(ctx, func(tx *sql.Tx) (err error) {
		out, err = store.Collect(ctx, tx, func(rows *sql.Rows) (r row, err error) {
			var expires int64
			err = rows.Scan(&r.id, &r.channel, &r.sealed, &r.tries, &expires)
			r.expires = time.UnixMilli(expires)
			return r, err
		}, `UPDATE messages SET next_at = $1 WHERE id IN
(SELECT id FROM messages WHERE next_at <= $2 ORDER BY next_at LIMIT $3)
RETURNING id, channel, sealed, tries, expires_at`, now.Add(lease).UnixMilli(), now.UnixMilli(), batch)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the queue of messages: %w", err)
	}
	return out, nil
}
