// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
)

const flow = "flow-0123456789abcdef"

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// send sends a code and returns it as its owner reads it.
func (w *world) send(a account.Account, flow string) string {
	w.t.Helper()
	w.asked = a.ID
	if _, _, err := w.SendCode(w.t.Context(), a, flow, "unlink", ""); err != nil {
		w.t.Fatal(err)
	}
	codes := sixDigits.FindAllString(w.sent.last(w.t).Text, -1)
	if len(codes) != 1 {
		w.t.Fatalf("%d codes in %q", len(codes), w.sent.last(w.t).Text)
	}
	return codes[0]
}

// check tries, for whom the last was sent to, a code that must be refused, or fit if want is empty.
func (w *world) check(flow, code string, want fault.Code) *fault.Error {
	w.t.Helper()
	err := w.CheckCode(w.t.Context(), w.asked, flow, "unlink", accountapi.Secret(code))
	if fault.CodeOf(err) != want {
		w.t.Fatalf("got %v, want %q", err, want)
	}
	return fault.As(err)
}

// other is a code that is not this one.
func other(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

func TestCodeFitsOnce(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	w.asked = jane.ID
	to, expires, err := w.SendCode(t.Context(), jane, flow, "unlink", "de-AT")
	if err != nil || to != "j•••@example.org" || !expires.Equal(w.clock.Now().Add(10*time.Minute)) {
		t.Fatalf("%q %v %v", to, expires, err)
	}
	m := w.sent.last(t)
	if m.To != "Jane@example.org" || m.Channel != account.ChannelEmail || m.Subject != "Ihr Code" {
		t.Fatalf("sent %+v", m)
	}
	code := sixDigits.FindString(m.Text)
	if strings.Contains(m.Subject, code) {
		t.Error("the code shows in the subject")
	}
	w.check(flow, " "+code[:3]+"-"+code[3:]+"\n", "")
	w.check(flow, code, fault.CodeExpired)
}

func TestCodeGoesBySMSWhereThereIsNoAddress(t *testing.T) {
	w := newWorld(t, nil)
	a := w.create(account.NewAccount{Phones: []string{"+4915155501042"}})
	to, _, err := w.SendCode(t.Context(), a, flow, "unlink", "xx-invalid-locale-")
	if m := w.sent.last(t); err != nil || to != "+49 ••• ••42" || m.Channel != account.ChannelSMS || m.To != "+4915155501042" || m.Subject != "" {
		t.Fatalf("%q, %+v, %v", to, m, err)
	}
	bare := w.create(account.NewAccount{})
	if _, _, err := w.SendCode(t.Context(), bare, flow, "unlink", ""); fault.CodeOf(err) != fault.InvalidArgument {
		t.Fatalf("nowhere to send to: %v", err)
	}
}

func TestCodeIsForItsFlowAndPurposeAlone(t *testing.T) {
	w := newWorld(t, nil)
	code := w.send(w.jane(), flow)
	w.check("another-flow", code, fault.CodeExpired)
	if err := w.CheckCode(t.Context(), w.asked, flow, "recover", accountapi.Secret(code)); fault.CodeOf(err) != fault.CodeExpired {
		t.Fatalf("got %v", err)
	}
	w.check(flow, code, "")
}

func TestCodeExpiresAfterTenMinutes(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	code := w.send(jane, flow)
	w.clock.Advance(10*time.Minute - time.Millisecond)
	w.check(flow, other(code), fault.InvalidCode)
	w.clock.Advance(time.Millisecond)
	w.check(flow, code, fault.CodeExpired)
	w.check(flow, w.send(jane, flow), "")
}

func TestFiveWrongTriesVoidACode(t *testing.T) {
	w := newWorld(t, nil)
	code := w.send(w.jane(), flow)
	for _, malformed := range []string{"", "12345", "1234567", "12345x", strings.Repeat("1", 5000)} {
		if f := w.check(flow, malformed, fault.InvalidCode); f.Counted {
			t.Errorf("%.10q was counted", malformed)
		}
	}
	for _, left := range []int{4, 3, 2, 1, 0} {
		if f := w.check(flow, other(code), fault.InvalidCode); !f.Counted || f.AttemptsLeft != left {
			t.Fatalf("got %+v, want %d left", f, left)
		}
	}
	w.check(flow, code, fault.CodeExpired)
}

func TestGuessesAtACodeAtOnceAreNoMoreThanFive(t *testing.T) {
	w := newWorld(t, nil)
	code := w.send(w.jane(), flow)
	var mu sync.Mutex
	got := map[fault.Code]int{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			err := w.CheckCode(t.Context(), w.asked, flow, "unlink", accountapi.Secret(other(code)))
			mu.Lock()
			defer mu.Unlock()
			got[fault.CodeOf(err)]++
		})
	}
	wg.Wait()
	if got[fault.InvalidCode] != 5 || got[fault.CodeExpired] != 45 {
		t.Fatalf("got %v", got)
	}
}

func TestNewCodeVoidsTheOldAndComesHalfAMinuteLaterFiveTimes(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	old := w.send(jane, flow)
	for range 5 {
		if _, _, err := w.SendCode(t.Context(), jane, flow, "unlink", ""); fault.As(err).RetryAfter != 30*time.Second || fault.CodeOf(err) != fault.RateLimited {
			t.Fatalf("too early: %v", err)
		}
		w.clock.Advance(30 * time.Second)
		if code := w.send(jane, flow); code != old {
			w.check(flow, old, fault.InvalidCode)
			old = code
		}
	}
	w.clock.Advance(30 * time.Second)
	_, _, err := w.SendCode(t.Context(), jane, flow, "unlink", "")
	if f := fault.As(err); f.Code != fault.RateLimited || f.RetryAfter != 9*time.Minute+30*time.Second {
		t.Fatalf("a sixth time: %+v", f)
	}
	w.check(flow, old, "")
}

func TestCodesForOneAccountAreBoundedOverAllFlows(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	for i := range 11 {
		w.send(jane, fmt.Sprint(flow, i))
	}
	_, _, err := w.SendCode(t.Context(), jane, flow+"x", "unlink", "")
	if f := fault.As(err); f.Code != fault.RateLimited || f.RetryAfter != 5*time.Minute {
		t.Fatalf("got %+v", f)
	}
	w.clock.Advance(5 * time.Minute)
	w.send(jane, flow+"x")
}

func TestWrongCodesForOneAccountAreBoundedOverAllFlows(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	wrongCodes := 0
	for i := range 4 {
		f := fmt.Sprint(flow, i)
		code := w.send(jane, f)
		for range 4 {
			w.check(f, other(code), fault.InvalidCode)
			wrongCodes++
		}
		if wrongCodes == 16 {
			if e := w.check(f, code, fault.RateLimited); e.RetryAfter != 15*time.Minute {
				t.Fatalf("got %+v", e)
			}
		}
	}
}

func TestFlowThatGoesOverToAnotherAccountNeedsThatAccountsCode(t *testing.T) {
	w := newWorld(t, nil)
	thief := w.create(account.NewAccount{Emails: []string{"thief@example.org"}})
	own := w.send(thief, flow)
	jane := w.jane()
	hers := w.send(jane, flow) // at once, and the thief's is void
	if own != hers {
		w.check(flow, own, fault.InvalidCode)
	}
	if err := w.CheckCode(t.Context(), thief.ID, flow, "unlink", accountapi.Secret(hers)); fault.CodeOf(err) != fault.CodeExpired {
		t.Errorf("her code for the thief's account: %v", err)
	}
	w.check(flow, hers, "")
}

func TestCodeIsNowhereInTheDatabase(t *testing.T) {
	w := newWorld(t, nil)
	code := w.send(w.jane(), flow)
	var hash string
	err := w.db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT code_hash FROM codes`).Scan(&hash)
	})
	if err != nil || len(hash) != 43 || strings.Contains(hash, code) {
		t.Fatalf("%q (%v)", hash, err)
	}
}

func TestCodeThatCannotBeSentIsTriedAgainLater(t *testing.T) {
	w := newWorld(t, nil)
	jane := w.jane()
	w.sent.fail = errors.New("no mail today")
	_, _, err := w.SendCode(t.Context(), jane, flow, "unlink", "")
	if f := fault.As(err); f.Code != fault.ServiceUnavailable || f.RetryAfter != 30*time.Second || sixDigits.MatchString(err.Error()) {
		t.Fatalf("got %v", err)
	}
	w.sent.fail = nil
	w.clock.Advance(30 * time.Second)
	w.check(flow, w.send(jane, flow), "")
}

func TestCodesOfEveryDrawHaveSixDigits(t *testing.T) {
	random := &zeros{n: 1 << 20}
	w := newWorld(t, func(c *account.Config) { c.Random = random })
	if code := w.send(w.jane(), flow); code != "000000" {
		t.Fatalf("got %s", code)
	}
}
