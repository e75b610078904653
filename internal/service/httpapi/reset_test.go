// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

// allowReset takes a reset to its grant.
func allowReset(t *testing.T, s *apitest.Service, d *apitest.Device) accountapi.Claims {
	t.Helper()
	begun, _ := d.Begin(t, accountapi.FlowKindReset)
	wantStep(t, begun, accountapi.Password)
	id := begun.Step.FlowId
	a := d.Reply(t, id, apitest.Password(s.Owner.Password))
	wantStep(t, a, accountapi.Confirm)
	if a.Step.Grant != nil {
		t.Fatal("the grant comes before the person's last word")
	}
	nonce := apitest.NewNonce()
	confirm := apitest.Confirm()
	confirm.Nonce = &nonce
	done := d.Reply(t, id, confirm)
	wantStep(t, done, accountapi.Done)
	c := apitest.Open(t, *done.Step.Grant, accountapi.TypeGrant, s.Set(t))
	if c.Purpose != accountapi.ClaimsPurposeReset || *c.Nonce != nonce || c.Aud != d.ID || c.Link.AccountId != nil {
		t.Fatalf("grant: %+v", c)
	}
	return c
}

func TestAResetKeepsTheLinkAndLetsTheSameAccountLinkAgain(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	link := s.Link(t, d, s.Owner)
	a, _ := d.Begin(t, accountapi.FlowKindLink)
	wantCode(t, a, 409, "AlreadyLinked")
	if c := allowReset(t, s, d); c.Link.Id != link.Id || c.Link.Generation != link.Generation+1 {
		t.Fatalf("grant: %+v", c.Link)
	}
	wantStatus(t, state(t, s, d, ""), accountapi.ClaimsStatusLinked)
	if told := s.Outbox(t); !strings.Contains(told[len(told)-1], "factory reset") {
		t.Fatalf("the owner was told %q", told[len(told)-1])
	}
	t.Run("another account is told whose device it is", func(t *testing.T) {
		begun, _ := d.Begin(t, accountapi.FlowKindLink)
		d.Reply(t, begun.Step.FlowId, apitest.Identify(s.Stranger.Email))
		a := d.Reply(t, begun.Step.FlowId, apitest.Password(s.Stranger.Password))
		wantCode(t, a, 403, "WrongAccount")
	})
	t.Run("the owner links it anew", func(t *testing.T) {
		next := s.Link(t, d, s.Owner)
		if next.Id == link.Id {
			t.Fatal("the old link came back")
		}
		c := state(t, s, d, link.Id)
		wantStatus(t, c, accountapi.ClaimsStatusLinked)
		if c.Ended == nil || *c.Ended != link.Id {
			t.Fatalf("the old link is not stated ended: %+v", c)
		}
		a, _ := d.Begin(t, accountapi.FlowKindLink)
		wantCode(t, a, 409, "AlreadyLinked")
	})
}

func TestWhateverHappensToTheLinkEndsAnAllowedReset(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	allowReset(t, s, d)
	if _, err := s.Devices.Lose(t.Context(), d.ID, "", ""); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []accountapi.FlowKind{accountapi.FlowKindLink, accountapi.FlowKindReset} {
		if a, _ := d.Begin(t, kind); a.Status != 409 {
			t.Fatalf("%s of a lost device: %d %s", kind, a.Status, a.Body)
		}
	}
	if _, err := s.Devices.Find(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	a, _ := d.Begin(t, accountapi.FlowKindLink)
	wantCode(t, a, 409, "AlreadyLinked")
}

func TestALinkThatWasLostBeforeTheLastWordAllowsNoReset(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	begun, _ := d.Begin(t, accountapi.FlowKindReset)
	wantStep(t, d.Reply(t, begun.Step.FlowId, apitest.Password(s.Owner.Password)), accountapi.Confirm)
	if _, err := s.Devices.Lose(t.Context(), d.ID, "", ""); err != nil {
		t.Fatal(err)
	}
	wantCode(t, d.Reply(t, begun.Step.FlowId, apitest.Confirm()), 409, "NotLinked")
}

func TestAReservationMadeBeforeTheResetWasTakenBackDoesNotCommit(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	allowReset(t, s, d)
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	id := begun.Step.FlowId
	d.Reply(t, id, apitest.Identify(s.Owner.Email))
	d.Reply(t, id, apitest.Password(s.Owner.Password))
	wantStep(t, d.Reply(t, id, apitest.Confirm()), accountapi.Commit)
	if _, err := s.Devices.Lose(t.Context(), d.ID, "", ""); err != nil {
		t.Fatal(err)
	}
	wantCode(t, d.Reply(t, id, apitest.Commit(apitest.NewNonce())), 409, "AlreadyLinked")
	wantStatus(t, state(t, s, d, ""), accountapi.ClaimsStatusLost)
}
