// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrongUse(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	empty := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"an unknown command":              {[]string{"explode"}, 2, `"explode"`},
		"an unknown flag":                 {[]string{"dev", "--explode"}, 2, "explode"},
		"an argument too many":            {[]string{"dev", "more"}, 2, "no argument"},
		"serve without a configuration":   {[]string{"serve"}, 2, "--config"},
		"a configuration that is absent":  {[]string{"serve", "--config", missing}, 2, "no such file"},
		"a console command nowhere":       {[]string{"device", "show", "AAAA-AAAA-AAAA"}, 2, "--data"},
		"a console command at two places": {[]string{"device", "show", "AAAA-AAAA-AAAA", "--data", empty, "--config", missing}, 2, "--data"},
		"a folder that dev has not used":  {[]string{"device", "show", "AAAA-AAAA-AAAA", "--data", empty}, 2, "not a folder"},
		"a device ID that is none":        {[]string{"device", "show", "ABC", "--data", empty}, 2, "device ID"},
		"an unknown device command":       {[]string{"device", "explode", "--data", empty}, 2, `"explode"`},
		"an unknown key command":          {[]string{"keys", "explode", "--data", empty}, 2, `"explode"`},
		"a log level of its own":          {[]string{"dev", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--log-level", "loud"}, 2, "log_level"},
		"an address that is not here":     {[]string{"dev", "--data", t.TempDir(), "--listen", "192.0.2.1:8443"}, 5, "192.0.2.1:8443"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := runTo(t, c.args...)
			if code != c.code || !strings.Contains(stderr, c.says) || stdout != "" {
				t.Errorf("%d: %s%s, want %d and %q", code, stdout, stderr, c.code, c.says)
			}
			_, stderr, code = runTo(t, append(c.args, "--json")...)
			var told struct {
				Error struct{ Name, Message, Remedy string }
			}
			if err := json.Unmarshal([]byte(stderr), &told); err != nil || code == 0 || told.Error.Name == "" || told.Error.Remedy == "" {
				t.Errorf("with --json: %d %s", code, stderr)
			}
		})
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) != 0 {
		t.Errorf("a refused command left %v (%v)", entries, err)
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	// A folder of dev has all the files that serve needs but a server's key.
	dir := t.TempDir()
	dev := start(t, "dev", "--data", dir, "--listen", "127.0.0.1:0")
	if code := dev.stop(t); code != 0 {
		t.Fatal(dev.out)
	}
	config := filepath.Join(dir, "server.toml")
	text := `listen = "127.0.0.1:0"
public_url = "https://localhost"
secret_file = "service.secret"
log_level = "debug"
[tls]
certificate = "ca.pem"
key = "ca.key"
[database]
path = "new.db"
[keys]
directory = "keys"
[mail]
outbox = "outbox"
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := runTo(t, "serve", "--config", config, "--check-config"); code != 0 {
		t.Errorf("--check-config: %d %s%s", code, stdout, stderr)
	}
	// The passwords in place of their hashes.
	for name, list := range map[string]string{"list": "hunter2\n", "none": ""} {
		if list != "" {
			write(t, filepath.Join(dir, name), list)
		}
		bad := filepath.Join(dir, "bad.toml")
		write(t, bad, text+"[passwords]\nbreached_file = \""+name+"\"\n")
		for _, check := range [][]string{{"serve", "--check-config"}, {"account", "show", "1234567890"}} {
			if _, stderr, code := runTo(t, append(check, "--config", bad)...); code != 9 {
				t.Errorf("%s: %q: %d %s", name, check, code, stderr)
			}
		}
	}
	if _, stderr, code := runTo(t, "serve", "--config", config); code != 9 || !strings.Contains(stderr, "migrate") {
		t.Errorf("on a database that was not migrated: %d %s", code, stderr)
	}
	for range 2 {
		if stdout, stderr, code := runTo(t, "migrate", "--config", config, "--json"); code != 0 || !strings.Contains(stdout, "true") {
			t.Errorf("migrate: %d %s%s", code, stdout, stderr)
		}
	}
	p := start(t, "serve", "--config", config)
	if p.url != "https://localhost" {
		t.Errorf("the portal is said to be at %s", p.url)
	}
	if code := p.stop(t); code != 0 {
		t.Errorf("ended with %d\n%s", code, p.out)
	}
}
