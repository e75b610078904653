// SPDX-License-Identifier: Apache-2.0

package account

import (
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
)

// counter is one tally that an attempt counts towards.
type counter struct {
	key   string
	limit limit
	// own tells that it is the guesser's, not that of the account guessed at.
	own bool
	// prior is the tally as it was read last, set as it is to be written.
	prior, set tally
	// brought is the end of the delay that this attempt has brought, if any.
	brought time.Time
}

// counters are those of an attempt at target, which is an account's ID or, where there
// is no account, what was typed.
type counters struct {
	all []*counter
	// device and pair are among them, where the attempt came from a device.
	device, pair *counter
	// human says that a captcha was solved for this attempt, or that none is asked for.
	human bool
}

// countersFor returns what an attempt counts towards: the address and device it comes
// from and, unless it comes from a locked device, the account it is at. A
// locked device may be stolen: its thief must not be able to make the owner
// wait elsewhere, nor may whoever guesses elsewhere make the owner wait there.
func (s *Service) countersFor(a Attempt, target string) *counters {
	c := &counters{human: a.Human || !a.AsksCaptcha}
	add := func(l limit, parts ...string) *counter {
		n := &counter{key: s.keyed(append([]string{"throttle"}, parts...)...), limit: l}
		c.all = append(c.all, n)
		return n
	}
	if from := Network(a.Address); from != "" {
		add(addressLimit, "address", from).own = true
	}
	if a.DeviceID != "" {
		c.device = add(deviceLimit, "device", a.DeviceID)
		c.device.own = true
		c.pair = add(pairLimit, "pair", a.DeviceID, target)
	}
	if !a.Locked {
		add(accountLimit, "account", target)
	}
	return c
}

// Network is the part of an address that one guesser has for himself: all of
// an IPv4 address, the /64 of an IPv6 one; empty for the zero Addr.
func Network(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return ""
	}
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return ""
	}
	return p.String()
}

// count refuses an attempt that comes too early, with fault.RateLimited, or that takes a
// captcha, with fault.CaptchaRequired, and nothing changed; any other it counts. It is committed before the password is
// looked at, so that neither a crash nor guesses in parallel gain any.
func (c *counters) count(tx *sql.Tx, now time.Time) error {
	if err := c.read(tx); err != nil {
		return err
	}
	var wait time.Duration
	for _, n := range c.all {
		wait = max(wait, n.limit.wait(n.prior, now))
	}
	if wait > 0 {
		return rateLimited(wait)
	}
	if !c.human && slices.ContainsFunc(c.all, func(n *counter) bool { return n.limit.suspects(n.prior, now) }) {
		return fault.New(fault.CaptchaRequired, nil)
	}
	for _, n := range c.all {
		n.set = n.limit.counted(n.prior, now)
		n.brought = n.set.until
	}
	return c.write(tx)
}

// takeBack undoes count, for an attempt that was not wrong. right tells that
// the password was right: then the earlier mistakes of this device at this very
// account are taken back too, and no others. Clearing the device's whole count
// would give four guesses at a stranger's account for each sign-in to one's
// own.
func (c *counters) takeBack(tx *sql.Tx, now time.Time, right bool) error {
	if err := c.read(tx); err != nil {
		return err
	}
	for _, n := range c.all {
		off := int64(1)
		if right && (n == c.device || n == c.pair) {
			off = max(1, c.pair.limit.aged(c.pair.prior, now).failures)
		}
		n.set = n.limit.takenBack(n.prior, off, n.brought, now)
	}
	return c.write(tx)
}

// left is how many guesses remain, of this device and address, that cost no
// delay (-1 if neither is known), and how long until the next is taken. What
// the account has left is not told: guesses at one identifier would show in it
// at another, and so that both are of one account.
func (c *counters) left(now time.Time) (attempts int, wait time.Duration) {
	left := int64(-1)
	for _, n := range c.all {
		wait = max(wait, n.limit.wait(n.set, now))
		if n.own && (left < 0 || n.limit.left(n.set) < left) {
			left = n.limit.left(n.set)
		}
	}
	return int(left), wait
}

func rateLimited(wait time.Duration) error {
	f := fault.New(fault.RateLimited, nil)
	f.RetryAfter, f.AttemptsLeft = wait, 0
	return f
}

// read fetches the tallies in one query.
func (c *counters) read(tx *sql.Tx) (err error) {
	if len(c.all) == 0 {
		return nil
	}
	keys := make([]any, len(c.all))
	for i, n := range c.all {
		keys[i] = n.key
		n.prior = tally{}
	}
	rows, err := tx.Query(`SELECT throttle_key, failures, since, until FROM throttles WHERE throttle_key IN (`+placeholders(1, len(keys))+`)`, keys...) //nolint:gosec // numbers of placeholders alone
	if err != nil {
		return fmt.Errorf("cannot read throttles: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var key string
		var t tally
		var since, until int64
		if err := rows.Scan(&key, &t.failures, &since, &until); err != nil {
			return fmt.Errorf("cannot read throttles: %w", err)
		}
		t.since, t.until = fromMillis(since), fromMillis(until)
		for _, n := range c.all {
			if n.key == key {
				n.prior = t
			}
		}
	}
	return rows.Err()
}

// write stores the tallies in one statement.
func (c *counters) write(tx *sql.Tx) error {
	if len(c.all) == 0 {
		return nil
	}
	const columns = 5
	var rows []string
	var args []any
	for i, n := range c.all {
		rows = append(rows, "("+placeholders(1+i*columns, columns)+")")
		args = append(args, n.key, n.set.failures, millis(n.set.since), millis(n.set.until), millis(n.limit.stale(n.set)))
	}
	//nolint:gosec // numbers of placeholders alone are put in
	_, err := tx.Exec(`INSERT INTO throttles (throttle_key, failures, since, until, stale_at) VALUES `+strings.Join(rows, ", ")+`
		ON CONFLICT (throttle_key) DO UPDATE SET failures = excluded.failures, since = excluded.since,
		until = excluded.until, stale_at = excluded.stale_at`, args...)
	if err != nil {
		return fmt.Errorf("cannot write throttles: %w", err)
	}
	return nil
}

// placeholders returns n of them from $first on: '$3, $4'.
func placeholders(first, n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = "$" + strconv.Itoa(first+i)
	}
	return strings.Join(out, ", ")
}
