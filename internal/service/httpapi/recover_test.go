// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

var recoveryCode = regexp.MustCompile(`Your code is (\d{6})`)

// forget begins a recovery on a device and solves its captcha.
func forget(t *testing.T, d *apitest.Device, open bool, answer accountapi.FlowAnswer) (apitest.Answer, string) {
	t.Helper()
	region := "GB"
	begun := d.Post(t, "/v1/flows", accountapi.BeginRequest{
		Kind: accountapi.FlowKindRecover, DeviceId: d.ID, Nonce: apitest.NewNonce(), Open: &open, Region: &region,
	})
	wantStep(t, begun, accountapi.Identify)
	id := begun.Step.FlowId
	return d.Reply(t, id, solution(t, d.Reply(t, id, answer))), id
}

func newPassword(p string) accountapi.FlowAnswer {
	a := apitest.Password(p)
	a.Step = accountapi.NewPassword
	return a
}

func recoveryCodeIn(t *testing.T, s *apitest.Service) string {
	t.Helper()
	all := s.Outbox(t)
	for i := len(all) - 1; i >= 0; i-- {
		if m := recoveryCode.FindStringSubmatch(all[i]); m != nil {
			return m[1]
		}
	}
	t.Fatal("no code was sent")
	return ""
}

func TestAForgottenPasswordIsRecoveredOnAnotherDeviceAfterTheWait(t *testing.T) {
	s := apitest.Start(t)
	thief := s.Device(t)
	first, id := forget(t, thief, true, apitest.Identify(s.Owner.Email))
	wantStep(t, first, accountapi.Wait)
	if first.Step.Until == nil || time.Unix(*first.Step.Until, 0).Sub(s.Clock.Now()) < 71*time.Hour || first.Step.SentTo != nil {
		t.Fatalf("it waits until %v, sent to %v", first.Step.Until, first.Step.SentTo)
	}
	early := thief.Reply(t, id, accountapi.FlowAnswer{Step: accountapi.Wait})
	wantCode(t, early, http.StatusConflict, "RecoveryPending")
	if early.Problem.RetryAfter == nil || *early.Problem.RetryAfter < 71*3600 {
		t.Errorf("the refusal says %v", early.Problem.RetryAfter)
	}
	wantCode(t, thief.Reply(t, id, apitest.Code("123456")), http.StatusConflict, "WrongStep")
	wantCode(t, thief.Reply(t, id, newPassword("a wholly new passphrase")), http.StatusConflict, "WrongStep")
	wantCode(t, thief.Reply(t, id, apitest.Password(s.Owner.Password)), http.StatusConflict, "WrongStep")
	s.Clock.Advance(time.Unix(*first.Step.Until, 0).Sub(s.Clock.Now()) + time.Second)
	d := s.Device(t)
	at, id := forget(t, d, false, apitest.Identify(s.Owner.Email))
	wantStep(t, at, accountapi.Code)
	wantCode(t, d.Reply(t, id, apitest.Code("000000")), 403, "InvalidCode")
	wantStep(t, d.Reply(t, id, apitest.Code(recoveryCodeIn(t, s))), accountapi.NewPassword)
	wantCode(t, d.Reply(t, id, newPassword("password1")), 422, "WeakPassword")
	done := d.Reply(t, id, newPassword("a wholly new passphrase"))
	wantStep(t, done, accountapi.Done)
	if done.Step.Grant != nil || done.Step.Statement != nil {
		t.Error("a recovery brings a signed word to the device")
	}
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	d.Reply(t, begun.Step.FlowId, apitest.Identify(s.Owner.Email))
	wantStep(t, d.Reply(t, begun.Step.FlowId, apitest.Password("a wholly new passphrase")), accountapi.Confirm)
}

func TestAKnownDeviceIsOneThatIsOpenAndLinkedForDays(t *testing.T) {
	s := apitest.Start(t)
	owned := func() *apitest.Device {
		d := s.Device(t)
		s.Link(t, d, s.Owner)
		return d
	}
	d, signedOut, lost := owned(), owned(), owned()
	s.Clock.Advance(73 * time.Hour)
	fresh := owned()
	if _, err := s.Devices.Lose(t.Context(), lost.ID, "", ""); err != nil {
		t.Fatal(err)
	}
	begun, _ := signedOut.Begin(t, accountapi.FlowKindSignOut)
	signedOut.Reply(t, begun.Step.FlowId, apitest.Password(s.Owner.Password))
	signedOut.Reply(t, begun.Step.FlowId, apitest.Commit(apitest.NewNonce()))
	stranger := s.Device(t)
	thief := d.Clone()
	other := apitest.NewDevice(d.URL, d.HTTP) // the same hardware under another key
	other.Serial = d.Serial
	other.Enrol(t)
	for name, c := range map[string]struct {
		device *apitest.Device
		open   bool
		answer accountapi.FlowAnswer
		want   accountapi.StepName
	}{
		"open and linked for days":    {d, true, apitest.UseHint(), accountapi.Code},
		"the same, named by mail":     {d, true, apitest.Identify(s.Owner.Email), accountapi.Code},
		"locked":                      {thief, false, apitest.UseHint(), accountapi.Wait},
		"open, for another account":   {d, true, apitest.Identify(s.Stranger.Email), accountapi.Wait},
		"linked today":                {fresh, true, apitest.UseHint(), accountapi.Wait},
		"lost":                        {lost, true, apitest.UseHint(), accountapi.Wait},
		"signed out":                  {signedOut, true, apitest.UseHint(), accountapi.Wait},
		"never linked":                {stranger, true, apitest.Identify(s.Owner.Email), accountapi.Wait},
		"under a key that is pending": {other, true, apitest.UseHint(), accountapi.Wait},
	} {
		at, _ := forget(t, c.device, c.open, c.answer)
		if at.Step.Step != c.want {
			t.Errorf("%s: %s, want %s (%s)", name, at.Step.Step, c.want, at.Body)
		}
	}
}

func TestARecoveryOfNobodyIsAnsweredAlikeOverTheWire(t *testing.T) {
	s := apitest.Start(t)
	strip := regexp.MustCompile(`"flow_id":"[^"]*"`)
	var bodies [2][]string
	for i, email := range []string{s.Owner.Email, "nobody@example.org"} {
		d := s.Device(t)
		at, id := forget(t, d, false, apitest.Identify(email))
		bodies[i] = append(bodies[i], string(at.Body), string(d.Reply(t, id, accountapi.FlowAnswer{Step: accountapi.Wait}).Body))
	}
	s.Clock.Advance(7 * 24 * time.Hour)
	for i, email := range []string{s.Owner.Email, "nobody@example.org"} {
		d := s.Device(t)
		at, id := forget(t, d, false, apitest.Identify(email))
		wantStep(t, at, accountapi.Code)
		s.Outbox(t)
		bodies[i] = append(bodies[i], string(at.Body))
		for range 6 {
			bodies[i] = append(bodies[i], string(d.Reply(t, id, apitest.Code("000000")).Body))
		}
	}
	for n := range bodies[0] {
		a, b := strip.ReplaceAllString(bodies[0][n], ""), strip.ReplaceAllString(bodies[1][n], "")
		a = strings.Replace(a, "o•••", "n•••", 1) // what was typed, masked
		if a != b {
			t.Errorf("answer %d: %s\n%s", n, a, b)
		}
	}
}

func TestTheCodeOfARecoveryIsSentAgain(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	s.Clock.Advance(73 * time.Hour)
	at, id := forget(t, d, true, apitest.UseHint())
	wantStep(t, at, accountapi.Code)
	old := recoveryCodeIn(t, s)
	wantCode(t, d.Post(t, "/v1/flows/"+id+"/resend", nil), http.StatusTooManyRequests, "RateLimited")
	s.Clock.Advance(31 * time.Second)
	wantStep(t, d.Post(t, "/v1/flows/"+id+"/resend", nil), accountapi.Code)
	fresh := recoveryCodeIn(t, s)
	if old != fresh {
		wantCode(t, d.Reply(t, id, apitest.Code(old)), 403, "InvalidCode")
	}
	wantStep(t, d.Reply(t, id, apitest.Code(fresh)), accountapi.NewPassword)
}
