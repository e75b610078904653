// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

const (
	right = "correct horse 42 staple"
	wrong = "correct horse 43 staple"
)

// cheap is a hash that costs little, for tests that are not about its cost.
var cheap = account.HashParams{MemoryKiB: 64, Passes: 1, Lanes: 1}

// world is a service on a database of its own, under a clock that stands.
type world struct {
	asked string // whose code was sent last
	*account.Service
	t      testing.TB
	db     *store.DB
	clock  *apitest.Clock
	sent   *notifier
	counts *storetest.Counts
}

// notifier keeps what was sent.
type notifier struct {
	mu   sync.Mutex
	all  []account.Message
	fail error
}

func (n *notifier) Send(_ context.Context, m account.Message) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail == nil {
		n.all = append(n.all, m)
	}
	return n.fail
}

func (n *notifier) last(t testing.TB) account.Message {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.all) == 0 {
		t.Fatal("nothing was sent")
	}
	return n.all[len(n.all)-1]
}

func newWorld(t testing.TB, change func(*account.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: apitest.NewClock(), sent: &notifier{}, counts: &storetest.Counts{}}
	w.db = storetest.Open(t, func(c *store.Config) {
		if !storetest.OnPostgres() {
			c.Wrap = w.counts.Wrap
		}
	})
	w.Service = w.open(change)
	return w
}

// open returns a service on w's database, as a further process would have one.
func (w *world) open(change func(*account.Config)) *account.Service {
	w.t.Helper()
	cfg := account.Config{
		DB: w.db, Secret: secret.Bytes("0123456789abcdef0123456789abcdef"), Notifier: w.sent,
		Region: "DE", Hash: cheap, HashQueue: 1000, Now: w.clock.Now,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := account.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// jane makes an account with an address and a number.
func (w *world) jane() account.Account {
	w.t.Helper()
	return w.create(account.NewAccount{Emails: []string{"Jane@Example.org"}, Phones: []string{"+49 1515 5501042"}})
}

func (w *world) create(n account.NewAccount) account.Account {
	w.t.Helper()
	if n.Password == nil {
		n.Password = accountapi.Secret(right)
	}
	a, err := w.Create(w.t.Context(), n)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// at is an attempt from a device of that name, open and at an address of its own.
func at(identifier, password, device string) account.Attempt {
	return account.Attempt{Identifier: identifier, Password: accountapi.Secret(password), DeviceID: device}
}

// try makes an attempt that must be refused, or succeed if code is empty.
func (w *world) try(a account.Attempt, code fault.Code) *fault.Error {
	w.t.Helper()
	_, err := w.Authenticate(w.t.Context(), a)
	if fault.CodeOf(err) != code {
		w.t.Fatalf("got %v, want %q", err, code)
	}
	if err == nil {
		return nil
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		w.t.Fatalf("%v is no fault", err)
	}
	return f
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// logTo has a service log into b, at every level.
func logTo(b io.Writer) func(*account.Config) {
	return func(c *account.Config) {
		c.Log = slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug - 8}))
	}
}

// address is the n-th of many addresses.
func address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}
