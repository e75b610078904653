// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

const serverConfig = `listen = "127.0.0.1:443"
public_url = "https://accounts.example.org"
secret_file = "/var/lib/accountlock-server/service.secret"
[tls]
certificate = "/etc/accountlock-server/tls.pem"
key = "/etc/accountlock-server/tls.key"
[database]
path = "/var/lib/accountlock-server/accounts.db"
[keys]
directory = "/var/lib/accountlock-server/keys"
[mail]
outbox = "/var/lib/accountlock-server/outbox"
`

func TestTheAccountServiceRunsConfinedAsItsPackageInstallsIt(t *testing.T) {
	t.Parallel()
	c := boot.NewPlainContainer(t, false)
	boot.Install(t, c.Root("/"), boot.Deb(t, "accountlock-server"))
	c.Boot()
	settlesWithoutAGate(c)
	// Without a configuration there is nothing to start, and nothing that fails.
	c.Must("systemctl enable --now accountlock-server.service")
	if out, _ := c.Sh("systemctl is-active accountlock-server.service; systemctl --failed --no-legend"); out != "inactive\n" {
		t.Errorf("without a configuration: %s", out)
	}
	c.PowerOff()

	certificate, key := selfSigned(t)
	boot.WriteFile(t, c.Root("etc/accountlock-server/accountlock-server.toml"), serverConfig, 0o644)
	boot.WriteFile(t, c.Root("etc/accountlock-server/tls.pem"), certificate, 0o644)
	boot.WriteFile(t, c.Root("etc/accountlock-server/tls.key"), key, 0o600)
	host(t, "chroot", c.Root("/"), "chown", "accountlock-server", "/etc/accountlock-server/tls.key")
	c.Boot()
	c.Until("the account service to be ready", time.Minute, func() bool {
		answer, err := ask(c, "/readyz")
		return err == nil && strings.HasPrefix(answer, "HTTP/1.1 200")
	})
	if out := c.Must("ps -o user:32= -C accountlock-server; stat -c '%U %a' /var/lib/accountlock-server /var/lib/accountlock-server/service.secret"); out !=
		"accountlock-server\naccountlock-server 700\naccountlock-server 600\n" {
		t.Errorf("it runs as, and keeps its files as: %s", out)
	}
	if out, code := c.Sh("systemd-analyze security --no-pager --threshold=20 accountlock-server.service"); code != 0 {
		t.Errorf("it is not confined enough:\n%s", out)
	}
	keys := c.Must("ls /var/lib/accountlock-server/keys")
	c.Must("systemctl restart accountlock-server.service")
	c.Until("the account service to be ready again", time.Minute, func() bool {
		answer, err := ask(c, "/readyz")
		return err == nil && strings.HasPrefix(answer, "HTTP/1.1 200")
	})
	if after := c.Must("ls /var/lib/accountlock-server/keys"); after != keys {
		t.Errorf("a restart changes the keys: %s", after)
	}
	// What every device depends on stays when the package goes.
	if out, code := c.Sh("dpkg -P accountlock-server && systemctl is-active accountlock-server.service; test -e /var/lib/accountlock-server/accounts.db"); code != 0 || strings.Contains(out, "\nactive") {
		t.Errorf("removing it: %s", out)
	}
}

// ask sends one request to the account service on the device.
func ask(c *boot.Container, path string) (string, error) {
	raw, err := c.Service.Dial("127.0.0.1:443")
	if err != nil {
		return "", err
	}
	defer func() { _ = raw.Close() }()
	if err := raw.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) // who answers is not the question
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: accounts.example.org\r\nConnection: close\r\n\r\n", path); err != nil {
		return "", err
	}
	out, err := io.ReadAll(conn)
	return string(out), err
}

func selfSigned(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "accounts.example.org"}, DNSNames: []string{"accounts.example.org"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", raw)
}
