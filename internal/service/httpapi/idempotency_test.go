// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

func call(t testing.TB, d *apitest.Device, method, path, key string, body any) apitest.Answer {
	t.Helper()
	a, err := d.Call(t.Context(), method, path, key, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func begin(d *apitest.Device, kind accountapi.FlowKind) accountapi.BeginRequest {
	return accountapi.BeginRequest{Kind: kind, DeviceId: d.ID, Nonce: apitest.NewNonce()}
}

func TestTheSameRequestGetsTheFirstAnswerAgain(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	for name, c := range map[string]struct {
		path string
		body any
		want int
	}{
		"a flow is begun once":            {"/v1/flows", begin(d, accountapi.FlowKindLink), 200},
		"events are noted once":           {"/v1/devices/" + d.ID + "/events", accountapi.EventsRequest{Events: []accountapi.DeviceEvent{{Kind: accountapi.DeviceEventKindStarted, Time: 1}}}, 204},
		"a refusal by the device's state": {"/v1/flows", begin(d, accountapi.FlowKindUnlock), 409},
	} {
		t.Run(name, func(t *testing.T) {
			key := apitest.NewKey()
			first := call(t, d, http.MethodPost, c.path, key, c.body)
			if first.Status != c.want {
				t.Fatalf("got %d %s", first.Status, first.Body)
			}
			s.Clock.Advance(time.Minute)
			second := call(t, d, http.MethodPost, c.path, key, c.body)
			if second.Status != first.Status || !bytes.Equal(second.Body, first.Body) ||
				second.Header.Get("Content-Type") != first.Header.Get("Content-Type") {
				t.Errorf("first %d %s\nsecond %d %s", first.Status, first.Body, second.Status, second.Body)
			}
			if second.Header.Get(accountapi.HeaderNonce) == first.Header.Get(accountapi.HeaderNonce) {
				t.Error("both answers bring the same nonce")
			}
		})
	}
	events, err := s.Devices.Events(t.Context(), d.ID, 100)
	if err != nil || len(events) != 1 {
		t.Errorf("%d events were noted (%v), want 1", len(events), err)
	}
	t.Run("until a day has passed", func(t *testing.T) {
		key, body := apitest.NewKey(), begin(d, accountapi.FlowKindLink)
		first := call(t, d, http.MethodPost, "/v1/flows", key, body)
		s.Clock.Advance(24*time.Hour + time.Second)
		second := call(t, d, http.MethodPost, "/v1/flows", key, body)
		wantStep(t, second, accountapi.Identify)
		if second.Step.FlowId == first.Step.FlowId {
			t.Error("the first answer came again")
		}
	})
}

// TestAStatementSaysHowTheLinkStandsWhenItIsAskedAgain: it changes nothing, so that nobody is served by
// what was true before.
func TestAStatementSaysHowTheLinkStandsWhenItIsAskedAgain(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	key, body := apitest.NewKey(), accountapi.StatementRequest{Nonce: apitest.NewNonce()}
	for _, want := range []accountapi.ClaimsStatus{accountapi.ClaimsStatusUnlinked, accountapi.ClaimsStatusLinked} {
		a := call(t, d, http.MethodPost, "/v1/devices/"+d.ID+"/statement", key, body)
		var said accountapi.StatementResponse
		if err := json.Unmarshal(a.Body, &said); err != nil || a.Status != http.StatusOK {
			t.Fatalf("%d %s %v", a.Status, a.Body, err)
		}
		claims := apitest.Open(t, said.Statement, accountapi.TypeStatement, s.Set(t))
		if *claims.Status != want || *claims.Nonce != body.Nonce {
			t.Errorf("got %s over %s, want %s", *claims.Status, *claims.Nonce, want)
		}
		if want == accountapi.ClaimsStatusUnlinked {
			s.Link(t, d, s.Owner)
		}
	}
}

// TestANonceIsForOneRequestOfEitherKind: those that change nothing are written down elsewhere.
func TestANonceIsForOneRequestOfEitherKind(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	state := func(x *apitest.Device) (*http.Request, error) {
		return x.Request(t.Context(), http.MethodPost, "/v1/devices/"+d.ID+"/statement", apitest.NewKey(), []byte(`{"nonce":"`+apitest.NewNonce()+`"}`))
	}
	begins := func(x *apitest.Device) (*http.Request, error) {
		b, err := json.Marshal(begin(x, accountapi.FlowKindLink))
		if err != nil {
			return nil, err
		}
		return x.Request(t.Context(), http.MethodPost, "/v1/flows", apitest.NewKey(), b)
	}
	for name, pair := range map[string][2]func(*apitest.Device) (*http.Request, error){
		"two statements": {state, state}, "two flows": {begins, begins}, "a statement, then a flow": {state, begins}, "a flow, then a statement": {begins, state},
	} {
		t.Run(name, func(t *testing.T) {
			nonce := freshNonce(t, s)
			for i, want := range []int{http.StatusOK, http.StatusUnauthorized} {
				x := d.Clone()
				x.Nonce = nonce
				r, err := pair[i](x)
				if err != nil {
					t.Fatal(err)
				}
				if a, err := x.Send(r); err != nil || a.Status != want {
					t.Errorf("number %d: got %d %s %v, want %d", i+1, a.Status, a.Body, err, want)
				}
			}
		})
	}
}

func TestAnIdempotencyKeyIsForOneRequest(t *testing.T) {
	s := apitest.Start(t)
	d, other := s.Device(t), s.Device(t)
	key := apitest.NewKey()
	wantStep(t, call(t, d, http.MethodPost, "/v1/flows", key, begin(d, accountapi.FlowKindLink)), accountapi.Identify)
	t.Run("another body is refused", func(t *testing.T) {
		wantCode(t, call(t, d, http.MethodPost, "/v1/flows", key, begin(d, accountapi.FlowKindLink)), 422, "InvalidArgument")
	})
	t.Run("another path is refused", func(t *testing.T) {
		events := accountapi.EventsRequest{Events: []accountapi.DeviceEvent{{Kind: accountapi.DeviceEventKindStarted, Time: 1}}}
		wantCode(t, call(t, d, http.MethodPost, "/v1/devices/"+d.ID+"/events", key, events), 422, "InvalidArgument")
	})
	t.Run("another device may use it", func(t *testing.T) {
		wantStep(t, call(t, other, http.MethodPost, "/v1/flows", key, begin(other, accountapi.FlowKindLink)), accountapi.Identify)
	})
}

func TestWhatMayGoBetterNextTimeIsNotKept(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	id := begun.Step.FlowId
	d.Reply(t, id, apitest.Identify(s.Owner.Email))
	for range 5 {
		d.Reply(t, id, apitest.Password("a wrong password"))
	}
	key := apitest.NewKey()
	wantCode(t, call(t, d, http.MethodPost, "/v1/flows/"+id, key, apitest.Password(s.Owner.Password)), 429, "RateLimited")
	s.Clock.Advance(2 * time.Minute)
	wantStep(t, call(t, d, http.MethodPost, "/v1/flows/"+id, key, apitest.Password(s.Owner.Password)), accountapi.Confirm)
}

func TestRequestsAtOnceUnderOneKeyAreDoneOnce(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	const n = 12
	key, body := apitest.NewKey(), begin(d, accountapi.FlowKindLink)
	answers := make([]apitest.Answer, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			d := d.Clone()
			var err error
			for {
				if answers[i], err = d.Call(t.Context(), http.MethodPost, "/v1/flows", key, body); err != nil {
					t.Error(err)
					return
				}
				if answers[i].Status != http.StatusConflict {
					return
				}
				if answers[i].Header.Get("Retry-After") == "" || answers[i].Code() != "ServiceUnavailable" {
					t.Errorf("while it is being answered: %d %s", answers[i].Status, answers[i].Body)
				}
			}
		})
	}
	all.Wait()
	for _, a := range answers {
		wantStep(t, a, accountapi.Identify)
		if a.Step.FlowId != answers[0].Step.FlowId {
			t.Errorf("flows %s and %s were begun", a.Step.FlowId, answers[0].Step.FlowId)
		}
	}
}

func TestTheDatabaseHoldsNoPasswordAndNoHashOfABody(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	d.Reply(t, begun.Step.FlowId, apitest.Identify(s.Owner.Email))
	answer := apitest.Password(s.Owner.Password)
	d.Reply(t, begun.Step.FlowId, answer)
	body, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	if storetest.OnPostgres() {
		t.Skip("its files are the server's own; the rows are the same")
	}
	for _, name := range []string{s.Database.Path, s.Database.Path + "-wal"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range [][]byte{[]byte(s.Owner.Password), []byte(accountapi.ContentDigest(body)[9:52])} {
			if bytes.Contains(b, secret) {
				t.Errorf("%s holds %q", name, secret)
			}
		}
	}
}

func TestAnAnswerOutlivesTheServerThatGaveIt(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
	id := begun.Step.FlowId
	d.Reply(t, id, apitest.UseHint())
	key := apitest.NewKey()
	first := call(t, d, http.MethodPost, "/v1/flows/"+id, key, apitest.Password(s.Owner.Password))
	wantStep(t, first, accountapi.Done)
	// The crash came after the change and before the answer was written down.
	state(t, s, d, "")
	s.Forget(t)
	second := call(t, d, http.MethodPost, "/v1/flows/"+id, key, apitest.Password(s.Owner.Password))
	if second.Status != 200 || second.Step.Grant == nil || *second.Step.Grant != *first.Step.Grant {
		t.Errorf("after the crash: %d %s", second.Status, second.Body)
	}
	link, err := s.Devices.Show(t.Context(), d.ID)
	if err != nil || link.Link.Generation != 3 {
		t.Errorf("the link has generation %d (%v), want 3: the unlock was done twice", link.Link.Generation, err)
	}
}

func TestARequestThatNobodyAnsweredIsTakenOver(t *testing.T) {
	s := apitest.Start(t)
	d := apitest.NewDevice(s.URL, apitest.Client(s.CA))
	key := apitest.NewKey()
	req := accountapi.EnrolRequest{
		Key:        accountapi.NewJWK(d.Key.Public().(ed25519.PublicKey)),
		Identities: []accountapi.Identity{apitest.Identity(accountapi.Dmi, d.Serial)},
	}
	if a := call(t, d, http.MethodPost, "/v1/devices", key, req); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	// Answers are written down soon: before the next request at the latest.
	d.Enrol(t)
	s.Unanswer(t, s.Clock.Now().Add(10*time.Second))
	a := call(t, d, http.MethodPost, "/v1/devices", key, req)
	wantCode(t, a, 409, "ServiceUnavailable")
	s.Clock.Advance(11 * time.Second)
	if a := call(t, d, http.MethodPost, "/v1/devices", key, req); a.Status != 200 {
		t.Errorf("after the lease: %d %s", a.Status, a.Body)
	}
}

func TestWhenADeviceWasSeenIsNoted(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Clock.Advance(2 * device.SeenEvery)
	state(t, s, d, "")
	if err := s.API.FlushSeen(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Devices.Show(t.Context(), d.ID)
	if err != nil || !got.SeenAt.Equal(s.Clock.Now().Truncate(time.Millisecond)) {
		t.Errorf("seen at %s (%v), want %s", got.SeenAt, err, s.Clock.Now())
	}
}
