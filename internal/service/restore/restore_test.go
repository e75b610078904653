// SPDX-License-Identifier: Apache-2.0

package restore_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/proofofwork"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/restore"
)

// recordOf is the record of a device that has seen a link in a generation.
func recordOf(l accountapi.LinkClaim) lock.Record {
	return lock.Record{Armed: true, Link: lock.Link{ID: l.Id, Generation: uint64(l.Generation)}}
}

// said is the statement of the service for the device, as the device's own code reads it.
func said(t *testing.T, s *apitest.Service, d *apitest.Device, asked string) lock.Statement {
	t.Helper()
	a := d.Post(t, "/v1/devices/"+d.ID+"/statement", accountapi.StatementRequest{Nonce: apitest.NewNonce(), LinkId: &asked})
	var out accountapi.StatementResponse
	decode(t, a.Body, &out)
	c := apitest.Open(t, out.Statement, accountapi.TypeStatement, s.Set(t))
	st := lock.Statement{Status: lock.LinkStatus(*c.Status)}
	if c.Link != nil {
		st.Link = lock.Link{ID: c.Link.Id, Generation: uint64(c.Link.Generation)}
	}
	if c.Ended != nil {
		st.Ended = *c.Ended
	}
	return st
}

func TestADeviceBelievesAServiceThatWasRestored(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	link := s.Link(t, d, s.Owner)
	// Since the backup the device was unlocked five times: that is what its record has.
	record := recordOf(link)
	record.Link.Generation += 5
	if _, ok := said(t, s, d, link.Id).EventFor(record); ok {
		t.Fatal("the device believes an older state: nothing would have to be done")
	}
	done, err := restore.Finish(t.Context(), s.DB)
	if err != nil || done.Links != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if event, ok := said(t, s, d, link.Id).EventFor(record); !ok || event != lock.StatedLinked {
		t.Errorf("after it: %v %v", event, ok)
	}
	// And the owner's release from afar frees it, which it did not before.
	if _, err := s.Devices.Owned(s.Owner.ID).Release(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	if event, ok := said(t, s, d, link.Id).EventFor(record); !ok || event != lock.StatedUnlinked {
		t.Errorf("after the owner's release: %v %v", event, ok)
	}
}

func TestWhatWasGoingOnAtTheBackupIsOver(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	flow, _ := d.Begin(t, accountapi.FlowKindUnlock)
	half := s.Device(t)
	reserved, _ := half.Begin(t, accountapi.FlowKindLink)
	half.Reply(t, reserved.Step.FlowId, apitest.Identify(s.Owner.Email))
	half.Reply(t, reserved.Step.FlowId, apitest.Password(s.Owner.Password))
	if a := half.Reply(t, reserved.Step.FlowId, apitest.Confirm()); a.Step.Step != accountapi.Commit {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if _, err := restore.Finish(t.Context(), s.DB); err != nil {
		t.Fatal(err)
	}
	for dev, id := range map[*apitest.Device]string{d: flow.Step.FlowId, half: reserved.Step.FlowId} {
		if a := dev.Reply(t, id, apitest.Commit(apitest.NewNonce())); a.Code() != "Timeout" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	// Everything goes on from there: the same again does no harm.
	if _, err := restore.Finish(t.Context(), s.DB); err != nil {
		t.Fatal(err)
	}
	s.Link(t, half, s.Owner)
	again, _ := d.Begin(t, accountapi.FlowKindUnlock)
	d.Reply(t, again.Step.FlowId, apitest.UseHint())
	if a := d.Reply(t, again.Step.FlowId, apitest.Password(s.Owner.Password)); a.Step.Grant == nil {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestARecoveryThatItsOwnerStoppedDoesNotComeAliveAgain(t *testing.T) {
	s := apitest.Start(t)
	thief := s.Device(t)
	begun, _ := thief.Begin(t, accountapi.FlowKindRecover)
	id := begun.Step.FlowId
	at := thief.Reply(t, id, apitest.Identify(s.Owner.Email))
	if at.Step.Captcha == nil {
		t.Fatalf("%d %s", at.Status, at.Body)
	}
	solved, err := proofofwork.Solve(t.Context(), *at.Step.Captcha)
	if err != nil {
		t.Fatal(err)
	}
	wait := thief.Reply(t, id, accountapi.FlowAnswer{Step: accountapi.Captcha, Captcha: &solved})
	if wait.Step.Until == nil {
		t.Fatalf("%d %s", wait.Status, wait.Body)
	}
	if done, err := restore.Finish(t.Context(), s.DB); err != nil || done.Ended == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	s.Clock.Advance(80 * time.Hour)
	if a := thief.Reply(t, id, accountapi.FlowAnswer{Step: accountapi.Wait}); a.Code() != "Timeout" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	// Who asks anew waits anew.
	begun, _ = thief.Begin(t, accountapi.FlowKindRecover)
	at = thief.Reply(t, begun.Step.FlowId, apitest.Identify(s.Owner.Email))
	if solved, err = proofofwork.Solve(t.Context(), *at.Step.Captcha); err != nil {
		t.Fatal(err)
	}
	if a := thief.Reply(t, begun.Step.FlowId, accountapi.FlowAnswer{Step: accountapi.Captcha, Captcha: &solved}); a.Step.Step != accountapi.Wait {
		t.Errorf("it does not wait: %d %s", a.Status, a.Body)
	}
}

func decode(t *testing.T, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
}
