// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/base32"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/factor/factortest"
	"github.com/accountlock/accountlock/internal/service/totp"
)

// app sets up an authenticator app for a person; what it returns says the next code.
func app(t *testing.T, s *apitest.Service, p apitest.Person) (next func() string, backup []string) {
	t.Helper()
	a, err := s.Factors.OfferApp(p.ID, "localhost", p.ID)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(a.Key, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	next = func() string {
		s.Clock.Advance(31 * time.Second)
		return totp.Code(secret.Bytes(raw), totp.Step(s.Clock.Now()))
	}
	backup, err = s.Factors.AddApp(t.Context(), p.ID, a.Offer, "", accountapi.Secret(next()))
	if err != nil {
		t.Fatal(err)
	}
	return next, backup
}

// newestCode is the code that was sent last, whatever else was.
func newestCode(t *testing.T, s *apitest.Service) string {
	t.Helper()
	all := s.Outbox(t)
	for i := len(all) - 1; i >= 0; i-- {
		if _, after, ok := strings.Cut(all[i], "Your code is "); ok {
			return after[:6]
		}
	}
	t.Fatal("no code was sent")
	return ""
}

// atCode begins an unlock whose password was right.
func atCode(t *testing.T, d *apitest.Device, p apitest.Person) (id string, a apitest.Answer) {
	t.Helper()
	begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
	id = begun.Step.FlowId
	d.Reply(t, id, apitest.UseHint())
	a = d.Reply(t, id, apitest.Password(p.Password))
	wantStep(t, a, accountapi.Code)
	return id, a
}

func TestADeviceAsksForTheCodeOfAnApp(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	next, backup := app(t, s, s.Owner)
	before := len(s.Outbox(t))
	id, a := atCode(t, d, s.Owner)
	if a.Step.SentTo != nil || a.Step.Grant != nil {
		t.Errorf("the step is %s", a.Body)
	}
	wantCode(t, d.Reply(t, id, apitest.Code("999999")), 403, "InvalidCode")
	// The owner has not said that a code by mail does.
	wantCode(t, d.Post(t, "/v1/flows/"+id+"/resend", nil), 409, "WrongStep")
	code := next()
	wantStep(t, d.Reply(t, id, apitest.Code(code)), accountapi.Done)
	id, _ = atCode(t, d, s.Owner)
	wantCode(t, d.Reply(t, id, apitest.Code(code)), 403, "InvalidCode")
	wantStep(t, d.Reply(t, id, apitest.Code(backup[0])), accountapi.Done)
	id, _ = atCode(t, d, s.Owner)
	wantCode(t, d.Reply(t, id, apitest.Code(backup[0])), 403, "InvalidCode")
	for _, m := range s.Outbox(t)[before:] {
		if strings.Contains(m, "Your code is") {
			t.Errorf("a code was sent: %s", m)
		}
	}
}

func TestAPersonAtADeviceHasACodeSentInsteadOfTheApps(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	if _, err := s.Accounts.SetSecondFactor(t.Context(), s.Owner.ID, true); err != nil {
		t.Fatal(err)
	}
	next, backup := app(t, s, s.Owner)
	id, _ := atCode(t, d, s.Owner)
	sent := d.Post(t, "/v1/flows/"+id+"/resend", nil)
	wantStep(t, sent, accountapi.Code)
	if sent.Step.SentTo == nil {
		t.Errorf("the step is %s", sent.Body)
	}
	wantCode(t, d.Reply(t, id, apitest.Code(next())), 403, "InvalidCode")
	wantStep(t, d.Reply(t, id, apitest.Code(newestCode(t, s))), accountapi.Done)
	id, _ = atCode(t, d, s.Owner)
	wantStep(t, d.Post(t, "/v1/flows/"+id+"/resend", nil), accountapi.Code)
	wantStep(t, d.Reply(t, id, apitest.Code(backup[0])), accountapi.Done)
}

func TestWhoHasAPasskeyAloneIsSentACodeAtADevice(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	c, err := s.Factors.OfferPasskey(t.Context(), s.Owner.ID, s.Owner.ID)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	key := &factortest.Authenticator{Origin: s.PortalURL}
	offer, answer := key.Create(t, asked)
	if _, err := s.Factors.AddPasskey(t.Context(), s.Owner.ID, offer, "", answer); err != nil {
		t.Fatal(err)
	}
	id, a := atCode(t, d, s.Owner)
	if a.Step.SentTo == nil {
		t.Errorf("the step is %s", a.Body)
	}
	wantStep(t, d.Reply(t, id, apitest.Code(newestCode(t, s))), accountapi.Done)
}
