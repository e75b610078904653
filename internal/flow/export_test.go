// SPDX-License-Identifier: Apache-2.0

package flow

// HoldForTest holds the right to change ownership as an operation would.
func (k *Keeper) HoldForTest() func() {
	k.operation <- struct{}{}
	return k.release
}
