// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/secret"
)

// byRecoveryCode opens the device with the code that its owner wrote down at
// link time. It needs no network, and works once.
func (f *Flow) byRecoveryCode(ctx context.Context, typed secret.Bytes) error {
	letters := normaliseRecovery(typed)
	defer letters.Wipe()
	if len(letters) != 2*recoveryBytes || strings.Trim(string(letters), modhex) != "" {
		return fault.Newf(fault.InvalidCode, "A recovery code has %d letters, all of them out of %q.", 2*recoveryBytes, modhex)
	}
	k := f.m.keeper
	if err := k.acquire(ctx); err != nil {
		return err
	}
	defer k.release()
	if err := lock.MayBegin(lock.KindUnlock, k.Snapshot().Status.State); err != nil {
		return refused(err)
	}
	c, err := k.redeem(letters)
	if err != nil {
		return err
	}
	return f.open(ctx, c, "the recovery code was right")
}

// redeem compares a recovery code with the record. The attempt is on the medium
// before the code is looked at; one that cannot be counted is not looked at.
func (k *Keeper) redeem(letters secret.Bytes) (lock.Change, error) {
	h := sha256.Sum256(letters)
	boot := k.ports.Clock.Boot()
	k.mu.Lock()
	r := k.record
	k.mu.Unlock()
	if left := r.Attempts.Wait.Left(boot); left > 0 {
		e := fault.New(fault.RateLimited, nil)
		e.RetryAfter = left
		return lock.Change{}, e
	}
	counted := !r.Attempts.Counted(h[:])
	if counted {
		err := k.amend(false, false, func(r lock.Record) lock.Record {
			r.Attempts = r.Attempts.Count(h[:], boot)
			return r
		}, nil)
		if err != nil {
			return lock.Change{}, err
		}
	}
	// A code that was counted before is looked at again all the same: the power
	// may have failed between the count and the look.
	if len(r.RecoveryHash) != sha256.Size || subtle.ConstantTimeCompare(h[:], r.RecoveryHash) != 1 {
		k.mu.Lock()
		a := k.record.Attempts
		k.mu.Unlock()
		e := fault.New(fault.InvalidCode, nil)
		e.Counted, e.AttemptsLeft, e.RetryAfter = counted, a.Free(), a.Wait.Left(boot)
		return lock.Change{}, e
	}
	return lock.Change{Link: r.Link, AccountID: r.AccountID, Hint: r.Hint, SpendRecovery: true}, nil
}
