// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/service/apitest"
)

var monitored = regexp.MustCompile(`msg="serving figures" at=(\S+)`)

func TestFiguresAreServedWhereTheConfigurationSaysAlone(t *testing.T) {
	dir := t.TempDir()
	selfSigned(t, filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	base := `listen = "127.0.0.1:0"
public_url = "https://accounts.test"
secret_file = "service.secret"
tls = { certificate = "server.pem", key = "server.key" }
keys = { directory = "keys" }
mail = { outbox = "outbox" }
database = { path = "accounts.db" }
`
	c := apitest.Client(read(t, dir, "server.pem"))
	for name, more := range map[string]string{"none": "", "of their own": "metrics = { listen = \"127.0.0.1:0\" }\n"} {
		config := filepath.Join(dir, "server.toml")
		write(t, config, base+more)
		if _, errs, code := runTo(t, "migrate", "--config", config); code != 0 {
			t.Fatal(errs)
		}
		p := start(t, "serve", "--config", config)
		eventually(t, "the address it listens on", func() bool { return listening.MatchString(p.out.String()) })
		if status, _ := ask(t, c, "https://"+listening.FindStringSubmatch(p.out.String())[1]+"/metrics"); status != http.StatusNotFound {
			t.Errorf("%s: everybody reads the figures: %d", name, status)
		}
		if more != "" {
			eventually(t, "the address of the figures", func() bool { return monitored.MatchString(p.out.String()) })
			if status, body := ask(t, &http.Client{}, "http://"+monitored.FindStringSubmatch(p.out.String())[1]+"/metrics"); status != http.StatusOK || !strings.Contains(body, "accountlock_requests_total") {
				t.Errorf("monitoring gets %d %s", status, body)
			}
		}
		if code := p.stop(t); code != 0 {
			t.Errorf("%s: it ended with %d\n%s", name, code, p.out)
		}
		if more == "" && strings.Contains(p.out.String(), "figures") {
			t.Errorf("without an address: %s", p.out)
		}
	}
}

func ask(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestADevelopersServiceShowsItsFigures(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "dev", "--listen", "127.0.0.1:0", "--data", dir)
	if status, body := ask(t, apitest.Client(read(t, dir, "ca.pem")), p.url+"/metrics"); status != http.StatusOK || !strings.Contains(body, "accountlock_requests_in_flight") {
		t.Errorf("got %d %s", status, body)
	}
}
