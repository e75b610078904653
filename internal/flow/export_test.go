// SPDX-License-Identifier: Apache-2.0

package flow

import "context"

// HoldForTest holds the right to change ownership as an operation would.
func (k *Keeper) HoldForTest() func() {
	k.operation <- struct{}{}
	return k.release
}

// StateForTest is a check-in by whoever holds the right already.
func (m *Manager) StateForTest(ctx context.Context) error { return m.state(ctx) }

// WorkingForTest reports whether an operation is under way.
func (k *Keeper) WorkingForTest() bool { return len(k.operation) > 0 }
