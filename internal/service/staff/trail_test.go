// SPDX-License-Identifier: Apache-2.0

package staff_test

import (
	"database/sql"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/staff"
	"github.com/accountlock/accountlock/internal/service/totp"
)

// told is what the trail says of sign-ins, the oldest first.
func (w *world) told() []string {
	w.t.Helper()
	all, err := w.trail.List(w.t.Context(), audit.Filter{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, e := range slices.Backward(all) {
		if e.Action != "staff-added" {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Actor, e.Action, e.Detail)))
		}
	}
	return out
}

func TestTheTrailTellsWhoOfStaffSignedInAndWhoTried(t *testing.T) {
	w := newWorld(t)
	secret := w.add("alice", staff.Agent)
	code := func() string { return totp.Code(secret, totp.Step(w.Now())) }
	wantFault(t, w.try("alice", "hunter2 hunter2", code()), fault.InvalidCredentials)
	wantFault(t, w.try("alice", password, "000000"), fault.InvalidCredentials)
	// Somebody types the password where the name belongs.
	wantFault(t, w.try(password, password, code()), fault.InvalidCredentials)
	if err := w.try("alice", password, code()); err != nil {
		t.Fatal(err)
	}
	wantFault(t, w.try("alice", password, code()), fault.InvalidCredentials) // used
	w.Advance(time.Minute)
	m, err := w.Authenticate(t.Context(), staff.Proof{Name: "alice", Password: accountapi.Secret(password), Code: accountapi.Secret(code())})
	if err != nil {
		t.Fatal(err)
	}
	token, err := w.Begin(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	wantFault(t, w.Confirm(t.Context(), m, accountapi.Secret("a guess"), netip.MustParseAddr("2001:db8:1:2:3::4")), fault.InvalidCredentials)
	for range 2 { // the second ends nothing
		if err := w.End(t.Context(), m, token); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.SetDisabled(t.Context(), audit.Console, "alice", true); err != nil {
		t.Fatal(err)
	}
	wantFault(t, w.try("alice", password, code()), fault.InvalidCredentials)
	want := []string{
		"nobody staff-refused alice: wrong password, from 203.0.113.7",
		"nobody staff-refused alice: right password, wrong code, from 203.0.113.7",
		"nobody staff-refused a name that nobody has, from 203.0.113.7",
		"alice staff-signed-in from 203.0.113.7",
		"nobody staff-refused alice: right password, wrong code, from 203.0.113.7",
		"alice staff-signed-in at the console",
		"nobody staff-refused alice: signed in, wrong password, from 2001:db8:1:2::/64",
		"alice staff-signed-out",
		"console staff-disabled alice",
		"nobody staff-refused alice: disabled, from 203.0.113.7",
	}
	if got := w.told(); !slices.Equal(got, want) {
		t.Errorf("it says\n%s\nand not\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestStrangersDoNotFillTheTrail(t *testing.T) {
	w := newWorld(t)
	w.add("alice", staff.Agent)
	for i := range 200 {
		_, err := w.Authenticate(t.Context(), staff.Proof{
			Name: fmt.Sprintf("stranger%d", i), Password: accountapi.Secret("a guess"), Code: accountapi.Secret("123456"),
			Address: netip.AddrFrom4([4]byte{203, 0, byte(i), 1}),
		})
		wantFault(t, err, fault.InvalidCredentials)
	}
	n := len(w.told())
	if n == 0 || n > 25 {
		t.Errorf("200 names that nobody has made %d entries", n)
	}
	// A guess at a member is noted all the same.
	wantFault(t, w.try("alice", "a guess", "123456"), fault.InvalidCredentials)
	if got := w.told(); len(got) != n+1 || !strings.Contains(got[n], "alice: wrong password") {
		t.Errorf("the last is %q", got[len(got)-1])
	}
}

func TestNobodyIsInWhoCannotBeNoted(t *testing.T) {
	w := newWorld(t)
	secret := w.add("alice", staff.Agent)
	if err := w.db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `DELETE FROM audit_head`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.try("alice", password, totp.Code(secret, totp.Step(w.Now()))); err == nil {
		t.Error("somebody is in, and nothing says so")
	}
}
