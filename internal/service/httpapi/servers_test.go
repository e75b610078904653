// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

// TestTwoServersOnOneDatabaseLoseAndDoubleNothing has devices link, sign out and
// unlink beside each other through two servers, each commit sent to both at once
// under one idempotency key, as a device does that has lost an answer.
func TestTwoServersOnOneDatabaseLoseAndDoubleNothing(t *testing.T) {
	s := apitest.Start(t)
	second := s.NewAPI(t, slog.New(slog.DiscardHandler))
	defer second.Close()
	servers := []http.Handler{s.API, second}
	devices := 6
	if testing.Short() {
		devices = 2
	}
	var all sync.WaitGroup
	for n := range devices {
		d := apitest.NewDevice(s.URL, apitest.Client(s.CA))
		d.Enrol(t, apitest.Identity(accountapi.Dmi, string(rune('a'+n))))
		all.Go(func() {
			s.Link(t, d, s.Owner)
			for _, kind := range []accountapi.FlowKind{accountapi.FlowKindSignOut, accountapi.FlowKindUnlink} {
				begun, _ := d.Begin(t, kind)
				id := begun.Step.FlowId
				if a := d.Reply(t, id, apitest.Password(s.Owner.Password)); a.Step.Step != accountapi.Commit {
					t.Errorf("%s: %d %s", kind, a.Status, a.Body)
					return
				}
				commitTwice(t, s, servers, d, id)
			}
			// Linked at 2, signed out at 3, unlinked at 4: each once.
			shown, err := s.Devices.Show(t.Context(), d.ID)
			if err != nil || shown.Link.Generation != 4 || shown.Link.Status != "unlinked" {
				t.Errorf("the link is %+v, %v", shown.Link, err)
			}
			events, err := s.Devices.Events(t.Context(), d.ID, 10)
			if err != nil || len(events) != 3 {
				t.Errorf("%d events are noted: %v %v", len(events), events, err)
			}
		})
	}
	all.Wait()
}

// commitTwice sends one commit to both servers at once. One of them may say that
// the other is still about it (409) or that it was too busy (503); a device asks
// again then, and gets the first answer.
func commitTwice(t *testing.T, s *apitest.Service, servers []http.Handler, d *apitest.Device, flowID string) {
	body, err := json.Marshal(apitest.Commit(apitest.NewNonce()))
	if err != nil {
		t.Error(err)
		return
	}
	key := apitest.NewKey()
	statements := make([]string, len(servers))
	var both sync.WaitGroup
	for i, server := range servers {
		clone := d.Clone()
		clone.Nonce = freshNonce(t, s)
		both.Go(func() {
			for range 50 {
				r, err := clone.Request(t.Context(), http.MethodPost, "/v1/flows/"+flowID, key, body)
				if err != nil {
					t.Error(err)
					return
				}
				r.RequestURI = r.URL.RequestURI()
				w := httptest.NewRecorder()
				server.ServeHTTP(w, r)
				clone.Nonce = w.Header().Get(accountapi.HeaderNonce)
				switch w.Code {
				case http.StatusOK:
					statements[i] = w.Body.String()
					return
				case http.StatusConflict, http.StatusServiceUnavailable, http.StatusUnauthorized:
					time.Sleep(5 * time.Millisecond)
				default:
					t.Errorf("server %d: %d %s", i, w.Code, w.Body)
					return
				}
			}
			t.Errorf("server %d never answered", i)
		})
	}
	both.Wait()
	if statements[0] != statements[1] {
		t.Errorf("one commit has two answers:\n%s\n%s", statements[0], statements[1])
	}
}
