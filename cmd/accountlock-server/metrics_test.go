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

func TestFiguresAreServedAtTheirOwnAddressAloneWhereThereIsOne(t *testing.T) {
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
	for name, more := range map[string]string{"beside the API": "", "of their own": "metrics = { listen = \"127.0.0.1:0\" }\n"} {
		c := apitest.Client(read(t, dir, "server.pem"))
		config := filepath.Join(dir, "server.toml")
		write(t, config, base+more)
		if _, errs, code := runTo(t, "migrate", "--config", config); code != 0 {
			t.Fatal(errs)
		}
		p := start(t, "serve", "--config", config)
		eventually(t, "the address it listens on", func() bool { return listening.MatchString(p.out.String()) })
		api := "https://" + listening.FindStringSubmatch(p.out.String())[1]
		if more != "" {
			if status, _ := ask(t, c, api+"/metrics"); status != http.StatusNotFound {
				t.Errorf("everybody reads the figures: %d", status)
			}
			eventually(t, "the address of the figures", func() bool { return monitored.MatchString(p.out.String()) })
			c, api = &http.Client{}, "http://"+monitored.FindStringSubmatch(p.out.String())[1]
			if status, _ := ask(t, c, api+"/v1/keys"); status != http.StatusNotFound {
				t.Errorf("the API is beside the figures: %d", status)
			}
		}
		if status, body := ask(t, c, api+"/metrics"); status != http.StatusOK || !strings.Contains(body, "accountlock_requests_in_flight") {
			t.Errorf("%s: monitoring gets %d %s", name, status, body)
		}
		if code := p.stop(t); code != 0 {
			t.Errorf("%s: it ended with %d\n%s", name, code, p.out)
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
