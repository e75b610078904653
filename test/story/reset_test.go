// SPDX-License-Identifier: Apache-2.0

package story_test

import "testing"

// The rig has no gate: its owner's permission is all that the daemon has to give, and
// whoever resets the device then finds it open.
func TestAResetThatItsOwnerAllowedAsksForNoAccount(t *testing.T) {
	r := newRig(t)
	r.run("Link")
	r.run("Reset")
	r.wantState("linked")
	r.Reset()
	r.wantState("unlinked")
	// The permission was for that one.
	r.run("Link")
	r.Reset()
	r.wantState("locked factory-reset")
}
