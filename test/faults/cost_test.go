// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

// memory is a field of the daemon's /proc/PID/status, in KiB.
func (r *rig) memory(field string) int {
	r.T.Helper()
	raw, err := os.ReadFile("/proc/" + pid(r.Daemon.Pid()) + "/status")
	must(r.T, err)
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			must(r.T, err)
			return n
		}
	}
	r.T.Fatalf("no %s", field)
	return 0
}

// hostileMemory bounds what a hostile service may make the daemon hold beyond what an
// unlock takes, in KiB.
const hostileMemory = 16 << 10

func TestAHostileServiceDoesNotMakeTheDaemonGrow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tryUnlock("not the password")
	before := r.memory("RssAnon")
	for _, c := range rows() {
		if !strings.Contains(c.name, "megabytes") && !strings.Contains(c.name, "without an end") && !strings.Contains(c.name, "nesting") {
			continue
		}
		for range 5 {
			c.fault(r)
			r.tryUnlock("not the password")
		}
		r.heal()
	}
	if after := r.memory("RssAnon"); after > before+hostileMemory {
		t.Errorf("it grew from %d to %d KiB", before, after)
	}
	r.wantState("locked")
}

func TestACheckInThatWaitsForTheNetworkGivesWayToARecoveryCode(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.front.become(mode{raw: held})
	asked := make(chan error, 1)
	go func() { asked <- r.Manager().Call("org.accountlock.AccountLock1.Manager.CheckIn", 0).Err }()
	// The check-in is under way once it has connected.
	for deadline := time.Now().Add(inTime); r.front.open() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the check-in does not begin")
		}
	}
	f := r.begin("Unlock")
	must(t, f.Obj.Call("org.accountlock.AccountLock1.Flow.Choose", 0, "recovery-code").Err)
	start := time.Now()
	if err := f.Submit(map[string]any{"code": []byte(r.code)}); err != nil {
		t.Fatalf("%v: %+v", err, f.refusal())
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the recovery code waited %v for the network", took)
	}
	r.wantState("linked")
	if err := <-asked; err == nil {
		t.Error("the check-in went well")
	}
}

func TestTheOwnerReadsWhatHappenedAtTheService(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.tryUnlock("not the password")
	// The service takes the statement and loses the answer about the events; the daemon is
	// killed, and tells them again under the same name.
	var batches []string
	r.front.become(mode{tls: r.tls(), handle: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.service.API.ServeHTTP(w, req)
		if strings.HasSuffix(req.URL.Path, "/events") {
			batches = append(batches, req.Header.Get(accountapi.HeaderIdempotencyKey))
			panic(http.ErrAbortHandler)
		}
	})})
	must(t, r.Manager().Call("org.accountlock.AccountLock1.Manager.CheckIn", 0).Err)
	r.KillDaemon()
	r.heal()
	r.StartDaemon()
	must(t, r.Manager().Call("org.accountlock.AccountLock1.Manager.CheckIn", 0).Err)
	events, err := r.service.Devices.Events(t.Context(), r.get("DeviceId"), 100)
	must(t, err)
	count := map[string]int{}
	for _, e := range events {
		if e.Reported {
			count[e.Kind+" "+e.Detail]++
		}
	}
	for _, want := range []string{"attempt-refused password: InvalidCredentials", "started locked factory-reset"} {
		if count[want] != 1 {
			t.Errorf("%q is there %d times: %v", want, count[want], count)
		}
	}
	if len(batches) == 0 || len(slices.Compact(batches)) != 1 {
		t.Errorf("the events were told under the names %v", batches)
	}
	r.unlock()
}

// BenchmarkUnlockBesideTheBareCalls is the last answer of an unlock as its client on the
// bus sees it, beside the same three calls made bare, in turn: what D-Bus, the
// record, the marker and the journal add.
func BenchmarkUnlockBesideTheBareCalls(b *testing.B) {
	r := newRig(b)
	bare := apitest.NewDevice(r.url, apitest.Client(r.ca.pem()))
	bare.Enrol(b)
	r.service.Link(b, bare, r.service.Owner)
	var daemons, bares []time.Duration
	for b.Loop() {
		b.StopTimer()
		r.Reset()
		r.front.become(r.honest()) // neither side has a connection
		b.StartTimer()
		daemons = append(daemons, r.unlock())
		b.StopTimer()
		r.front.become(r.honest())
		start := time.Now()
		begun, _ := bare.Begin(b, accountapi.FlowKindUnlock)
		bare.Reply(b, begun.Step.FlowId, apitest.UseHint())
		done := bare.Reply(b, begun.Step.FlowId, apitest.Password(r.service.Owner.Password))
		bares = append(bares, time.Since(start))
		if done.Step.Step != accountapi.Done {
			b.Fatalf("%d %s", done.Status, done.Body)
		}
		b.StartTimer()
	}
	slices.Sort(daemons)
	slices.Sort(bares)
	d, h := daemons[len(daemons)/2], bares[len(bares)/2]
	b.ReportMetric(float64(d.Microseconds())/1000, "unlock-p50-ms")
	b.ReportMetric(float64(h.Microseconds())/1000, "bare-p50-ms")
	b.ReportMetric(float64((d-h).Microseconds())/1000, "overhead-ms")
	b.ReportMetric(float64(r.memory("VmHWM")), "highest-KiB")
	b.ReportMetric(float64(r.memory("RssAnon")), "anonymous-KiB")
}
