// SPDX-License-Identifier: Apache-2.0

package offline_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/ocra"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/offline"
)

const challenge = "0123456789"

// link links a device that agrees on a key, and returns the key.
func link(t *testing.T, s *apitest.Service, d *apitest.Device) []byte {
	t.Helper()
	own, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := accountapi.OfflinePublic(own)
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	id := begun.Step.FlowId
	d.Reply(t, id, apitest.Identify(s.Owner.Email))
	d.Reply(t, id, apitest.Password(s.Owner.Password))
	confirm := apitest.Confirm()
	confirm.OfflineKey = &public
	key := apitest.NewKey()
	reserved, err := d.Call(t.Context(), "POST", "/v1/flows/"+id, key, confirm)
	if err != nil || reserved.Step.Grant == nil {
		t.Fatalf("%v %s", err, reserved.Body)
	}
	// The same request again gets the same key: an answer that was lost on the way
	// leaves both sides with one.
	again, err := d.Call(t.Context(), "POST", "/v1/flows/"+id, key, confirm)
	if err != nil || !bytes.Equal(again.Body, reserved.Body) {
		t.Fatalf("%v %s", err, again.Body)
	}
	c := apitest.Open(t, *reserved.Step.Grant, accountapi.TypeGrant, s.Set(t))
	if c.OfflineKey == nil {
		t.Fatal("the grant names no key")
	}
	d.Reply(t, id, apitest.Commit(apitest.NewNonce()))
	agreed, err := accountapi.Agreement{DeviceID: d.ID, LinkID: c.Link.Id, Device: public, Service: *c.OfflineKey}.Key(own)
	if err != nil {
		t.Fatal(err)
	}
	return agreed
}

func wantFault(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Fatalf("got %v, want %s", err, code)
	}
}

func TestBothSidesAnswerAChallengeAlike(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	key := link(t, s, d)
	s.Outbox(t)
	got, err := s.Offline.Respond(t.Context(), d.ID, "01234-567 89")
	if err != nil {
		t.Fatal(err)
	}
	want, err := ocra.OfflineCode.Response(key, ocra.Input{Question: challenge})
	if err != nil || got != want {
		t.Fatalf("the service says %s, the device %s (%v)", got, want, err)
	}
	events, err := s.Devices.Events(t.Context(), d.ID, 1)
	if err != nil || events[0].Kind != "offline-code" {
		t.Fatalf("%v %v", events, err)
	}
	told := s.Outbox(t)
	if last := told[len(told)-1]; !strings.Contains(last, "offline code") || strings.Contains(last, got) || strings.Contains(last, challenge) {
		t.Fatalf("the owner was told %q", last)
	}
	if strings.Contains(s.Log.String(), got) {
		t.Fatal("the log holds the response")
	}
}

func TestALostDeviceGetsNoResponseNorDoesOneThatNobodyOwns(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	ask := func() error {
		_, err := s.Offline.Respond(t.Context(), d.ID, challenge)
		return err
	}
	wantFault(t, ask(), fault.NotLinked)
	link(t, s, d)
	if _, err := s.Devices.Lose(t.Context(), d.ID, "", ""); err != nil {
		t.Fatal(err)
	}
	before, _ := s.Devices.Events(t.Context(), d.ID, 100)
	wantFault(t, ask(), fault.Declined)
	if after, _ := s.Devices.Events(t.Context(), d.ID, 100); len(after) != len(before) {
		t.Fatal("a refusal was noted as a response")
	}
	if _, err := s.Devices.Find(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "123456789", "12345678901", "12345 6789x", strings.Repeat("1", 5000)} {
		_, err := s.Offline.Respond(t.Context(), d.ID, bad)
		wantFault(t, err, fault.InvalidArgument)
	}
	_, err := s.Offline.Respond(t.Context(), "0000-0000-0000", challenge)
	wantFault(t, err, fault.DeviceUnknown)
	if _, err := s.Devices.Release(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	wantFault(t, ask(), fault.NotLinked)
	if stored := stored(t, s); len(stored) != 0 {
		t.Fatalf("the key outlives its link: %q", stored)
	}
}

// stored are the keys in the database.
func stored(t *testing.T, s *apitest.Service) (out []string) {
	t.Helper()
	err := s.DB.Read(t.Context(), func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(t.Context(), `SELECT offline_key FROM links WHERE offline_key <> ''`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var k string
			if err := rows.Scan(&k); err != nil {
				return err
			}
			out = append(out, k)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheKeyIsSealedInTheDatabaseAndNewForEachLink(t *testing.T) {
	s := apitest.Start(t)
	one, two := s.Device(t), s.Device(t)
	a, b := link(t, s, one), link(t, s, two)
	if bytes.Equal(a, b) {
		t.Fatal("two links share a key")
	}
	sealed := stored(t, s)
	if len(sealed) != 2 {
		t.Fatalf("%d keys are stored", len(sealed))
	}
	var everything []byte
	err := s.DB.Read(t.Context(), func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(t.Context(), `SELECT body FROM requests UNION ALL SELECT answer FROM flows`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var body string
			if err := rows.Scan(&body); err != nil {
				return err
			}
			everything = append(everything, body...)
		}
		return rows.Err()
	})
	if err != nil || len(everything) == 0 {
		t.Fatalf("%d bytes, %v", len(everything), err)
	}
	everything = append(everything, strings.Join(sealed, "")+s.Log.String()...)
	for _, k := range [][]byte{a, b} {
		for _, form := range []string{
			string(k), base64.RawStdEncoding.EncodeToString(k), base64.RawURLEncoding.EncodeToString(k),
		} {
			if bytes.Contains(everything, []byte(form)) {
				t.Fatal("a key lies in a cache, a log or the database in the clear")
			}
		}
	}
	other, err := offline.New(s.DB, s.Devices, bytes.Repeat([]byte("o"), 32), s.Keys, s.Clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Respond(t.Context(), one.ID, challenge); err == nil || errors.Is(err, fault.New(fault.NotLinked, nil)) {
		t.Fatalf("another service secret opens it: %v", err)
	}
	// A key moved to another link is not that link's.
	if err := s.DB.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE links SET offline_key = $1`, sealed[0])
		return err
	}); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, d := range []*apitest.Device{one, two} {
		if _, err := s.Offline.Respond(t.Context(), d.ID, challenge); err != nil {
			failed++
		}
	}
	if failed != 1 {
		t.Fatalf("%d of 2 links refuse a key moved between them", failed)
	}
}

func TestAKeyThatIsNoneIsRefusedAndReservesNothing(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	id := begun.Step.FlowId
	d.Reply(t, id, apitest.Identify(s.Owner.Email))
	d.Reply(t, id, apitest.Password(s.Owner.Password))
	for _, public := range []string{"short", strings.Repeat("!", 43), base64.RawURLEncoding.EncodeToString(make([]byte, 32))} {
		confirm := apitest.Confirm()
		confirm.OfflineKey = &public
		if a := d.Reply(t, id, confirm); a.Status != 400 && a.Status != 422 {
			t.Fatalf("%q: %d %s", public, a.Status, a.Body)
		}
	}
	// A device that cannot keep a key links without one.
	if a := d.Reply(t, id, apitest.Confirm()); a.Step.Grant == nil {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	d.Reply(t, id, apitest.Commit(apitest.NewNonce()))
	_, err := s.Offline.Respond(t.Context(), d.ID, challenge)
	wantFault(t, err, fault.NotLinked)
}

func TestATicketIsAGrantForOneChallengeOfOneDevice(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	link(t, s, d)
	s.Outbox(t)
	ticket, err := s.Offline.Ticket(t.Context(), d.ID, challenge)
	if err != nil {
		t.Fatal(err)
	}
	c := apitest.Open(t, ticket, accountapi.TypeGrant, s.Set(t))
	if c.Aud != d.ID || c.Purpose != accountapi.ClaimsPurposeUnlock || *c.Nonce != accountapi.TicketNonce(d.ID, challenge) ||
		c.Exp-c.Iat != 24*3600 || *c.Link.AccountId != s.Owner.ID || len(ticket) > 4000 {
		t.Fatalf("%+v", c)
	}
	for _, other := range []string{accountapi.TicketNonce(d.ID, "1123456789"), accountapi.TicketNonce("0000-0000-0000", challenge)} {
		if other == *c.Nonce {
			t.Fatal("another challenge or device has the same nonce")
		}
	}
	if told := s.Outbox(t); !strings.Contains(told[len(told)-1], "ticket") || strings.Contains(told[len(told)-1], ticket) {
		t.Fatalf("the owner was told %q", told[len(told)-1])
	}
	if _, err := s.Devices.Lose(t.Context(), d.ID, "", ""); err != nil {
		t.Fatal(err)
	}
	_, err = s.Offline.Ticket(t.Context(), d.ID, challenge)
	wantFault(t, err, fault.Declined)
	_, err = s.Offline.Ticket(t.Context(), d.ID, "12")
	wantFault(t, err, fault.InvalidArgument)
}
