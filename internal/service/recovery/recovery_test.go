// SPDX-License-Identifier: Apache-2.0

package recovery_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/recovery"
)

const fresh = "a wholly new passphrase"

var (
	codeForm = regexp.MustCompile(`\b\d{6}\b`)
	stopForm = regexp.MustCompile(`code=([A-Z2-7]{16})`)
)

// owner is an account with two addresses and a phone number.
func owner(t *testing.T, s *apitest.Service) account.Account {
	t.Helper()
	a, err := s.Accounts.Create(t.Context(), account.NewAccount{
		Emails: []string{"jane@example.org", "work@example.com"}, Phones: []string{"+493012345010"}, Password: accountapi.Secret("jane's first password"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ask(t *testing.T, s *apitest.Service, name, identifier string) recovery.Standing {
	t.Helper()
	at, err := s.Recoveries.Ask(t.Context(), recovery.Request{Ask: name, Identifier: identifier, Region: "DE", Locale: "en", Place: recovery.Place{Device: "X"}})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// last returns the newest message to somebody.
func last(t *testing.T, s *apitest.Service, to string) string {
	t.Helper()
	all := s.Outbox(t)
	for i := len(all) - 1; i >= 0; i-- {
		if strings.HasPrefix(all[i], "To: "+to+"\n") {
			return all[i]
		}
	}
	return ""
}

func signsIn(s *apitest.Service, identifier, password string) error {
	_, err := s.Accounts.Authenticate(context.Background(), account.Attempt{Identifier: identifier, Password: accountapi.Secret(password)})
	return err
}

func wantFault(t *testing.T, what string, err error, code fault.Code) *fault.Error {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Fatalf("%s: got %v, want %s", what, err, code)
	}
	return fault.As(err)
}

func TestWhoIsNotKnownWaitsThreeWorkingDays(t *testing.T) {
	s := apitest.Start(t)
	a := owner(t, s)
	at := ask(t, s, "one", "jane@example.org")
	if at.Ready || at.Until.Sub(s.Clock.Now()) < 72*time.Hour {
		t.Fatalf("asked at %s, stands at %+v", s.Clock.Now(), at)
	}
	for _, to := range []string{"jane@example.org", "work@example.com", "+493012345010"} {
		m := last(t, s, to)
		if !stopForm.MatchString(m) {
			t.Errorf("the notice to %s does not say how to stop it: %s", to, m)
		}
		if hasID := strings.Contains(m, a.ID); hasID == strings.HasPrefix(to, "+") {
			t.Errorf("the notice to %s: holds the account ID: %v", to, hasID)
		}
		if codeForm.MatchString(strings.ReplaceAll(m, a.ID, "")) && !strings.HasPrefix(to, "+") {
			t.Errorf("a code went to %s before its time: %s", to, m)
		}
	}
	f := wantFault(t, "a code too early", second(s.Recoveries.Resend(t.Context(), "one")), fault.RecoveryPending)
	if f.RetryAfter != at.Until.Sub(s.Clock.Now()) {
		t.Errorf("the refusal says to wait %s", f.RetryAfter)
	}
	// Another conversation, with another identifier of the same account, tells
	// nothing of this one; the same identifier finds it, and never starts over.
	s.Clock.Advance(49 * time.Hour) // over a weekend, should it be one
	if again := ask(t, s, "two", "JANE@example.org"); again.Ready || !again.Until.Equal(at.Until) {
		t.Errorf("the same identifier later: %+v, first %+v", again, at)
	}
	if other := ask(t, s, "three", "+493012345010"); other.Until.Equal(at.Until) {
		t.Error("another identifier shows that it is of the same account")
	}
	s.Clock.Advance(at.Until.Sub(s.Clock.Now()))
	ready := ask(t, s, "four", "jane@example.org")
	if !ready.Ready || ready.SentTo != "j•••@example.org" {
		t.Fatalf("after the wait: %+v", ready)
	}
	code := codeForm.FindString(last(t, s, "jane@example.org"))
	if err := s.Recoveries.Check(t.Context(), "four", accountapi.Secret(code)); err != nil {
		t.Fatal(err)
	}
	wantFault(t, "a code twice", s.Recoveries.Check(t.Context(), "four", accountapi.Secret(code)), fault.CodeExpired)
	wantFault(t, "a weak password", s.Recoveries.SetPassword(t.Context(), "four", accountapi.Secret("password")), fault.WeakPassword)
	if err := s.Recoveries.SetPassword(t.Context(), "four", accountapi.Secret(fresh)); err != nil {
		t.Fatal(err)
	}
	if err := signsIn(s, "jane@example.org", fresh); err != nil {
		t.Errorf("the new password: %v", err)
	}
	wantFault(t, "the old password", signsIn(s, "jane@example.org", "jane's first password"), fault.InvalidCredentials)
	if m := last(t, s, "work@example.com"); !strings.Contains(m, "password") {
		t.Errorf("the owner is not told: %s", m)
	}
	wantFault(t, "a second password", s.Recoveries.SetPassword(t.Context(), "four", accountapi.Secret(fresh+"!")), fault.Timeout)
	wantFault(t, "the other recovery of the account", second(s.Recoveries.Continue(t.Context(), "three")), fault.Timeout)
}

func second[T any](_ T, err error) error { return err }

func TestWhoIsKnownGetsACodeAtOnce(t *testing.T) {
	s := apitest.Start(t)
	a := owner(t, s)
	r := recovery.Request{Ask: "known", AccountID: a.ID, KnownTo: a.ID, Locale: "de", Place: recovery.Place{Device: "X"}}
	at, err := s.Recoveries.Ask(t.Context(), r)
	if err != nil || !at.Ready || at.SentTo != "j•••@example.org" {
		t.Fatalf("%+v, %v", at, err)
	}
	m := last(t, s, "jane@example.org")
	if !strings.Contains(m, "Ihr Code") || strings.Count(strings.Join(s.Outbox(t), ""), "Ihr Code lautet") != 1 {
		t.Errorf("got %s", m)
	}
	// To be known to one account makes nobody known to another, nor anybody else known.
	r.Ask, r.AccountID, r.Identifier = "other", "", "stranger@example.org"
	if at, err := s.Recoveries.Ask(t.Context(), r); err != nil || at.Ready {
		t.Errorf("known to another account: %+v, %v", at, err)
	}
	r.Ask, r.KnownTo, r.Identifier = "unknown", "", a.ID
	if at, err := s.Recoveries.Ask(t.Context(), r); err != nil || at.Ready {
		t.Errorf("somebody else meanwhile: %+v, %v", at, err)
	}
}

func TestAnSMSDoesOnlyWhereThereIsNothingElse(t *testing.T) {
	s := apitest.Start(t)
	owner(t, s)
	_, err := s.Accounts.Create(t.Context(), account.NewAccount{Phones: []string{"+493012345020"}, Password: accountapi.Secret("only a phone number")})
	if err != nil {
		t.Fatal(err)
	}
	both, alone := ask(t, s, "both", "+493012345010"), ask(t, s, "alone", "+493012345020")
	s.Outbox(t)
	s.Clock.Advance(later(both.Until, alone.Until).Sub(s.Clock.Now()))
	for name, to := range map[string]string{"both": "jane@example.org", "alone": "+493012345020"} {
		// The conversations have ended meanwhile; the identifier finds the recovery.
		id := map[string]string{"both": "+493012345010", "alone": "+493012345020"}[name]
		if at := ask(t, s, name+" again", id); at.SentTo != "•••" {
			t.Errorf("%s: %+v", name, at)
		}
		if m := last(t, s, to); !strings.Contains(m, "Your code is") {
			t.Errorf("%s: no code went to %s: %s", name, to, m)
		}
	}
	if m := last(t, s, "+493012345010"); strings.Contains(m, "Your code is") {
		t.Errorf("a code went by SMS though there is mail: %s", m)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func TestNobodysIdentifierIsAnsweredAlike(t *testing.T) {
	s := apitest.Start(t)
	owner(t, s)
	pairs := [][2]string{{"jane@example.org", "joan@example.org"}, {"+493012345010", "+493012345090"}, {"work@example.com", "not an identifier"}}
	for i, p := range pairs {
		a, b := ask(t, s, fmt.Sprint("a", i), p[0]), ask(t, s, fmt.Sprint("b", i), p[1])
		if !a.Until.Equal(b.Until) || a.Ready != b.Ready {
			t.Errorf("%v: %+v and %+v", p, a, b)
		}
	}
	before := len(s.Outbox(t))
	s.Clock.Advance(6 * 24 * time.Hour)
	a, b := ask(t, s, "a", "jane@example.org"), ask(t, s, "b", "joan@example.org")
	if !a.Ready || !b.Ready || a.SentTo != b.SentTo || !a.Expires.Equal(b.Expires) {
		t.Errorf("after the wait: %+v and %+v", a, b)
	}
	if sent := s.Outbox(t)[before:]; len(sent) != 1 || !strings.HasPrefix(sent[0], "To: jane@example.org\n") {
		t.Errorf("sent: %v", sent)
	}
	right := codeForm.FindString(last(t, s, "jane@example.org"))
	for n := range 6 {
		guess := accountapi.Secret(fmt.Sprintf("%06d", (atoi(right)+1+n)%1_000_000))
		fa, fb := fault.As(s.Recoveries.Check(t.Context(), "a", guess)), fault.As(s.Recoveries.Check(t.Context(), "b", guess))
		if fa.Code != fb.Code || fa.AttemptsLeft != fb.AttemptsLeft || fa.Counted != fb.Counted {
			t.Errorf("guess %d: %v and %v", n+1, fa, fb)
		}
	}
	wantFault(t, "a password for nobody", s.Recoveries.SetPassword(t.Context(), "b", accountapi.Secret(fresh)), fault.WrongStep)
	// They ask the database for the same: only what is sent, later and elsewhere, differs.
}

func atoi(s string) (n int) {
	fmt.Sscanf(s, "%d", &n)
	return n
}

func TestTheOwnerStopsIt(t *testing.T) {
	s := apitest.Start(t)
	owner(t, s)
	first := ask(t, s, "thief", "jane@example.org")
	ask(t, s, "thief again", "+493012345010")
	stop := stopForm.FindStringSubmatch(last(t, s, "work@example.com"))[1]
	wantFault(t, "a code that is none", s.Recoveries.Stop(t.Context(), strings.Repeat("A", 16)), fault.InvalidCode)
	wantFault(t, "nothing", s.Recoveries.Stop(t.Context(), ""), fault.InvalidCode)
	if err := s.Recoveries.Stop(t.Context(), strings.ToLower(stop[:4]+"-"+stop[4:])); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"thief", "thief again"} {
		wantFault(t, name, second(s.Recoveries.Continue(t.Context(), name)), fault.Declined)
	}
	wantFault(t, "twice", s.Recoveries.Stop(t.Context(), stop), fault.InvalidCode)
	s.Clock.Advance(first.Until.Sub(s.Clock.Now()))
	if at := ask(t, s, "thief once more", "jane@example.org"); at.Ready {
		t.Error("a stopped recovery goes on")
	}
	// An owner who stops them is not flooded: three a week.
	stop = stopForm.FindStringSubmatch(last(t, s, "jane@example.org"))[1]
	if err := s.Recoveries.Stop(t.Context(), stop); err != nil {
		t.Fatal(err)
	}
	ask(t, s, "third", "jane@example.org")
	stop = stopForm.FindStringSubmatch(last(t, s, "jane@example.org"))[1]
	if err := s.Recoveries.Stop(t.Context(), stop); err != nil {
		t.Fatal(err)
	}
	_, err := s.Recoveries.Ask(t.Context(), recovery.Request{Ask: "fourth", Identifier: "jane@example.org"})
	if f := wantFault(t, "the fourth", err, fault.RateLimited); f.RetryAfter <= 0 || f.RetryAfter > 7*24*time.Hour {
		t.Errorf("wait %s", f.RetryAfter)
	}
}

func TestItIsStoppedWhileThePasswordIsTyped(t *testing.T) {
	s := apitest.Start(t)
	a := owner(t, s)
	if _, err := s.Recoveries.Ask(t.Context(), recovery.Request{Ask: "x", AccountID: a.ID, KnownTo: a.ID}); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(s.Outbox(t), "\n")
	code := regexp.MustCompile(`Your code is (\d{6})`).FindStringSubmatch(all)[1]
	if err := s.Recoveries.Check(t.Context(), "x", accountapi.Secret(code)); err != nil {
		t.Fatal(err)
	}
	if err := s.Recoveries.Stop(t.Context(), stopForm.FindStringSubmatch(all)[1]); err != nil {
		t.Fatal(err)
	}
	wantFault(t, "the password", s.Recoveries.SetPassword(t.Context(), "x", accountapi.Secret(fresh)), fault.Declined)
	if err := signsIn(s, a.ID, "jane's first password"); err != nil {
		t.Error(err)
	}
}

func TestGuessesOfManyConversationsAreBounded(t *testing.T) {
	s := apitest.Start(t)
	a := owner(t, s)
	looked := 0
	for c := range 6 {
		name := fmt.Sprint("guesser ", c)
		if _, err := s.Recoveries.Ask(t.Context(), recovery.Request{Ask: name, AccountID: a.ID, KnownTo: a.ID}); err != nil {
			break
		}
		s.Outbox(t)
		for range 5 {
			// Wrong ones: the right one is not among them but once in 40,000 runs.
			if fault.CodeOf(s.Recoveries.Check(t.Context(), name, accountapi.Secret("000000"))) == fault.InvalidCode {
				looked++
			}
		}
	}
	if looked != 15 {
		t.Errorf("%d guesses were looked at, want 15", looked)
	}
	// The owner need not begin again: a day later codes are taken.
	s.Clock.Advance(24*time.Hour + time.Second)
	if _, err := s.Recoveries.Ask(t.Context(), recovery.Request{Ask: "owner", AccountID: a.ID, KnownTo: a.ID}); err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`Your code is (\d{6})`).FindStringSubmatch(last(t, s, "jane@example.org"))[1]
	if err := s.Recoveries.Check(t.Context(), "owner", accountapi.Secret(code)); err != nil {
		t.Error(err)
	}
}

func TestGuessesAtOnceAreCountedEach(t *testing.T) {
	s := apitest.Start(t)
	a := owner(t, s)
	if _, err := s.Recoveries.Ask(t.Context(), recovery.Request{Ask: "x", AccountID: a.ID, KnownTo: a.ID}); err != nil {
		t.Fatal(err)
	}
	s.Outbox(t)
	var all sync.WaitGroup
	var looked atomic.Int64
	for range 20 {
		all.Go(func() {
			if fault.CodeOf(s.Recoveries.Check(t.Context(), "x", accountapi.Secret("000000"))) == fault.InvalidCode {
				looked.Add(1)
			}
		})
	}
	all.Wait()
	if looked.Load() != 5 {
		t.Errorf("%d were looked at", looked.Load())
	}
}

func TestARecoveryEndsSessionsAndABlockThatHasAnEnd(t *testing.T) {
	s := apitest.Start(t)
	a := owner(t, s)
	if _, err := s.Accounts.Block(t.Context(), a.ID, s.Clock.Now().Add(30*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	ended := ""
	r := recovery.New(recovery.Config{
		DB: s.DB, Accounts: s.Accounts, Notifier: discard{}, Secret: s.Secret, Now: s.Clock.Now,
		OnRecovered: func(_ context.Context, _ *sql.Tx, id string) error { ended = id; return nil },
	})
	if _, err := r.Ask(t.Context(), recovery.Request{Ask: "x", AccountID: a.ID, KnownTo: a.ID}); err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`Your code is (\d{6})`).FindStringSubmatch(last(t, s, "jane@example.org"))[1]
	if err := r.Check(t.Context(), "x", accountapi.Secret(code)); err != nil {
		t.Fatal(err)
	}
	if err := r.SetPassword(t.Context(), "x", accountapi.Secret(fresh)); err != nil {
		t.Fatal(err)
	}
	if ended != a.ID {
		t.Errorf("the sessions of %q were ended", ended)
	}
	if err := signsIn(s, a.ID, fresh); err != nil {
		t.Errorf("the block stands: %v", err)
	}
}

func TestAPasswordThatTheOwnerChangesStopsTheRecoveriesThatWait(t *testing.T) {
	s := apitest.Start(t)
	a := owner(t, s)
	at := ask(t, s, "thief", "jane@example.org")
	ask(t, s, "of the number", "+493012345010")
	if err := s.Accounts.SetPassword(t.Context(), a.ID, accountapi.Secret("123")); fault.CodeOf(err) != fault.WeakPassword {
		t.Fatal(err)
	}
	if _, err := s.Recoveries.Continue(t.Context(), "thief"); err != nil {
		t.Fatalf("a password that was refused has stopped it: %v", err)
	}
	if err := s.Accounts.SetPassword(t.Context(), a.ID, accountapi.Secret(fresh)); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"jane@example.org", "work@example.com"} {
		if m := last(t, s, to); !strings.Contains(m, "A recovery of the account that was waiting is stopped.") {
			t.Errorf("%s is told: %s", to, m)
		}
	}
	s.Clock.Advance(at.Until.Sub(s.Clock.Now()))
	for _, name := range []string{"thief", "of the number"} {
		wantFault(t, name, second(s.Recoveries.Continue(t.Context(), name)), fault.Declined)
	}
}

type discard struct{}

func (discard) Send(context.Context, account.Message) error { return nil }

func TestWhatIsSentOutlivesACrashAndIsSentByOneServer(t *testing.T) {
	s := apitest.Start(t)
	owner(t, s)
	ask(t, s, "x", "jane@example.org")
	// The process ends here: another one, over the same database, sends it.
	sent := &counter{}
	other := recovery.New(recovery.Config{DB: s.DB, Accounts: s.Accounts, Notifier: sent, Secret: s.Secret, Now: s.Clock.Now})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := other.Deliver(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if sent.n.Load() != 3 {
		t.Errorf("%d messages, want one an address", sent.n.Load())
	}
}

type counter struct{ n atomic.Int64 }

func (c *counter) Send(context.Context, account.Message) error { c.n.Add(1); return nil }

func TestADeletedAccountHasNoRecovery(t *testing.T) {
	s := apitest.Start(t)
	a := owner(t, s)
	at := ask(t, s, "x", "jane@example.org")
	s.Outbox(t)
	if err := s.Accounts.Delete(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	wantFault(t, "its recovery", second(s.Recoveries.Continue(t.Context(), "x")), fault.Timeout)
	s.Clock.Advance(at.Until.Sub(s.Clock.Now()))
	if again := ask(t, s, "y", "jane@example.org"); again.Ready {
		t.Error("its recovery goes on")
	}
}

func TestSweepingKeepsWhatWaits(t *testing.T) {
	s := apitest.Start(t)
	owner(t, s)
	at := ask(t, s, "x", "jane@example.org")
	s.Outbox(t)
	s.Clock.Advance(48 * time.Hour)
	if err := s.Recoveries.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := ask(t, s, "y", "jane@example.org"); !again.Until.Equal(at.Until) {
		t.Errorf("swept: %+v, %+v", again, at)
	}
	s.Clock.Advance(60 * 24 * time.Hour)
	if err := s.Recoveries.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := s.DB.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT (SELECT COUNT(*) FROM recoveries) + (SELECT COUNT(*) FROM recovery_asks)`).Scan(&n)
	}); err != nil || n != 0 {
		t.Errorf("%d rows are left: %v", n, err)
	}
}

func TestTheOwnerReadsInTheirLanguageWhereARecoveryIsAskedFor(t *testing.T) {
	address := netip.MustParseAddr("::ffff:192.0.2.7")
	for _, c := range []struct {
		name, locale string
		place        recovery.Place
		says         string
	}{
		{"a device", "de", recovery.Place{Device: "AAAA-BBBB"}, "(auf dem Gerät AAAA-BBBB)"},
		{"a device and its address", "de", recovery.Place{Device: "AAAA-BBBB", Address: address}, "(auf dem Gerät AAAA-BBBB, von der Adresse 192.0.2.7)"},
		{"a browser", "es", recovery.Place{}, "(en un navegador)"},
		{"a browser and its address", "en", recovery.Place{Address: address}, "(in a browser, from the address 192.0.2.7)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := apitest.Start(t)
			a := owner(t, s)
			if _, err := s.Recoveries.Ask(t.Context(), recovery.Request{Ask: "x", AccountID: a.ID, Region: "DE", Locale: c.locale, Place: c.place}); err != nil {
				t.Fatal(err)
			}
			if m := last(t, s, "jane@example.org"); !strings.Contains(m, c.says) {
				t.Errorf("got %s", m)
			}
		})
	}
}
