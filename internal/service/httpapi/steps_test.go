// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"bytes"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/flow"
)

// sentCode returns the code in the newest message.
func sentCode(t *testing.T, s *apitest.Service) string {
	t.Helper()
	mail := s.Outbox(t)
	code := regexp.MustCompile(`\b\d{6}\b`).FindString(mail[len(mail)-1])
	if code == "" {
		t.Fatalf("no code in %q", mail[len(mail)-1])
	}
	return code
}

func otherCode(code string) string {
	n, _ := strconv.Atoi(code)
	out := strconv.Itoa((n + 1) % 1_000_000)
	return strings.Repeat("0", 6-len(out)) + out
}

func TestASecondFactorIsAskedFor(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	id := begun.Step.FlowId
	d.Reply(t, id, apitest.Identify(s.Careful.Email))
	a := d.Reply(t, id, apitest.Password(s.Careful.Password))
	wantStep(t, a, accountapi.Code)
	if a.Step.SentTo == nil || *a.Step.SentTo == s.Careful.Email || a.Step.Grant != nil {
		t.Errorf("the step is %s", a.Body)
	}
	code := sentCode(t, s)
	wrong := d.Reply(t, id, apitest.Code(otherCode(code)))
	wantCode(t, wrong, 403, "InvalidCode")
	if !*wrong.Problem.Counted || *wrong.Problem.AttemptsLeft != 4 {
		t.Errorf("a wrong code is told as %s", wrong.Body)
	}
	t.Run("a code is sent again, not too soon", func(t *testing.T) {
		soon := d.Post(t, "/v1/flows/"+id+"/resend", nil)
		wantCode(t, soon, 429, "RateLimited")
		if soon.Header.Get("Retry-After") == "" {
			t.Error("without Retry-After")
		}
		s.Clock.Advance(time.Minute)
		wantStep(t, d.Post(t, "/v1/flows/"+id+"/resend", nil), accountapi.Code)
		if next := sentCode(t, s); next != code {
			wantCode(t, d.Reply(t, id, apitest.Code(code)), 403, "InvalidCode")
			code = next
		}
	})
	wantStep(t, d.Reply(t, id, apitest.Code(code)), accountapi.Confirm)
	wantCode(t, d.Post(t, "/v1/flows/"+id+"/resend", nil), 409, "WrongStep")
	wantStep(t, d.Reply(t, id, apitest.Confirm()), accountapi.Commit)
	wantStep(t, d.Reply(t, id, apitest.Commit(apitest.NewNonce())), accountapi.Done)

	t.Run("of the right account alone", func(t *testing.T) {
		before := len(s.Outbox(t))
		other := s.Device(t)
		s.Link(t, other, s.Owner)
		begun, _ := other.Begin(t, accountapi.FlowKindUnlock)
		other.Reply(t, begun.Step.FlowId, apitest.Identify(s.Careful.Email))
		wantCode(t, other.Reply(t, begun.Step.FlowId, apitest.Password(s.Careful.Password)), 403, "WrongAccount")
		if got := len(s.Outbox(t)) - before; got != 1 { // of the link
			t.Errorf("%d messages were sent, want 1", got)
		}
	})
	t.Run("and runs out", func(t *testing.T) {
		begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
		id := begun.Step.FlowId
		d.Reply(t, id, apitest.UseHint())
		wantStep(t, d.Reply(t, id, apitest.Password(s.Careful.Password)), accountapi.Code)
		code := sentCode(t, s)
		s.Clock.Advance(11 * time.Minute)
		wantCode(t, d.Reply(t, id, apitest.Code(code)), 410, "CodeExpired")
	})
	t.Run("and not for another account's flow that went over to it", func(t *testing.T) {
		x := s.Device(t)
		begun, _ := x.Begin(t, accountapi.FlowKindLink)
		id := begun.Step.FlowId
		x.Reply(t, id, apitest.Identify(s.Careful.Email))
		wantStep(t, x.Reply(t, id, apitest.Password(s.Careful.Password)), accountapi.Code)
		wantStep(t, x.Reply(t, id, apitest.Identify(s.Owner.Email)), accountapi.Password)
		wantCode(t, x.Reply(t, id, apitest.Code(sentCode(t, s))), 409, "WrongStep")
		a := x.Reply(t, id, apitest.Password(s.Owner.Password))
		wantStep(t, a, accountapi.Confirm)
		if c := apitest.Open(t, *a.Step.Grant, accountapi.TypeGrant, s.Set(t)); *c.Hint != s.Owner.Hint() {
			t.Errorf("the rehearsal is for %q", *c.Hint)
		}
	})
}

func TestGuessingAPassword(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	id := begun.Step.FlowId
	d.Reply(t, id, apitest.Identify(s.Owner.Email))
	for n := range 5 {
		a := d.Reply(t, id, apitest.Password("wrong password "+strconv.Itoa(n)))
		wantCode(t, a, 403, "InvalidCredentials")
		if left := max(0, 3-n); *a.Problem.AttemptsLeft != left {
			t.Errorf("after guess %d: %d are left, want %d", n+1, *a.Problem.AttemptsLeft, left)
		}
	}
	a := d.Reply(t, id, apitest.Password(s.Owner.Password))
	wantCode(t, a, http.StatusTooManyRequests, "RateLimited")
	if wait, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || wait < 1 || wait != *a.Problem.RetryAfter {
		t.Errorf("Retry-After is %q, the problem says %v", a.Header.Get("Retry-After"), a.Problem.RetryAfter)
	}
	s.Clock.Advance(time.Minute)
	wantStep(t, d.Reply(t, id, apitest.Password(s.Owner.Password)), accountapi.Confirm)
}

func TestAnUnknownIdentifierIsAnsweredAsAWrongPassword(t *testing.T) {
	s := apitest.Start(t)
	answers := map[string][]byte{}
	for name, identifier := range map[string]string{
		"an account that is there": s.Owner.Email, "one that is not": "nobody@example.org", "no identifier at all": "%%%",
	} {
		d := s.Device(t)
		begun, _ := d.Begin(t, accountapi.FlowKindLink)
		named := d.Reply(t, begun.Step.FlowId, apitest.Identify(identifier))
		wantStep(t, named, accountapi.Password)
		a := d.Reply(t, begun.Step.FlowId, apitest.Password("some wrong password"))
		wantCode(t, a, 403, "InvalidCredentials")
		answers[name] = a.Body
	}
	for name, body := range answers {
		if !bytes.Equal(body, answers["one that is not"]) {
			t.Errorf("%s: %s\none that is not: %s", name, body, answers["one that is not"])
		}
	}
}

func TestAnswersToOtherSteps(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	id := begun.Step.FlowId
	captcha := accountapi.FlowAnswer{Step: accountapi.Captcha}
	no := false
	declined := accountapi.FlowAnswer{Step: accountapi.Confirm, Confirm: &no}
	both := apitest.Identify("someone@example.org")
	both.UseHint = apitest.UseHint().UseHint
	refuse := func(at string, code string, answers ...accountapi.FlowAnswer) {
		t.Helper()
		for _, answer := range answers {
			a := d.Reply(t, id, answer)
			if a.Code() != code {
				t.Errorf("at %s, %s is answered %d %s, want %s", at, answer.Step, a.Status, a.Body, code)
			}
		}
	}
	password, commit := apitest.Password(s.Owner.Password), apitest.Commit(apitest.NewNonce())
	refuse("identify", "WrongStep", password, captcha, apitest.Code("123456"), apitest.Confirm(), commit)
	refuse("identify", "InvalidArgument", apitest.Identify(" "), apitest.UseHint(), both)
	d.Reply(t, id, apitest.Identify(s.Owner.Email))
	refuse("password", "WrongStep", captcha, apitest.Code("123456"), apitest.Confirm(), commit)
	refuse("password", "InvalidArgument", accountapi.FlowAnswer{Step: accountapi.Password})
	d.Reply(t, id, password)
	refuse("confirm", "WrongStep", apitest.Identify(s.Owner.Email), password, commit)
	refuse("confirm", "InvalidArgument", declined, accountapi.FlowAnswer{Step: accountapi.Confirm})
	d.Reply(t, id, apitest.Confirm())
	refuse("commit", "WrongStep", apitest.Identify(s.Owner.Email), password, apitest.Confirm())
	refuse("commit", "InvalidArgument", accountapi.FlowAnswer{Step: accountapi.Commit})
	wantStep(t, d.Reply(t, id, commit), accountapi.Done)
	refuse("done", "WrongStep", apitest.Identify(s.Owner.Email), password, apitest.Confirm())
	t.Run("an unlock that is done takes nothing more", func(t *testing.T) {
		begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
		d.Reply(t, begun.Step.FlowId, apitest.UseHint())
		wantStep(t, d.Reply(t, begun.Step.FlowId, password), accountapi.Done)
		wantCode(t, d.Reply(t, begun.Step.FlowId, apitest.Commit(apitest.NewNonce())), 409, "WrongStep")
	})
}

func TestGrantsAnswerTheNewestNonce(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	begun, first := d.Begin(t, accountapi.FlowKindLink)
	id := begun.Step.FlowId
	d.Reply(t, id, apitest.Identify(s.Owner.Email))
	second := apitest.NewNonce()
	password := apitest.Password(s.Owner.Password)
	password.Nonce = &second
	a := d.Reply(t, id, password)
	if c := apitest.Open(t, *a.Step.Grant, accountapi.TypeGrant, s.Set(t)); *c.Nonce != second || second == first {
		t.Errorf("the rehearsal answers %s, want %s", *c.Nonce, second)
	}
	a = d.Reply(t, id, apitest.Confirm())
	if c := apitest.Open(t, *a.Step.Grant, accountapi.TypeGrant, s.Set(t)); *c.Nonce != second {
		t.Errorf("the grant answers %s, want %s", *c.Nonce, second)
	}
}

func TestFlowsEnd(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	t.Run("when nobody types for a quarter of an hour", func(t *testing.T) {
		begun, _ := d.Begin(t, accountapi.FlowKindLink)
		id := begun.Step.FlowId
		s.Clock.Advance(flow.IdleTime - time.Second)
		wantStep(t, d.Reply(t, id, apitest.Identify(s.Owner.Email)), accountapi.Password)
		s.Clock.Advance(flow.IdleTime - time.Second)
		wantStep(t, d.Reply(t, id, apitest.Password(s.Owner.Password)), accountapi.Confirm)
		s.Clock.Advance(flow.IdleTime)
		wantCode(t, d.Reply(t, id, apitest.Confirm()), 410, "Timeout")
	})
	t.Run("when a ninth one is begun", func(t *testing.T) {
		first, _ := d.Begin(t, accountapi.FlowKindLink)
		var last apitest.Answer
		for range flow.MaxOpen {
			s.Clock.Advance(time.Second)
			last, _ = d.Begin(t, accountapi.FlowKindLink)
		}
		wantCode(t, d.Reply(t, first.Step.FlowId, apitest.Identify(s.Owner.Email)), 410, "Timeout")
		wantStep(t, d.Reply(t, last.Step.FlowId, apitest.Identify(s.Owner.Email)), accountapi.Password)
	})
	t.Run("when they are ended, which may be said twice", func(t *testing.T) {
		begun, _ := d.Begin(t, accountapi.FlowKindLink)
		path := "/v1/flows/" + begun.Step.FlowId
		key := apitest.NewKey()
		if a := call(t, d, http.MethodDelete, path, key, nil); a.Status != 204 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		wantCode(t, d.Reply(t, begun.Step.FlowId, apitest.Identify(s.Owner.Email)), 410, "Timeout")
	})
	t.Run("but not once they are committed", func(t *testing.T) {
		id := reserve(t, s, d)
		wantStep(t, d.Reply(t, id, apitest.Commit(apitest.NewNonce())), accountapi.Done)
		if a := call(t, d, http.MethodDelete, "/v1/flows/"+id, apitest.NewKey(), nil); a.Status != 204 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		wantStep(t, d.Reply(t, id, apitest.Commit(apitest.NewNonce())), accountapi.Done)
		wantStatus(t, state(t, s, d, ""), accountapi.ClaimsStatusLinked)
	})
}

func TestWhatAFlowNeedsOfTheDevice(t *testing.T) {
	s := apitest.Start(t)
	free, linked := s.Device(t), s.Device(t)
	link := s.Link(t, linked, s.Owner)
	for name, c := range map[string]struct {
		d    *apitest.Device
		kind accountapi.FlowKind
		code string
	}{
		"a free device is not unlocked":     {free, accountapi.FlowKindUnlock, "NotLinked"},
		"a free device is not signed out":   {free, accountapi.FlowKindSignOut, "NotLinked"},
		"a free device is not unlinked":     {free, accountapi.FlowKindUnlink, "NotLinked"},
		"a linked device is not linked":     {linked, accountapi.FlowKindLink, "AlreadyLinked"},
		"a linked device may be unlocked":   {linked, accountapi.FlowKindUnlock, ""},
		"a linked device may be signed out": {linked, accountapi.FlowKindSignOut, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := c.d.Begin(t, c.kind)
			if a.Code() != c.code {
				t.Errorf("got %d %s, want %s", a.Status, a.Body, c.code)
			}
		})
	}
	t.Run("a link that the device does not have is not ended", func(t *testing.T) {
		other := "another link"
		req := begin(linked, accountapi.FlowKindUnlink)
		req.LinkId = &other
		wantCode(t, linked.Post(t, "/v1/flows", req), 409, "NotLinked")
		req.LinkId = &link.Id
		wantStep(t, linked.Post(t, "/v1/flows", req), accountapi.Password)
	})
}
