// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/ocra"
	"github.com/accountlock/accountlock/internal/secret"
)

// byOfflineCode opens the device with the response to the challenge that it
// shows. It needs no network.
func (f *Flow) byOfflineCode(ctx context.Context, typed secret.Bytes) error {
	if isTicket(typed) {
		return f.byTicket(ctx, typed)
	}
	code := digits(typed)
	defer code.Wipe()
	if n := ocra.OfflineCode.Digits(); len(code) != n || strings.Trim(string(code), "0123456789") != "" {
		return fault.Newf(fault.InvalidCode, "An offline code has %d digits.", n)
	}
	k := f.m.keeper
	if err := k.acquire(ctx); err != nil {
		return err
	}
	defer k.release()
	if err := lock.MayBegin(lock.KindUnlock, k.Snapshot().Status.State); err != nil {
		return refused(err)
	}
	c, err := k.respond(f.challenge(), code)
	if err == nil {
		return f.open(ctx, c, "the offline code was right")
	}
	// The challenge may be another one now.
	if p, perr := k.challengePrompt(); perr == nil {
		f.show(StepOffline, f.inCase(p))
	}
	return err
}

// challenge is the one that the flow shows.
func (f *Flow) challenge() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.prompt.Challenge
}

// challengePrompt is the prompt of the challenge outstanding; where there is none,
// or it is used up, one is put on the medium first. Errors: StorageFailed.
func (k *Keeper) challengePrompt() (Prompt, error) {
	if err := lock.MayBegin(lock.KindUnlock, k.Snapshot().Status.State); err != nil {
		return Prompt{}, refused(err)
	}
	if err := k.askAnew(func(o lock.Offline) bool { return o.Challenge == "" || o.UsedUp() }); err != nil {
		return Prompt{}, err
	}
	boot := k.ports.Clock.Boot()
	err := k.amend(false, false, func(r lock.Record) lock.Record { r.Offline = r.Offline.Shown(boot); return r }, nil)
	if err != nil {
		return Prompt{}, err
	}
	k.mu.Lock()
	o, hint := k.record.Offline, k.record.Hint
	k.mu.Unlock()
	p := offlinePrompt(o.Challenge, hint)
	if left := o.Attempts.Wait.Left(boot); left > 0 {
		p.Until = k.ports.Clock.Now().Add(left + time.Second - 1).Unix()
	}
	return p, nil
}

// askAnew puts another challenge in the place of the one on record where due says
// so. The old one is void on the medium before the new one is shown.
func (k *Keeper) askAnew(due func(lock.Offline) bool) error {
	fresh, err := newChallenge(k.ports.Random)
	if err != nil {
		return fault.New(fault.Internal, err)
	}
	return k.amend(false, false, func(r lock.Record) lock.Record {
		if due(r.Offline) {
			r.Offline = r.Offline.Ask(fresh)
		}
		return r
	}, nil)
}

// respond compares a code with what answers the challenge outstanding. The attempt
// is on the medium before the code is looked at; one that cannot be counted is
// not looked at. shown is the challenge that the person saw.
func (k *Keeper) respond(shown string, code secret.Bytes) (lock.Change, error) {
	boot := k.ports.Clock.Boot()
	k.mu.Lock()
	r := k.record
	k.mu.Unlock()
	name := codeName(r.OfflineKey, shown, code)
	counted := !r.Offline.Counted(name)
	switch left := r.Offline.Attempts.Wait.Left(boot); {
	case len(r.OfflineKey) == 0:
		// fails locked: without a key nothing is the right answer.
		return lock.Change{}, fault.New(fault.CodeExpired, errors.New("the record has no key of offline codes"))
	case shown == "" || shown != r.Offline.Challenge || (counted && r.Offline.UsedUp()):
		return lock.Change{}, fault.Newf(fault.CodeExpired, "The challenge that this code answers is no longer the one.")
	case left > 0:
		e := fault.New(fault.RateLimited, nil)
		e.RetryAfter = left
		return lock.Change{}, e
	}
	if counted {
		err := k.amend(false, false, func(r lock.Record) lock.Record {
			r.Offline = r.Offline.Count(name, boot)
			return r
		}, nil)
		if err != nil {
			return lock.Change{}, err
		}
	}
	// A code that was counted before is looked at again all the same: the power
	// may have failed between the count and the look.
	right, err := ocra.OfflineCode.Response(r.OfflineKey, ocra.Input{Question: shown})
	if err != nil {
		return lock.Change{}, fault.New(fault.Internal, err)
	}
	if subtle.ConstantTimeCompare([]byte(right), code) != 1 {
		return lock.Change{}, k.wrongResponse(counted, boot)
	}
	return lock.Change{Link: r.Link, AccountID: r.AccountID, Hint: r.Hint}, nil
}

// wrongResponse gives another challenge where the wrong code was the last one that
// this one took, and says what the code cost.
func (k *Keeper) wrongResponse(counted bool, boot lock.Boot) error {
	if err := k.askAnew(lock.Offline.UsedUp); err != nil {
		return err
	}
	k.mu.Lock()
	a := k.record.Offline.Attempts
	k.mu.Unlock()
	e := fault.New(fault.InvalidCode, nil)
	e.Remedy = "Compare challenge and code once more, and type the code again; each challenge takes five codes, then another one is shown."
	e.Counted, e.AttemptsLeft, e.RetryAfter = counted, a.Free(), a.Wait.Left(boot)
	return e
}

// codeName is what the record remembers a code by: a keyed hash, since the right one
// may be among them when the power fails before it was looked at.
func codeName(key []byte, challenge string, code secret.Bytes) []byte {
	m := hmac.New(sha256.New, key)
	fmt.Fprintf(m, "accountlock-offline-tried\x00%s\x00", challenge)
	m.Write(code)
	return m.Sum(nil)[:16]
}

// newChallenge draws a challenge, each of the 10^10 alike.
func newChallenge(random io.Reader) (string, error) {
	// 128 bits leave no bias that matters in 33.
	raw := make([]byte, 16)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", fmt.Errorf("cannot make a challenge: %w", err)
	}
	n := new(big.Int).SetBytes(raw)
	n.Mod(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(ocra.OfflineQuestion), nil))
	return fmt.Sprintf("%0*d", ocra.OfflineQuestion, n), nil
}

// digits returns typed without what people put between digits.
func digits(typed secret.Bytes) secret.Bytes {
	out := make(secret.Bytes, 0, len(typed))
	for _, b := range typed {
		if b != ' ' && b != '-' && b != '\n' && b != '\r' && b != '\t' {
			out = append(out, b)
		}
	}
	return out
}
