// SPDX-License-Identifier: Apache-2.0

// Package oidc starts a real identity provider for tests: oidc-provider from npm,
// never part of a program.
package oidc

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/accountlock/accountlock/test/npm"
)

// Provider is one that runs until the test ends.
type Provider struct {
	// Issuer is its identifier.
	Issuer string

	stdin io.Writer
	lines *bufio.Scanner
}

// Client is a client as the provider knows it (OpenID Connect Dynamic Client
// Registration 1.0, 2).
type Client struct {
	ID        string   `json:"client_id"`
	Secret    string   `json:"client_secret"`
	Redirects []string `json:"redirect_uris"`
	Logouts   []string `json:"post_logout_redirect_uris,omitempty"`
	// BackChannel is where it tells that a session has ended, and Sessions whether it
	// gives each a name.
	BackChannel string `json:"backchannel_logout_uri,omitempty"`
	Sessions    bool   `json:"backchannel_logout_session_required"`
}

// Start starts a provider over TLS by a certificate and key (PEM files), which every
// client that it calls trusts too. It answers once Serve has named its client. It skips the test where there is no node.
func Start(t testing.TB, cert, key string) *Provider {
	t.Helper()
	dir := npm.Folder(t, "/usr/bin/node", "oidc-provider")
	cmd := exec.Command("/usr/bin/node", filepath.Join(dir, "oidc", "provider.mjs"), cert, key)
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+cert, "HOME="+t.TempDir())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p := &Provider{stdin: stdin, lines: bufio.NewScanner(stdout)}
	if !p.lines.Scan() {
		t.Fatal("the identity provider does not come up")
	}
	p.Issuer = "https://127.0.0.1:" + p.lines.Text()
	return p
}

// Serve names the provider's client, from when on it answers.
func (p *Provider) Serve(t testing.TB, c Client) {
	t.Helper()
	line, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	for p.lines.Scan() {
		if p.lines.Text() == "ready" {
			go func() {
				for p.lines.Scan() {
				}
			}()
			return
		}
	}
	t.Fatal("the identity provider does not serve")
}
