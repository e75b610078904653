// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/proofofwork"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

func solution(t *testing.T, a apitest.Answer) accountapi.FlowAnswer {
	t.Helper()
	wantStep(t, a, accountapi.Captcha)
	answer, err := proofofwork.Solve(t.Context(), *a.Step.Captcha)
	if err != nil {
		t.Fatal(err)
	}
	return accountapi.FlowAnswer{Step: accountapi.Captcha, Captcha: &answer}
}

// suspected is a device that has guessed wrong so often that it is asked for a
// captcha, with its flow.
func suspected(t *testing.T, s *apitest.Service) (*apitest.Device, string) {
	t.Helper()
	d := s.Device(t)
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	d.Reply(t, begun.Step.FlowId, apitest.Identify(s.Owner.Email))
	for n := range 6 {
		if n == 5 {
			s.Clock.Advance(time.Minute)
		}
		wantCode(t, d.Reply(t, begun.Step.FlowId, apitest.Password(fmt.Sprintf("wrong password %d", n))), 403, "InvalidCredentials")
	}
	s.Clock.Advance(5 * time.Minute)
	return d, begun.Step.FlowId
}

func TestACaptchaIsAskedForBeforeAGuesserIsBlocked(t *testing.T) {
	s := apitest.Start(t)
	d, id := suspected(t, s)
	first := d.Reply(t, id, apitest.Password(s.Owner.Password))
	answer := solution(t, first)
	wrong := "bm90aGluZw=="
	wantCode(t, d.Reply(t, id, accountapi.FlowAnswer{Step: accountapi.Captcha, Captcha: &wrong}), 403, "CaptchaRequired")
	wantStep(t, d.Reply(t, id, answer), accountapi.Password)
	wantStep(t, d.Reply(t, id, apitest.Password(s.Owner.Password)), accountapi.Confirm)
}

func TestACaptchaServesOneGuess(t *testing.T) {
	s := apitest.Start(t)
	d, id := suspected(t, s)
	answer := solution(t, d.Reply(t, id, apitest.Password("another wrong one")))
	wantStep(t, d.Reply(t, id, answer), accountapi.Password)
	wantCode(t, d.Reply(t, id, apitest.Password("another wrong one")), 403, "InvalidCredentials")
	s.Clock.Advance(14 * time.Minute)
	wantCode(t, d.Reply(t, id, apitest.Password("another wrong one")), http.StatusTooManyRequests, "RateLimited")
	s.Clock.Advance(time.Minute + time.Second)
	// The flow has ended by itself meanwhile; its device is still asked.
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	d.Reply(t, begun.Step.FlowId, apitest.Identify(s.Stranger.Email))
	again := d.Reply(t, begun.Step.FlowId, apitest.Password("a guess elsewhere"))
	wantStep(t, again, accountapi.Captcha)
	wantCode(t, d.Reply(t, begun.Step.FlowId, answer), 403, "CaptchaRequired")
}

func TestGuessesAtOnceDoNotShareACaptcha(t *testing.T) {
	s := apitest.Start(t)
	d, id := suspected(t, s)
	wantStep(t, d.Reply(t, id, solution(t, d.Reply(t, id, apitest.Password("another wrong one")))), accountapi.Password)
	var all sync.WaitGroup
	var looked atomic.Int64
	for n := range 8 {
		all.Go(func() {
			a := d.Clone().Reply(t, id, apitest.Password(fmt.Sprintf("parallel guess %d", n)))
			if a.Code() == "InvalidCredentials" {
				looked.Add(1)
			}
		})
	}
	all.Wait()
	if looked.Load() != 1 {
		t.Errorf("%d guesses were looked at, want one", looked.Load())
	}
}

func TestAnotherCaptchaIsMadeOnDemand(t *testing.T) {
	s := apitest.Start(t)
	d, id := suspected(t, s)
	first := d.Reply(t, id, apitest.Password(s.Owner.Password))
	again := d.Post(t, "/v1/flows/"+id+"/resend", nil)
	wantStep(t, again, accountapi.Captcha)
	if *first.Step.Captcha == *again.Step.Captcha {
		t.Error("it is the same challenge")
	}
	wantStep(t, d.Reply(t, id, solution(t, again)), accountapi.Password)
}
