// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/config"
	"github.com/accountlock/accountlock/internal/service/files"
)

const (
	demoListen = "127.0.0.1:8443"
	demoFolder = "accountlock-dev"
)

// The names in the folder of `dev`.
const (
	demoAccounts = "demo.json"
	demoDatabase = "accounts.db"
	demoDevice   = "device.toml"
	demoKeySet   = "key_set.json"
)

func devCommand(env Env) *cobra.Command {
	var (
		address string
		dir     string
		level   string
		wait    time.Duration
	)
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Serve the account API on defaults, with demo accounts, to try things with",
		Long: "Serves the account API with a certificate authority, keys and accounts of its own.\n" +
			"All of it is in one folder, which is used again the next time: ca.pem, device.toml (a\n" +
			"configuration of accountlockd for this service), demo.json (the accounts, with their\n" +
			"passwords) and outbox/ (one file for each mail or SMS sent). Not for production.",
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error { return dev(cmd.Context(), dir, address, level, wait, env) },
	}
	f := cmd.Flags()
	f.StringVar(&address, "listen", demoListen, "address to serve on; port 0 takes a free one")
	f.StringVar(&dir, "data", demoFolder, "folder to keep everything in")
	f.DurationVar(&wait, "recovery-wait", 0, "what a recovery waits, in place of three working days")
	f.StringVar(&level, "log-level", "info", "what to log: debug, info, warn or error")
	return cmd
}

// demoConfig is the configuration that `dev` runs on.
func demoConfig(dir, address string) (config.Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return config.Config{}, storage(err)
	}
	c := config.Default()
	c.Listen = address
	c.PublicURL = "https://" + address
	c.SecretFile = filepath.Join(dir, "service.secret")
	c.TLS = config.TLS{Certificate: filepath.Join(dir, "server.pem"), Key: filepath.Join(dir, "server.key")}
	c.Database.Path = filepath.Join(dir, demoDatabase)
	c.Keys.Directory = filepath.Join(dir, "keys")
	c.Mail.Outbox = filepath.Join(dir, "outbox")
	c.SupportWait = 0 // nobody is there to object
	c.Support = []config.Contact{{Kind: "email", Label: "Demo support", Address: "support@example.org"}}
	return c, c.Check()
}

// isDemo reports whether `dev` has used the folder. Its accounts tell, and not its database,
// which lies where a service that people rely on has it too.
func isDemo(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, demoAccounts))
	return err == nil
}

// ownFolder refuses a folder whose database somebody else made: its accounts would be the
// demo's from then on. The authority is made before a database, whenever a start is cut short.
func ownFolder(dir string) error {
	_, authority := os.Stat(filepath.Join(dir, caKeyFile))
	_, database := os.Stat(filepath.Join(dir, demoDatabase))
	if authority == nil || errors.Is(database, fs.ErrNotExist) {
		return nil
	}
	f := fault.Newf(fault.InvalidArgument, "%s holds a database that 'accountlock-server dev' did not make.", dir)
	f.Remedy = "Give it a folder of its own with --data."
	return f
}

func dev(ctx context.Context, dir, address, level string, wait time.Duration, env Env) error {
	// Others may enter: accountlockd reads ca.pem, device.toml and the key set as
	// another user. What is secret has a mode of its own.
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // see above
		return storage(err)
	}
	if err := ownFolder(dir); err != nil {
		return err
	}
	l, err := listen(ctx, address)
	if err != nil {
		return err
	}
	cfg, err := demoConfig(dir, reachable(l.Addr(), address))
	cfg.LogLevel, cfg.RecoveryWait = level, wait
	if err != nil {
		return errors.Join(err, l.Close())
	}
	threshold, err := cfg.Level()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	cert, err := demoCertificate(dir, cfg.PublicURL)
	if err != nil {
		return errors.Join(storage(err), l.Close())
	}
	s, err := openService(ctx, cfg, newLog(env.Stderr, threshold), env.Stderr, true)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	err = s.prepareDemo(ctx, filepath.Dir(cfg.Database.Path))
	if err == nil {
		_, err = fmt.Fprintf(env.Stdout, "ready\n%s/\n", cfg.PublicURL)
	}
	if err != nil {
		return errors.Join(storage(err), l.Close(), s.close())
	}
	return s.serveOn(ctx, l, nil, cert)
}

// reachable returns the host and port under which a listener is reached from the
// same machine.
func reachable(a net.Addr, asked string) string {
	host, _, err := net.SplitHostPort(asked)
	if err != nil {
		return a.String()
	}
	_, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// prepareDemo leaves in the folder what cli.md promises.
func (s *service) prepareDemo(ctx context.Context, dir string) error {
	set, err := s.keys.DeviceFile()
	if err != nil {
		return err
	}
	b, err := set.Encode()
	if err != nil {
		return err
	}
	if err := files.Write(filepath.Join(dir, demoKeySet), b, files.Public); err != nil {
		return err
	}
	if err := writeDeviceConfig(dir, s.cfg.PublicURL); err != nil {
		return err
	}
	return s.demoAccounts(ctx, filepath.Join(dir, demoAccounts))
}

// writeDeviceConfig writes a configuration of accountlockd for this service.
func writeDeviceConfig(dir, url string) error {
	var c struct {
		AccountAPI struct {
			URL    string   `toml:"url"`
			CAFile string   `toml:"ca_file"`
			KeySet string   `toml:"key_set"`
			Pins   []string `toml:"pins"`
		} `toml:"account_api"`
	}
	c.AccountAPI.URL = url
	c.AccountAPI.CAFile = filepath.Join(dir, caFile)
	c.AccountAPI.KeySet = filepath.Join(dir, demoKeySet)
	c.AccountAPI.Pins = []string{}
	b, err := toml.Marshal(c)
	if err != nil {
		return fmt.Errorf("cannot encode the device's configuration: %w", err)
	}
	return files.Write(filepath.Join(dir, demoDevice), b, files.Public)
}

// demoAccount is what demo.json says of an account.
type demoAccount struct {
	AccountID string       `json:"account_id"`
	Email     string       `json:"email"`
	Phone     string       `json:"phone"`
	Password  string       `json:"password"`
	Other     *demoAccount `json:"other,omitempty"`
}

// demoAccounts makes the two accounts, or keeps those that demo.json tells of.
func (s *service) demoAccounts(ctx context.Context, path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	demo, err := s.demoAccount(ctx, "demo@example.org", "+12025550123")
	if err != nil {
		return err
	}
	if demo.Other, err = s.demoAccount(ctx, "other@example.org", "+12025550145"); err != nil {
		return err
	}
	b, err := json.MarshalIndent(demo, "", "  ") //nolint:gosec // demo.json is where the demo passwords are told
	if err != nil {
		return fmt.Errorf("cannot encode the demo accounts: %w", err)
	}
	return files.Write(path, append(b, '\n'), files.Private)
}

// demoAccount makes an account with a random password. One that is there already,
// of a start that was cut short, gets a new password.
func (s *service) demoAccount(ctx context.Context, email, phone string) (*demoAccount, error) {
	text := strings.ToLower(rand.Text())
	d := &demoAccount{Email: email, Phone: phone, Password: strings.Join([]string{text[:6], text[6:12], text[12:18]}, "-")}
	password := accountapi.Secret(d.Password)
	defer password.Wipe()
	a, err := s.accounts.Create(ctx, account.NewAccount{Emails: []string{email}, Phones: []string{phone}, Password: password})
	if errors.Is(err, account.ErrTaken) {
		if a, err = s.accounts.Find(ctx, email); err == nil {
			err = s.accounts.SetPassword(ctx, a.ID, password)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make a demo account: %w", err)
	}
	d.AccountID = a.ID
	return d, nil
}
