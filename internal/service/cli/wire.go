// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/approval"
	"github.com/accountlock/accountlock/internal/service/attest"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/breached"
	"github.com/accountlock/accountlock/internal/service/captcha"
	"github.com/accountlock/accountlock/internal/service/config"
	"github.com/accountlock/accountlock/internal/service/delivery"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/factor"
	"github.com/accountlock/accountlock/internal/service/federation"
	"github.com/accountlock/accountlock/internal/service/files"
	"github.com/accountlock/accountlock/internal/service/flow"
	"github.com/accountlock/accountlock/internal/service/httpapi"
	"github.com/accountlock/accountlock/internal/service/keys"
	"github.com/accountlock/accountlock/internal/service/notice"
	"github.com/accountlock/accountlock/internal/service/offline"
	"github.com/accountlock/accountlock/internal/service/portal"
	"github.com/accountlock/accountlock/internal/service/recovery"
	"github.com/accountlock/accountlock/internal/service/staff"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/internal/service/support"
)

// secretSize is the size, in bytes, of a service secret that is made here.
const secretSize = 32

// service is the account service with its parts wired to each other: the one
// place that knows them all.
type service struct {
	cfg config.Config
	log *slog.Logger
	// console shows each mail and SMS too, if set.
	console  io.Writer
	secret   secret.Bytes
	db       *store.DB
	keys     *keys.Ring
	accounts *account.Service
	devices  *device.Registry
	attest   *attest.Verifier
	offline  *offline.Service
	flows    *flow.Service
	notices  *notice.Queue
	// queue carries mail and SMS; nil where they go into a folder.
	queue   *delivery.Queue
	captcha *captcha.Captcha

	factors    *factor.Service
	recoveries *recovery.Service
	// federation signs people in; nil where our own passwords do.
	federation *federation.Service
	approvals  *approval.Service

	// trail is what staff and the console have done.
	trail *audit.Log
	staff *staff.Service
	cases *support.Service
}

// openService opens what the configuration names. Mail and SMS are shown on the
// console too, if there is one. migrate brings the schema up
// to date; without it, a schema that is not is fault.StorageFailed. The caller
// closes the service.
func openService(ctx context.Context, cfg config.Config, log *slog.Logger, console io.Writer, migrate bool) (_ *service, err error) {
	s := &service{cfg: cfg, log: log, console: console}
	if s.secret, err = loadSecret(cfg.SecretFile); err != nil {
		return nil, storage(err)
	}
	if err := keys.Init(cfg.Keys.Directory); err != nil {
		return nil, storage(err)
	}
	if s.keys, err = keys.Open(cfg.Keys.Directory, time.Now); err != nil {
		return nil, storage(err)
	}
	if s.db, err = openDatabase(ctx, cfg.Database); err != nil {
		return nil, storage(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.db.Close())
		}
	}()
	if err := ready(ctx, s.db, migrate); err != nil {
		return nil, err
	}
	return s, s.wire()
}

func (s *service) wire() error {
	mail, err := s.messages()
	if err != nil {
		return storage(err)
	}
	s.notices = notice.New(s.db, s.tell, time.Now)
	s.devices = device.New(s.db, s.notices, time.Now)
	trusted, err := trustedWords(s.cfg.Identity)
	if err != nil {
		return storage(err)
	}
	s.attest = attest.New(s.secret.Reveal(), trusted, time.Now)
	known, err := breachedOf(s.cfg)
	if err != nil {
		return storage(err)
	}
	s.accounts, err = account.New(account.Config{
		DB: s.db, Secret: s.secret, Notifier: mail, Region: s.cfg.DefaultRegion, Hash: s.cfg.HashParams(), Log: s.log, Breached: known, Own: s.cfg.OwnWords(),
		OnDelete: s.accountDeleted,
		OnPassword: func(ctx context.Context, tx *sql.Tx, accountID string) error {
			return s.recoveries.PasswordChanged(ctx, tx, accountID)
		},
	})
	if err != nil {
		return fault.New(fault.InvalidArgument, err)
	}
	s.factors, err = factor.New(factor.Config{
		DB: s.db, Limits: s.accounts, Secret: s.secret.Reveal(), PublicURL: s.cfg.PublicURL, Tell: s.accounts.FactorsChanged,
	})
	if err != nil {
		return err
	}
	if s.offline, err = offline.New(s.db, s.devices, s.secret, s.keys, time.Now); err != nil {
		return err
	}
	s.flows = flow.New(s.db, s.devices, s.accounts, s.offline, s.keys, time.Now)
	s.captcha = captcha.New(s.db, s.secret.Reveal(), time.Now)
	s.flows.UseCaptcha(s.captcha)
	s.recoveries = recovery.New(recovery.Config{
		DB: s.db, Accounts: s.accounts, Notifier: mail, Secret: s.secret.Reveal(), PublicURL: strings.TrimSuffix(s.cfg.PublicURL, "/"),
		Wait: s.cfg.RecoveryWait, OnRecovered: portal.EndSessions, Log: s.log,
	})
	if s.federation, err = federationOf(s.cfg, s.db); err != nil {
		return storage(err)
	}
	if s.federation == nil {
		// A password that an identity provider has is not ours to give back.
		s.flows.UseRecoveries(s.recoveries)
	}
	s.flows.UseFactors(s.factors)
	s.approvals = approval.New(s.db, s.devices, s.cfg.PublicURL, time.Now)
	s.flows.UseApprovals(s.approvals)
	return s.wireSupport(mail)
}

// close waits for what is running and closes the database.
func (s *service) close() error {
	s.secret.Wipe()
	return s.db.Close()
}

// tell is what the queue of notices sends by.
func (s *service) tell(ctx context.Context, n device.Notice) error {
	if support.Tells(n) {
		return s.cases.Tell(ctx, n)
	}
	err := s.accounts.Notify(ctx, n.AccountID, account.NoticeKind(n.Kind), n.Name())
	if errors.Is(err, account.ErrNotFound) {
		// Nobody is left to be told.
		return nil
	}
	return err
}

// server returns the account API over the service. The caller closes it before
// the service.
func (s *service) server() (*httpapi.Server, error) {
	proxies, err := s.cfg.Proxies()
	if err != nil {
		return nil, err
	}
	pages, err := portal.New(portal.Config{
		DB: s.db, Accounts: s.accounts, Devices: s.devices, Log: s.log, PublicURL: s.cfg.PublicURL, Sent: s.notices.Kick,
		Offline: s.offline, Captcha: s.captcha, Approvals: s.approvals, Recoveries: s.recoveries, Factors: s.factors,
		Federation: s.federation, Registration: s.cfg.Portal.Registration,
		Cases: s.cases, Staff: s.staff, Trail: s.trail, VerifyTrail: s.verifyTrail,
		Address: func(r *http.Request) netip.Addr { return httpapi.ClientAddress(r, proxies) },
		Contacts: func(region, locale string) []accountapi.SupportContact {
			return httpapi.ContactsFor(s.cfg.Contacts(), region, locale)
		},
	})
	if err != nil {
		return nil, err
	}
	return httpapi.New(httpapi.Config{
		DB: s.db, Devices: s.devices, Attest: s.attest, Flows: s.flows, Keys: s.keys, Notices: s.notices, Cases: s.cases,
		Secret: s.secret.Reveal(), Log: s.log, Support: s.cfg.Contacts(), Trusted: proxies,
		Portal: pages, FiguresApart: s.cfg.Metrics.Listen != "", Sweep: func(ctx context.Context) error { return errors.Join(s.sweep(ctx), pages.Sweep(ctx)) },
	}), nil
}

// sweep removes what has run out.
func (s *service) sweep(ctx context.Context) error {
	var federated error
	if s.federation != nil {
		federated = s.federation.Sweep(ctx)
	}
	return errors.Join(federated, s.accounts.Sweep(ctx), s.captcha.Sweep(ctx), s.recoveries.Sweep(ctx), s.factors.Sweep(ctx), s.staff.Sweep(ctx), s.approvals.Sweep(ctx), s.cases.Sweep(ctx))
}

// trustedWords reads whose word counts when a device proves what it is.
func trustedWords(c config.Identity) (attest.Trusted, error) {
	var texts [2][]byte
	for i, path := range []string{c.TPMMakers, c.VendorKeys} {
		if path == "" {
			continue
		}
		b, err := files.Read(path, 4<<20)
		if err != nil {
			return attest.Trusted{}, err
		}
		if len(b) == 0 {
			return attest.Trusted{}, fmt.Errorf("%s is empty", path)
		}
		texts[i] = b
	}
	return attest.Trust(texts[0], texts[1])
}

// breachedOf opens the list of breached passwords, if there is one.
func breachedOf(c config.Config) (account.Breached, error) {
	if c.Passwords.BreachedFile == "" {
		return nil, nil //nolint:nilnil // it is how the absence is told
	}
	return breached.Open(c.Passwords.BreachedFile)
}

// openDatabase opens what the configuration names.
func openDatabase(ctx context.Context, d config.Database) (*store.DB, error) {
	c := store.Config{Path: d.Path, URL: d.URL, Connections: d.Connections}
	if d.PasswordFile != "" {
		b, err := files.Read(d.PasswordFile, 4096)
		if err != nil {
			return nil, err
		}
		defer clear(b)
		c.Password = strings.TrimRight(string(b), "\r\n")
	}
	return store.Open(ctx, c)
}

// ready migrates the database, or finds that it need not be.
func ready(ctx context.Context, db *store.DB, migrate bool) error {
	if migrate {
		return storage(db.Migrate(ctx))
	}
	pending, err := db.Pending(ctx)
	if err != nil {
		return storage(err)
	}
	if pending {
		f := fault.Newf(fault.StorageFailed, "The database has the schema of an earlier version of this program.")
		f.Remedy = "Run accountlock-server migrate, then start again."
		return f
	}
	return nil
}

// loadSecret returns the service secret and makes one where there is none.
func loadSecret(path string) (secret.Bytes, error) {
	b, err := files.Read(path, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		fresh := make([]byte, secretSize)
		if _, err := rand.Read(fresh); err != nil {
			return nil, fmt.Errorf("cannot make a service secret: %w", err)
		}
		text := append([]byte(base64.StdEncoding.EncodeToString(fresh)), '\n')
		if err := files.Create(path, text, files.Private); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		b, err = files.Read(path, 4096)
	}
	if err != nil {
		return nil, err
	}
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	if len(b) < secretSize {
		return nil, fmt.Errorf("cannot use the service secret in %s: it holds %d bytes, %d are the least", path, len(b), secretSize)
	}
	return b, nil
}

// storage makes an error that is no fault one of the service's own storage.
func storage(err error) error {
	var f *fault.Error
	if err == nil || errors.As(err, &f) {
		return err
	}
	f = fault.Newf(fault.StorageFailed, "The account service cannot use its own files.")
	f.Remedy = "Look at the cause, at the configuration and at who owns the files."
	f.Err = err
	return f
}

// accountDeleted releases, in the transaction that deletes an account, all that
// belongs to it.
func (s *service) accountDeleted(ctx context.Context, tx *sql.Tx, accountID string) error {
	return errors.Join(s.flows.AccountDeleted(ctx, tx, accountID), s.devices.AccountDeleted(ctx, tx, accountID),
		portal.EndSessions(ctx, tx, accountID), s.recoveries.AccountDeleted(ctx, tx, accountID), s.factors.Forget(ctx, tx, accountID),
		s.approvals.AccountDeleted(ctx, tx, accountID), s.cases.AccountDeleted(ctx, tx, accountID))
}
