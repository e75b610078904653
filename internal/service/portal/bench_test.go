// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/service/apitest"
)

// BenchmarkPages says how long a page takes, p50 and p99 in microseconds, beside a bare
// handler (`floor`) asked in the same way: over TLS, from one client, one at a time.
func BenchmarkPages(b *testing.B) {
	s := apitest.Start(b)
	d := s.Device(b)
	s.Link(b, d, s.Owner)
	owner, anybody := visit(b, s).signIn(s.Owner), visit(b, s)
	floor := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<!doctype html><title>floor</title>"))
	}))
	floor.EnableHTTP2 = true
	floor.StartTLS()
	b.Cleanup(floor.Close)
	for _, page := range []struct {
		path string
		who  *browser
	}{
		{"/", anybody},
		{"/sign-in", anybody},
		{"/recover", anybody},
		{"/register", anybody},
		{"/check?device=" + d.ID, anybody},
		{"/help", anybody},
		{"/devices", owner},
		{"/devices/" + d.ID, owner},
		{"/account", owner},
		{"/account/factors", owner},
		{"/account/delete", owner},
	} {
		b.Run(page.path, func(b *testing.B) { times(b, page.who.http, page.who.s.URL+page.path) })
	}
	b.Run("floor", func(b *testing.B) { times(b, floor.Client(), floor.URL) })
}

func times(b *testing.B, c *http.Client, url string) {
	b.Helper()
	var all []time.Duration
	for b.Loop() {
		begun := time.Now()
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
		if err != nil {
			b.Fatal(err)
		}
		resp, err := c.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := resp.Body.Read(make([]byte, 64<<10)); err != nil && err.Error() != "EOF" {
			b.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Fatalf("%s: %d", url, resp.StatusCode)
		}
		all = append(all, time.Since(begun))
	}
	slices.Sort(all)
	at := func(share float64) float64 {
		return float64(all[min(len(all)-1, int(share*float64(len(all))))].Microseconds())
	}
	b.ReportMetric(at(.5), "p50-µs")
	b.ReportMetric(at(.99), "p99-µs")
}
