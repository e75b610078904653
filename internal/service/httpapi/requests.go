// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/accountlock/accountlock/internal/service/store"
)

const (
	// keepAnswers is how long an idempotency key gets its first answer again.
	keepAnswers = 24 * time.Hour
	// keepRequests is how long a request is known: longer, since the time in its nonce may
	// be of a server whose clock is ahead.
	keepRequests = keepAnswers + 2*NonceTime
	// maxBatch bounds how many requests are written in one transaction.
	maxBatch = store.MaxTuples
	// writeTime bounds one such transaction.
	writeTime = 10 * time.Second
	// keepNonces is how long a nonce is known: as long as it could be taken for fresh by a
	// server whose clock is behind.
	keepNonces = 2 * NonceTime
	// linger is how long an answer waits for a request to share a transaction
	// with. A crash meanwhile loses the answer and no more: every call that
	// changes something may be done again, or remembers its answer itself.
	linger = 50 * time.Millisecond
)

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Ping(ctx context.Context) error
}

// kept is one signed request, with its answer once there is one.
type kept struct {
	nonce string
	// request names the signer and its idempotency key; empty where the answer
	// is not to be kept.
	request string
	digest  string
	// status 0 is a request that is still being answered.
	status    int
	mediaType string
	body      string
	leasedTo  time.Time
}

// fate is what the database says of a request.
type fate int

const (
	// fresh: nobody has asked this before.
	fresh fate = iota
	// replayed: the nonce was used.
	replayed
	// answered: it was answered before; the answer is given.
	answered
	// changed: the idempotency key was used for something else.
	changed
	// unanswered: it is being answered at this moment.
	unanswered
)

// requests is the table of signed requests. One goroutine writes it, many
// requests in one transaction: a flush to the medium is what costs.
type requests struct {
	db   DB
	key  []byte
	now  func() time.Time
	jobs chan *job
	done chan struct{}
	// failed is told of an answer that could not be written.
	failed func(error)
}

type job struct {
	kept
	// update: write the answer of a request that was taken in before.
	update bool
	// spend: use up the nonce, and no more.
	spend bool
	fate  fate
	// first is the answer given before, where fate is answered.
	first kept
	err   error
	// ready is closed when the job is done; nil where nobody waits.
	ready chan struct{}
}

func newRequests(db DB, secret []byte, now func() time.Time, failed func(error)) *requests {
	r := &requests{
		db: db, key: derive(secret, "request"), now: now, failed: failed,
		jobs: make(chan *job, maxBatch), done: make(chan struct{}),
	}
	go r.write()
	return r
}

// close waits for what is being written. Nothing may be taken in any more.
func (r *requests) close() {
	close(r.jobs)
	<-r.done
}

// name returns what the table knows a signer's idempotency key by.
func (r *requests) name(keyID, idempotencyKey string) string {
	return r.hash("name", keyID, idempotencyKey)[:32]
}

// digest returns what the table knows method, path and body by. It is keyed, since bodies
// hold passwords.
func (r *requests) digest(method, path string, body []byte) string {
	return r.hash("digest", method, path, string(body))[:32]
}

func (r *requests) hash(parts ...string) string {
	h := hmac.New(sha256.New, r.key)
	for _, p := range parts {
		io.WriteString(h, strconv.Itoa(len(p))+":"+p) //nolint:errcheck // a hash takes everything
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// take writes a request that is still to be answered, unless the table has it. The
// answer it returns is of one that was answered before.
func (r *requests) take(ctx context.Context, k kept) (fate, kept, error) {
	j := &job{kept: k, ready: make(chan struct{})}
	err := r.await(ctx, j)
	return j.fate, j.first, err
}

// spend uses up the nonce of a request that changes nothing. Its fate is fresh or replayed.
func (r *requests) spend(ctx context.Context, nonce string) (fate, error) {
	j := &job{kept: kept{nonce: nonce}, spend: true, ready: make(chan struct{})}
	err := r.await(ctx, j)
	return j.fate, err
}

func (r *requests) await(ctx context.Context, j *job) error {
	select {
	case r.jobs <- j:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	<-j.ready
	return j.err
}

// answer has the answer of a request that was taken in unanswered written soon. A
// request that is taken in afterwards finds it.
func (r *requests) answer(k kept) { r.jobs <- &job{kept: k, update: true} }

// renew says that a request is still being answered.
func (r *requests) renew(ctx context.Context, nonce string, until time.Time) error {
	return r.db.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE requests SET leased_to = $1 WHERE nonce = $2 AND status = 0`, millis(until), nonce)
		return err
	})
}

func (r *requests) write() {
	defer close(r.done)
	for first := range r.jobs {
		batch := r.gather(first)
		ctx, cancel := context.WithTimeout(context.Background(), writeTime)
		err := r.db.Tx(ctx, func(tx *sql.Tx) error { return r.writeAll(ctx, tx, batch) })
		cancel()
		if err != nil {
			err = fmt.Errorf("cannot note a request: %w", err)
		}
		for _, j := range batch {
			switch {
			case j.ready != nil:
				j.err = err
				close(j.ready)
			case err != nil:
				r.failed(err)
			}
		}
	}
}

// gather returns the first job with those that are there already; where nobody
// waits for one of them, with what comes within linger.
func (r *requests) gather(first *job) []*job {
	batch := []*job{first}
	waited := first.ready != nil
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for len(batch) < maxBatch {
		var late <-chan time.Time
		if !waited {
			late = timer.C
		}
		j, ok := r.next(late)
		if !ok {
			break
		}
		batch = append(batch, j)
		waited = waited || j.ready != nil
	}
	return batch
}

// next returns one more job: at once, or until late fires where it is given.
func (r *requests) next(late <-chan time.Time) (*job, bool) {
	if late == nil {
		select {
		case j, ok := <-r.jobs:
			return j, ok
		default:
			return nil, false
		}
	}
	select {
	case j, ok := <-r.jobs:
		return j, ok
	case <-late:
		return nil, false
	}
}

func (r *requests) writeAll(ctx context.Context, tx *sql.Tx, batch []*job) error {
	now := r.now()
	var pure []*job
	for _, j := range batch {
		var err error
		switch {
		case j.spend:
			pure = append(pure, j)
		case j.update:
			err = r.update(ctx, tx, j.kept)
		default:
			err = r.insert(ctx, tx, j, now)
		}
		if err != nil {
			return err
		}
	}
	if len(pure) == 0 {
		return nil
	}
	return spendAll(ctx, tx, pure)
}

// spendAll uses up the nonces of requests: of one that is used already the request is replayed.
func spendAll(ctx context.Context, tx *sql.Tx, jobs []*job) error {
	nonces := make([][]any, len(jobs))
	first := make(map[string]*job, len(jobs))
	for i, j := range jobs {
		j.fate = replayed
		nonces[i] = []any{j.nonce}
		if first[j.nonce] == nil {
			first[j.nonce] = j
		}
	}
	values, args := store.Tuples(nonces...)
	rows, err := tx.QueryContext(ctx, `WITH v (nonce) AS (VALUES `+values+`) INSERT INTO nonces (nonce)
SELECT nonce FROM v WHERE NOT EXISTS (SELECT 1 FROM requests r WHERE r.nonce = v.nonce) ON CONFLICT DO NOTHING RETURNING nonce`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var nonce string
		if err := rows.Scan(&nonce); err != nil {
			return err
		}
		if j := first[nonce]; j != nil {
			j.fate = fresh
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

func (r *requests) update(ctx context.Context, tx *sql.Tx, k kept) error {
	_, err := tx.ExecContext(ctx, `UPDATE requests SET request = $1, status = $2, media_type = $3, body = $4, leased_to = 0
WHERE nonce = $5`, orNull(k.request), k.status, k.mediaType, k.body, k.nonce)
	return err
}

const insertRequest = `INSERT INTO requests (nonce, request, digest, status, media_type, body, leased_to)
SELECT $1, $2, $3, CAST($4 AS BIGINT), $5, $6, CAST($7 AS BIGINT) WHERE NOT EXISTS (SELECT 1 FROM nonces WHERE nonce = $1) ON CONFLICT DO NOTHING`

// insert writes a request and finds out the fate of one that the table refuses.
func (r *requests) insert(ctx context.Context, tx *sql.Tx, j *job, now time.Time) error {
	j.fate = fresh
	n, err := put(ctx, tx, j.kept)
	if err != nil || n == 1 {
		return err
	}
	return r.refused(ctx, tx, j, now)
}

// put writes one request and returns how many rows that made: none where its nonce or
// its idempotency key is there already.
func put(ctx context.Context, tx *sql.Tx, k kept) (int64, error) {
	res, err := tx.ExecContext(ctx, insertRequest, k.nonce, orNull(k.request), k.digest, k.status, k.mediaType, k.body, millis(k.leasedTo))
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// refused finds out why a request could not be written.
func (r *requests) refused(ctx context.Context, tx *sql.Tx, j *job, now time.Time) error {
	var n int64
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM requests WHERE nonce = $1 UNION ALL SELECT 1 FROM nonces WHERE nonce = $1) AS used`,
		j.nonce).Scan(&n)
	if err != nil {
		return err
	}
	if n > 0 {
		j.fate = replayed
		return nil
	}
	var (
		old    kept
		leased int64
	)
	err = tx.QueryRowContext(ctx, `SELECT nonce, digest, status, media_type, body, leased_to FROM requests WHERE request = $1`,
		j.request).Scan(&old.nonce, &old.digest, &old.status, &old.mediaType, &old.body, &leased)
	if err != nil {
		return fmt.Errorf("cannot find the request that another one conflicts with: %w", err)
	}
	gone := old.nonce < storedBefore(now.Add(-keepAnswers))
	switch {
	case !gone && old.digest != j.digest:
		j.fate = changed
	case !gone && old.status == 0 && leased > now.UnixMilli():
		j.fate = unanswered
	case !gone && old.status != 0:
		j.fate, j.first = answered, old
	default:
		// Too old, or whoever was answering it is gone: this one takes over.
		if _, err := tx.ExecContext(ctx, `UPDATE requests SET request = NULL WHERE nonce = $1`, old.nonce); err != nil {
			return err
		}
		j.fate = fresh
		_, err := put(ctx, tx, j.kept)
		return err
	}
	// The nonce of a request that got no answer of its own is used up too.
	_, err = tx.ExecContext(ctx, `INSERT INTO nonces (nonce) VALUES ($1) ON CONFLICT DO NOTHING`, j.nonce)
	return err
}

// dropExpired removes the requests that nobody may repeat any more, and the nonces that
// are too old for any server, a bounded number in one transaction.
func (r *requests) dropExpired(ctx context.Context) error {
	err := r.drop(ctx, `DELETE FROM nonces WHERE nonce IN (SELECT nonce FROM nonces WHERE nonce < $1 ORDER BY nonce LIMIT $2)`, r.now().Add(-keepNonces))
	if err != nil {
		return fmt.Errorf("cannot drop old nonces: %w", err)
	}
	err = r.drop(ctx, `DELETE FROM requests WHERE nonce IN (SELECT nonce FROM requests WHERE nonce < $1 ORDER BY nonce LIMIT $2)`, r.now().Add(-keepRequests))
	if err != nil {
		return fmt.Errorf("cannot drop old requests: %w", err)
	}
	return nil
}

// maxDrop bounds how many rows are removed in one transaction.
const maxDrop = 1000

func (r *requests) drop(ctx context.Context, query string, before time.Time) error {
	for {
		var n int64
		err := r.db.Tx(ctx, func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, query, storedBefore(before), maxDrop)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil || n < maxDrop {
			return err
		}
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
