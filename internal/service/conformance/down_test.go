// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"slices"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/conformance"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

// down makes the checks of a service without its database.
func down(t *testing.T, at server, only ...string) conformance.Report {
	t.Helper()
	r, err := conformance.Run(t.Context(), conformance.Config{URL: at.url, Roots: at.ca, Down: true, Only: only, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAServiceWithoutItsDatabaseIsHeldToTheDocument(t *testing.T) {
	postgres := storetest.Postgres(t)
	t.Setenv("ACCOUNTLOCK_TEST_DB", "postgres")
	s := apitest.Start(t)
	m := &mutant{t: t, s: s}
	at := serve(t, s, m, nil)
	m.become(func(*exchange) {})
	if got := failed(down(t, at)); !slices.Equal(got, []string{"down-readyz", "down-refused"}) {
		t.Errorf("with its database there fail %v", got)
	}
	postgres.Down(t)
	for _, c := range down(t, at).Checks {
		if c.Outcome != conformance.Passed {
			t.Errorf("%s %s: %s", c.Outcome, c.Name, c.Found)
		}
	}
	for _, w := range []struct {
		does, caught, before string
		breaks               func(*exchange)
	}{
		{"dies with its database", "down-livez", "down-livez", func(x *exchange) {
			if x.asks("/livez") {
				x.status = 503
			}
		}},
		{"is ready without its database", "down-readyz", "down-readyz", func(x *exchange) {
			if x.asks("/readyz") {
				x.status = 200
			}
		}},
		{"takes it for a mistake of its own", "down-refused", "down-refused", func(x *exchange) {
			if x.r.URL.Path == "/v1/devices" && x.status == 503 {
				problem(x, 500, "Internal")
			}
		}},
		{"counts what it could not look at", "down-refused", "down-refused", func(x *exchange) {
			if x.code() == "ServiceUnavailable" {
				x.member("counted", true)
			}
		}},
		{"does not say when it is back", "retry-after", "down-readyz", func(x *exchange) { x.header.Del("Retry-After") }},
		{"refuses in plain words", "problems", "down-refused", func(x *exchange) {
			if x.status == 503 {
				x.header.Set("Content-Type", "text/plain")
				x.body = []byte("down for maintenance")
			}
		}},
	} {
		t.Run(w.does, func(t *testing.T) {
			m.become(w.breaks)
			if got := failed(down(t, at, w.caught, w.before)); !slices.Contains(got, w.caught) {
				t.Errorf("the check %s does not find it; %v do", w.caught, got)
			}
		})
	}
}
