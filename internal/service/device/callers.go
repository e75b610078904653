// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/store"
)

const (
	// callerTime bounds one look-up.
	callerTime = 5 * time.Second
	// maxWaiting is how many devices may wait to be looked up: anybody may ask.
	maxWaiting = 1024
)

// errInterrupted is what a look-up comes to that nothing else came of.
var errInterrupted = errors.New("the look-up came to no end")

// callers looks devices up by their keys, which comes before every answer to a device: those who ask
// at one time are looked up by one query. Who asks first asks for all, then the next in the
// line for those who have come meanwhile; alone nobody waits for anybody.
type callers struct {
	db DB

	mu      sync.Mutex
	waiting []*lookup
	// asking: somebody is at it, and will call the next.
	asking bool
}

// lookup is one device that is looked up.
type lookup struct {
	deviceID, keyID string
	caller          Caller
	err             error
	// turn is told true when it was looked up, and false when it is its turn to ask.
	turn chan bool
}

func (c *callers) find(ctx context.Context, deviceID, keyID string) (Caller, error) {
	l := &lookup{deviceID: deviceID, keyID: keyID, err: errInterrupted, turn: make(chan bool, 1)}
	c.mu.Lock()
	if len(c.waiting) >= maxWaiting {
		c.mu.Unlock()
		return Caller{}, fault.New(fault.ServiceUnavailable, nil)
	}
	c.waiting = append(c.waiting, l)
	first := !c.asking
	c.asking = true
	c.mu.Unlock()
	if first {
		c.ask(ctx, l)
		return l.caller, l.err
	}
	select {
	case done := <-l.turn:
		if !done {
			c.ask(ctx, l)
		}
		return l.caller, l.err
	case <-ctx.Done():
		c.leave(l)
		return Caller{}, context.Cause(ctx)
	}
}

// leave takes somebody out of the line whose client has gone; their turn is the next one's.
func (c *callers) leave(l *lookup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.waiting, l)
	if i < 0 {
		return // it is being looked up, and nobody reads what comes of it
	}
	c.waiting = slices.Delete(slices.Clone(c.waiting), i, i+1)
	select {
	case <-l.turn:
		c.next()
	default:
	}
}

// next calls who is first in the line. c.mu is held.
func (c *callers) next() {
	if c.asking = len(c.waiting) > 0; c.asking {
		c.waiting[0].turn <- false
	}
}

// ask looks up who is waiting, own among them, and calls the next.
func (c *callers) ask(ctx context.Context, own *lookup) {
	// Requests that are as far as this one come before it asks.
	runtime.Gosched()
	c.mu.Lock()
	n := min(len(c.waiting), store.MaxTuples)
	batch := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	c.mu.Unlock()
	defer func() {
		for _, l := range batch {
			if l != own {
				l.turn <- true
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.next()
	}()
	// The others do not go away with this one's client.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callerTime)
	defer cancel()
	if err := c.read(ctx, batch); err != nil {
		for _, l := range batch {
			l.err = fmt.Errorf("cannot look up a device: %w", err)
		}
	}
}

// read fills in the look-ups. A device that is not known, or not by this key, is
// fault.DeviceUnknown.
func (c *callers) read(ctx context.Context, batch []*lookup) error {
	rows := make([][]any, len(batch))
	for i, l := range batch {
		rows[i] = []any{l.deviceID, l.keyID}
	}
	wanted, args := store.Tuples(rows...)
	query := `WITH wanted (device_id, key_id) AS (VALUES ` + wanted + `) SELECT w.device_id, w.key_id, k.public, k.status, d.seen_at, ` + linkColumns + ` FROM wanted w
JOIN device_keys k ON k.device_id = w.device_id AND k.key_id = w.key_id JOIN devices d ON d.id = k.device_id LEFT JOIN links l ON l.id = d.link_id`
	found := make(map[*lookup]bool, len(batch))
	begin := func() { clear(found) }
	err := c.db.Select(ctx, query, args, begin, func(rows *sql.Rows) error {
		var one Caller
		err := scanCaller(rows, &one)
		if one.KeyID == "" {
			return err
		}
		for _, l := range batch {
			if l.deviceID == one.DeviceID && l.keyID == one.KeyID {
				l.caller, l.err, found[l] = one, err, true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, l := range batch {
		if !found[l] {
			l.err = fault.New(fault.DeviceUnknown, nil)
		}
	}
	return nil
}

// scanCaller returns an error for a row that is damaged.
func scanCaller(row *sql.Rows, c *Caller) error {
	var (
		public, status string
		seen           int64
		link           linkRow
	)
	if err := row.Scan(append([]any{&c.DeviceID, &c.KeyID, &public, &status, &seen}, link.into()...)...); err != nil {
		return err
	}
	raw, err := base64.RawURLEncoding.DecodeString(public)
	if err != nil {
		return errors.New("the device's key in the database is damaged")
	}
	key, err := accountapi.ParseKey(raw)
	if err != nil {
		return fmt.Errorf("the device's key in the database is damaged: %w", err)
	}
	c.Public, c.KeyStatus, c.Link, c.SeenAt = key, KeyStatus(status), link.link(c.DeviceID), time.UnixMilli(seen)
	return nil
}
