// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/diagnose"

	"github.com/accountlock/accountlock/test/device"
)

// elsewhen moves the account service and its certificate in time: to them the
// device's clock is off by as much, the other way.
func (r *rig) elsewhen(years int) mode {
	now := r.service.Clock.Now()
	r.service.Clock.Advance(now.AddDate(years, 0, 0).Sub(now))
	there := r.service.Clock.Now()
	m := r.honest()
	m.tls.Certificates = []tls.Certificate{r.ca.leaf(r.T, r.key, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = there.Add(-time.Hour), there.AddDate(0, 3, 0)
	})}
	r.front.become(m)
	return m
}

func TestADeviceWhoseClockIsYearsOffIsUnlockedByTheServicesSignedTime(t *testing.T) {
	t.Parallel()
	for name, years := range map[string]int{"as one at 1970": 50, "years ahead": -5} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.elsewhen(years)
			r.Reset()
			took := r.unlock()
			measured("unlock with a clock "+name, "", took)
			rows, _ := r.diagnose()
			want := "behind"
			if years < 0 {
				want = "ahead"
			}
			if c := rows["clock"]; c.Result != "failed" || !strings.Contains(c.Message, want) || c.detail("signed-time") == "" || c.detail("remedy") == "" {
				t.Errorf("got %+v", c)
			}
			if c := rows["account service"]; c.Result != "ok" {
				t.Errorf("got %+v", c)
			}
			// The next life finds the service's time on record.
			r.StopDaemon()
			r.StartDaemon()
			r.wantState("linked")
			rows, _ = r.diagnose()
			if got, want := rows["clock"].detail("trusted-time"), r.service.Clock.Now().UTC().Format("2006"); !strings.HasPrefix(got, want) {
				t.Errorf("on record is %s, want %s", got, want)
			}
		})
	}
}

func TestOverAConnectionWithWrongDatesOnlyAStatementIsAsked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := r.elsewhen(50)
	var mu sync.Mutex
	var seen []string
	m.handle = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		seen = append(seen, req.Method+" "+req.URL.Path)
		mu.Unlock()
		if strings.HasSuffix(req.URL.Path, "/statement") {
			always(200, "application/json", `{"statement":"x.y.z"}`).ServeHTTP(w, req)
			return
		}
		r.service.API.ServeHTTP(w, req)
	})
	r.front.become(m)
	r.Reset()
	e, took := r.tryUnlock(r.service.Owner.Password)
	if e.Name != "ClockWrong" || e.Counted || took > inTime {
		t.Errorf("got %+v after %v", e, took)
	}
	r.wantState("locked")
	mu.Lock()
	defer mu.Unlock()
	if len(seen) == 0 {
		t.Error("no statement was asked for")
	}
	for _, s := range seen {
		if !strings.HasSuffix(s, "/statement") {
			t.Errorf("%s went over a connection whose dates are wrong", s)
		}
	}
}

func TestAClockThatNobodySignedForIsNamedWithTheCertificatesDates(t *testing.T) {
	t.Parallel()
	for name, years := range map[string]int{"behind": 50, "ahead": -5} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(r *rig) { r.fresh = true })
			r.elsewhen(years)
			// The device was never enrolled, and so cannot ask for a statement.
			call := r.Manager().Call("org.accountlock.AccountLock1.Manager.CheckIn", 0)
			if call.Err == nil || !strings.HasSuffix(device.ErrorName(call.Err), ".ClockWrong") {
				t.Fatalf("got %v", call.Err)
			}
			for _, want := range []string{time.Now().UTC().Format("2006-01-02"), r.service.Clock.Now().UTC().Format("2006-01-02"), "clock"} {
				if !strings.Contains(call.Err.Error(), want) {
					t.Errorf("%q is not in %q", want, call.Err)
				}
			}
			if c := r.get("Connectivity"); c != "clock-wrong" {
				t.Errorf("Connectivity is %s", c)
			}
			rows, took := r.diagnose()
			want := diagnose.ClockBehind
			if years < 0 {
				want = diagnose.ClockAhead
			}
			if c := rows["account service"]; c.detail("cause") != string(want) || c.detail("certificate-from") == "" || c.detail("clock") == "" {
				t.Errorf("got %+v", c)
			}
			r.wantState("locked")
			measured("a clock "+name+" that nobody signed for", want, took)
		})
	}
}
