// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/keys"
)

func TestDevLeavesWhatADeviceNeeds(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, "dev", "--data", dir, "--listen", "127.0.0.1:0", "--log-level", "debug")
	who := demo(t, dir)
	config := deviceConfig(t, dir)
	t.Run("a configuration of accountlockd", func(t *testing.T) {
		if config["url"] != p.url || config["ca_file"] != filepath.Join(dir, "ca.pem") || config["key_set"] != filepath.Join(dir, "key_set.json") {
			t.Errorf("device.toml: %v", config)
		}
		if pins, ok := config["pins"].([]any); !ok || len(pins) != 0 || len(config) != 4 {
			t.Errorf("device.toml: %v", config)
		}
	})
	t.Run("two accounts without a second factor", func(t *testing.T) {
		for _, a := range []person{who, *who.Other} {
			if len(a.AccountID) < 8 || len(a.AccountID) > 10 || a.Email == "" || a.Phone == "" || len(a.Password) < 16 {
				t.Errorf("demo.json: an account is not whole")
			}
		}
		if who.AccountID == who.Other.AccountID || who.Password == who.Other.Password {
			t.Error("the two accounts are alike")
		}
	})
	t.Run("a page that says what this is", func(t *testing.T) {
		client := apitest.Client(read(t, dir, "ca.pem"))
		resp, err := client.Get(p.url + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		page, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(page), "Your account and your devices") || resp.TLS.Version != 0x304 {
			t.Errorf("%d over TLS %x: %s", resp.StatusCode, resp.TLS.Version, page)
		}
		if resp.ProtoMajor != 2 {
			t.Errorf("HTTP/%d is spoken, want 2", resp.ProtoMajor)
		}
	})
	t.Run("accounts that a device is linked with, by each identifier", func(t *testing.T) {
		for _, identifier := range []string{who.AccountID, who.Email, who.Phone} {
			d := p.device(t, dir)
			linkWith(t, d, identifier, who.Password)
		}
		linkWith(t, p.device(t, dir), who.Other.Email, who.Other.Password)
	})
	t.Run("an outbox with the notices", func(t *testing.T) {
		eventually(t, "four notices", func() bool { return len(apitest.ReadOutbox(t, filepath.Join(dir, "outbox"))) == 4 })
	})
	if code := p.stop(t); code != 0 {
		t.Errorf("ended with %d\n%s", code, p.out)
	}
	t.Run("the passwords nowhere else", func(t *testing.T) {
		for _, password := range []string{who.Password, who.Other.Password} {
			if strings.Contains(p.out.String(), password) {
				t.Error("the output holds a password")
			}
			err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() || e.Name() == "demo.json" {
					return err
				}
				if strings.Contains(string(read(t, path)), password) {
					t.Errorf("%s holds a password", path)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("its mail on the console", func(t *testing.T) {
		if !strings.Contains(p.out.String(), "To: "+who.Email) {
			t.Error("no mail was shown")
		}
	})
	t.Run("what is secret to its owner alone", func(t *testing.T) {
		for _, name := range []string{"demo.json", "ca.key", "service.secret", "accounts.db", "keys/root.key"} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
	})
	for _, id := range []string{who.Email, who.Phone, who.AccountID} {
		for line := range strings.Lines(p.out.String()) {
			if strings.Contains(line, id) && strings.Contains(line, "level=") {
				t.Errorf("the log names a person: %s", line)
			}
		}
	}
}

func deviceConfig(t *testing.T, dir string) map[string]any {
	t.Helper()
	var all map[string]map[string]any
	if err := toml.Unmarshal(read(t, dir, "device.toml"), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("device.toml has the tables %v", all)
	}
	return all["account_api"]
}

// linkWith links a device and returns the grant.
func linkWith(t *testing.T, d *apitest.Device, identifier, password string) {
	t.Helper()
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	id := begun.Step.FlowId
	for _, answer := range []accountapi.FlowAnswer{
		apitest.Identify(identifier), apitest.Password(password), apitest.Confirm(), apitest.Commit(apitest.NewNonce()),
	} {
		if a := d.Reply(t, id, answer); a.Status != http.StatusOK {
			t.Fatalf("link at %s: %d %s", answer.Step, a.Status, a.Body)
		}
	}
}

func TestDevKeepsEverythingOnAUsedFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, "dev", "--data", dir, "--listen", "127.0.0.1:0")
	who := demo(t, dir)
	d := p.device(t, dir)
	linkWith(t, d, who.Email, who.Password)
	before := map[string][]byte{}
	for _, name := range []string{"ca.pem", "demo.json", "key_set.json", "service.secret"} {
		before[name] = read(t, dir, name)
	}
	if code := p.stop(t); code != 0 {
		t.Fatalf("ended with %d\n%s", code, p.out)
	}
	p = start(t, "dev", "--data", dir, "--listen", "localhost:0")
	for name, want := range before {
		if string(read(t, dir, name)) != string(want) {
			t.Errorf("%s has changed", name)
		}
	}
	if got := deviceConfig(t, dir)["url"]; got != p.url || !strings.HasPrefix(p.url, "https://localhost:") {
		t.Errorf("device.toml has the URL %v, the service is at %s", got, p.url)
	}
	d.URL = p.url
	begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
	d.Reply(t, begun.Step.FlowId, apitest.UseHint())
	if a := d.Reply(t, begun.Step.FlowId, apitest.Password(who.Password)); a.Step.Step != accountapi.Done {
		t.Errorf("unlock after the restart: %d %s", a.Status, a.Body)
	}
}

func TestDevStaysOutOfAFolderThatPeopleRelyOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, "dev", "--data", dir, "--listen", "127.0.0.1:0")
	if code := p.stop(t); code != 0 {
		t.Fatalf("ended with %d\n%s", code, p.out)
	}
	again := func(gone string) (string, int) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
		_, says, code := runTo(t, "dev", "--data", dir, "--listen", "127.0.0.1:999999")
		return says, code
	}
	// A start that was cut short before the accounts were made is made good.
	if out, _ := again("demo.json"); strings.Contains(out, "did not make") {
		t.Errorf("its own folder: %s", out)
	}
	out, code := again("ca.key")
	if code != 2 || !strings.Contains(out, "holds a database that 'accountlock-server dev' did not make") || !strings.Contains(out, "--data") {
		t.Errorf("another's folder: %d %s", code, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "demo.json")); err == nil {
		t.Error("it has made itself at home")
	}
}

func TestConsoleCommandsWorkWhileTheServerRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, "dev", "--data", dir, "--listen", "127.0.0.1:0")
	who := demo(t, dir)
	d := p.device(t, dir)
	linkWith(t, d, who.Email, who.Password)
	type shown struct {
		Status string `json:"status"`
		Link   struct {
			AccountID  string `json:"account_id"`
			Generation int    `json:"generation"`
		} `json:"link"`
		Lost struct {
			Message string `json:"message"`
		} `json:"lost"`
		Events []struct {
			Kind string `json:"kind"`
		} `json:"events"`
	}
	console := func(args ...string) (out shown) {
		t.Helper()
		stdout, stderr, code := runTo(t, append(args, "--data", dir, "--json")...)
		if code != 0 {
			t.Fatalf("%q: %d %s", args, code, stderr)
		}
		if err := json.Unmarshal([]byte(stdout), &out); err != nil {
			t.Fatalf("%q: %v in %s", args, err, stdout)
		}
		return out
	}
	if got := console("device", "show", strings.ToLower(d.ID)); got.Status != "linked" || got.Link.AccountID != who.AccountID {
		t.Errorf("show: %+v", got)
	}
	if got := console("device", "lost", d.ID, "--message", "Call me"); got.Status != "lost" || got.Lost.Message != "Call me" {
		t.Errorf("lost: %+v", got)
	}
	if got := statusOf(t, d); got != accountapi.ClaimsStatusLost {
		t.Errorf("the server states %s", got)
	}
	if got := console("device", "found", d.ID); got.Status != "linked" {
		t.Errorf("found: %+v", got)
	}
	got := console("device", "release", d.ID)
	if got.Status != "unlinked" || got.Events[0].Kind != "release" {
		t.Errorf("release: %+v", got)
	}
	if got := statusOf(t, d); got != accountapi.ClaimsStatusUnlinked {
		t.Errorf("the server states %s", got)
	}
	t.Run("and tell the owner", func(t *testing.T) {
		eventually(t, "notices of link, loss, find and release", func() bool {
			return len(apitest.ReadOutbox(t, filepath.Join(dir, "outbox"))) == 4
		})
	})
	t.Run("keys rotate, and devices can follow", func(t *testing.T) {
		image := deviceFile(t, read(t, dir, "key_set.json"))
		for want := int64(2); want <= 3; want++ {
			stdout, stderr, code := runTo(t, "keys", "rotate", "--data", dir, "--json")
			if code != 0 || !strings.Contains(stdout, fmt.Sprintf(`"number": %d`, want)) {
				t.Fatalf("rotate: %d %s %s", code, stdout, stderr)
			}
		}
		show, _, _ := runTo(t, "keys", "show", "--data", dir)
		newest := deviceFile(t, []byte(show))
		var sets accountapi.KeysResponse
		eventually(t, "the server to use the new keys", func() bool {
			resp, err := d.HTTP.Get(p.url + "/v1/keys?after=1")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if err := json.NewDecoder(resp.Body).Decode(&sets); err != nil {
				t.Fatal(err)
			}
			return len(sets.KeySets) == 2
		})
		set := followFrom(t, image, sets.KeySets)
		if set.Number != 3 || newest.Number != 3 || set.Keys[0].X != newest.Keys[0].X {
			t.Errorf("the device arrives at set %d, the newest is %d", set.Number, newest.Number)
		}
		a := d.Post(t, "/v1/devices/"+d.ID+"/statement", accountapi.StatementRequest{Nonce: apitest.NewNonce()})
		var word accountapi.StatementResponse
		if err := json.Unmarshal(a.Body, &word); err != nil {
			t.Fatal(err)
		}
		apitest.Open(t, word.Statement, accountapi.TypeStatement, set.Keys[:1])
	})
	t.Run("an account is made, blocked and deleted", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte("a quite unusual password\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"add", "--email", "third@example.org", "--password-file", file}, {"block", "third@example.org"}, {"unblock", "third@example.org"},
			{"delete", "third@example.org", "--yes"},
		} {
			if _, stderr, code := runTo(t, slices.Concat([]string{"account"}, args, []string{"--data", dir})...); code != 0 {
				t.Fatalf("%q: %d %s", args, code, stderr)
			}
		}
	})
}

func deviceFile(t *testing.T, b []byte) (f keys.DeviceFile) {
	t.Helper()
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}
