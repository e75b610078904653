// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

func state(t *testing.T, s *apitest.Service, d *apitest.Device, asked string) accountapi.Claims {
	t.Helper()
	nonce := apitest.NewNonce()
	req := accountapi.StatementRequest{Nonce: nonce}
	if asked != "" {
		req.LinkId = &asked
	}
	a := d.Post(t, "/v1/devices/"+d.ID+"/statement", req)
	if a.Status != 200 {
		t.Fatalf("statement: %d %s", a.Status, a.Body)
	}
	var out accountapi.StatementResponse
	decode(t, a.Body, &out)
	c := apitest.Open(t, out.Statement, accountapi.TypeStatement, s.Set(t))
	if c.Aud != d.ID || c.Nonce == nil || *c.Nonce != nonce || c.Purpose != accountapi.ClaimsPurposeStatement {
		t.Fatalf("the statement is not for this device and nonce: %+v", c)
	}
	return c
}

func wantStep(t *testing.T, a apitest.Answer, step accountapi.StepName) {
	t.Helper()
	if a.Status != 200 || a.Step.Step != step {
		t.Fatalf("got %d %s, want step %s", a.Status, a.Body, step)
	}
}

func wantCode(t *testing.T, a apitest.Answer, status int, code string) {
	t.Helper()
	if a.Status != status || a.Code() != code {
		t.Fatalf("got %d %s, want %d %s", a.Status, a.Body, status, code)
	}
}

func wantStatus(t *testing.T, c accountapi.Claims, status accountapi.ClaimsStatus) {
	t.Helper()
	if c.Status == nil || *c.Status != status {
		t.Fatalf("got status %v, want %s", c.Status, status)
	}
}

func TestADeviceIsLinkedAndUnlockedByPassword(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	wantStatus(t, state(t, s, d, ""), accountapi.ClaimsStatusUnlinked)

	begun, nonce := d.Begin(t, accountapi.FlowKindLink)
	wantStep(t, begun, accountapi.Identify)
	id := begun.Step.FlowId
	wantStep(t, d.Reply(t, id, apitest.Identify(s.Owner.Email)), accountapi.Password)
	confirm := d.Reply(t, id, apitest.Password(s.Owner.Password))
	wantStep(t, confirm, accountapi.Confirm)
	rehearsal := apitest.Open(t, *confirm.Step.Grant, accountapi.TypeGrant, s.Set(t))
	if rehearsal.Purpose != accountapi.ClaimsPurposeRehearsal || *rehearsal.Nonce != nonce || rehearsal.Aud != d.ID {
		t.Fatalf("rehearsal: %+v", rehearsal)
	}
	wantStatus(t, state(t, s, d, ""), accountapi.ClaimsStatusUnlinked)

	commit := d.Reply(t, id, apitest.Confirm())
	wantStep(t, commit, accountapi.Commit)
	grant := apitest.Open(t, *commit.Step.Grant, accountapi.TypeGrant, s.Set(t))
	if grant.Purpose != accountapi.ClaimsPurposeLink || *grant.Nonce != nonce || *grant.Link.AccountId != s.Owner.ID || *grant.Hint != s.Owner.Hint() {
		t.Fatalf("link grant: %+v", grant)
	}
	if grant.Exp != grant.Iat+120 || grant.Iat != s.Clock.Now().Unix() {
		t.Errorf("the grant is good from %d to %d", grant.Iat, grant.Exp)
	}
	wantStatus(t, state(t, s, d, ""), accountapi.ClaimsStatusUnlinked)

	last := apitest.NewNonce()
	done := d.Reply(t, id, apitest.Commit(last))
	wantStep(t, done, accountapi.Done)
	word := apitest.Open(t, *done.Step.Statement, accountapi.TypeStatement, s.Set(t))
	wantStatus(t, word, accountapi.ClaimsStatusLinked)
	if *word.Nonce != last || word.Link.Id != grant.Link.Id || word.Link.Generation <= grant.Link.Generation || word.Ended != nil {
		t.Fatalf("statement after the commit: %+v", word)
	}

	begun, nonce = d.Begin(t, accountapi.FlowKindUnlock)
	wantStep(t, begun, accountapi.Identify)
	id = begun.Step.FlowId
	wantStep(t, d.Reply(t, id, apitest.UseHint()), accountapi.Password)
	wrong := d.Reply(t, id, apitest.Password("not the password"))
	wantCode(t, wrong, 403, "InvalidCredentials")
	if !*wrong.Problem.Counted || wrong.Problem.AttemptsLeft == nil {
		t.Errorf("a wrong password is told as %s", wrong.Body)
	}
	wantStep(t, d.Reply(t, id, apitest.Identify(s.Stranger.Email)), accountapi.Password)
	other := d.Reply(t, id, apitest.Password(s.Stranger.Password))
	wantCode(t, other, 403, "WrongAccount")
	if other.Problem.Hint == nil || *other.Problem.Hint != s.Owner.Hint() || *other.Problem.Counted {
		t.Errorf("a wrong account is told as %s", other.Body)
	}
	wantStep(t, d.Reply(t, id, apitest.UseHint()), accountapi.Password)
	open := d.Reply(t, id, apitest.Password(s.Owner.Password))
	wantStep(t, open, accountapi.Done)
	unlock := apitest.Open(t, *open.Step.Grant, accountapi.TypeGrant, s.Set(t))
	if unlock.Purpose != accountapi.ClaimsPurposeUnlock || *unlock.Nonce != nonce || *unlock.Link.AccountId != s.Owner.ID ||
		unlock.Link.Id != grant.Link.Id || unlock.Link.Generation <= word.Link.Generation {
		t.Fatalf("unlock grant: %+v", unlock)
	}
	mail := s.Outbox(t)
	if len(mail) != 2 {
		t.Errorf("the owner was sent %d messages, want one of the link and one of the unlock: %q", len(mail), mail)
	}
}
