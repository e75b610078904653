// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/approval"
	"github.com/accountlock/accountlock/internal/service/attest"
	"github.com/accountlock/accountlock/internal/service/captcha"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/factor"
	"github.com/accountlock/accountlock/internal/service/flow"
	"github.com/accountlock/accountlock/internal/service/httpapi"
	"github.com/accountlock/accountlock/internal/service/keys"
	"github.com/accountlock/accountlock/internal/service/notice"
	"github.com/accountlock/accountlock/internal/service/offline"
	"github.com/accountlock/accountlock/internal/service/outbox"
	"github.com/accountlock/accountlock/internal/service/portal"
	"github.com/accountlock/accountlock/internal/service/recovery"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
	"github.com/accountlock/accountlock/internal/service/support"
)

// Clock is a clock that stands still until it is moved. It is safe for
// concurrent use.
type Clock struct {
	mu sync.Mutex
	t  time.Time
}

// NewClock returns a clock years away from the real one, so that a use of the
// real one is noticed.
func NewClock() *Clock { return &Clock{t: time.Date(2031, 4, 5, 6, 7, 8, 0, time.UTC)} }

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// Log is what the service has printed. It is safe for concurrent use.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// String returns all that was printed.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Person is one who has an account.
type Person struct {
	account.Account
	Email, Password string
}

// Service is a whole account service: a database in a file, keys in files, and
// the API over TLS on the loopback interface.
type Service struct {
	URL string
	// PortalURL is URL by a name instead of an address, as passkeys need it.
	PortalURL string
	CA        []byte
	Dir       string
	Clock     *Clock
	Log       *Log
	Secret    []byte
	Database  store.Config
	DB        *store.DB
	Keys      *keys.Ring
	Accounts  *account.Service
	Devices   *device.Registry
	Attest    *attest.Verifier
	Offline   *offline.Service
	Flows     *flow.Service
	Notices   *notice.Queue
	Captcha   *captcha.Captcha

	Factors    *factor.Service
	Recoveries *recovery.Service
	Approvals  *approval.Service
	Support
	API *httpapi.Server
	TLS *httptest.Server
	// Owner has an account, Stranger another one, and Careful one with a second factor.
	Owner, Stranger, Careful Person
}

// Start starts a service that ends with the test. Hashing is cheap: how strong it
// is, is tested where it is done.
func Start(t testing.TB) *Service {
	t.Helper()
	return start(t, cheap, nil)
}

// StartCounting is Start on a database whose queries are counted.
func StartCounting(t testing.TB) (*Service, *storetest.Counts) {
	t.Helper()
	c := &storetest.Counts{}
	return start(t, cheap, c.Wrap), c
}

// StartHashing is Start with password hashes that cost what params say.
func StartHashing(t testing.TB, params account.HashParams) *Service {
	t.Helper()
	return start(t, params, nil)
}

var cheap = account.HashParams{MemoryKiB: 64, Passes: 1, Lanes: 1}

func start(t testing.TB, params account.HashParams, wrap func(driver.Connector) driver.Connector) *Service {
	t.Helper()
	s := &Service{Dir: t.TempDir(), Clock: NewClock(), Log: &Log{}, Secret: bytes.Repeat([]byte("s"), 32)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	s.Database = storetest.Config(t)
	s.Database.Wrap = wrap
	s.DB = storetest.OpenAt(t, s.Database)
	must(keys.Init(filepath.Join(s.Dir, "keys")))
	s.Keys, err = keys.Open(filepath.Join(s.Dir, "keys"), s.Clock.Now)
	must(err)
	mail, err := outbox.New(outbox.Config{Dir: filepath.Join(s.Dir, "outbox"), Now: s.Clock.Now})
	must(err)
	log := slog.New(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.TLS = httptest.NewUnstartedServer(nil)
	s.PortalURL = strings.Replace("https://"+s.TLS.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	s.Notices = notice.New(s.DB, func(ctx context.Context, n device.Notice) error {
		if support.Tells(n) {
			return s.Cases.Tell(ctx, n)
		}
		return s.Accounts.Notify(ctx, n.AccountID, account.NoticeKind(n.Kind), n.DeviceID)
	}, s.Clock.Now)
	s.Devices = device.New(s.DB, s.Notices, s.Clock.Now)
	s.Attest = attest.New(s.Secret, attest.Trusted{}, s.Clock.Now)
	s.Accounts, err = account.New(account.Config{
		DB: s.DB, Secret: s.Secret, Notifier: mail, Region: "GB", Hash: params, Now: s.Clock.Now, Log: log,
		OnDelete: func(ctx context.Context, tx *sql.Tx, id string) error {
			return errors.Join(s.Flows.AccountDeleted(ctx, tx, id), s.Devices.AccountDeleted(ctx, tx, id), portal.EndSessions(ctx, tx, id), s.Recoveries.AccountDeleted(ctx, tx, id), s.Factors.Forget(ctx, tx, id),
				s.Approvals.AccountDeleted(ctx, tx, id), s.Cases.AccountDeleted(ctx, tx, id))
		},
		OnPassword: func(ctx context.Context, tx *sql.Tx, id string) error {
			return s.Recoveries.PasswordChanged(ctx, tx, id)
		},
	})
	must(err)
	s.Factors, err = factor.New(factor.Config{
		DB: s.DB, Limits: s.Accounts, Secret: s.Secret, PublicURL: s.PortalURL, Now: s.Clock.Now, Tell: s.Accounts.FactorsChanged,
	})
	must(err)
	s.Offline, err = offline.New(s.DB, s.Devices, s.Secret, s.Keys, s.Clock.Now)
	must(err)
	s.Flows = flow.New(s.DB, s.Devices, s.Accounts, s.Offline, s.Keys, s.Clock.Now)
	s.Captcha = captcha.New(s.DB, s.Secret, s.Clock.Now)
	s.Flows.UseCaptcha(s.Captcha)
	s.Recoveries = recovery.New(recovery.Config{
		DB: s.DB, Accounts: s.Accounts, Notifier: mail, Secret: s.Secret, PublicURL: "https://accounts.example.org",
		OnRecovered: portal.EndSessions, Log: log, Now: s.Clock.Now,
	})
	s.Flows.UseRecoveries(s.Recoveries)
	s.Flows.UseFactors(s.Factors)
	s.Approvals = approval.New(s.DB, s.Devices, "https://accounts.example.org", s.Clock.Now)
	s.Flows.UseApprovals(s.Approvals)
	s.support(t, mail, log)
	s.API = s.NewAPI(t, log)
	s.TLS.Config.Handler = s.API
	s.TLS.EnableHTTP2 = true
	s.TLS.TLS = &tls.Config{Certificates: []tls.Certificate{Certificate(t)}, MinVersion: tls.VersionTLS13}
	s.TLS.StartTLS()
	t.Cleanup(func() { s.TLS.Close(); s.API.Close() })
	s.URL = s.TLS.URL
	s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.TLS.Certificate().Raw})
	s.Owner = s.person(t, "owner@example.org", "correct horse battery", false)
	s.Stranger = s.person(t, "stranger@example.org", "staple paperclip rubber", false)
	s.Careful = s.person(t, "careful@example.org", "umbrella in the desert", true)
	return s
}

// NewAPI returns one more server on the service's database.
func (s *Service) NewAPI(t testing.TB, log *slog.Logger) *httpapi.Server {
	t.Helper()
	contacts := []httpapi.Contact{
		{SupportContact: accountapi.SupportContact{Kind: accountapi.Email, Label: "Everywhere", Address: "help@example.org"}},
		{Region: "GB", SupportContact: accountapi.SupportContact{Kind: accountapi.Phone, Label: "Britain", Address: "+442079460000"}},
	}
	pages, err := portal.New(portal.Config{
		DB: s.DB, Accounts: s.Accounts, Devices: s.Devices, Log: log, Now: s.Clock.Now, Sent: s.Notices.Kick,
		Offline: s.Offline, Captcha: s.Captcha, Approvals: s.Approvals, Recoveries: s.Recoveries, Factors: s.Factors, Registration: true,
		PublicURL: "https://accounts.example.org",
		Cases:     s.Cases, Staff: s.Staff, Trail: s.Trail, VerifyTrail: s.verifyTrail,
		Address: func(r *http.Request) netip.Addr { return httpapi.ClientAddress(r, nil) },
		Contacts: func(region, locale string) []accountapi.SupportContact {
			return httpapi.ContactsFor(contacts, region, locale)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return httpapi.New(httpapi.Config{
		DB: s.DB, Devices: s.Devices, Attest: s.Attest, Flows: s.Flows, Keys: s.Keys, Notices: s.Notices, Cases: s.Cases,
		Secret: s.Secret, Log: log, Now: s.Clock.Now,
		Support: contacts, Portal: pages,
	})
}

func (s *Service) person(t testing.TB, email, password string, secondFactor bool) Person {
	t.Helper()
	a, err := s.Accounts.Create(t.Context(), account.NewAccount{
		Emails: []string{email}, Password: accountapi.Secret(password), SecondFactor: secondFactor,
	})
	if err != nil {
		t.Fatal(err)
	}
	return Person{Account: a, Email: email, Password: password}
}

// Device returns a new device of the service, enrolled.
func (s *Service) Device(t testing.TB) *Device {
	t.Helper()
	d := NewDevice(s.URL, Client(s.CA))
	d.Enrol(t)
	return d
}

// Set returns the keys that a device trusts.
func (s *Service) Set(t testing.TB) []accountapi.JWK {
	t.Helper()
	f, err := s.Keys.DeviceFile()
	if err != nil {
		t.Fatal(err)
	}
	return f.Keys
}

// Outbox returns the messages that were sent, in order.
func (s *Service) Outbox(t testing.TB) []string {
	t.Helper()
	if err := errors.Join(s.Notices.Deliver(t.Context()), s.Recoveries.Deliver(t.Context())); err != nil {
		t.Fatal(err)
	}
	return ReadOutbox(t, filepath.Join(s.Dir, "outbox"))
}

// ReadOutbox returns the messages in a folder, in the order they were sent.
func ReadOutbox(t testing.TB, dir string) []string {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, n := range names {
		if strings.HasPrefix(n.Name(), ".") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

// Link links the device to the person's account and returns the link.
func (s *Service) Link(t testing.TB, d *Device, p Person) accountapi.LinkClaim {
	t.Helper()
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	id := begun.Step.FlowId
	d.Reply(t, id, Identify(p.Email))
	d.Reply(t, id, Password(p.Password))
	d.Reply(t, id, Confirm())
	done := d.Reply(t, id, Commit(NewNonce()))
	if done.Step.Step != accountapi.Done {
		t.Fatalf("link: %d %s", done.Status, done.Body)
	}
	return *Open(t, *done.Step.Statement, accountapi.TypeStatement, s.Set(t)).Link
}

// Forget empties the table of requests, as a crash before an answer was written
// down leaves it.
func (s *Service) Forget(t testing.TB) { s.exec(t, `DELETE FROM requests`) }

// Unanswer makes every request one that is being answered until then.
func (s *Service) Unanswer(t testing.TB, until time.Time) {
	s.exec(t, `UPDATE requests SET status = 0, body = '', leased_to = $1`, until.UnixMilli())
}

func (s *Service) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	err := s.DB.Tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Crowd puts n linked devices into the database, which nobody can speak for.
func (s *Service) Crowd(t testing.TB, n int) {
	t.Helper()
	if n == 0 {
		return
	}
	const numbers = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) `
	s.exec(t, numbers+`INSERT INTO devices (id, model, link_id, enrolled_at, seen_at)
SELECT hex(randomblob(8)) || i, 'one of many', 'link-' || i, 1, 1 FROM n`, n)
	s.exec(t, `INSERT INTO device_keys (device_id, key_id, public, status, added_at)
SELECT id, hex(randomblob(16)), hex(randomblob(16)), 'active', 1 FROM devices WHERE model = 'one of many'`)
	s.exec(t, `INSERT INTO device_identities (source, digest, device_id, added_at)
SELECT 'dmi', hex(randomblob(16)), id, 1 FROM devices WHERE model = 'one of many'`)
	s.exec(t, `INSERT INTO links (id, device_id, account_id, hint, status, generation, created_at, changed_at)
SELECT link_id, id, '1', 'o…@example.org', 'linked', 2, 1, 1 FROM devices WHERE model = 'one of many'`)
}
