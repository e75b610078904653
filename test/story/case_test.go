// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"regexp"
	"strings"
	"testing"
)

func TestTheScreenShowsTheCaseNumberAndTakesWhatSupportGives(t *testing.T) {
	t.Parallel()
	r := locked(t)
	alice, bob := r.member("alice"), r.member("bob")
	tm := r.openTerminal("80x24", []string{"TERM=vt220"}, "--plain")
	tm.choose("Ask support to help", true)
	// Nothing is opened before the person has read what it means.
	tm.await("nobody at support may ask for your password", 1)
	tm.choose("Yes", true)
	tm.await("Case number: ", 1)
	tm.await("Code (Enter", 1)
	number := regexp.MustCompile(`Case number: (\d{3}-\d{3}-\d{3})`).FindStringSubmatch(tm.screen())
	challenge := tenDigits.FindString(tm.screen())
	if number == nil || challenge == "" {
		t.Fatalf("no case, or no challenge:\n%s", tm.screen())
	}
	r.helped(alice, bob, number[1], "offline-code")
	code := strings.TrimSpace(bob.does("device", "offline-code", r.Property("DeviceId").Value().(string), challenge, "--case", number[1]))
	tm.types(code)
	tm.keys("Enter")
	tm.awaitExit(0)
	r.wantState("linked")
}
