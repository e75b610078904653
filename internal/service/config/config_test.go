// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/config"
)

const example = "../../../docs/accountlock-server.example.toml"

func TestTheExampleCanBeUsed(t *testing.T) {
	c, err := config.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	if c.HashParams() != account.DefaultHashParams() {
		t.Errorf("the example shows %+v as the defaults of hashing, they are %+v", c.HashParams(), account.DefaultHashParams())
	}
	proxies, err := c.Proxies()
	if err != nil || len(proxies) != 2 || !proxies[0].Contains(netip.MustParseAddr("192.0.2.10")) || proxies[0].Bits() != 32 {
		t.Errorf("proxies: %v, %v", proxies, err)
	}
	if got := c.Contacts(); len(got) != 2 || got[1].Region != "GB" {
		t.Errorf("contacts: %+v", got)
	}
}

func TestWhatTheFileMayNotSay(t *testing.T) {
	good, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ old, new, says string }{
		"two databases":                  {`path = "/var/lib/accountlock-server/accounts.db"`, "path = \"/x\"\nurl = \"postgres://x\"", "exclude each other"},
		"a database password for a file": {`path = "/var/lib/accountlock-server/accounts.db"`, "path = \"/x\"\npassword_file = \"/y\"", "for database.url"},
		"an unknown key":                 {"listen =", "lisen =", `"lisen"`},
		"an unknown key in a table":      {"certificate =", "cert =", `"tls.cert"`},
		"a value of another type":        {`listen = "0.0.0.0:8443"`, "listen = 8443", "line 8"},
		"no TOML":                        {"[tls]", "[tls", "line"},
		"no certificate":                 {`certificate = "/etc/accountlock-server/tls.pem"`, "", "tls.certificate"},
		"no database":                    {`path = "/var/lib/accountlock-server/accounts.db"`, "", "database.path"},
		"a port alone":                   {`"0.0.0.0:8443"`, `"8443"`, "listen"},
		"a word that is none":            {`"Examplephone"`, `"ex"`, "passwords.words"},
		"figures on a port alone":        {`"127.0.0.1:9464"`, `"9464"`, "metrics.listen"},
		"figures beside the API":         {`"127.0.0.1:9464"`, `"0.0.0.0:8443"`, "metrics.listen"},
		"a URL without TLS":              {`"https://accounts.example.org"`, `"http://accounts.example.org"`, "public_url"},
		"a URL with a path":              {`"https://accounts.example.org"`, `"https://example.org/accounts"`, "public_url"},
		"a URL with a password":          {`"https://accounts.example.org"`, `"https://a:b@example.org"`, "public_url"},
		"a region in words":              {`default_region = "GB"`, `default_region = "Britain"`, "default_region"},
		"a log level of its own":         {`log_level = "info"`, `log_level = "loud"`, "log_level"},
		"a proxy by name":                {`"192.0.2.10"`, `"proxy.example.org"`, "trusted_proxies"},
		"a contact by pigeon":            {`kind = "web"`, `kind = "pigeon"`, "support contact 1"},
		"a contact without address":      {`address = "https://help.example.org"`, "", "support contact 1"},
		"a contact's region":             {`region = "GB"` + "\nkind", `region = "gb"` + "\nkind", "support contact 2"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(string(good), c.old, c.new, 1)
			if text == string(good) {
				t.Fatal("the case changes nothing")
			}
			_, err := config.Parse([]byte(text))
			if fault.CodeOf(err) != fault.InvalidArgument || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to name %s", err, c.says)
			}
		})
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	good, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "server.toml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(good), `"/var/lib/accountlock-server/`, `"data/`)), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "data", "accounts.db"); c.Database.Path != want {
		t.Errorf("the database is %s, want %s", c.Database.Path, want)
	}
	if c.TLS.Key != "/etc/accountlock-server/tls.key" {
		t.Errorf("an absolute path became %s", c.TLS.Key)
	}
}

func FuzzParse(f *testing.F) {
	good, err := os.ReadFile(example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("[[support]]\nkind = 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse(text)
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidArgument {
				t.Errorf("a bad file is %v", err)
			}
			return
		}
		if err := c.Check(); err != nil {
			t.Errorf("it was taken and cannot be used: %v", err)
		}
	})
}

func TestMailAndSMSLeaveSafelyOrNotAtAll(t *testing.T) {
	good, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ old, new, says string }{
		"no way at all":             {`host = "smtp.example.org"`, "", "mail.smtp.host"},
		"a folder and a server":     {"[mail.smtp]\nhost", "[mail]\noutbox = \"x\"\n[mail.smtp]\nhost", "exclude"},
		"mail in the clear":         {`security = "starttls"`, `security = "none"`, "this machine alone"},
		"a security of its own":     {`security = "starttls"`, `security = "ssl"`, "mail.smtp.security"},
		"a user without a password": {`password_file = "/etc/accountlock-server/smtp.password"`, "", "password_file"},
		"a sender that is none":     {"accounts@example.org>", "accounts", "mail.smtp.from"},
		"a port that is none":       {"port = 587", "port = 70000", "mail.smtp.port"},
		"a host with a port":        {`"smtp.example.org"`, `"smtp.example.org:25"`, "mail.smtp.host"},
		"a timeout without a unit":  {`timeout = "20s"`, `timeout = "20"`, "line"},
		"a timeout of minutes":      {`timeout = "20s"`, `timeout = "5m"`, "mail.smtp.timeout"},
		"SMS in the clear":          {`"https://sms.`, `"http://sms.`, "sms.url"},
		"a host out of a template":  {`"https://sms.example.org/v1/messages"`, `"https://{{.To}}.example.org/"`, "sms.url"},
		"a password in the address": {`"https://sms.`, `"https://a:b@sms.`, "sms.url"},
		"SMS without a body":        {"body = ", "content_type = ", "sms.body"},
		"SMS without an address":    {`url = "https://sms.example.org/v1/messages"`, "", "sms.url"},
		"a method of its own":       {"[sms]", "[sms]\nmethod = \"SEND\"", "sms.method"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(string(good), c.old, c.new, 1)
			if text == string(good) {
				t.Fatal("the example has changed: nothing was replaced")
			}
			_, err := config.Parse([]byte(text))
			if fault.CodeOf(err) != fault.InvalidArgument || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to say %q", err, c.says)
			}
		})
	}
}

func TestAnIdentityProviderIsNamedWholeOrNotAtAll(t *testing.T) {
	good, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	// It is out of use in the example.
	before, after, _ := strings.Cut(string(good), "# [oidc]\n")
	oidc, rest, _ := strings.Cut(after, "\n\n")
	whole := before + "[oidc]\n" + strings.ReplaceAll(oidc, "# ", "") + "\n\n" + rest
	if c, err := config.Parse([]byte(whole)); err != nil || c.OIDC.Name != "Example ID" {
		t.Fatalf("the example's own: %v", err)
	}
	for name, c := range map[string]struct{ old, new, says string }{
		"no issuer":            {`issuer = "https://id.example.org"`, "", "oidc.issuer"},
		"an issuer by http":    {"https://id.", "http://id.", "oidc.issuer"},
		"an issuer of a query": {"id.example.org", "id.example.org?tenant=1", "oidc.issuer"},
		"no name":              {`name = "Example ID"`, "", "oidc.name"},
		"no client":            {`client_id = "accountlock"`, "", "oidc.client_id"},
		"no secret":            {`client_secret_file = "/etc/accountlock-server/oidc.secret"`, "", "oidc.client_secret_file"},
		"a secret in the file": {`client_id = `, "client_secret = \"x\"\nclient_id = ", "oidc.client_secret"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(whole, c.old, c.new, 1)
			if text == whole {
				t.Fatal("the case changes nothing")
			}
			if _, err := config.Parse([]byte(text)); fault.CodeOf(err) != fault.InvalidArgument || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to say %q", err, c.says)
			}
		})
	}
}

func TestNamesInTheURLAreWordsOfTheService(t *testing.T) {
	for url, want := range map[string][]string{
		"https://accounts.heliotron.example": {"Own", "accounts", "heliotron"}, "https://id.heliotron.example:8443/": {"Own", "heliotron"},
		"https://localhost": {"Own", "localhost"}, "https://192.0.2.7": {"Own"}, "https://[2001:db8::7]:8443": {"Own"},
	} {
		c := config.Config{PublicURL: url, Passwords: config.Passwords{Words: []string{"Own"}}}
		if got := c.OwnWords(); !slices.Equal(got, want) {
			t.Errorf("%s: %q", url, got)
		}
	}
}
