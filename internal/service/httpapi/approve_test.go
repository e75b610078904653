// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/approval"
)

// asking is a linked device that waits for its owner's approval.
type asking struct {
	*apitest.Service
	d    *apitest.Device
	flow string
	code string
}

func asks(t *testing.T, s *apitest.Service, d *apitest.Device) asking {
	t.Helper()
	begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
	wantStep(t, begun, accountapi.Identify)
	if begun.Step.Methods == nil || len(*begun.Step.Methods) != 1 || (*begun.Step.Methods)[0] != "approve" {
		t.Fatalf("the first step offers %v", begun.Step.Methods)
	}
	a := asking{s, d, begun.Step.FlowId, ""}
	a.takeCode(t, d.Reply(t, a.flow, apitest.Approve(apitest.NewNonce())))
	return a
}

func (a *asking) takeCode(t *testing.T, at apitest.Answer) {
	t.Helper()
	wantStep(t, at, accountapi.Approve)
	if at.Step.UserCode == nil || at.Step.VerificationUri == nil || at.Step.VerificationUriComplete == nil || at.Step.Interval == nil || at.Step.Expires == nil {
		t.Fatalf("the step lacks something: %s", at.Body)
	}
	a.code = *at.Step.UserCode
	if len(a.code) != 9 || strings.Trim(a.code, "BCDFGHJKLMNPQRSTVWXZ-") != "" {
		t.Errorf("the code is %q", a.code)
	}
	if got := *at.Step.VerificationUriComplete; got != *at.Step.VerificationUri+"?code="+a.code || !strings.HasPrefix(got, "https://accounts.example.org/approve") {
		t.Errorf("the address is %q", got)
	}
	if *at.Step.Interval != 5 || *at.Step.Expires != a.Clock.Now().Add(10*time.Minute).Unix() {
		t.Errorf("interval %d, until %d", *at.Step.Interval, *at.Step.Expires)
	}
}

func (a asking) owner() approval.Owner {
	return approval.Owner{AccountID: a.Owner.ID, Address: netip.MustParseAddr("127.0.0.1")}
}

func (a asking) decide(t *testing.T, approve bool) {
	t.Helper()
	if _, err := a.Approvals.Decide(t.Context(), a.owner(), a.code, approve); err != nil {
		t.Fatal(err)
	}
}

// poll asks after the pause, and returns the nonce too.
func (a asking) poll(t *testing.T) (apitest.Answer, string) {
	t.Helper()
	a.Clock.Advance(5 * time.Second)
	nonce := apitest.NewNonce()
	return a.d.Reply(t, a.flow, apitest.Approve(nonce)), nonce
}

func linked(t *testing.T) (*apitest.Service, *apitest.Device) {
	t.Helper()
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	return s, d
}

func TestAnOwnersApprovalOpensTheDeviceOnce(t *testing.T) {
	s, d := linked(t)
	a := asks(t, s, d)
	pending, _ := a.poll(t)
	wantStep(t, pending, accountapi.Approve)
	if pending.Step.Grant != nil || pending.Step.UserCode != nil || *pending.Step.Interval != 5 {
		t.Fatalf("a pending request is told as %s", pending.Body)
	}
	seen, err := s.Approvals.Look(t.Context(), a.owner(), strings.ToLower(a.code))
	if err != nil || seen.DeviceID != d.ID || seen.Model != "test device" || seen.NewKey || !seen.Near || seen.Address != "127.0.0.1" || seen.Answered {
		t.Fatalf("the owner sees %+v, %v", seen, err)
	}
	a.decide(t, true)
	a.decide(t, true) // twice is once
	done, nonce := a.poll(t)
	wantStep(t, done, accountapi.Done)
	grant := apitest.Open(t, *done.Step.Grant, accountapi.TypeGrant, s.Set(t))
	if grant.Purpose != accountapi.ClaimsPurposeUnlock || *grant.Nonce != nonce || grant.Aud != d.ID || *grant.Link.AccountId != s.Owner.ID ||
		*grant.Hint != s.Owner.Hint() || grant.Exp != grant.Iat+120 {
		t.Fatalf("the grant: %+v", grant)
	}
	again, _ := a.poll(t)
	wantCode(t, again, http.StatusConflict, "WrongStep")
	_, err = s.Approvals.Look(t.Context(), a.owner(), a.code)
	wantFault(t, err, fault.CodeExpired)
	mail := strings.Join(s.Outbox(t), "\n")
	for _, says := range []string{"Somebody asks to open your device", "opened by your approval"} {
		if strings.Count(mail, says) != 1 {
			t.Errorf("the owner was told %d times: %s", strings.Count(mail, says), says)
		}
	}
	if strings.Contains(mail, "unlocked with your password") || strings.Contains(mail, a.code) {
		t.Errorf("the owner was told: %s", mail)
	}
	wantStatus(t, state(t, s, d, ""), accountapi.ClaimsStatusLinked)
}

func wantFault(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestAnAnswerThatWasLostIsGivenAgainUnderItsKey(t *testing.T) {
	s, d := linked(t)
	a := asks(t, s, d)
	a.decide(t, true)
	s.Clock.Advance(5 * time.Second)
	key, body := apitest.NewKey(), apitest.Approve(apitest.NewNonce())
	var grants []string
	for range 2 {
		got, err := d.Call(t.Context(), http.MethodPost, "/v1/flows/"+a.flow, key, body)
		if err != nil {
			t.Fatal(err)
		}
		wantStep(t, got, accountapi.Done)
		grants = append(grants, *got.Step.Grant)
		s.Forget(t) // even where the answer was not written down
	}
	if grants[0] == "" || apitest.Open(t, grants[0], accountapi.TypeGrant, s.Set(t)).Nonce == nil || len(grants) != 2 {
		t.Fatal("no grant")
	}
	if one, two := apitest.Open(t, grants[0], accountapi.TypeGrant, s.Set(t)), apitest.Open(t, grants[1], accountapi.TypeGrant, s.Set(t)); one.Jti != two.Jti {
		t.Error("the same answer has two grants")
	}
}

func TestAPollThatComesTooEarlyMakesThePauseLongerForGood(t *testing.T) {
	s, d := linked(t)
	a := asks(t, s, d)
	s.Clock.Advance(time.Second)
	early := d.Reply(t, a.flow, apitest.Approve(apitest.NewNonce()))
	wantCode(t, early, http.StatusTooManyRequests, "RateLimited")
	if *early.Problem.RetryAfter != 10 || early.Header.Get("Retry-After") != "10" {
		t.Errorf("wait %v", early.Problem.RetryAfter)
	}
	still, _ := a.poll(t) // 5 s later: too early by now
	wantCode(t, still, http.StatusTooManyRequests, "RateLimited")
	s.Clock.Advance(15 * time.Second)
	fine := d.Reply(t, a.flow, apitest.Approve(apitest.NewNonce()))
	wantStep(t, fine, accountapi.Approve)
	if *fine.Step.Interval != 15 {
		t.Errorf("the interval is %d", *fine.Step.Interval)
	}
	for range 20 {
		d.Reply(t, a.flow, apitest.Approve(apitest.NewNonce()))
	}
	s.Clock.Advance(time.Minute)
	if last := d.Reply(t, a.flow, apitest.Approve(apitest.NewNonce())); last.Step.Interval == nil || *last.Step.Interval != 60 {
		t.Errorf("the longest interval: %s", last.Body)
	}
}

func TestARefusalAndTheEndOfACodeAreTold(t *testing.T) {
	s, d := linked(t)
	a := asks(t, s, d)
	a.decide(t, false)
	for range 2 {
		no, _ := a.poll(t)
		wantCode(t, no, http.StatusForbidden, "Declined")
	}
	_, err := s.Approvals.Decide(t.Context(), a.owner(), a.code, true)
	wantFault(t, err, fault.CodeExpired)
	// The password still does, in the same flow.
	wantStep(t, d.Reply(t, a.flow, apitest.UseHint()), accountapi.Password)
	wantStep(t, d.Reply(t, a.flow, apitest.Password(s.Owner.Password)), accountapi.Done)

	b := asks(t, s, d)
	s.Clock.Advance(10 * time.Minute)
	late, _ := b.poll(t)
	wantCode(t, late, http.StatusGone, "CodeExpired")
	_, err = s.Approvals.Look(t.Context(), b.owner(), b.code)
	wantFault(t, err, fault.CodeExpired)
}

func TestAFlowHasOneLiveCode(t *testing.T) {
	s, d := linked(t)
	a := asks(t, s, d)
	old := a.code
	a.takeCode(t, d.Post(t, "/v1/flows/"+a.flow+"/resend", nil))
	if a.code == old {
		t.Fatal("the code is the same")
	}
	_, err := s.Approvals.Decide(t.Context(), a.owner(), old, true)
	wantFault(t, err, fault.CodeExpired)
	pending, _ := a.poll(t)
	wantStep(t, pending, accountapi.Approve)

	// So does another way, and the flow's end.
	wantStep(t, d.Reply(t, a.flow, apitest.UseHint()), accountapi.Password)
	_, err = s.Approvals.Look(t.Context(), a.owner(), a.code)
	wantFault(t, err, fault.CodeExpired)
	a.takeCode(t, d.Reply(t, a.flow, apitest.Approve(apitest.NewNonce())))
	if got, err := d.Call(t.Context(), http.MethodDelete, "/v1/flows/"+a.flow, apitest.NewKey(), nil); err != nil || got.Status != http.StatusNoContent {
		t.Fatalf("%v %v", got.Status, err)
	}
	_, err = s.Approvals.Look(t.Context(), a.owner(), a.code)
	wantFault(t, err, fault.CodeExpired)
}

func TestALostDeviceIsNotOpenedByApproval(t *testing.T) {
	s, d := linked(t)
	a := asks(t, s, d)
	a.decide(t, true)
	if _, err := s.Devices.Lose(t.Context(), d.ID, "", ""); err != nil {
		t.Fatal(err)
	}
	no, _ := a.poll(t)
	wantCode(t, no, http.StatusForbidden, "Declined")
	_, err := s.Approvals.Look(t.Context(), a.owner(), a.code)
	wantFault(t, err, fault.Declined)
	begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
	wantCode(t, d.Reply(t, begun.Step.FlowId, apitest.Approve(apitest.NewNonce())), http.StatusForbidden, "Declined")

	// What was approved before it was lost stays void when it is found again.
	if _, err := s.Devices.Find(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	gone, _ := a.poll(t)
	wantCode(t, gone, http.StatusGone, "CodeExpired")
}

func TestOnlyTheLinkedAccountSeesOrAnswersARequest(t *testing.T) {
	s, d := linked(t)
	a := asks(t, s, d)
	stranger := approval.Owner{AccountID: s.Stranger.ID, Address: netip.MustParseAddr("192.0.2.7")}
	_, err := s.Approvals.Decide(t.Context(), stranger, a.code, true)
	wantFault(t, err, fault.InvalidCode)
	_, err = s.Approvals.Decide(t.Context(), stranger, "BCDF-BCDF", true)
	wantFault(t, err, fault.InvalidCode)
	pending, _ := a.poll(t)
	wantStep(t, pending, accountapi.Approve)

	// Unlinked by its owner meanwhile: nobody answers it any more.
	a.decide(t, true)
	if _, err := s.Devices.Release(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	gone, _ := a.poll(t)
	wantCode(t, gone, http.StatusConflict, "NotLinked")
}

func TestABlockedAccountOpensNothingByWhatItApproved(t *testing.T) {
	s, d := linked(t)
	a := asks(t, s, d)
	a.decide(t, true)
	if _, err := s.Accounts.Block(t.Context(), s.Owner.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	no, _ := a.poll(t)
	wantCode(t, no, http.StatusForbidden, "AccountBlocked")
}

func TestGuessesAtCodesAreLimited(t *testing.T) {
	s, d := linked(t)
	a := asks(t, s, d)
	guesser := approval.Owner{AccountID: s.Stranger.ID, Address: netip.MustParseAddr("2001:db8::1")}
	var wg sync.WaitGroup
	var mu sync.Mutex
	told := map[fault.Code]int{}
	for range 30 {
		wg.Go(func() {
			_, err := s.Approvals.Look(t.Context(), guesser, a.code)
			mu.Lock()
			told[fault.CodeOf(err)]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if told[fault.InvalidCode] != 10 || told[fault.RateLimited] != 20 {
		t.Errorf("guesses in parallel: %v", told)
	}
	_, err := s.Approvals.Look(t.Context(), guesser, "not a code")
	wantFault(t, err, fault.InvalidArgument)
	_, err = s.Approvals.Look(t.Context(), a.owner(), a.code)
	if err != nil {
		t.Errorf("somebody else's guesses keep the owner out: %v", err)
	}
	// A whole network is limited too, whatever the number of accounts.
	for i := range 60 {
		one := approval.Owner{AccountID: string(rune('a' + i)), Address: netip.MustParseAddr("2001:db8::2")}
		_, err = s.Approvals.Look(t.Context(), one, a.code)
	}
	wantFault(t, err, fault.RateLimited)
	s.Clock.Advance(time.Hour)
	_, err = s.Approvals.Look(t.Context(), guesser, a.code)
	wantFault(t, err, fault.InvalidCode)
	if err := s.Approvals.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestADeviceAsksForFewCodesAndItsOwnerIsToldOnceADay(t *testing.T) {
	s, d := linked(t)
	before := len(s.Outbox(t))
	a := asks(t, s, d)
	for range 5 {
		a.takeCode(t, d.Post(t, "/v1/flows/"+a.flow+"/resend", nil))
	}
	seventh := d.Post(t, "/v1/flows/"+a.flow+"/resend", nil)
	wantCode(t, seventh, http.StatusTooManyRequests, "RateLimited")
	if *seventh.Problem.RetryAfter != 3600 {
		t.Errorf("wait %d", *seventh.Problem.RetryAfter)
	}
	if _, err := s.Approvals.Look(t.Context(), a.owner(), a.code); err != nil {
		t.Errorf("a refused code ends the one before: %v", err)
	}
	begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
	wantCode(t, d.Reply(t, begun.Step.FlowId, apitest.Approve(apitest.NewNonce())), http.StatusTooManyRequests, "RateLimited")
	// No other way is held up by it.
	wantStep(t, d.Reply(t, begun.Step.FlowId, apitest.UseHint()), accountapi.Password)
	if got := len(s.Outbox(t)) - before; got != 1 {
		t.Errorf("the owner was told %d times", got)
	}
	codes := 6
	for range 10 {
		s.Clock.Advance(time.Hour)
		begun, _ = d.Begin(t, accountapi.FlowKindUnlock)
		for d.Reply(t, begun.Step.FlowId, apitest.Approve(apitest.NewNonce())).Status == http.StatusOK {
			codes++
			begun, _ = d.Begin(t, accountapi.FlowKindUnlock)
		}
	}
	if codes != 20 {
		t.Errorf("%d codes a day", codes)
	}
}

func TestApprovalIsOfUnlocksAlone(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	if begun.Step.Methods != nil {
		t.Errorf("a link offers %v", begun.Step.Methods)
	}
	wantCode(t, d.Reply(t, begun.Step.FlowId, apitest.Approve(apitest.NewNonce())), http.StatusConflict, "WrongStep")
	s.Link(t, d, s.Owner)
	begun, _ = d.Begin(t, accountapi.FlowKindUnlink)
	wantCode(t, d.Reply(t, begun.Step.FlowId, apitest.Approve(apitest.NewNonce())), http.StatusConflict, "WrongStep")
}

func TestADeviceWithAnotherKeySaysSoToItsOwner(t *testing.T) {
	s, d := linked(t)
	other := apitest.NewDevice(s.URL, apitest.Client(s.CA))
	other.Serial = d.Serial
	if got := other.Enrol(t); got.KeyStatus != "pending" || got.DeviceId != d.ID {
		t.Fatalf("enrolled as %+v", got)
	}
	a := asks(t, s, other)
	seen, err := s.Approvals.Look(t.Context(), a.owner(), a.code)
	if err != nil || !seen.NewKey {
		t.Fatalf("the owner sees %+v, %v", seen, err)
	}
	a.decide(t, true)
	done, _ := a.poll(t)
	wantStep(t, done, accountapi.Done)
}

func TestTwoServersGrantOneApprovalOnce(t *testing.T) {
	s, d := linked(t)
	a := asks(t, s, d)
	a.decide(t, true)
	s.Clock.Advance(5 * time.Second)
	second := s.NewAPI(t, slog.New(slog.DiscardHandler))
	defer second.Close()
	var wg sync.WaitGroup
	grants := make([]bool, 8)
	for i := range grants {
		server := []http.Handler{s.API, second}[i%2]
		c := d.Clone()
		c.Nonce = freshNonce(t, s)
		wg.Go(func() { grants[i] = granted(t, server, c, a.flow) })
	}
	wg.Wait()
	n := 0
	for _, g := range grants {
		if g {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d grants", n)
	}
}

// granted polls once, again while the server is too busy, and reports whether that
// brought a grant.
func granted(t *testing.T, server http.Handler, d *apitest.Device, flowID string) bool {
	body, err := json.Marshal(apitest.Approve(apitest.NewNonce()))
	if err != nil {
		t.Error(err)
		return false
	}
	key := apitest.NewKey()
	for range 50 {
		r, err := d.Request(t.Context(), http.MethodPost, "/v1/flows/"+flowID, key, body)
		if err != nil {
			t.Error(err)
			return false
		}
		r.RequestURI = r.URL.RequestURI()
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		d.Nonce = w.Header().Get(accountapi.HeaderNonce)
		if w.Code == http.StatusServiceUnavailable {
			continue
		}
		var step accountapi.FlowStep
		return w.Code == http.StatusOK && json.Unmarshal(w.Body.Bytes(), &step) == nil && step.Grant != nil
	}
	t.Error("the server stays busy")
	return false
}

func TestADeletedAccountLeavesNoRequest(t *testing.T) {
	s, d := linked(t)
	a := asks(t, s, d)
	if err := s.Accounts.Delete(t.Context(), s.Owner.ID); err != nil {
		t.Fatal(err)
	}
	_, err := s.Approvals.Look(t.Context(), a.owner(), a.code)
	wantFault(t, err, fault.InvalidCode)
	if no, _ := a.poll(t); no.Status == http.StatusOK {
		t.Errorf("a deleted account's device is told %s", no.Body)
	}
}
