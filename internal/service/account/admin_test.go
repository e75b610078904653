// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
)

func TestAccountIsReadBackAsItWasMade(t *testing.T) {
	w := newWorld(t, nil)
	a := w.create(account.NewAccount{
		Emails: []string{"Jane@Example.org", "j2@example.org", "JANE@example.org"}, Phones: []string{"01515 5501042"}, SecondFactor: true,
	})
	if !regexp.MustCompile(`^[1-9][0-9]{7,9}$`).MatchString(a.ID) {
		t.Errorf("account ID %q", a.ID)
	}
	got, err := w.Get(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for _, id := range got.Identifiers {
		addresses = append(addresses, id.Address)
	}
	if s := strings.Join(addresses, " "); s != "Jane@example.org j2@example.org +4915155501042" {
		t.Errorf("identifiers %q", s)
	}
	if !got.SecondFactor || got.Blocked || !got.Created.Equal(w.clock.Now()) || !got.Deleted.IsZero() || got.Hint() != "j•••@example.org" {
		t.Errorf("got %+v", got)
	}
}

func TestAccountsThatCannotBeMade(t *testing.T) {
	w := newWorld(t, nil)
	w.jane()
	many := make([]string, 17)
	for i := range many {
		many[i] = strings.Repeat("x", i+1) + "@example.org"
	}
	for name, c := range map[string]struct {
		n     account.NewAccount
		code  fault.Code
		cause error
	}{
		"an address that is taken":         {account.NewAccount{Emails: []string{"JANE@example.org"}}, fault.InvalidArgument, account.ErrTaken},
		"a number that is taken":           {account.NewAccount{Phones: []string{"+49 1515 5501042"}}, fault.InvalidArgument, account.ErrTaken},
		"an address that is none":          {account.NewAccount{Emails: []string{"jane"}}, fault.InvalidArgument, nil},
		"a number given as address":        {account.NewAccount{Emails: []string{"+4915155501043"}}, fault.InvalidArgument, nil},
		"an address given as number":       {account.NewAccount{Phones: []string{"x@example.org"}}, fault.InvalidArgument, nil},
		"an account ID given as number":    {account.NewAccount{Phones: []string{"10000000"}}, fault.InvalidArgument, nil},
		"too many identifiers":             {account.NewAccount{Emails: many}, fault.InvalidArgument, nil},
		"a second factor without a way":    {account.NewAccount{SecondFactor: true}, fault.InvalidArgument, nil},
		"a password that is short":         {account.NewAccount{Password: accountapi.Secret("short")}, fault.WeakPassword, nil},
		"a password that is its own name":  {account.NewAccount{Emails: []string{"wilhelmina@example.org"}, Password: accountapi.Secret("Wilhelmina")}, fault.WeakPassword, nil},
		"a password that is known to many": {account.NewAccount{Password: accountapi.Secret("Sunshine1!")}, fault.WeakPassword, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if c.n.Password == nil {
				c.n.Password = accountapi.Secret(right)
			}
			_, err := w.Create(t.Context(), c.n)
			if fault.CodeOf(err) != c.code || (c.cause != nil && !errors.Is(err, c.cause)) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// zeros is a source of randomness that runs out of luck: it draws the same
// number n times, then others.
type zeros struct{ n int }

func (z *zeros) Read(p []byte) (int, error) {
	clear(p)
	if z.n--; z.n < 0 {
		p[len(p)-1] = byte(-z.n)
	}
	return len(p), nil
}

func TestAccountIDIsNeverGivenTwiceNotEvenAfterDeletion(t *testing.T) {
	random := &zeros{n: 100}
	w := newWorld(t, func(c *account.Config) { c.Random = random })
	first := w.create(account.NewAccount{})
	if first.ID != "10000000" {
		t.Fatalf("the lowest ID is %s", first.ID)
	}
	if err := w.Delete(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(365 * 24 * time.Hour)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	random.n = 5
	if second := w.create(account.NewAccount{}); second.ID == first.ID {
		t.Fatal("an ID was given again")
	}
	random.n = 1 << 20
	if _, err := w.Create(t.Context(), account.NewAccount{Password: accountapi.Secret(right)}); err == nil {
		t.Fatal("an ID was found where there was none")
	}
}

func TestBrokenRandomnessMakesNoAccount(t *testing.T) {
	w := newWorld(t, nil)
	broken := w.open(func(c *account.Config) { c.Random = io.LimitReader(&zeros{n: 100}, 48) }) // enough for New alone
	if _, err := broken.Create(t.Context(), account.NewAccount{Password: accountapi.Secret(right)}); err == nil {
		t.Fatal("made")
	}
}

func TestAccountIsFoundByEachIdentifierAndNoOther(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	for _, s := range []string{jane.ID, "JANE@example.org", "01515 5501042"} {
		if a, err := w.Find(t.Context(), s); err != nil || a.ID != jane.ID {
			t.Errorf("%q: %+v, %v", s, a, err)
		}
	}
	for _, s := range []string{"99999999", "nobody@example.org", "?"} {
		if _, err := w.Find(t.Context(), s); fault.CodeOf(err) != fault.InvalidArgument || errors.Is(err, account.ErrNotFound) != (s != "?") {
			t.Errorf("%q: %v", s, err)
		}
	}
	if _, err := w.Get(t.Context(), "99999999"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestPhoneNumberOfBareDigitsIsFoundUnlessAnAccountHasThatID(t *testing.T) {
	random := &zeros{n: 0}
	w := newWorld(t, func(c *account.Config) { c.Random, c.Region = random, "US" })
	a := w.create(account.NewAccount{Phones: []string{"212-555-0123"}})
	if got, err := w.Find(t.Context(), "2125550123"); err != nil || got.ID != a.ID {
		t.Fatalf("%+v, %v", got, err)
	}
	w.try(at("2125550123", right, "D1"), "")
}

func TestBlockWithoutEndEndsByUnblock(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	if a, err := w.Block(t.Context(), jane.ID, time.Time{}); err != nil || !a.Blocked || !a.BlockedUntil.IsZero() {
		t.Fatalf("%+v, %v", a, err)
	}
	w.clock.Advance(10 * 365 * 24 * time.Hour)
	if f := w.try(at(jane.ID, right, ""), fault.AccountBlocked); f.RetryAfter != 0 {
		t.Errorf("a block without end is told with one: %+v", f)
	}
	if a, err := w.Unblock(t.Context(), jane.ID); err != nil || a.Blocked {
		t.Fatalf("%+v, %v", a, err)
	}
	w.try(at(jane.ID, right, ""), "")
	if _, err := w.Block(t.Context(), jane.ID, w.clock.Now()); fault.CodeOf(err) != fault.InvalidArgument {
		t.Errorf("a block that has ended: %v", err)
	}
}

func TestSecondFactorNeedsAWayToSendCodesAndTheOwnerIsTold(t *testing.T) {
	w := newWorld(t, nil)
	jane, bare := w.jane(), w.create(account.NewAccount{})
	for _, on := range []bool{true, false} {
		*w.sent = notifier{}
		if a, err := w.SetSecondFactor(t.Context(), jane.ID, on); err != nil || a.SecondFactor != on {
			t.Fatalf("%+v, %v", a, err)
		}
		if m := w.sent.last(t); m.To != "Jane@example.org" || m.Subject != "Your second factor was changed" {
			t.Errorf("the owner is told %+v", m)
		}
	}
	if _, err := w.SetSecondFactor(t.Context(), bare.ID, true); fault.CodeOf(err) != fault.InvalidArgument {
		t.Fatalf("got %v", err)
	}
}

func TestNewPasswordReplacesTheOldAndTheOwnerIsTold(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	for i := range 21 { // the account is held
		w.try(account.Attempt{Identifier: jane.ID, Password: accountapi.Secret(wrong), Address: address(i)}, fault.InvalidCredentials)
	}
	if err := w.SetPassword(t.Context(), jane.ID, accountapi.Secret(jane.ID)); fault.CodeOf(err) != fault.WeakPassword {
		t.Fatalf("its own ID: %v", err)
	}
	if err := w.SetPassword(t.Context(), jane.ID, accountapi.Secret("a much newer password")); err != nil {
		t.Fatal(err)
	}
	w.try(at(jane.ID, "a much newer password", "D1"), "")
	w.try(at(jane.ID, right, "D1"), fault.InvalidCredentials)
	m := w.sent.last(t)
	if m.To != "Jane@example.org" || m.Channel != account.ChannelEmail || m.Subject == "" || strings.Contains(m.Text, "newer") {
		t.Errorf("sent %+v", m)
	}
}

func TestDeletedAccountLeavesItsIdentifiersToOthers(t *testing.T) {
	w := newWorld(t, nil)
	for round := range 3 { // also where the same address is deleted twice
		jane := w.jane()
		if err := w.Delete(t.Context(), jane.ID); err != nil {
			t.Fatal(err)
		}
		a, err := w.Get(t.Context(), jane.ID)
		if err != nil || len(a.Identifiers) != 0 || a.Deleted.IsZero() {
			t.Fatalf("round %d: %+v, %v", round, a, err)
		}
		w.try(at("jane@example.org", right, "D1"), fault.AccountDeleted)
	}
	again := w.jane()
	if a, err := w.Authenticate(t.Context(), at("jane@example.org", right, "D1")); err != nil || a.ID != again.ID {
		t.Fatalf("%+v, %v", a, err)
	}
}

func TestDeletedAccountCannotBeChanged(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	if err := w.Delete(t.Context(), jane.ID); err != nil {
		t.Fatal(err)
	}
	_, block := w.Block(t.Context(), jane.ID, time.Time{})
	_, unblock := w.Unblock(t.Context(), jane.ID)
	_, factor := w.SetSecondFactor(t.Context(), jane.ID, true)
	for name, err := range map[string]error{
		"block": block, "unblock": unblock, "second factor": factor, "delete": w.Delete(t.Context(), jane.ID),
		"password": w.SetPassword(t.Context(), jane.ID, accountapi.Secret("a much newer password")),
	} {
		if fault.CodeOf(err) != fault.AccountDeleted {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDeletionAndWhatHangsOnItHappenTogetherOrNotAtAll(t *testing.T) {
	var released []string
	boom := errors.New("boom")
	var fail error
	w := newWorld(t, func(c *account.Config) {
		c.OnDelete = func(_ context.Context, tx *sql.Tx, id string) error {
			released = append(released, id)
			_, err := tx.Exec(`INSERT INTO account_ids (id, issued_at) VALUES ('released', 1)`)
			return errors.Join(err, fail)
		}
	})
	jane := w.jane()
	fail = boom
	if err := w.Delete(t.Context(), jane.ID); !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	w.try(at("jane@example.org", right, ""), "")
	fail = nil
	if err := w.Delete(t.Context(), jane.ID); err != nil {
		t.Fatal(err)
	}
	if len(released) != 2 || released[1] != jane.ID {
		t.Fatalf("released %q", released)
	}
}

func TestSweepForgetsDeletedAccountsAfterThirtyDaysAndGuessesAfterTheirTime(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	w.try(at("jane@example.org", wrong, "D1"), fault.InvalidCredentials)
	if err := w.Delete(t.Context(), jane.ID); err != nil {
		t.Fatal(err)
	}
	sweep := func(after time.Duration) {
		t.Helper()
		w.clock.Advance(after)
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sweep(30 * 24 * time.Hour)
	if n := w.mostFailures(); n != 0 {
		t.Errorf("a tally of %d is left", n)
	}
	w.try(at("jane@example.org", right, "D2"), fault.AccountDeleted)
	sweep(time.Second)
	w.try(at("jane@example.org", right, "D2"), fault.InvalidCredentials)
	w.try(at(jane.ID, right, "D2"), fault.InvalidCredentials)
	if a, err := w.Find(t.Context(), jane.ID); err != nil || a.Deleted.IsZero() {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestSweepLeavesWhatStillCounts(t *testing.T) {
	w := newWorld(t, nil)
	for range 5 {
		w.try(at("jane@example.org", wrong, "D1"), fault.InvalidCredentials)
	}
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.try(at("jane@example.org", wrong, "D1"), fault.RateLimited)
}

func TestNoticeGoesToEveryAddressOrElseBySMS(t *testing.T) {
	w := newWorld(t, nil)
	two := w.create(account.NewAccount{Emails: []string{"a@example.org", "b@example.org"}, Phones: []string{"+4915155501043"}})
	phone := w.create(account.NewAccount{Phones: []string{"+4915155501044"}})
	for _, id := range []string{two.ID, phone.ID} {
		if err := w.Notify(t.Context(), id, account.NoticeLinked, "0123-4567-89AB"); err != nil {
			t.Fatal(err)
		}
	}
	var to []string
	for _, m := range w.sent.all {
		to = append(to, string(m.Channel)+":"+m.To)
		if !strings.Contains(m.Text, "0123-4567-89AB") || strings.Contains(m.Text, "%!") {
			t.Errorf("text %q", m.Text)
		}
	}
	if got := strings.Join(to, " "); got != "email:a@example.org email:b@example.org sms:+4915155501044" {
		t.Errorf("sent to %s", got)
	}
	if err := w.Notify(t.Context(), two.ID, "gossip", ""); err == nil {
		t.Error("a notice of an unknown kind was sent")
	}
	w.sent.fail = errors.New("no mail today")
	if err := w.Notify(t.Context(), two.ID, account.NoticeLost, "x"); !errors.Is(err, w.sent.fail) {
		t.Errorf("got %v", err)
	}
}

func TestConfigurationThatCannotWorkIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	good := account.Config{DB: w.db, Secret: secret.Bytes(bytes.Repeat([]byte("s"), 32))}
	for name, change := range map[string]func(*account.Config){
		"no database":        func(c *account.Config) { c.DB = nil },
		"no secret":          func(c *account.Config) { c.Secret = nil },
		"a short secret":     func(c *account.Config) { c.Secret = c.Secret[:31] },
		"no memory":          func(c *account.Config) { c.Hash = account.HashParams{MemoryKiB: 7, Passes: 1, Lanes: 1} },
		"no passes":          func(c *account.Config) { c.Hash = account.HashParams{MemoryKiB: 64, Lanes: 1} },
		"no lanes":           func(c *account.Config) { c.Hash = account.HashParams{MemoryKiB: 64, Passes: 1} },
		"memory beyond sane": func(c *account.Config) { c.Hash = account.HashParams{MemoryKiB: 1 << 30, Passes: 1, Lanes: 1} },
		"no randomness":      func(c *account.Config) { c.Random = bytes.NewReader(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			change(&cfg)
			if _, err := account.New(cfg); err == nil {
				t.Fatal("taken")
			}
		})
	}
}
