// SPDX-License-Identifier: Apache-2.0

package daemon_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/daemon"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

func TestMain(m *testing.M) {
	if file := os.Getenv("DAEMON_TEST_CONFIG"); file != "" {
		os.Exit(runAndTell(file))
	}
	goleak.VerifyTestMain(m)
}

// start runs the daemon's Main with no environment.
func start(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	nothing := func(string) (string, bool) { return "", false }
	code = daemon.Main(context.Background(), args, nothing, &out, &err, "1.2.3")
	return code, out.String(), err.String()
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// provisioned returns a good configuration, its CA file and its key set.
func provisioned(t *testing.T) (text, ca, keys string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	ca = write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	s.Close()
	// RFC 8037, appendix A.2.
	keys = write(t, "keys.json", `{"number":1,"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)
	text = fmt.Sprintf("[account_api]\nurl = \"https://service.example\"\nca_file = %q\nkey_set = %q\n", ca, keys)
	return text, ca, keys
}

func TestTheCommandLine(t *testing.T) {
	for _, c := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"the version", []string{"--version"}, 0, "accountlockd 1.2.3\n", ""},
		{"help", []string{"--help"}, 0, "", "Usage: accountlockd"},
		{"an unknown option", []string{"--frobnicate"}, 2, "", "frobnicate"},
		{"an argument", []string{"now"}, 2, "", `accountlockd: it takes no arguments, but got "now"`},
		{"an option without its value", []string{"--config"}, 2, "", "config"},
		{"a configuration that is not there", []string{"--config", "/nonexistent/x.toml"}, 1, "", "/nonexistent/x.toml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := start(c.args...)
			if code != c.code || stdout != c.stdout || !strings.Contains(stderr, c.stderr) || (c.stderr == "") != (stderr == "") {
				t.Fatalf("exit %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
			}
		})
	}
}

func TestCheckConfig(t *testing.T) {
	good, ca, keys := provisioned(t)
	for _, c := range []struct {
		name, text string
		code       int
		says       string
	}{
		{"an empty one is valid", "", 0, "the configuration is valid"},
		{"a whole one is valid", good, 0, "the configuration is valid"},
		{"an unknown key is not", "[daemon]\nidle_exit_time = \"5s\"\n", 1, "idle_exit_time"},
		{"an unknown section is not", "[daemons]\n", 1, "daemons"},
		{"what is no TOML is not", "[daemon\n", 1, "accountlockd: "},
		{"a plain URL is not", strings.Replace(good, "https", "http", 1), 1, "https"},
		{"a missing CA file is not", strings.Replace(good, ca, "/nonexistent/ca.pem", 1), 1, "/nonexistent/ca.pem"},
		{"a missing key set is not", strings.Replace(good, keys, "/nonexistent/keys.json", 1), 1, "/nonexistent/keys.json"},
		{"a key set that is a CA file is not", strings.Replace(good, keys, ca, 1), 1, ca},
		{"an unknown store is not", good + "[record]\nstore = \"ftp:/x\"\n", 1, "ftp"},
		{"a raw partition is", good + "[record]\nstore = \"block:/dev/x\"\n", 0, "valid"},
		{"Android's partition is", good + "[record]\nstore = \"pdb:/dev/disk/by-partlabel/frp\"\n", 0, "valid"},
		{"a store that is a folder is not", good + "[record]\nstore = \"block:/dev/\"\n", 1, "block"},
		{"a store with half a path is not", good + "[record]\nstore = \"file:x\"\n", 1, "no absolute path"},
		{"a pin that is none is not", strings.Replace(good, "[account_api]", "[account_api]\npins = [\"sha256/AAAA\"]", 1), 1, "sha256/AAAA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := start("--check-config", "--config", write(t, "c.toml", c.text))
			if code != c.code || !strings.Contains(stdout+stderr, c.says) || (c.code == 0) != (stderr == "") {
				t.Fatalf("exit %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
			}
		})
	}
}

// runAndTell is another process: a daemon that finds no bus, and then what
// became of the process's limits.
func runAndTell(file string) int {
	getenv := func(name string) (string, bool) { return "unix:path=/nonexistent", name == "DBUS_SYSTEM_BUS_ADDRESS" }
	fmt.Println("exit", daemon.Main(context.Background(), []string{"--config", file}, getenv, os.Stdout, os.Stderr, ""))
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	fmt.Println("dumpable", dumpable, err)
	limits, _ := os.ReadFile("/proc/self/limits")
	for line := range strings.Lines(string(limits)) {
		if strings.HasPrefix(line, "Max core file size") {
			fmt.Println(strings.Join(strings.Fields(line), " "))
		}
	}
	return 0
}

func TestTheDaemonLeavesNoCoreDump(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := write(t, "c.toml", fmt.Sprintf("[state]\ndirectory = %q\n[record]\nstore = %q\n", filepath.Join(dir, "state"), "file:"+filepath.Join(dir, "record")))
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "DAEMON_TEST_CONFIG="+file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"exit 1\n", "dumpable 0 <nil>\n", "Max core file size 0 0 bytes\n", "the daemon ends"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// refusals calls everything of a service.
func refusals(t *testing.T, c config.Config) (map[string]error, error) {
	t.Helper()
	s, cause := daemon.NewService(c, lock.KeySet{}, nil)
	t.Cleanup(func() { s.Close() })
	creds := flow.Credentials{}
	out := map[string]error{"end": s.End(t.Context(), creds, "x")}
	_, out["begin"] = s.Begin(t.Context(), creds, flow.Begin{})
	_, out["answer"] = s.Answer(t.Context(), creds, "x", flow.Answer{})
	_, out["resend"] = s.Resend(t.Context(), creds, "x")
	_, out["challenge"] = s.Challenge(t.Context(), creds, flow.Claim{})
	_, _, out["enrol"] = s.Enrol(t.Context(), creds, flow.Enrolment{})
	_, out["state"] = s.State(t.Context(), creds, "", "")
	_, out["support"] = s.Support(t.Context(), "")
	if !reflect.DeepEqual(s.KeySet(), lock.KeySet{}) {
		t.Error("it has keys")
	}
	return out, cause
}

func TestWithoutAnAccountServiceEachCallSaysSo(t *testing.T) {
	broken := config.Default(nil)
	broken.AccountAPI = config.AccountAPI{URL: "https://service.example", CAFile: "/nonexistent/ca.pem", KeySet: "/nonexistent/keys.json"}
	for _, c := range []struct {
		name   string
		config config.Config
		code   fault.Code
		says   string
		broken bool
	}{
		{"none is configured", config.Default(nil), fault.ServiceUnavailable, "No account service is configured", false},
		{"its files are missing", broken, fault.ServiceUntrusted, "configuration does not say rightly", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, cause := refusals(t, c.config)
			if (cause != nil) != c.broken {
				t.Fatalf("cause %v", cause)
			}
			for call, err := range got {
				f := fault.As(err)
				if f == nil || f.Code != c.code || !strings.Contains(f.Message, c.says) || strings.Contains(f.Message+f.Remedy, "/nonexistent") {
					t.Errorf("%s: %+v", call, f)
				}
				if f != nil {
					f.RetryAfter = time.Hour // one caller's matter
				}
			}
			if fault.As(got["begin"]) == fault.As(got["end"]) {
				t.Error("callers share one refusal")
			}
		})
	}
}

func TestTheFirstCheckInComesWhenItIsDueAndSoonWhereItIsOverdue(t *testing.T) {
	for _, c := range []struct{ since, interval, want time.Duration }{
		{0, time.Minute, time.Minute}, {20 * time.Second, time.Minute, 40 * time.Second}, {59 * time.Second, time.Minute, time.Second},
		{time.Minute, time.Minute, time.Second}, {61 * time.Second, time.Minute, time.Second},
		{-time.Hour, time.Minute, time.Second}, {1 << 62, time.Minute, time.Second},
	} {
		if got := daemon.UntilNext(c.since, c.interval); got != c.want {
			t.Errorf("%v after the last, every %v: %v, not %v", c.since, c.interval, got, c.want)
		}
	}
}

func TestALockedDeviceAsksAgainAtGrowingPauses(t *testing.T) {
	for _, c := range []struct {
		failures   int
		told, want time.Duration
	}{
		{0, 0, time.Minute}, {1, 0, 5 * time.Second}, {2, 0, 10 * time.Second}, {3, 0, 20 * time.Second}, {4, 0, 40 * time.Second},
		{5, 0, time.Minute}, {1 << 40, 0, time.Minute}, {1, 30 * time.Second, 30 * time.Second}, {9, time.Hour, time.Hour},
	} {
		if got := daemon.UntilRetry(c.failures, c.told); got != c.want {
			t.Errorf("after %d failures, told %v: %v, not %v", c.failures, c.told, got, c.want)
		}
	}
}
