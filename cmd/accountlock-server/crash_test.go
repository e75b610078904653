// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

// owner is a device and its owner who never give up: each call is repeated
// under its idempotency key until the service has answered it.
type owner struct {
	*apitest.Device
	who     person
	links   int // that were made since the device enrolled
	changes int // of the newest link, its reservation included
	calls   *atomic.Int64
	// fatal is what must not happen to a call that is repeated.
	fatal func(format string, args ...any)
}

// ask repeats a call until it is answered, as the daemon does.
func (o *owner) ask(ctx context.Context, path string, body any) apitest.Answer {
	key := apitest.NewKey()
	for ctx.Err() == nil {
		a, err := o.Call(ctx, http.MethodPost, path, key, body)
		switch {
		case err != nil: // the server is not there, or went away in between
			o.Nonce = ""
			time.Sleep(10 * time.Millisecond)
		case a.Status == 200:
			o.calls.Add(1)
			return a
		case a.Header.Get("Retry-After") != "":
			time.Sleep(50 * time.Millisecond)
		default:
			o.fatal("%s %v: %d %s", path, body, a.Status, a.Body)
			return apitest.Answer{}
		}
	}
	return apitest.Answer{}
}

// cycle links the device, unlocks it and signs it out.
func (o *owner) cycle(ctx context.Context) {
	run := func(kind accountapi.FlowKind, answers ...accountapi.FlowAnswer) {
		if ctx.Err() != nil {
			return
		}
		a := o.ask(ctx, "/v1/flows", accountapi.BeginRequest{Kind: kind, DeviceId: o.ID, Nonce: apitest.NewNonce()})
		for _, answer := range answers {
			a = o.ask(ctx, "/v1/flows/"+a.Step.FlowId, answer)
			if a.Status == 0 {
				return
			}
		}
		if a.Step.Step != accountapi.Done {
			o.fatal("a %s ends at %s", kind, a.Step.Step)
		}
	}
	run(accountapi.FlowKindLink, apitest.Identify(o.who.Email), apitest.Password(o.who.Password), apitest.Confirm(), apitest.Commit(apitest.NewNonce()))
	run(accountapi.FlowKindUnlock, apitest.UseHint(), apitest.Password(o.who.Password))
	run(accountapi.FlowKindSignOut, apitest.Password(o.who.Password), apitest.Commit(apitest.NewNonce()))
	o.links, o.changes = o.links+1, 4
}

// maxDisturbed bounds how long a slow machine takes over it.
const maxDisturbed = 8

// whileOwnersAreAtIt runs owners until each has finished its cycles, and
// disturbs the server meanwhile. It then compares what the service holds with
// what the owners did.
func whileOwnersAreAtIt(t *testing.T, cycles int, disturb func(p *program) *program) {
	t.Helper()
	dir := t.TempDir()
	p := start(t, "dev", "--data", dir, "--listen", "127.0.0.1:0")
	again := []string{"dev", "--data", dir, "--listen", strings.TrimPrefix(p.url, "https://")}
	who := demo(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var calls atomic.Int64
	owners := make([]*owner, 4)
	for i := range owners {
		o := &owner{Device: p.device(t, dir), who: who, calls: &calls, fatal: func(f string, args ...any) { t.Errorf(f, args...); cancel() }}
		if i%2 == 1 {
			o.who = *who.Other
		}
		owners[i] = o
	}
	var all sync.WaitGroup
	done := make(chan struct{})
	for _, o := range owners {
		all.Go(func() {
			for range cycles {
				o.cycle(ctx)
			}
		})
	}
	go func() { all.Wait(); close(done) }()
	disturbed := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(time.Duration(200+disturbed*37%400) * time.Millisecond):
			if disturbed == maxDisturbed {
				continue
			}
			before := calls.Load()
			p = disturb(p)
			if p == nil {
				p = start(t, again...)
			}
			disturbed++
			// Let something be answered, whatever the speed of the machine.
			for calls.Load() < before+2 && ctx.Err() == nil {
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
	if ctx.Err() != nil {
		t.Fatal("the owners did not finish")
	}
	t.Logf("%d calls, %d disturbances", calls.Load(), disturbed)
	if disturbed < 2 {
		t.Errorf("the server was disturbed %d times: too few to show anything", disturbed)
	}
	for _, o := range owners {
		c := claimsOf(t, string(statement(t, o.Device)))
		if *c.Status != accountapi.ClaimsStatusSignedOut || c.Link.Generation != int64(o.changes) {
			t.Errorf("after %d cycles the link is %s, changed %d times; want signed-out, %d", o.links, *c.Status, c.Link.Generation, o.changes)
		}
	}
	for _, o := range owners {
		out, _, _ := runTo(t, "device", "show", o.ID, "--data", dir, "--json")
		for kind, want := range map[string]int{"link": cycles, "unlock": cycles, "sign-out": cycles} {
			// The list shows the newest twenty.
			if got := strings.Count(out, fmt.Sprintf("%q: %q", "kind", kind)); got != want && cycles*4 <= 20 {
				t.Errorf("%s happened %d times, want %d", kind, got, want)
			}
		}
	}
}

func statement(t *testing.T, d *apitest.Device) string {
	t.Helper()
	a := d.Post(t, "/v1/devices/"+d.ID+"/statement", accountapi.StatementRequest{Nonce: apitest.NewNonce()})
	_, token, _ := strings.Cut(string(a.Body), `"statement":"`)
	token, _, _ = strings.Cut(token, `"`)
	return token
}

func TestAShutdownLosesNoRequest(t *testing.T) {
	whileOwnersAreAtIt(t, 4, func(p *program) *program {
		if code := p.stop(t); code != 0 {
			t.Errorf("the server ended with %d\n%s", code, p.out)
		}
		return nil
	})
}

func TestAKillLosesNothingAndDoesNothingTwice(t *testing.T) {
	whileOwnersAreAtIt(t, 4, func(p *program) *program {
		_ = p.Process.Kill()
		_ = p.Wait()
		return nil
	})
}

func TestTwoServersOnOneDatabaseAreOneService(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "dev", "--data", dir, "--listen", "127.0.0.1:0")
	q := start(t, "dev", "--data", dir, "--listen", "127.0.0.1:0")
	who := demo(t, dir)
	d := p.device(t, dir)
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	for i, answer := range []accountapi.FlowAnswer{apitest.Identify(who.Email), apitest.Password(who.Password), apitest.Confirm(), apitest.Commit(apitest.NewNonce())} {
		// The nonce of one server's answer is good at the other.
		d.URL = []string{q.url, p.url}[i%2]
		if a := d.Reply(t, begun.Step.FlowId, answer); a.Status != 200 {
			t.Fatalf("%s: %d %s", answer.Step, a.Status, a.Body)
		}
	}
	if got := statusOf(t, d); got != accountapi.ClaimsStatusLinked {
		t.Errorf("the device is %s", got)
	}
}
