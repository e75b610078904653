// SPDX-License-Identifier: Apache-2.0

package support_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/support"
)

// console is the accounts as the console has them.
func (w *world) console() *account.Service {
	return w.Accounts.By(account.Hands{MayDelete: w.Cases.MayDelete, Note: func(ctx context.Context, tx *sql.Tx, accountID, action, detail string) error {
		return w.Trail.Append(ctx, tx, audit.Entry{Actor: audit.Console, Action: action, Account: accountID, Detail: detail})
	}})
}

func TestNobodyAloneFreesADeviceByDeletingItsAccount(t *testing.T) {
	w := newWorld(t)
	console := w.console()
	kept := func(status device.Status) {
		t.Helper()
		err := console.Delete(t.Context(), w.Owner.ID)
		wantFault(t, err, fault.NotAuthorized)
		if !strings.Contains(err.Error(), w.device.ID+" ("+string(status)+")") {
			t.Errorf("it does not name the device: %v", err)
		}
		if got := w.status(); got != status {
			t.Fatalf("the device is %s", got)
		}
		if a, err := w.Accounts.Get(t.Context(), w.Owner.ID); err != nil || !a.Deleted.IsZero() {
			t.Fatalf("the account: %+v %v", a, err)
		}
		trail, err := w.Trail.List(t.Context(), audit.Filter{Account: w.Owner.ID, Limit: 1})
		if err != nil || trail[0].Action != "account-deletion-refused" || trail[0].Detail != w.device.ID+" ("+string(status)+")" {
			t.Fatalf("the trail: %+v %v", trail, err)
		}
	}
	kept(device.Linked)
	if _, err := w.Devices.Lose(t.Context(), w.device.ID, "Please call", ""); err != nil {
		t.Fatal(err)
	}
	kept(device.Lost)

	// Two members find it, then release it, each in a case.
	for _, a := range []support.Action{support.Found, support.Release} {
		number := w.approved(w.ask(w.open()), a)
		kept(map[support.Action]device.Status{support.Found: device.Lost, support.Release: device.Linked}[a])
		w.Clock.Advance(support.ObjectionTime + time.Minute)
		if _, err := w.act(number, a); err != nil {
			t.Fatal(err)
		}
	}
	if err := console.Delete(t.Context(), w.Owner.ID); err != nil {
		t.Fatal(err)
	}
	trusted, err := w.Keys.Trusted()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := w.Trail.Verify(t.Context(), trusted, ""); err != nil || !r.Whole() {
		t.Errorf("%+v %v", r, err)
	}
}

func TestASignedOutDeviceKeepsNoAccount(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Devices.Owned(w.Owner.ID).SignOut(t.Context(), w.device.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.console().Delete(t.Context(), w.Owner.ID); err != nil {
		t.Fatal(err)
	}
}

func TestAnOwnerDeletesTheAccountOfALostDevice(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Devices.Lose(t.Context(), w.device.ID, "", ""); err != nil {
		t.Fatal(err)
	}
	if err := w.Accounts.Delete(t.Context(), w.Owner.ID); err != nil {
		t.Fatal(err)
	}
	if got := w.status(); got != device.AccountDeleted {
		t.Errorf("the device is %s", got)
	}
}

func TestManyDevicesAreNamedInPart(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		w.Link(t, w.Device(t), w.Owner)
	}
	if err := w.console().Delete(t.Context(), w.Owner.ID); err == nil || !strings.Contains(err.Error(), ", 1 more") {
		t.Errorf("got %v", err)
	}
}
