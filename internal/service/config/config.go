// SPDX-License-Identifier: Apache-2.0

// Package config owns the account service's configuration: one TOML file, every
// key of it known, every value checked before anything starts.
//
// It must not open what the configuration names.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"time"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/text/language"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/files"
	"github.com/accountlock/accountlock/internal/service/httpapi"
	"github.com/accountlock/accountlock/internal/service/support"
)

// maxFile bounds, in bytes, the configuration file.
const maxFile = 1 << 20

// Config is the whole configuration. Paths are absolute after Load: in the file
// they may be relative to the file's own folder.
type Config struct {
	// Listen is the TCP address to serve on; by default all addresses, port 8443.
	Listen string `toml:"listen"`
	// PublicURL is what devices and people reach the service by: https, without a path.
	PublicURL string `toml:"public_url"`
	// DefaultRegion is whose phone numbers are meant where nothing else says
	// (ISO 3166-1 alpha-2); empty is none.
	DefaultRegion string `toml:"default_region"`
	// TrustedProxies are the addresses or networks whose X-Forwarded-For is
	// believed.
	TrustedProxies []string `toml:"trusted_proxies"`
	// LogLevel is debug, info, warn or error; info by default.
	LogLevel string `toml:"log_level"`
	// SecretFile holds the service secret: at least 32 random bytes, the same for
	// every server on the database. It is made if it is not there.
	SecretFile string    `toml:"secret_file"`
	TLS        TLS       `toml:"tls"`
	Database   Database  `toml:"database"`
	Keys       Keys      `toml:"keys"`
	Argon2     Argon2    `toml:"argon2"`
	Mail       Mail      `toml:"mail"`
	SMS        SMS       `toml:"sms"`
	OIDC       OIDC      `toml:"oidc"`
	Support    []Contact `toml:"support"`
	Portal     Portal    `toml:"portal"`
	Identity   Identity  `toml:"identity"`
	Metrics    Metrics   `toml:"metrics"`
	Passwords  Passwords `toml:"passwords"`
	// RecoveryWait, if set, stands in for the three working days that a recovery waits. It
	// is of `dev` alone: the file cannot say it.
	RecoveryWait time.Duration `toml:"-"`
	// SupportWait is how long an owner can object to what support is about to do. It is
	// shorter in `dev` alone: the file cannot say it.
	SupportWait time.Duration `toml:"-"`
}

// Metrics says where the server's figures are served.
type Metrics struct {
	// Listen is a TCP address of their own, in plain HTTP; empty, the default, is beside
	// the API.
	Listen string `toml:"listen"`
}

// TLS names the server's certificate chain and its key, both PEM.
type TLS struct {
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
}

// Database names the database: Path of an SQLite file, or URL of PostgreSQL with,
// where the URL does not hold one, the password in PasswordFile.
type Database struct {
	Path         string `toml:"path"`
	URL          string `toml:"url"`
	PasswordFile string `toml:"password_file"`
	// Connections bounds those of one server to PostgreSQL; 16 by default.
	Connections int `toml:"connections"`
}

// Keys names the folder of the signing keys.
type Keys struct {
	Directory string `toml:"directory"`
}

// Argon2 are the parameters of password hashes (RFC 9106); 0 is the default.
type Argon2 struct {
	MemoryKiB uint32 `toml:"memory_kib"`
	Passes    uint32 `toml:"passes"`
	Lanes     uint8  `toml:"lanes"`
}

// Mail says how mail leaves: by a server, or not at all.
type Mail struct {
	SMTP SMTP `toml:"smtp"`
	// Outbox is a folder in place of a server: mail and SMS are written there, one
	// file each, in the clear. For development.
	Outbox string `toml:"outbox"`
}

// Portal says what the web pages offer.
type Portal struct {
	// Registration lets anybody make an account; on by default.
	Registration bool `toml:"registration"`
}

// Contact is one way to reach support.
type Contact struct {
	// Region is ISO 3166-1 alpha-2; empty is everywhere.
	Region string `toml:"region"`
	// Language is what one can speak there (BCP 47); empty is any, or not said.
	Language string `toml:"language"`
	Kind     string `toml:"kind"`
	Label    string `toml:"label"`
	Address  string `toml:"address"`
}

// Default returns the configuration that a file adds to.
func Default() Config {
	return Config{Listen: ":8443", LogLevel: "info", Portal: Portal{Registration: true}, SupportWait: support.ObjectionTime}
}

// Load reads and checks a configuration file. Its error is
// fault.InvalidArgument and says which key is wrong.
func Load(path string) (Config, error) {
	b, err := files.Read(path, maxFile)
	if err != nil {
		return Config{}, bad(err.Error())
	}
	c, err := Parse(b)
	if err != nil {
		return Config{}, err
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return Config{}, bad(err.Error())
	}
	for _, p := range []*string{
		&c.SecretFile, &c.TLS.Certificate, &c.TLS.Key, &c.Database.Path, &c.Database.PasswordFile, &c.Keys.Directory, &c.Mail.Outbox,
		&c.Mail.SMTP.PasswordFile, &c.Mail.SMTP.CAFile, &c.SMS.TokenFile, &c.SMS.HMACKeyFile, &c.SMS.CAFile,
		&c.OIDC.ClientSecretFile, &c.OIDC.CAFile,
		&c.Identity.TPMMakers, &c.Identity.VendorKeys, &c.Passwords.BreachedFile,
	} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	return c, nil
}

// Parse reads and checks the text of a configuration file; an unknown key is an
// error.
func Parse(text []byte) (Config, error) {
	c := Default()
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, bad(describe(err))
	}
	c.deliveryDefaults()
	if err := c.Check(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func describe(err error) string {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		row, _ := strict.Errors[0].Position()
		return fmt.Sprintf("line %d: the key %q is not known", row, key(strict.Errors[0].Key()))
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		row, _ := decode.Position()
		return fmt.Sprintf("line %d: %s", row, decode.Error())
	}
	return err.Error()
}

func key(parts []string) string {
	out := ""
	for i, p := range parts {
		if i > 0 {
			out += "."
		}
		out += p
	}
	return out
}

func bad(what string) error {
	f := fault.Newf(fault.InvalidArgument, "The configuration cannot be used: %s.", what)
	f.Remedy = "Correct the file; --check-config says when it is right."
	return f
}

var regionPattern = regexp.MustCompile(`^[A-Z]{2}$`)

// Check returns the first thing that is wrong, as fault.InvalidArgument.
func (c Config) Check() error {
	for _, must := range []struct{ name, value string }{
		{"public_url", c.PublicURL}, {"secret_file", c.SecretFile}, {"tls.certificate", c.TLS.Certificate},
		{"tls.key", c.TLS.Key}, {"database.path or database.url", c.Database.Path + c.Database.URL}, {"keys.directory", c.Keys.Directory},
	} {
		if must.value == "" {
			return bad(must.name + " must be given")
		}
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return bad("listen must be host:port")
	}
	if c.Metrics.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Metrics.Listen); err != nil {
			return bad("metrics.listen must be host:port")
		}
		if _, port, _ := net.SplitHostPort(c.Listen); c.Metrics.Listen == c.Listen && port != "0" {
			return bad("metrics.listen must be another address than listen")
		}
	}
	if u, err := url.Parse(c.PublicURL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil ||
		(u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return bad("public_url must be https://host or https://host:port")
	}
	if err := c.Database.check(); err != nil {
		return err
	}
	if c.DefaultRegion != "" && !regionPattern.MatchString(c.DefaultRegion) {
		return bad("default_region must be ISO 3166-1 alpha-2, such as GB")
	}
	if _, err := c.Level(); err != nil {
		return err
	}
	if _, err := c.Proxies(); err != nil {
		return err
	}
	if err := c.checkDelivery(); err != nil {
		return err
	}
	if err := c.OIDC.check(); err != nil {
		return err
	}
	if err := c.Passwords.check(); err != nil {
		return err
	}
	for i, s := range c.Support {
		if !accountapi.SupportContactKind(s.Kind).Valid() {
			return bad(fmt.Sprintf("support contact %d: kind must be phone, email, chat, web or post", i+1))
		}
		if s.Label == "" || s.Address == "" {
			return bad(fmt.Sprintf("support contact %d: label and address must be given", i+1))
		}
		if s.Region != "" && !regionPattern.MatchString(s.Region) {
			return bad(fmt.Sprintf("support contact %d: region must be ISO 3166-1 alpha-2", i+1))
		}
		if s.Language != "" {
			if _, err := language.Parse(s.Language); err != nil {
				return bad(fmt.Sprintf("support contact %d: language must be BCP 47, such as de or pt-BR", i+1))
			}
		}
	}
	return nil
}

func (d Database) check() error {
	switch {
	case d.Path != "" && d.URL != "":
		return bad("database.path and database.url exclude each other")
	case d.URL == "" && (d.PasswordFile != "" || d.Connections != 0):
		return bad("database.password_file and database.connections are for database.url")
	case d.Connections < 0 || d.Connections > 1000:
		return bad("database.connections must be 1 to 1000")
	}
	return nil
}

// Level returns the log level.
func (c Config) Level() (slog.Level, error) {
	switch c.LogLevel {
	case "debug", "info", "warn", "error":
		var l slog.Level
		return l, l.UnmarshalText([]byte(c.LogLevel))
	default:
		return 0, bad("log_level must be debug, info, warn or error")
	}
}

// Proxies returns the trusted proxies.
func (c Config) Proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range c.TrustedProxies {
		if a, err := netip.ParseAddr(s); err == nil {
			a = a.Unmap().WithZone("")
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, bad(fmt.Sprintf("trusted_proxies: %q is neither an address nor a network", s))
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// HashParams returns the parameters of password hashes, the defaults filled in.
func (c Config) HashParams() account.HashParams {
	p := account.DefaultHashParams()
	if c.Argon2.MemoryKiB != 0 {
		p.MemoryKiB = c.Argon2.MemoryKiB
	}
	if c.Argon2.Passes != 0 {
		p.Passes = c.Argon2.Passes
	}
	if c.Argon2.Lanes != 0 {
		p.Lanes = c.Argon2.Lanes
	}
	return p
}

// Contacts returns the support contacts as the API gives them.
func (c Config) Contacts() []httpapi.Contact {
	out := make([]httpapi.Contact, 0, len(c.Support))
	for _, s := range c.Support {
		out = append(out, httpapi.Contact{Region: s.Region, Language: s.Language, SupportContact: accountapi.SupportContact{
			Kind: accountapi.SupportContactKind(s.Kind), Label: s.Label, Address: s.Address,
		}})
	}
	return out
}
