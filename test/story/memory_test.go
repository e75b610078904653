// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"os"
	"testing"
)

// maxResident is how much of the daemon may be resident at any moment up to the end of
// an unlock, in bytes.
const maxResident = 16 << 20

func TestAnUnlockFitsInSixteenMegabytes(t *testing.T) {
	if os.Getenv("GOCOVERDIR") != "" {
		t.Skip("programs that count what they run are larger")
	}
	r := newRig(t)
	r.run("Link")
	r.Reset()
	r.run("Unlock")
	r.wantState("linked")
	peak := rss(t, r.Daemon.Pid(), "VmHWM")
	t.Logf("%d bytes at the most", peak)
	if peak > maxResident {
		t.Errorf("the daemon had %d bytes resident, more than %d", peak, maxResident)
	}
}
