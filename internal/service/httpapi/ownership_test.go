// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/device"
)

// toCommit takes a sign-out or unlink to its commit and returns the flow and grant.
func toCommit(t *testing.T, s *apitest.Service, d *apitest.Device, kind accountapi.FlowKind) (string, accountapi.Claims) {
	t.Helper()
	begun, nonce := d.Begin(t, kind)
	wantStep(t, begun, accountapi.Password)
	a := d.Reply(t, begun.Step.FlowId, apitest.Password(s.Owner.Password))
	wantStep(t, a, accountapi.Commit)
	c := apitest.Open(t, *a.Step.Grant, accountapi.TypeGrant, s.Set(t))
	if string(c.Purpose) != string(kind) || *c.Nonce != nonce || c.Aud != d.ID || c.Link.AccountId != nil {
		t.Fatalf("grant: %+v", c)
	}
	return begun.Step.FlowId, c
}

func TestSignOut(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	link := s.Link(t, d, s.Owner)
	id, grant := toCommit(t, s, d, accountapi.FlowKindSignOut)
	if grant.Link.Id != link.Id || grant.Link.Generation != link.Generation {
		t.Errorf("the grant is for %+v, the link is %+v", grant.Link, link)
	}
	wantStatus(t, state(t, s, d, link.Id), accountapi.ClaimsStatusLinked)
	nonce := apitest.NewNonce()
	done := d.Reply(t, id, apitest.Commit(nonce))
	wantStep(t, done, accountapi.Done)
	word := apitest.Open(t, *done.Step.Statement, accountapi.TypeStatement, s.Set(t))
	wantStatus(t, word, accountapi.ClaimsStatusSignedOut)
	if *word.Nonce != nonce || word.Link.Generation != link.Generation+1 || done.Step.Receipt != nil {
		t.Errorf("statement: %+v", word)
	}
	t.Run("a commit that is repeated changes nothing", func(t *testing.T) {
		nonce := apitest.NewNonce()
		again := d.Reply(t, id, apitest.Commit(nonce))
		wantStep(t, again, accountapi.Done)
		c := apitest.Open(t, *again.Step.Statement, accountapi.TypeStatement, s.Set(t))
		if *c.Nonce != nonce || c.Link.Generation != word.Link.Generation {
			t.Errorf("statement: %+v", c)
		}
	})
	t.Run("the account signs in again and gets a link of its own", func(t *testing.T) {
		next := s.Link(t, d, s.Owner)
		if next.Id == link.Id {
			t.Error("the old link came back")
		}
		c := state(t, s, d, link.Id)
		wantStatus(t, c, accountapi.ClaimsStatusLinked)
		if c.Ended == nil || *c.Ended != link.Id {
			t.Errorf("the old link is not stated ended: %+v", c)
		}
	})
	var kinds []string
	for _, m := range s.Outbox(t) {
		_, subject, _ := strings.Cut(m, "Subject: ")
		subject, _, _ = strings.Cut(subject, "\n")
		kinds = append(kinds, subject)
	}
	if len(kinds) != 3 {
		t.Errorf("the owner was told %q", kinds)
	}
}

func TestUnlink(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	link := s.Link(t, d, s.Owner)
	id, _ := toCommit(t, s, d, accountapi.FlowKindUnlink)
	done := d.Reply(t, id, apitest.Commit(apitest.NewNonce()))
	wantStep(t, done, accountapi.Done)
	word := apitest.Open(t, *done.Step.Statement, accountapi.TypeStatement, s.Set(t))
	wantStatus(t, word, accountapi.ClaimsStatusUnlinked)
	if word.Hint != nil {
		t.Errorf("a free device still carries the hint %q", *word.Hint)
	}
	receipt := apitest.Open(t, *done.Step.Receipt, accountapi.TypeStatement, s.Set(t))
	if receipt.Purpose != accountapi.ClaimsPurposeReceipt || receipt.Nonce != nil || receipt.Link.Id != link.Id ||
		receipt.Exp-receipt.Iat != 10*365*24*3600 {
		t.Errorf("receipt: %+v", receipt)
	}
	wantStatus(t, receipt, accountapi.ClaimsStatusUnlinked)
	t.Run("a signed-out device can be unlinked too", func(t *testing.T) {
		s.Link(t, d, s.Owner)
		id, _ := toCommit(t, s, d, accountapi.FlowKindSignOut)
		wantStep(t, d.Reply(t, id, apitest.Commit(apitest.NewNonce())), accountapi.Done)
		id, _ = toCommit(t, s, d, accountapi.FlowKindUnlink)
		wantStep(t, d.Reply(t, id, apitest.Commit(apitest.NewNonce())), accountapi.Done)
		wantStatus(t, state(t, s, d, ""), accountapi.ClaimsStatusUnlinked)
	})
}

func TestALostDeviceIsFoundByItsOwnersUnlock(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	link := s.Link(t, d, s.Owner)
	id, _ := toCommit(t, s, d, accountapi.FlowKindSignOut)
	if _, err := s.Devices.Lose(t.Context(), d.ID, "Please call", "+44 20 7946 0000"); err != nil {
		t.Fatal(err)
	}
	c := state(t, s, d, link.Id)
	wantStatus(t, c, accountapi.ClaimsStatusLost)
	if *c.Lost.Message != "Please call" || *c.Lost.Contact != "+44 20 7946 0000" || *c.Hint != s.Owner.Hint() || c.Ended != nil {
		t.Errorf("statement: %+v", c)
	}
	t.Run("it cannot be signed out, unlinked or linked", func(t *testing.T) {
		wantCode(t, d.Reply(t, id, apitest.Commit(apitest.NewNonce())), 409, "NotLinked")
		for kind, code := range map[accountapi.FlowKind]string{
			accountapi.FlowKindSignOut: "NotLinked", accountapi.FlowKindUnlink: "NotLinked", accountapi.FlowKindLink: "AlreadyLinked",
		} {
			a, _ := d.Begin(t, kind)
			wantCode(t, a, 409, code)
		}
	})
	t.Run("found ends the message and not the link", func(t *testing.T) {
		if _, err := s.Devices.Find(t.Context(), d.ID); err != nil {
			t.Fatal(err)
		}
		c := state(t, s, d, link.Id)
		wantStatus(t, c, accountapi.ClaimsStatusLinked)
		if c.Lost != nil {
			t.Errorf("statement: %+v", c)
		}
		if _, err := s.Devices.Lose(t.Context(), d.ID, "", ""); err != nil {
			t.Fatal(err)
		}
	})
	begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
	d.Reply(t, begun.Step.FlowId, apitest.UseHint())
	wantStep(t, d.Reply(t, begun.Step.FlowId, apitest.Password(s.Owner.Password)), accountapi.Done)
	wantStatus(t, state(t, s, d, link.Id), accountapi.ClaimsStatusLinked)
}

func TestADeviceThatComesBackWithAnotherKey(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	link := s.Link(t, d, s.Owner)
	again := apitest.NewDevice(s.URL, apitest.Client(s.CA))
	again.Serial = d.Serial
	board := apitest.Identity(accountapi.Devicetree, "another board")
	e := again.Enrol(t, board)
	if e.DeviceId != d.ID || e.KeyStatus != accountapi.Pending {
		t.Fatalf("enrolled as %+v, want %s, pending", e, d.ID)
	}
	t.Run("gets a bare statement", func(t *testing.T) {
		c := state(t, s, again, "")
		wantStatus(t, c, accountapi.ClaimsStatusLinked)
		if c.Hint != nil || c.Link.Id != link.Id {
			t.Errorf("statement: %+v", c)
		}
	})
	t.Run("may not sign out, unlink, link or report", func(t *testing.T) {
		for kind, want := range map[accountapi.FlowKind]struct {
			status int
			code   string
		}{
			accountapi.FlowKindSignOut: {404, "DeviceUnknown"}, accountapi.FlowKindUnlink: {404, "DeviceUnknown"}, accountapi.FlowKindLink: {409, "AlreadyLinked"},
		} {
			a, _ := again.Begin(t, kind)
			wantCode(t, a, want.status, want.code)
		}
		wantCode(t, again.Post(t, "/v1/devices/"+d.ID+"/events", accountapi.EventsRequest{Events: []accountapi.DeviceEvent{{Kind: accountapi.DeviceEventKindStarted}}}), 404, "DeviceUnknown")
	})
	begun, _ := again.Begin(t, accountapi.FlowKindUnlock)
	id := begun.Step.FlowId
	t.Run("is told no hint with a wrong account", func(t *testing.T) {
		again.Reply(t, id, apitest.Identify(s.Stranger.Email))
		a := again.Reply(t, id, apitest.Password(s.Stranger.Password))
		wantCode(t, a, 403, "WrongAccount")
		if a.Problem.Hint != nil {
			t.Errorf("it says %s", a.Body)
		}
	})
	t.Run("leaves the old key its rights until the owner unlocks", func(t *testing.T) {
		wantStatus(t, state(t, s, d, ""), accountapi.ClaimsStatusLinked)
	})
	again.Reply(t, id, apitest.Identify(s.Owner.Email))
	wantStep(t, again.Reply(t, id, apitest.Password(s.Owner.Password)), accountapi.Done)
	if c := state(t, s, again, ""); c.Hint == nil {
		t.Error("the new key is still not trusted")
	}
	wantCode(t, d.Post(t, "/v1/devices/"+d.ID+"/statement", accountapi.StatementRequest{Nonce: apitest.NewNonce()}), 404, "DeviceUnknown")
	t.Run("takes over what it was enrolled with", func(t *testing.T) {
		third := apitest.NewDevice(s.URL, apitest.Client(s.CA))
		if e := third.Enrol(t, board); e.DeviceId != d.ID || e.KeyStatus != accountapi.Pending {
			t.Errorf("the board that came with the new key enrols as %+v, want %s, pending", e, d.ID)
		}
	})
}

func TestADeviceWithoutOwnerTakesANewKey(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	again := apitest.NewDevice(s.URL, apitest.Client(s.CA))
	again.Serial = d.Serial
	if e := again.Enrol(t); e.DeviceId != d.ID || e.KeyStatus != accountapi.Active {
		t.Fatalf("enrolled as %+v", e)
	}
	s.Link(t, again, s.Owner)
	t.Run("and one whose owner was ended while the key was pending", func(t *testing.T) {
		third := apitest.NewDevice(s.URL, apitest.Client(s.CA))
		third.Serial = d.Serial
		if e := third.Enrol(t); e.KeyStatus != accountapi.Pending {
			t.Fatalf("enrolled as %+v", e)
		}
		if _, err := s.Devices.Release(t.Context(), d.ID); err != nil {
			t.Fatal(err)
		}
		wantStatus(t, state(t, s, third, ""), accountapi.ClaimsStatusUnlinked)
		s.Link(t, third, s.Stranger)
		if c := state(t, s, third, ""); c.Hint == nil || *c.Hint != s.Stranger.Hint() {
			t.Errorf("after the link: %+v", c)
		}
	})
}

func TestASignedOutDeviceIsAnybodysToLink(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	old := s.Link(t, d, s.Owner)
	id, _ := toCommit(t, s, d, accountapi.FlowKindSignOut)
	d.Reply(t, id, apitest.Commit(apitest.NewNonce()))
	before := len(s.Outbox(t))
	s.Link(t, d, s.Stranger)
	var told []string
	for _, m := range s.Outbox(t)[before:] {
		to, _, _ := strings.Cut(m, "\n")
		told = append(told, to)
	}
	if len(told) != 2 || told[0] == told[1] {
		t.Errorf("told: %q, want the old owner and the new one", told)
	}
	c := state(t, s, d, old.Id)
	if c.Ended == nil || *c.Ended != old.Id || *c.Hint != s.Stranger.Hint() {
		t.Errorf("statement: %+v", c)
	}
}

func TestDeletingAnAccountFreesItsDevices(t *testing.T) {
	s := apitest.Start(t)
	d, other := s.Device(t), s.Device(t)
	link := s.Link(t, d, s.Owner)
	begun, _ := other.Begin(t, accountapi.FlowKindLink)
	id := begun.Step.FlowId
	other.Reply(t, id, apitest.Identify(s.Owner.Email))
	other.Reply(t, id, apitest.Password(s.Owner.Password))
	wantStep(t, other.Reply(t, id, apitest.Confirm()), accountapi.Commit)
	if err := s.Accounts.Delete(t.Context(), s.Owner.ID); err != nil {
		t.Fatal(err)
	}
	c := state(t, s, d, link.Id)
	wantStatus(t, c, accountapi.ClaimsStatusAccountDeleted)
	if c.Hint != nil || c.Link.Generation != link.Generation+1 {
		t.Errorf("statement: %+v", c)
	}
	wantCode(t, other.Reply(t, id, apitest.Commit(apitest.NewNonce())), 410, "Timeout")
	s.Link(t, d, s.Stranger)
}

func TestAReservedLinkWaitsAnHour(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*testing.T, *apitest.Service, *apitest.Device, string)
		want int
		code string
	}{
		"and is committed just before": {func(_ *testing.T, s *apitest.Service, _ *apitest.Device, _ string) {
			s.Clock.Advance(device.ReservationTime - time.Second)
		}, 200, ""},
		"and not after": {func(_ *testing.T, s *apitest.Service, _ *apitest.Device, _ string) {
			s.Clock.Advance(device.ReservationTime)
		}, 410, "Timeout"},
		"unless its flow is ended": {func(t *testing.T, _ *apitest.Service, d *apitest.Device, id string) {
			call(t, d, http.MethodDelete, "/v1/flows/"+id, apitest.NewKey(), nil)
		}, 410, "Timeout"},
		"unless another one is made":      {func(t *testing.T, s *apitest.Service, d *apitest.Device, _ string) { reserve(t, s, d) }, 410, "Timeout"},
		"unless another one is committed": {func(t *testing.T, s *apitest.Service, d *apitest.Device, _ string) { s.Link(t, d, s.Stranger) }, 410, "Timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			s := apitest.Start(t)
			d := s.Device(t)
			id := reserve(t, s, d)
			c.do(t, s, d, id)
			if err := s.API.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			a := d.Reply(t, id, apitest.Commit(apitest.NewNonce()))
			if c.code != "" {
				wantCode(t, a, c.want, c.code)
				return
			}
			wantStep(t, a, accountapi.Done)
		})
	}
}

func reserve(t *testing.T, s *apitest.Service, d *apitest.Device) string {
	t.Helper()
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	id := begun.Step.FlowId
	d.Reply(t, id, apitest.Identify(s.Owner.Email))
	d.Reply(t, id, apitest.Password(s.Owner.Password))
	wantStep(t, d.Reply(t, id, apitest.Confirm()), accountapi.Commit)
	return id
}
