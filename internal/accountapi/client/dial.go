// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/accountlock/accountlock/internal/diagnose"
)

// maxFile bounds, in bytes, a CA or key set file.
const maxFile = 1 << 20

// errPin is the error of a chain in which no key is pinned.
var errPin = errors.New("none of the certificate's keys is pinned")

// dialer makes connections to the account service: TLS 1.3 against the vendor's
// authorities or the system's, pinned where pins are given.
type dialer struct {
	config *tls.Config
	pins   [][sha256.Size]byte
}

func newDialer(c Config) (*dialer, error) {
	d := &dialer{config: &tls.Config{MinVersion: tls.VersionTLS13, Time: c.Now}}
	if c.CAFile != "" {
		pem, err := readFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read the account service's CA file: %w", err)
		}
		d.config.RootCAs = x509.NewCertPool()
		if !d.config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot find a certificate in the CA file %s", c.CAFile)
		}
	}
	var err error
	if d.pins, err = parsePins(c.Pins); err != nil {
		return nil, err
	}
	d.config.VerifyConnection = func(s tls.ConnectionState) error { return d.pinned(s.VerifiedChains) }
	return d, nil
}

// dial is http.Transport's DialTLSContext. Its own handshake lets every error
// in it be told from those of the network. Of a name with addresses of both kinds,
// the second kind is tried when the first has not answered for 300 ms (RFC 8305).
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, shakeTime)
	defer cancel()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	on := trailOf(ctx)
	on.reach(diagnose.Resolve)
	tcp := &net.Dialer{Timeout: dialTime, Control: func(_, address string, _ syscall.RawConn) error {
		on.tried(address)
		return nil
	}}
	conn, err := tcp.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	on.reach(diagnose.Handshake)
	config := d.config.Clone()
	config.ServerName = host
	raw := &recorded{Conn: conn}
	secure := tls.Client(raw, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		defer conn.Close()
		return nil, d.shaken(err, host, raw)
	}
	on.reach(diagnose.Answer)
	return secure, nil
}

// undated returns a dialer to which the dates of certificates do not matter; all
// else about them does. Over its connections nothing secret may be sent.
func (d *dialer) undated() *dialer {
	u := &dialer{config: d.config.Clone(), pins: d.pins}
	u.config.InsecureSkipVerify = true // VerifyConnection does all of it but the dates
	u.config.VerifyConnection = func(s tls.ConnectionState) error {
		chains, err := u.timeless(s.PeerCertificates, s.ServerName)
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return u.pinned(chains)
	}
	return u
}

// pinned returns errPin where keys are pinned, and none of the chains has one.
func (d *dialer) pinned(chains [][]*x509.Certificate) error {
	if len(d.pins) == 0 {
		return nil
	}
	for _, chain := range chains {
		for _, cert := range chain {
			if slices.Contains(d.pins, sha256.Sum256(cert.RawSubjectPublicKeyInfo)) {
				return nil
			}
		}
	}
	return errPin
}

// timeless verifies certificates at a time at which they are good.
func (d *dialer) timeless(certs []*x509.Certificate, host string) ([][]*x509.Certificate, error) {
	if len(certs) == 0 {
		return nil, errors.New("there is no certificate")
	}
	opts := x509.VerifyOptions{Roots: d.config.RootCAs, DNSName: host, Intermediates: x509.NewCertPool()}
	for i, cert := range certs {
		if cert.NotBefore.After(opts.CurrentTime) {
			opts.CurrentTime = cert.NotBefore.Add(time.Second)
		}
		if i > 0 {
			opts.Intermediates.AddCert(cert)
		}
	}
	return certs[0].Verify(opts)
}

func parsePins(in []string) ([][sha256.Size]byte, error) {
	var out [][sha256.Size]byte
	for _, p := range in {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(p, "sha256/"))
		if err != nil || len(raw) != sha256.Size || !strings.HasPrefix(p, "sha256/") {
			return nil, fmt.Errorf("cannot use the pin %q: it must be sha256/ and 32 bytes in base64", p)
		}
		out = append(out, [sha256.Size]byte(raw))
	}
	return out, nil
}

func readFile(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxFile {
		return nil, fmt.Errorf("%s is no regular file of at most %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}
