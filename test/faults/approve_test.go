// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	accountlock "github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/approval"

	"github.com/accountlock/accountlock/test/device"
)

// polls has the questions whether the owner has approved answered by h, and
// everything else by the account service. It counts them. Each comes in its time.
func (r *rig) polls(h http.Handler) *atomic.Int64 {
	n := new(atomic.Int64)
	m := r.honest()
	m.handle = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		q.Body = io.NopCloser(bytes.NewReader(body))
		if !bytes.Contains(body, []byte(`"step":"approve"`)) {
			r.service.API.ServeHTTP(w, q)
			return
		}
		n.Add(1)
		if h != nil {
			h.ServeHTTP(w, q)
			return
		}
		r.service.Clock.Advance(time.Minute / 2)
		r.service.API.ServeHTTP(w, q)
	})
	r.front.become(m)
	return n
}

func (c *conversation) choose(method string) error {
	return c.Obj.Call(accountlock.FlowFace+".Choose", 0, method).Err
}

func (c *conversation) step() string {
	c.T.Helper()
	v, err := c.Obj.GetProperty(accountlock.FlowFace + ".Step")
	must(c.T, err)
	return v.Value().(string)
}

// await waits for a condition of a flow, as long as a poll takes that was put off.
func (c *conversation) await(what string, so func() bool) {
	c.T.Helper()
	for end := time.Now().Add(3 * time.Minute); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			c.T.Fatalf("%s does not come: at %s, %+v", what, c.step(), c.refusal())
		}
	}
}

func (r *rig) approve(code string) {
	r.T.Helper()
	_, err := r.service.Approvals.Decide(r.T.Context(), approval.Owner{AccountID: r.service.Owner.ID}, code, true)
	must(r.T, err)
}

// asking is a flow that shows a code.
func (r *rig) asking() (*conversation, string) {
	r.T.Helper()
	c := r.begin("Unlock")
	must(r.T, c.choose("approve"))
	return c, c.Prompt()["user-code"].Value().(string)
}

func TestWhatKeepsAnApprovalFromComingIsToldAndOutlived(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault func(*rig)
		want  fault.Code
	}{
		"a service that is down": {func(r *rig) { r.proxy.Stop() }, fault.ServiceUnavailable},
		"status 503":             {func(r *rig) { r.polls(problem(503, fault.ServiceUnavailable, map[string]any{"retry_after": 2})) }, fault.ServiceUnavailable},
		"a web site":             {func(r *rig) { r.polls(always(200, "text/html", "<h1>hello")) }, fault.ServiceUnavailable},
		"a step of another type": {func(r *rig) { r.polls(always(200, "application/json", `{"flow_id":17}`)) }, fault.ServiceUnavailable},
		"an interval out of bounds": {func(r *rig) {
			r.polls(always(200, "application/json", `{"flow_id":"0123456789abcdef","step":"approve","interval":-5}`))
		}, fault.ServiceUnavailable},
		"a login page in place of TLS": {says("HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\nContent-Length: 0\r\n\r\n"), fault.CaptivePortal},
		"a stranger's certificate": {func(r *rig) {
			m := r.honest()
			m.tls.Certificates[0] = newAuthority(r.T).leaf(r.T, nil)
			r.front.become(m)
		}, fault.ServiceUntrusted},
		"a grant that nobody signed": {func(r *rig) {
			r.polls(always(200, "application/json", `{"flow_id":"0123456789abcdef","step":"done","grant":"a.b.c"}`))
		}, fault.ServiceUntrusted},
		"a peer that closes every time": {raw(hello), fault.ServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			f, code := r.asking()
			c.fault(r)
			f.await(string(c.want), func() bool { return f.refusal().Name == string(c.want) })
			if e := f.refusal(); e.Counted || e.Message == "" || e.Remedy == "" || f.step() != "approve" {
				t.Errorf("at %s: %+v", f.step(), e)
			}
			r.wantState("locked")
			r.heal()
			r.polls(nil)
			r.approve(code)
			f.await("the end", func() bool { return f.step() == "done" })
			r.wantState("linked")
		})
	}
}

func TestWhatEndsAnApprovalIsToldByItsName(t *testing.T) {
	t.Parallel()
	step := `{"flow_id":"0123456789abcdef","step":"`
	for name, c := range map[string]struct {
		fault func(*rig)
		want  fault.Code
	}{
		"refused": {func(r *rig) { r.polls(problem(403, fault.Declined, nil)) }, fault.Declined},
		"expired": {func(r *rig) { r.service.Clock.Advance(11 * time.Minute) }, fault.CodeExpired},
		"lost in between": {func(r *rig) {
			_, err := r.service.Devices.Lose(r.T.Context(), r.get("DeviceId"), "", "")
			must(r.T, err)
		}, fault.Declined},
		"a flow that is gone":        {func(r *rig) { r.polls(problem(410, fault.Timeout, nil)) }, fault.CodeExpired},
		"an account that is blocked": {func(r *rig) { r.polls(problem(403, fault.AccountBlocked, nil)) }, fault.AccountBlocked},
		"done without a grant":       {func(r *rig) { r.polls(always(200, "application/json", step+`done"}`)) }, fault.GrantRefused},
		"a password wanted instead":  {func(r *rig) { r.polls(always(200, "application/json", step+`password"}`)) }, fault.ServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			f, _ := r.asking()
			c.fault(r)
			f.await("the end", func() bool { return f.step() == "failed" })
			if e := f.refusal(); e.Name != string(c.want) || e.Counted || e.Message == "" || e.Remedy == "" {
				t.Errorf("got %+v, want %s", e, c.want)
			}
			r.wantState("locked")
		})
	}
}

func TestSlowDownIsHeededForGood(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f, code := r.asking()
	asked := make(chan time.Time, 2)
	r.polls(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		select {
		case asked <- time.Now():
		default:
		}
		problem(429, fault.RateLimited, map[string]any{"retry_after": 10}).ServeHTTP(w, q)
	}))
	f.await("two questions", func() bool { return len(asked) == 2 })
	first := <-asked
	if took := (<-asked).Sub(first); took < 9*time.Second {
		t.Errorf("asked again after %v", took)
	}
	if e := f.refusal(); e.Name != "" {
		t.Errorf("a person is told %+v", e)
	}
	r.polls(nil)
	r.approve(code)
	f.await("the end", func() bool { return f.step() == "done" })
	r.wantState("linked")
}

func TestAConsentWhoseAnswerIsLostOpensAllTheSame(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f, code := r.asking()
	r.approve(code)
	var mu sync.Mutex
	var keys []string
	n := r.polls(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		// A question that was denied for want of a nonce is asked again at once.
		mu.Lock()
		defer mu.Unlock()
		rec := httptest.NewRecorder()
		r.service.Clock.Advance(5 * time.Second)
		r.service.API.ServeHTTP(rec, q)
		keys = append(keys, q.Header.Get(accountapi.HeaderIdempotencyKey))
		if rec.Code == http.StatusOK && len(keys) == 1 {
			w.WriteHeader(http.StatusBadGateway) // it was done, and the word of it is lost
			return
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	}))
	f.await("the end", func() bool { return f.step() == "done" })
	mu.Lock()
	defer mu.Unlock()
	if n.Load() < 2 || keys[0] != keys[len(keys)-1] {
		t.Errorf("%d questions under %q", n.Load(), keys)
	}
	r.wantState("linked")
}

func TestACodeOrAnAddressOutOfBoundsIsNotShown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, change := range []map[string]any{
		{"verification_uri": "javascript:alert(1)"}, {"verification_uri": "http://accounts.example/approve"}, {"verification_uri": "https://a@accounts.example/"},
		{"verification_uri": "https://"}, {"verification_uri": "https://x/" + strings.Repeat("y", 600)}, {"verification_uri": "https://x/\u202eevil"},
		{"verification_uri": nil}, {"verification_uri": 7}, {"verification_uri_complete": "ftp://x/"},
		{"user_code": nil}, {"user_code": "<b>"}, {"user_code": strings.Repeat("A", 40)}, {"user_code": "AB\nCD"}, {"user_code": []int{1}},
		{"interval": 0}, {"interval": 1 << 30}, {"interval": "soon"}, {"step": "dance"},
	} {
		r.service.Clock.Advance(time.Hour) // a device gets few codes an hour
		r.polls(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			rec := httptest.NewRecorder()
			r.service.API.ServeHTTP(rec, q)
			var step map[string]any
			if rec.Code != http.StatusOK || json.Unmarshal(rec.Body.Bytes(), &step) != nil {
				for k, v := range rec.Header() {
					w.Header()[k] = v
				}
				w.WriteHeader(rec.Code)
				_, _ = w.Write(rec.Body.Bytes())
				return
			}
			for k, v := range change {
				step[k] = v
				if v == nil {
					delete(step, k)
				}
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(step)
		}))
		f := r.begin("Unlock")
		err := f.choose("approve")
		if e := f.refusal(); device.ErrorName(err) != accountlock.ErrorPrefix+e.Name || e.Name != string(fault.ServiceUnavailable) || f.step() != "identify" {
			t.Errorf("%v: %v, at %s: %+v", change, err, f.step(), e)
		}
		f.Obj.Call(accountlock.FlowFace+".Cancel", 0)
		r.wantState("locked")
	}
}

func TestAServiceThatOffersNoApprovalIsNotAskedForOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := r.honest()
	m.handle = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		rec := httptest.NewRecorder()
		r.service.API.ServeHTTP(rec, q)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(bytes.ReplaceAll(rec.Body.Bytes(), []byte(`"methods":["approve"]`), []byte(`"methods":[]         `)))
	})
	r.front.become(m)
	f := r.begin("Unlock")
	if err := f.choose("approve"); device.ErrorName(err) != accountlock.ErrorPrefix+string(fault.Declined) {
		t.Errorf("got %v", err)
	}
	v, err := f.Obj.GetProperty(accountlock.FlowFace + ".Methods")
	must(t, err)
	if ways := strings.Join(v.Value().([]string), " "); strings.Contains(ways, "approve") {
		t.Errorf("it goes on offering %s", ways)
	}
	f.submit("identifier", "")
	f.submit("password", []byte(r.service.Owner.Password))
	r.wantState("linked")
}
