// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/alexedwards/argon2id"
	"golang.org/x/crypto/argon2"

	"github.com/accountlock/accountlock/internal/fault"
)

// HashParams are the parameters of Argon2id (RFC 9106).
type HashParams struct {
	// MemoryKiB is the memory of one hash, in KiB: 8 to 4,194,304 a lane.
	MemoryKiB uint32
	// Passes is the number of passes over the memory, from 1.
	Passes uint32
	// Lanes is how much of it may be computed at once, from 1.
	Lanes uint8
}

// DefaultHashParams returns what OWASP's Password Storage Cheat Sheet asks for
// at least: 19 MiB, two passes, one lane.
func DefaultHashParams() HashParams { return HashParams{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1} }

const (
	saltBytes = 16 // RFC 9106, 3.1
	hashBytes = 32
	// maxMemoryKiB and maxPasses bound a hash, lest a mistake in the configuration or
	// in a row stall the service.
	maxMemoryKiB = 4 << 20
	maxPasses    = 1 << 10
)

func (p HashParams) check() error {
	switch {
	case p.Lanes < 1, p.Passes < 1, p.Passes > maxPasses:
		return fmt.Errorf("cannot hash with %d lanes and %d passes", p.Lanes, p.Passes)
	case p.MemoryKiB < 8*uint32(p.Lanes) || p.MemoryKiB > maxMemoryKiB:
		return fmt.Errorf("cannot hash with %d KiB for %d lanes", p.MemoryKiB, p.Lanes)
	}
	return nil
}

// work is what a hash costs, in KiB passed over.
func (p HashParams) work() uint64 { return uint64(p.MemoryKiB) * uint64(p.Passes) }

// hasher computes hashes, as many at once as there are slots. The others
// queue; when the queue is full, who comes is turned away at once.
type hasher struct {
	params HashParams
	random io.Reader
	// dummy is verified where there is no account: no password fits it.
	dummy string

	slots chan struct{}
	queue chan struct{}

	hashes atomic.Uint64
	passed atomic.Uint64
}

// overloadRetry is what somebody is told to wait who found the queue full.
const overloadRetry = 2 * time.Second

func newHasher(p HashParams, slots, queue int, random io.Reader) (*hasher, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if slots <= 0 {
		slots = runtime.GOMAXPROCS(0)
	}
	if queue <= 0 {
		queue = 64 * slots
	}
	h := &hasher{params: p, random: random, slots: make(chan struct{}, slots), queue: make(chan struct{}, slots+queue)}
	nothing := make([]byte, saltBytes+hashBytes)
	if _, err := io.ReadFull(random, nothing); err != nil {
		return nil, fmt.Errorf("cannot make a salt: %w", err)
	}
	h.dummy = encodePHC(p, nothing[:saltBytes], nothing[saltBytes:])
	return h, nil
}

// enter takes a place in the queue, which leave gives back. It does not wait:
// the error is fault.ServiceUnavailable, and nothing has been counted yet.
func (h *hasher) enter() (leave func(), err error) {
	select {
	case h.queue <- struct{}{}:
		return func() { <-h.queue }, nil
	default:
		return nil, overloaded(errors.New("too many passwords are waiting to be hashed"))
	}
}

// slot waits for a turn to compute. The error is fault.ServiceUnavailable when
// the context ends first.
func (h *hasher) slot(ctx context.Context) (release func(), err error) {
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-ctx.Done():
		return nil, overloaded(context.Cause(ctx))
	}
}

func overloaded(cause error) error {
	f := fault.New(fault.ServiceUnavailable, cause)
	f.RetryAfter = overloadRetry
	return f
}

// hash returns password's hash in PHC form. It needs a slot.
func (h *hasher) hash(password []byte) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(h.random, salt); err != nil {
		return "", fmt.Errorf("cannot make a salt: %w", err)
	}
	return encodePHC(h.params, salt, h.derive(password, salt, h.params, hashBytes)), nil
}

// verify reports whether password has the hash phc, and whether that was made
// with other parameters than today's. It needs a slot. However little the hash
// on record costs, verifying costs today's work: otherwise whoever measures could tell an
// account not signed in to since the parameters were raised from no account.
func (h *hasher) verify(phc string, password []byte) (ok, stale bool, err error) {
	p, salt, want, err := decodePHC(phc)
	if err != nil {
		return false, false, err
	}
	got := h.derive(password, salt, p, uint32(len(want))) //nolint:gosec // bounded by decodePHC
	ok = subtle.ConstantTimeCompare(got, want) == 1
	if missing := h.params.work() - min(h.params.work(), p.work()); missing > 0 {
		passes := (missing + uint64(h.params.MemoryKiB) - 1) / uint64(h.params.MemoryKiB)
		rest := HashParams{MemoryKiB: uint32(missing / passes), Passes: uint32(passes), Lanes: h.params.Lanes} //nolint:gosec // both at most those of params
		rest.MemoryKiB = max(rest.MemoryKiB, 8*uint32(rest.Lanes))
		h.derive(password, salt, rest, hashBytes)
	}
	return ok, p != h.params, nil
}

func (h *hasher) derive(password, salt []byte, p HashParams, size uint32) []byte {
	h.hashes.Add(1)
	h.passed.Add(p.work())
	return argon2.IDKey(password, salt, p.Passes, p.MemoryKiB, p.Lanes, size)
}

func encodePHC(p HashParams, salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.MemoryKiB, p.Passes, p.Lanes, b64(salt), b64(key))
}

func decodePHC(phc string) (p HashParams, salt, key []byte, err error) {
	d, salt, key, err := argon2id.DecodeHash(phc)
	if err != nil {
		return p, nil, nil, errors.New("cannot read a password hash on record") // the text might hold it
	}
	p = HashParams{MemoryKiB: d.Memory, Passes: d.Iterations, Lanes: d.Parallelism}
	if err := p.check(); err != nil {
		return p, nil, nil, err
	}
	if len(salt) < 8 || len(key) < 16 || len(key) > 1024 {
		return p, nil, nil, errors.New("cannot use a password hash on record: salt or hash are of no sensible length")
	}
	return p, salt, key, nil
}
