// SPDX-License-Identifier: Apache-2.0

// Package smtp runs a real SMTP server (aiosmtpd) for tests.
package smtp

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/service/apitest"
)

//go:embed server.py
var program string

// python is Debian's own, which has python3-aiosmtpd.
const python = "/usr/bin/python3"

// Mail is one mail that the server has taken.
type Mail struct {
	From string   `json:"from"`
	To   []string `json:"to"`
	// Data is the mail as it was sent, headers and all.
	Data string `json:"data"`
	// TLS tells whether it came over TLS, User whether its sender had signed in.
	TLS  bool `json:"tls"`
	User bool `json:"user"`
}

// Server is one that runs until the test ends or Stop is called.
type Server struct {
	Port int
	// CA is a file with its certificate.
	CA     string
	folder string
	cmd    *exec.Cmd
}

// The account of Start's server, where asked for.
const (
	User     = "accounts"
	Password = "an SMTP password"
)

// Start starts a server; mode is starttls, tls or none. With auth nobody sends without
// signing in as User.
func Start(t testing.TB, mode string, auth bool) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{CA: filepath.Join(dir, "ca.pem"), folder: filepath.Join(dir, "mail")}
	if err := os.Mkdir(s.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	cert := apitest.Certificate(t)
	writePair(t, cert, s.CA, filepath.Join(dir, "key.pem"))
	s.cmd = exec.Command(python, "-I", "-W", "ignore", "-c", program, mode, s.CA, filepath.Join(dir, "key.pem"), s.folder)
	s.cmd.Env = []string{}
	if auth {
		s.cmd.Env = []string{"USERNAME=" + User, "PASSWORD=" + Password}
	}
	s.cmd.Stderr = t.Output()
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the SMTP server does not start (Debian's python3-aiosmtpd is needed): %v", err)
	}
	if s.Port, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	return s
}

// Stop ends the server.
func (s *Server) Stop() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

// Mails returns what was taken so far, in order.
func (s *Server) Mails(t testing.TB) []Mail {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(s.folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]Mail, len(names))
	for i, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Await returns the mails as soon as there are n.
func (s *Server) Await(t testing.TB, n int) []Mail {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if mails := s.Mails(t); len(mails) >= n {
			return mails
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d mails came, want %d", len(s.Mails(t)), n)
		}
	}
}

// Roots returns what verifies the server.
func (s *Server) Roots(t testing.TB) *x509.CertPool {
	t.Helper()
	b, err := os.ReadFile(s.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b)
	return pool
}

func writePair(t testing.TB, c tls.Certificate, certPath, keyPath string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, b := range map[string]*pem.Block{
		certPath: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, keyPath: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
