// SPDX-License-Identifier: Apache-2.0

package main_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/device"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/machine"
	"github.com/accountlock/accountlock/internal/record"
	"github.com/accountlock/accountlock/internal/tpm"
	"github.com/accountlock/accountlock/internal/tpm/tpmtest"
)

// The programs under test, as a release builds them.
var gateProgram, emptyProgram string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "accountlock-gate-")
	if err != nil {
		panic(err)
	}
	gateProgram, emptyProgram = filepath.Join(dir, "gate"), filepath.Join(dir, "empty")
	source := filepath.Join(dir, "empty.go")
	err = errors.Join(
		os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600),
		build(emptyProgram, source), build(gateProgram, "."),
	)
	if err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(out, what string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, what)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", what, err, text)
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// home is a device in a folder: its configuration, record store and state.
type home struct {
	dir, config string
	store       *record.Store
	marker      device.Marker
}

func newHome(t testing.TB) *home {
	t.Helper()
	dir := t.TempDir()
	h := &home{dir: dir, config: filepath.Join(dir, "device.toml"), marker: device.Marker{Dir: filepath.Join(dir, "state")}}
	must(t, os.Mkdir(h.marker.Dir, 0o700))
	must(t, os.Mkdir(filepath.Join(dir, "persist"), 0o700))
	must(t, os.WriteFile(h.config, fmt.Appendf(nil, `[account_api]
url = "https://accounts.example.org"
key_set = "/usr/lib/accountlock/keys.json"
[record]
store = "file:%[1]s/persist/record"
[state]
directory = "%[1]s/state"
`, dir), 0o600))
	var err error
	h.store, err = record.Open("file:" + dir + "/persist/record")
	must(t, err)
	return h
}

// bind gives the device a TPM.
func (h *home) bind(t testing.TB) *tpmtest.TPM {
	t.Helper()
	m := tpmtest.Start(t)
	f, err := os.OpenFile(h.config, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = fmt.Fprintf(f, "[tpm]\nmode = \"require\"\ndevice = %q\n", m.Device())
	must(t, errors.Join(err, f.Close()))
	c, err := config.Load(h.config, os.LookupEnv)
	must(t, err)
	h.store, err = machine.Record(c, tpm.Open)
	must(t, err)
	return m
}

// link links the device: marker, then record.
func (h *home) link(t testing.TB) lock.Record {
	t.Helper()
	m := bytes.Repeat([]byte{7}, device.MarkerSize)
	must(t, h.marker.Write(m))
	sum := sha256.Sum256(m)
	r := lock.Record{DeviceID: "d-1", Armed: true, Link: lock.Link{ID: "l-1", Generation: 1}, MarkerHash: sum[:]}
	must(t, h.store.Write(r, true))
	return r
}

func (h *home) decide(t testing.TB, args ...string) (firstLine string, code int) {
	t.Helper()
	cmd := exec.Command(gateProgram, append([]string{"--decide", "--config", h.config}, args...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return first, cmd.ProcessState.ExitCode()
}

func TestADevicesLife(t *testing.T) {
	h := newHome(t)
	var r lock.Record
	for _, step := range []struct {
		name string
		do   func()
		want string
		code int
	}{
		{"a new device cannot know yet", func() {}, "locked record-missing", 10},
		{"enrolled", func() { must(t, h.store.Write(lock.Record{DeviceID: "d-1"}, true)) }, "open unlinked", 0},
		{"linked", func() { r = h.link(t) }, "open linked", 0},
		{"reset", func() { must(t, os.RemoveAll(h.marker.Dir)) }, "locked factory-reset", 10},
		{"unlocked", func() { must(t, os.Mkdir(h.marker.Dir, 0o700)); h.link(t) }, "open linked", 0},
		{"lost", func() { r.Lost = true; must(t, h.store.Write(r, true)) }, "locked lost", 10},
		{"signed out", func() { r.Lost, r.Armed = false, false; must(t, h.store.Write(r, true)) }, "open signed-out", 0},
		{"reset again", func() { must(t, os.RemoveAll(h.marker.Dir)) }, "open signed-out", 0},
		{"cut off", func() { must(t, os.Truncate(h.dir+"/persist/record", 100)) }, "locked record-damaged", 10},
		{"not mounted", func() { must(t, os.RemoveAll(h.dir+"/persist")) }, "locked record-damaged", 10},
		{"without its configuration", func() { must(t, os.Remove(h.config)) }, "locked record-damaged", 10},
	} {
		step.do()
		before := listing(t, h.dir)
		if got, code := h.decide(t); got != step.want || code != step.code {
			t.Errorf("%s: exit %d after %q", step.name, code, got)
		}
		if _, code := h.decide(t, "--json"); code != step.code {
			t.Errorf("%s: exit %d with --json", step.name, code)
		}
		if after := listing(t, h.dir); after != before {
			t.Errorf("%s: the gate wrote something:\nbefore %s\nafter  %s", step.name, before, after)
		}
	}
}

// listing is everything below dir, with what a write would change.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v %d %v\n", path, info.Mode(), info.Size(), info.ModTime())
		return nil
	}))
	return b.String()
}

// What the gate is made of: it decides before there is anything of this, and
// every boot waits for it to be loaded.
func TestTheGateIsMadeOfLittle(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	must(t, err)
	for _, p := range strings.Fields(string(out)) {
		for forbidden, why := range map[string]string{
			"net/http":               "there is no network yet",
			"crypto/tls":             "there is no network yet",
			"os/exec":                "it starts nothing",
			"database/sql":           "there is no /var yet",
			"modernc.org/sqlite":     "there is no /var yet",
			"github.com/godbus/dbus": "there is no bus yet",
			"github.com/spf13":       "one flag needs no command framework",
			"github.com/accountlock/accountlock/internal/accountapi": "it asks nobody",
			"github.com/accountlock/accountlock/internal/bus":        "it asks nobody",
			"github.com/accountlock/accountlock/internal/flow":       "it carries out nothing",
			"github.com/accountlock/accountlock/internal/journal":    "it writes nothing",
			"github.com/google/go-tpm":                               "internal/tpm/reader knows the commands that reading takes",
			"net":                                                    "there is no network yet",
			"regexp":                                                 "it costs start-up time",
			"text/template":                                          "it costs start-up time",
			"log/slog":                                               "it says its answer and is gone",
		} {
			if p == forbidden || strings.HasPrefix(p, forbidden+"/") && !strings.HasPrefix(forbidden, "net") {
				t.Errorf("imports %s: %s", p, why)
			}
		}
	}
	info, err := os.Stat(gateProgram)
	must(t, err)
	t.Logf("%d bytes, stripped", info.Size())
	if info.Size() > 5<<20 {
		t.Errorf("the program has %d bytes", info.Size())
	}
}
