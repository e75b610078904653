// SPDX-License-Identifier: Apache-2.0

package staff_test

import (
	"bytes"
	"database/sql"
	"encoding/base32"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/keys"
	"github.com/accountlock/accountlock/internal/service/staff"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
	"github.com/accountlock/accountlock/internal/service/totp"
)

const password = "a violin in the rain"

// world is a staff in a database of its own, under a clock that stands still.
type world struct {
	*staff.Service
	*apitest.Clock
	t     *testing.T
	db    *store.DB
	trail *audit.Log
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: storetest.Open(t, nil), Clock: apitest.NewClock()}
	dir := t.TempDir()
	if err := keys.Init(dir); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(dir, w.Now)
	if err != nil {
		t.Fatal(err)
	}
	secret := bytes.Repeat([]byte("s"), 32)
	accounts, err := account.New(account.Config{DB: w.db, Secret: secret, Hash: account.HashParams{MemoryKiB: 64, Passes: 1, Lanes: 1}, Now: w.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.trail = audit.New(w.db, ring, w.Now)
	if w.Service, err = staff.New(w.db, accounts, w.trail, secret, "accounts.example.org", w.Now); err != nil {
		t.Fatal(err)
	}
	return w
}

// add makes a member and returns what their authenticator app holds.
func (w *world) add(name string, role staff.Role) []byte {
	w.t.Helper()
	_, link, err := w.Add(w.t.Context(), audit.Console, name, role, accountapi.Secret(password))
	if err != nil {
		w.t.Fatal(err)
	}
	return secretOf(w.t, link)
}

func secretOf(t *testing.T, link string) []byte {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" {
		t.Fatalf("%q: %v", link, err)
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret"))
	if err != nil || len(secret) != 20 {
		t.Fatalf("%q: %v", link, err)
	}
	return secret
}

func (w *world) try(name, password, code string) error {
	_, err := w.Authenticate(w.t.Context(), staff.Proof{
		Name: name, Password: accountapi.Secret(password), Code: accountapi.Secret(code), Address: netip.MustParseAddr("203.0.113.7"),
	})
	return err
}

func wantFault(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Helper()
		t.Fatalf("got %v, want %s", err, code)
	}
}

func TestAMemberNeedsNamePasswordAndACodeThatWasNotUsed(t *testing.T) {
	w := newWorld(t)
	secret := w.add("alice", staff.Agent)
	code := func(steps int64) string { return totp.Code(secret, totp.Step(w.Now())+steps) }
	wantFault(t, w.try("alice", password, ""), fault.InvalidCredentials)
	wantFault(t, w.try("alice", password, "000000"), fault.InvalidCredentials)
	wantFault(t, w.try("alice", "something else", code(0)), fault.InvalidCredentials)
	wantFault(t, w.try("bob", password, code(0)), fault.InvalidCredentials)
	wantFault(t, w.try("alice", password, code(2)), fault.InvalidCredentials)
	wantFault(t, w.try("alice", password, code(-2)), fault.InvalidCredentials)
	first := code(0)
	if err := w.try(" Alice ", password, first[:3]+" "+first[3:]); err != nil {
		t.Fatal(err)
	}
	wantFault(t, w.try("alice", password, first), fault.InvalidCredentials)
	wantFault(t, w.try("alice", password, code(-1)), fault.InvalidCredentials) // older than the one used
	if err := w.try("alice", password, code(1)); err != nil {
		t.Fatalf("an app whose clock is ahead: %v", err)
	}
	w.Advance(time.Minute)
	if err := w.try("alice", password, code(0)); err != nil {
		t.Fatal(err)
	}
}

func TestOneCodeLetsInOneOfManyAtOnce(t *testing.T) {
	w := newWorld(t)
	secret := w.add("alice", staff.Agent)
	code := totp.Code(secret, totp.Step(w.Now()))
	var in atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if w.try("alice", password, code) == nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Fatalf("one code let in %d", in.Load())
	}
}

func TestGuessesAtAMemberAreSlowedDown(t *testing.T) {
	w := newWorld(t)
	w.add("alice", staff.Agent)
	var err error
	for range 60 {
		if err = w.try("alice", "a guess", "123456"); fault.CodeOf(err) == fault.RateLimited {
			break
		}
	}
	wantFault(t, err, fault.RateLimited)
	if fault.As(err).RetryAfter <= 0 {
		t.Error("nobody is told when to come back")
	}
}

func TestANameThatNoDatabaseStoresIsNobodys(t *testing.T) {
	w := newWorld(t)
	secret := w.add("alice", staff.Agent)
	for _, name := range []string{"alice\x00", "alice\xff", "x" + strings.Repeat("é", 60)} {
		_, err := w.Authenticate(t.Context(), staff.Proof{Name: name, Password: accountapi.Secret(password), Code: accountapi.Secret(totp.Code(secret, totp.Step(w.Now())))})
		if fault.CodeOf(err) != fault.InvalidCredentials {
			t.Errorf("%.20q: %v", name, err)
		}
	}
}

func TestADisabledMemberIsOutAtOnce(t *testing.T) {
	w := newWorld(t)
	secret := w.add("alice", staff.Agent)
	m, err := w.Authenticate(t.Context(), staff.Proof{Name: "alice", Password: accountapi.Secret(password), Code: accountapi.Secret(totp.Code(secret, totp.Step(w.Now())))})
	if err != nil {
		t.Fatal(err)
	}
	token, err := w.Begin(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.Find(t.Context(), token); err != nil || got.Name != "alice" {
		t.Fatalf("%+v %v", got, err)
	}
	if err := w.Confirm(t.Context(), m, accountapi.Secret(password), netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	wantFault(t, w.Confirm(t.Context(), m, accountapi.Secret("another one"), netip.Addr{}), fault.InvalidCredentials)
	if _, err := w.SetDisabled(t.Context(), audit.Console, "alice", true); err != nil {
		t.Fatal(err)
	}
	_, err = w.Find(t.Context(), token)
	wantFault(t, err, fault.NotAuthorized)
	wantFault(t, w.Confirm(t.Context(), m, accountapi.Secret(password), netip.Addr{}), fault.InvalidCredentials)
	w.Advance(time.Minute)
	code := totp.Code(secret, totp.Step(w.Now()))
	wantFault(t, w.try("alice", password, code), fault.InvalidCredentials)
	if _, err := w.SetDisabled(t.Context(), audit.Console, "alice", false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Find(t.Context(), token); err == nil {
		t.Fatal("enabling brings a session back")
	}
	if err := w.try("alice", password, code); err != nil {
		t.Fatal(err)
	}
}

func TestASessionEndsByItselfAndWithTheNextSignIn(t *testing.T) {
	w := newWorld(t)
	secret := w.add("alice", staff.Agent)
	var m staff.Member
	begin := func() string {
		t.Helper()
		w.Advance(time.Minute)
		var err error
		m, err = w.Authenticate(t.Context(), staff.Proof{Name: "alice", Password: accountapi.Secret(password), Code: accountapi.Secret(totp.Code(secret, totp.Step(w.Now())))})
		if err != nil {
			t.Fatal(err)
		}
		token, err := w.Begin(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	alive := func(token string) bool { _, err := w.Find(t.Context(), token); return err == nil }
	first := begin()
	second := begin()
	if alive(first) || !alive(second) {
		t.Fatal("an earlier session outlives the next sign-in")
	}
	for range 20 {
		w.Advance(20 * time.Minute)
		if !alive(second) {
			t.Fatal("a session in use ended")
		}
	}
	w.Advance(31 * time.Minute)
	if alive(second) {
		t.Fatal("an idle session lives on")
	}
	third := begin()
	for range 8 * 3 {
		w.Advance(20 * time.Minute)
		alive(third)
	}
	if alive(third) {
		t.Fatal("a session outlives its shift")
	}
	fourth := begin()
	if err := w.End(t.Context(), m, fourth); err != nil || alive(fourth) {
		t.Fatal("a session outlives its end")
	}
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestNamesRolesAndPasswordsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.add("alice", staff.Agent)
	for _, name := range []string{"", "a", "Alice", "1a", "al ice", "al/ice", strings.Repeat("a", 33), "console", "device", "owner", "nobody", "alice"} {
		_, _, err := w.Add(t.Context(), audit.Console, name, staff.Agent, accountapi.Secret(password))
		wantFault(t, err, fault.InvalidArgument)
	}
	_, _, err := w.Add(t.Context(), audit.Console, "bob", "chief", accountapi.Secret(password))
	wantFault(t, err, fault.InvalidArgument)
	_, _, err = w.Add(t.Context(), audit.Console, "bob", staff.Agent, accountapi.Secret("short"))
	wantFault(t, err, fault.WeakPassword)
	if _, err := w.SetDisabled(t.Context(), audit.Console, "nobody", true); fault.CodeOf(err) != fault.InvalidArgument {
		t.Fatal(err)
	}
	w.add("carol", staff.Auditor)
	all, err := w.List(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "alice" || all[1].Role != staff.Auditor {
		t.Fatalf("%+v %v", all, err)
	}
	wantFault(t, all[1].MayAct(), fault.NotAuthorized)
	if all[0].MayAct() != nil {
		t.Error("an agent may not act")
	}
}

func TestTheDatabaseHoldsNeitherPasswordNorSecondFactorAndTheTrailNamesEachChange(t *testing.T) {
	w := newWorld(t)
	secret := w.add("alice", staff.Agent)
	var hash, sealed string
	err := w.db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRowContext(t.Context(), `SELECT password_hash, totp_secret FROM staff`).Scan(&hash, &sealed)
	})
	if err != nil || !strings.HasPrefix(hash, "$argon2id$") || strings.Contains(sealed, base32.StdEncoding.EncodeToString(secret)) {
		t.Fatalf("%q %q %v", hash, sealed, err)
	}
	w.add("bob", staff.Agent)
	// A second factor moved to another member is not theirs.
	if err := w.db.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE staff SET totp_secret = $1 WHERE name = 'bob'`, sealed)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.try("bob", password, totp.Code(secret, totp.Step(w.Now()))); err == nil {
		t.Fatal("bob signs in with alice's second factor")
	}
	if _, err := w.SetDisabled(t.Context(), "alice", "bob", true); err != nil {
		t.Fatal(err)
	}
	trail, err := w.trail.List(t.Context(), audit.Filter{Limit: 10})
	if err != nil || len(trail) != 3 || trail[0].Action != "staff-disabled" || trail[0].Actor != "alice" || trail[2].Detail != "alice, agent" {
		t.Fatalf("%+v %v", trail, err)
	}
}
