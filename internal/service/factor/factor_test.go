// SPDX-License-Identifier: Apache-2.0

package factor_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base32"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/factor"
	"github.com/accountlock/accountlock/internal/service/factor/factortest"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
	"github.com/accountlock/accountlock/internal/service/totp"
)

const origin = "https://accounts.example.org"

type world struct {
	*factor.Service
	*apitest.Clock
	db   *store.DB
	told int
}

// newWorld has factors over real accounts' limits.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{db: storetest.Open(t, nil), Clock: apitest.NewClock()}
	key := bytes.Repeat([]byte("s"), 32)
	accounts, err := account.New(account.Config{DB: w.db, Secret: key, Now: w.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.Service, err = factor.New(factor.Config{
		DB: w.db, Limits: accounts, Secret: key, PublicURL: origin, Now: w.Now, Tell: func(context.Context, string) { w.told++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func keyOf(t *testing.T, a factor.NewApp) secret.Bytes {
	t.Helper()
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(a.Key, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (w *world) code(key secret.Bytes) accountapi.Secret {
	return accountapi.Secret(totp.Code(key, totp.Step(w.Now())))
}

// app sets up an app for an owner.
func (w *world) app(t *testing.T, owner string) (key secret.Bytes, backup []string) {
	t.Helper()
	a, err := w.OfferApp(owner, "Example", owner)
	if err != nil {
		t.Fatal(err)
	}
	key = keyOf(t, a)
	backup, err = w.AddApp(t.Context(), owner, a.Offer, "my phone", w.code(key))
	if err != nil {
		t.Fatal(err)
	}
	return key, backup
}

func is(t *testing.T, err error, want fault.Code, what string) {
	t.Helper()
	if got := fault.CodeOf(err); got != want {
		t.Errorf("%s: %q, not %q (%v)", what, got, want, err)
	}
}

func TestAnAppIsSetUpByItsFirstCodeAndEachCodeServesOnce(t *testing.T) {
	w := newWorld(t)
	a, err := w.OfferApp("1", "Example", "1")
	if err != nil {
		t.Fatal(err)
	}
	key := keyOf(t, a)
	_, err = w.AddApp(t.Context(), "1", a.Offer, "phone", accountapi.Secret("000000"))
	is(t, err, fault.InvalidCode, "a wrong first code")
	_, err = w.AddApp(t.Context(), "2", a.Offer, "phone", w.code(key))
	is(t, err, fault.Timeout, "another's offer")
	again, err := w.SameApp("1", "Example", "1", a.Offer)
	if err != nil || again.Key != a.Key {
		t.Errorf("the same form has another key: %v", err)
	}
	backup, err := w.AddApp(t.Context(), "1", a.Offer, "  my\x00 phone\n", w.code(key))
	if err != nil || len(backup) != 10 {
		t.Fatalf("%v, %d backup codes", err, len(backup))
	}
	_, err = w.AddApp(t.Context(), "1", a.Offer, "phone", w.code(key))
	is(t, err, fault.Timeout, "the same form once more")
	_, err = w.AddApp(t.Context(), "1", again.Offer, "phone", w.code(key))
	is(t, err, fault.Timeout, "the form that was shown again")
	list, spare, err := w.List(t.Context(), "1")
	if err != nil || len(list) != 1 || list[0].Name != "my phone" || spare != 10 || w.told != 1 {
		t.Errorf("%+v, %d, %v, told %d times", list, spare, err, w.told)
	}
	is(t, w.Check(t.Context(), "1", w.code(key)), fault.InvalidCode, "the code that it was set up by")
	w.Advance(30 * time.Second)
	is(t, w.Check(t.Context(), "2", w.code(key)), fault.InvalidCode, "somebody else's code")
	is(t, w.Check(t.Context(), "1", w.code(key)), "", "the next code")
	is(t, w.Check(t.Context(), "1", w.code(key)), fault.InvalidCode, "the same code again")
	is(t, w.Check(t.Context(), "1", accountapi.Secret("12345")), fault.InvalidCode, "five digits")
	w.Advance(11 * time.Minute)
	b, err := w.OfferApp("1", "Example", "1")
	if err != nil {
		t.Fatal(err)
	}
	w.Advance(11 * time.Minute)
	_, err = w.AddApp(t.Context(), "1", b.Offer, "", w.code(keyOf(t, b)))
	is(t, err, fault.Timeout, "an offer of 11 minutes ago")
}

func TestABackupCodeServesOnceAndNewOnesReplaceIt(t *testing.T) {
	w := newWorld(t)
	_, backup := w.app(t, "1")
	w.app(t, "2")
	is(t, w.Check(t.Context(), "2", accountapi.Secret(backup[0])), fault.InvalidCode, "another's backup code")
	is(t, w.Check(t.Context(), "1", accountapi.Secret(" "+strings.ToUpper(strings.ReplaceAll(backup[0], "-", " ")))), "", "a backup code as people type it")
	is(t, w.Check(t.Context(), "1", accountapi.Secret(backup[0])), fault.InvalidCode, "the same again")
	fresh, err := w.NewBackupCodes(t.Context(), "1")
	if err != nil || len(fresh) != 10 {
		t.Fatal(fresh, err)
	}
	is(t, w.Check(t.Context(), "1", accountapi.Secret(backup[1])), fault.InvalidCode, "one that was replaced")
	is(t, w.Check(t.Context(), "1", accountapi.Secret(fresh[9])), "", "one of the new")
	list, spare, err := w.List(t.Context(), "1")
	if err != nil || spare != 9 {
		t.Errorf("%d are left, %v", spare, err)
	}
	is(t, w.Remove(t.Context(), "2", list[0].ID), fault.InvalidArgument, "removing another's")
	is(t, w.Remove(t.Context(), "1", list[0].ID), "", "removing the last")
	is(t, w.Check(t.Context(), "1", accountapi.Secret(fresh[0])), fault.InvalidCode, "a backup code without a factor")
	_, err = w.NewBackupCodes(t.Context(), "1")
	is(t, err, fault.InvalidArgument, "backup codes of nothing")
}

func TestGuessesInParallelRaceNoLimit(t *testing.T) {
	w := newWorld(t)
	key, _ := w.app(t, "1")
	w.Advance(30 * time.Second)
	var wrong, limited, busy int
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 5 {
				err := w.Check(t.Context(), "1", accountapi.Secret("999999"))
				mu.Lock()
				switch fault.CodeOf(err) {
				case fault.InvalidCode:
					wrong++
				case fault.RateLimited:
					limited++
				case fault.ServiceUnavailable:
					busy++ // a database that gave way to the others too often; nothing was looked at
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	// 15 are free, and the one after them brings the first delay.
	if wrong > 16 || wrong+limited+busy != 40 {
		t.Errorf("%d guesses of 40 were looked at, %d refused, %d turned away", wrong, limited, busy)
	}
	for ; wrong < 16; wrong++ {
		is(t, w.Check(t.Context(), "1", accountapi.Secret("999999")), fault.InvalidCode, "a guess that was turned away before")
	}
	is(t, w.Check(t.Context(), "1", w.code(key)), fault.RateLimited, "the right code during the delay")
	w.Advance(16 * time.Minute)
	is(t, w.Check(t.Context(), "1", w.code(key)), "", "the right code after it")
}

func TestOneCodeInParallelServesOnce(t *testing.T) {
	w := newWorld(t)
	key, backup := w.app(t, "1")
	w.Advance(30 * time.Second)
	for what, code := range map[string]accountapi.Secret{"of the app": w.code(key), "for backup": accountapi.Secret(backup[0])} {
		var right int
		var mu sync.Mutex
		var group sync.WaitGroup
		for range 6 {
			group.Go(func() {
				if w.Check(t.Context(), "1", bytes.Clone(code)) == nil {
					mu.Lock()
					right++
					mu.Unlock()
				}
			})
		}
		group.Wait()
		if right != 1 {
			t.Errorf("a code %s served %d times", what, right)
		}
	}
}

func ceremony(t *testing.T, c factor.Ceremony, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// passkey sets up a passkey for an owner.
func (w *world) passkey(t *testing.T, owner string) *factortest.Authenticator {
	t.Helper()
	a := &factortest.Authenticator{Origin: origin}
	c, err := w.OfferPasskey(t.Context(), owner, "account "+owner)
	offer, answer := a.Create(t, ceremony(t, c, err))
	if _, err := w.AddPasskey(t.Context(), owner, offer, "", answer); err != nil {
		t.Fatal(err, errUnder(err))
	}
	return a
}

func errUnder(err error) error { return fault.As(err).Err }

func (w *world) ask(t *testing.T, owner string) []byte {
	t.Helper()
	c, err := w.AskPasskey(t.Context(), owner)
	return ceremony(t, c, err)
}

func TestAPasskeyProvesItsOwnerWithAndWithoutAName(t *testing.T) {
	w := newWorld(t)
	a := w.passkey(t, "1")
	for _, owner := range []string{"1", ""} {
		offer, answer := a.Sign(t, w.ask(t, owner))
		whose, err := w.CheckPasskey(t.Context(), owner, offer, answer)
		if err != nil || whose != "1" {
			t.Errorf("asked of %q: %q, %v (%v)", owner, whose, err, errUnder(err))
		}
		_, err = w.CheckPasskey(t.Context(), owner, offer, answer)
		is(t, err, fault.InvalidCode, "the same answer again")
	}
	if ways, err := w.Ways(t.Context(), "1"); err != nil || !ways.Passkey || ways.App {
		t.Errorf("%+v, %v", ways, err)
	}
}

func TestAPasskeyThatIsNotTheOneAskedForIsRefused(t *testing.T) {
	w := newWorld(t)
	a, b := w.passkey(t, "1"), w.passkey(t, "2")
	check := func(what, owner string, offer string, answer []byte, want fault.Code) {
		t.Helper()
		_, err := w.CheckPasskey(t.Context(), owner, offer, answer)
		is(t, err, want, what)
	}
	_, answer := b.Sign(t, w.ask(t, "1"))
	offer, _ := a.Sign(t, w.ask(t, "1"))
	check("another's passkey", "1", offer, answer, fault.InvalidCode)
	offer, answer = a.Sign(t, w.ask(t, "1"))
	check("an answer to another challenge", "1", string(bytes.Clone([]byte(offer))), answer[:len(answer)-2], fault.InvalidCode)
	check("an offer to another", "2", offer, answer, fault.Timeout)
	a.Origin = "https://accounts.example.org.evil.example"
	offer, answer = a.Sign(t, w.ask(t, "1"))
	check("a page of somebody else", "1", offer, answer, fault.InvalidCode)
	a.Origin, a.Unverified = origin, true
	offer, answer = a.Sign(t, w.ask(t, "1"))
	check("without finger or PIN", "1", offer, answer, fault.InvalidCode)
	a.Unverified, a.Count = false, 0
	offer, answer = a.Sign(t, w.ask(t, "1"))
	check("the first of a count", "1", offer, answer, "")
	a.Count = 0
	offer, answer = a.Sign(t, w.ask(t, "1"))
	check("a copy that counts apart", "1", offer, answer, fault.InvalidCode)
	offer, answer = a.Sign(t, w.ask(t, "1"))
	w.Advance(11 * time.Minute)
	check("an answer after 11 minutes", "1", offer, answer, fault.Timeout)
	check("nonsense", "", "nonsense", []byte("{"), fault.Timeout)
}

func TestWhoHasTheDatabaseAloneReadsNoKeyAndNoCode(t *testing.T) {
	w := newWorld(t)
	key, backup := w.app(t, "1")
	var dump strings.Builder
	err := w.db.Read(t.Context(), func(tx *sql.Tx) error {
		var sealed string
		if err := tx.QueryRow(`SELECT sealed FROM factors`).Scan(&sealed); err != nil {
			return err
		}
		dump.WriteString(sealed)
		rows, err := tx.Query(`SELECT code_hash FROM backup_codes`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var h string
			if err := rows.Scan(&h); err != nil {
				return err
			}
			dump.WriteString(h)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(backup, string(key), totp.Text(key)) {
		if strings.Contains(dump.String(), s) {
			t.Errorf("the database holds %q", s)
		}
	}
	// Under another service secret nothing opens: it fails, and lets nobody in.
	other, err := factor.New(factor.Config{DB: w.db, Limits: w.Limits, Secret: []byte("another"), PublicURL: origin, Now: w.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.Advance(time.Minute)
	if err := other.Check(t.Context(), "1", w.code(key)); err == nil {
		t.Error("a code is taken under another secret")
	}
}

func TestThereIsABoundToFactorsAndNothingIsLeftOfWhoIsGone(t *testing.T) {
	w := newWorld(t)
	for range 10 {
		w.app(t, "1")
	}
	a, err := w.OfferApp("1", "Example", "1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.AddApp(t.Context(), "1", a.Offer, "", w.code(keyOf(t, a)))
	is(t, err, fault.InvalidArgument, "the eleventh")
	if err := w.db.Tx(t.Context(), func(tx *sql.Tx) error { return w.Forget(t.Context(), tx, "1") }); err != nil {
		t.Fatal(err)
	}
	if list, spare, err := w.List(t.Context(), "1"); err != nil || len(list) != 0 || spare != 0 {
		t.Errorf("left: %d, %d, %v", len(list), spare, err)
	}
}

func TestAnAddressOfNumbersHasNoPasskeys(t *testing.T) {
	w := newWorld(t)
	s, err := factor.New(factor.Config{DB: w.db, Limits: w.Limits, Secret: []byte("s"), PublicURL: "https://127.0.0.1:8443"})
	if err != nil || s.Passkeys() {
		t.Fatalf("%v, passkeys: %v", err, s.Passkeys())
	}
	_, err = s.AskPasskey(t.Context(), "")
	is(t, err, fault.InvalidArgument, "asking all the same")
}
