// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
)

// nonces is a service that takes each of its nonces once.
type nonces struct {
	mu   sync.Mutex
	last int
	good map[string]bool
}

func (n *nonces) over(next http.HandlerFunc) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, r *http.Request, used string) {
		n.mu.Lock()
		ok := n.good[used]
		delete(n.good, used)
		n.last++
		fresh := fmt.Sprintf("nonce-%d", n.last)
		if n.good == nil {
			n.good = map[string]bool{}
		}
		n.good[fresh] = true
		n.mu.Unlock()
		w.Header().Set(accountapi.HeaderNonce, fresh)
		if !ok {
			problem(http.StatusUnauthorized, fault.NotAuthorized, nil)(w, r)
			return
		}
		next(w, r)
	}
}

// forget makes every nonce a stale one.
func (n *nonces) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.good = nil
}

// guard lets w's requests through n.
func (w *world) guard(n *nonces, next http.HandlerFunc) {
	over := n.over(next)
	w.handle = func(rw http.ResponseWriter, r *http.Request) {
		seen := w.requests()
		over(rw, r, seen[len(seen)-1].nonce)
	}
}

func TestOnlyTheFirstCallHasToAskForANonce(t *testing.T) {
	w := newWorld(t, setup{})
	conns := map[string]bool{}
	var n nonces
	w.guard(&n, func(rw http.ResponseWriter, r *http.Request) {
		conns[r.RemoteAddr] = true
		step(nil)(rw, r)
	})
	for range 5 {
		must(t, w.begin())
	}
	if seen := w.requests(); len(seen) != 6 {
		t.Fatalf("five calls took %d requests", len(seen))
	} else if seen[0].key != seen[1].key || seen[1].key == seen[2].key {
		t.Fatal("the repetition has another key, or the next call the same")
	}
	if len(conns) != 1 {
		t.Fatalf("they took %d connections", len(conns))
	}
	n.forget()
	must(t, w.begin())
	if seen := w.requests(); len(seen) != 8 {
		t.Fatalf("a stale nonce cost %d requests", len(seen)-6)
	}
}

func TestAServiceThatNeverTakesTheSignatureIsAskedThreeTimes(t *testing.T) {
	w := newWorld(t, setup{})
	w.handle = func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set(accountapi.HeaderNonce, "nonce")
		problem(http.StatusUnauthorized, fault.NotAuthorized, nil)(rw, r)
	}
	if err := w.begin(); fault.CodeOf(err) != fault.DeviceUnknown {
		t.Fatal(err)
	}
	if n := len(w.requests()); n != 3 {
		t.Fatalf("it was asked %d times", n)
	}
}

func TestARefusalWithoutANonceSaysNothingOfTheDevice(t *testing.T) {
	for name, fresh := range map[string]string{"without one": "", "with one out of bounds": strings.Repeat("n", 300)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{})
			w.handle = func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set(accountapi.HeaderNonce, fresh)
				problem(http.StatusUnauthorized, fault.NotAuthorized, nil)(rw, r)
			}
			err := w.begin()
			if f := fault.As(err); f.Code != fault.ServiceUnavailable || f.Cause != string(diagnose.ServiceGarbled) {
				t.Errorf("got %v", err)
			}
			if n := len(w.requests()); n != 1 {
				t.Errorf("it was asked %d times", n)
			}
		})
	}
}

func TestAServiceThatWasStartedAgainIsAskedOverANewConnection(t *testing.T) {
	w := newWorld(t, setup{})
	var mu sync.Mutex
	old := map[string]bool{}
	again := false
	both := make(chan struct{})
	w.handle = func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		dead := again && old[r.RemoteAddr]
		if !again {
			if old[r.RemoteAddr] = true; len(old) == 2 {
				close(both)
			}
		}
		mu.Unlock()
		<-both
		if dead {
			hijacked("", true)(rw, r)
			return
		}
		step(nil)(rw, r)
	}
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			if err := w.begin(); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	// Both connections are idle now, and dead without the client's knowing.
	mu.Lock()
	again = true
	mu.Unlock()
	must(t, w.begin())
}

func TestALostAnswerIsAskedForOnceMoreUnderTheSameKey(t *testing.T) {
	for _, reset := range []bool{false, true} {
		w := newWorld(t, setup{})
		w.handle = func(rw http.ResponseWriter, r *http.Request) {
			if len(w.requests()) == 1 {
				hijacked("", reset)(rw, r)
				return
			}
			step(nil)(rw, r)
		}
		must(t, w.begin())
		seen := w.requests()
		if len(seen) != 2 || seen[0].key != seen[1].key || string(seen[0].body) != string(seen[1].body) || seen[0].key == "" {
			t.Fatalf("reset %v: %d requests, keys %q", reset, len(seen), seen)
		}
	}
}

func TestAServiceThatAlwaysDropsIsAskedTwice(t *testing.T) {
	calls := map[string]func(*world) error{
		"with a body": (*world).begin,
		"without": func(w *world) error {
			_, err := w.client.Resend(w.Context(), w.creds, flowID)
			return err
		},
		"of an end": func(w *world) error { return w.client.End(w.Context(), w.creds, flowID) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setup{})
			w.handle = hijacked("", true)
			if err := call(w); fault.CodeOf(err) != fault.ServiceUnavailable {
				t.Fatal(err)
			}
			if n := len(w.requests()); n != 2 {
				t.Fatalf("it was asked %d times", n)
			}
		})
	}
}

func TestAConnectionThatTheServiceClosedMeanwhileCostsNothing(t *testing.T) {
	w := newWorld(t, setup{})
	var n nonces
	w.guard(&n, step(nil))
	for range 20 {
		must(t, w.begin())
		w.server.CloseClientConnections()
	}
}

func TestADropBetweenTwoNoncesIsNotTakenForAnUnknownDevice(t *testing.T) {
	w := newWorld(t, setup{})
	var n nonces
	over := n.over(step(nil))
	w.handle = func(rw http.ResponseWriter, r *http.Request) {
		seen := w.requests()
		if len(seen) == 2 {
			n.forget()
			hijacked("", true)(rw, r)
			return
		}
		over(rw, r, seen[len(seen)-1].nonce)
	}
	must(t, w.begin())
}

func TestACallWithoutAKeyIsNotMade(t *testing.T) {
	w := newWorld(t, setup{})
	creds := flow.Credentials{ID: deviceID}
	_, err := w.client.Begin(t.Context(), creds, flow.Begin{Kind: "unlock", Nonce: nonce})
	_, _, enrol := w.client.Enrol(t.Context(), creds, flow.Enrolment{})
	if fault.CodeOf(err) != fault.Internal || fault.CodeOf(enrol) != fault.Internal || len(w.requests()) != 0 {
		t.Fatal(err, enrol)
	}
}

func TestAnEarlyAnswerDoesNotRaceWithTheWipedBody(t *testing.T) {
	w := newWorld(t, setup{})
	w.server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { problem(413, fault.InvalidArgument, nil)(rw, r) })
	for range 20 {
		_, err := w.client.Answer(t.Context(), w.creds, flowID, flow.Answer{Step: "captcha", Captcha: strings.Repeat("x", 1<<20)})
		if c := fault.CodeOf(err); c != fault.InvalidArgument && c != fault.ServiceUnavailable {
			t.Fatal(err)
		}
	}
}

func TestADeviceIDIsAsTheDocumentSays(t *testing.T) {
	for id, want := range map[string]fault.Code{
		deviceID: "", "": fault.ServiceUnavailable, "../../x": fault.ServiceUnavailable, "ABCD-EFGH-JKM": fault.ServiceUnavailable,
		"abcd-efgh-jkmn": fault.ServiceUnavailable, "ABCD-EFGH-JKMN\n": fault.ServiceUnavailable, strings.Repeat("A", 1000): fault.ServiceUnavailable,
	} {
		w := newWorld(t, setup{})
		w.handle = func(rw http.ResponseWriter, _ *http.Request) {
			answer(rw, 200, "application/json", map[string]any{"device_id": id, "key_status": "active"})
		}
		enrolment := flow.Enrolment{Identities: []flow.Identity{{Source: "dmi", Digest: "x"}}, Model: "model"}
		if got, _, err := w.client.Enrol(t.Context(), w.creds, enrolment); fault.CodeOf(err) != want || (want == "" && got != id) {
			t.Errorf("%q: %q, %v", id, got, err)
		}
	}
}

// A device with a TPM goes on without a proof where a vendor's service knows none.
func TestAServiceWithoutChallengesIsOneThatTakesNoProof(t *testing.T) {
	for status, want := range map[int]fault.Code{
		http.StatusNotFound: fault.InvalidArgument, http.StatusMethodNotAllowed: fault.InvalidArgument, http.StatusNotImplemented: fault.InvalidArgument,
		http.StatusServiceUnavailable: fault.ServiceUnavailable, http.StatusBadGateway: fault.ServiceUnavailable,
	} {
		w := newWorld(t, setup{})
		w.handle = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) }
		if _, err := w.client.Challenge(t.Context(), flow.Credentials{Key: w.creds.Key}, flow.Claim{}); fault.CodeOf(err) != want {
			t.Errorf("%d: %v", status, err)
		}
	}
	for _, answered := range []string{`{"credential":"AAAA","secret":"AAAA"}`, `{"credential":"=","secret":"AAAA"}`, `{}`, `[]`} {
		w := newWorld(t, setup{})
		w.handle = func(rw http.ResponseWriter, _ *http.Request) {
			answer(rw, http.StatusOK, "application/json", json.RawMessage(answered))
		}
		c, err := w.client.Challenge(t.Context(), flow.Credentials{Key: w.creds.Key}, flow.Claim{})
		if (err == nil) != (len(c.Credential) > 0) {
			t.Errorf("%s gives %v, %v", answered, c, err)
		}
	}
}
