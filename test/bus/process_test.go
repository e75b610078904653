// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/test/bus"
)

func TestAProcessKeepsItsOutputAndExitCode(t *testing.T) {
	b := bus.Start(t)
	p := b.Run(t, exec.Command("sh", "-c", "echo out; echo err >&2; exit 7"))
	if got := string(p.Stdout()); got != "out\n" {
		t.Errorf("standard output is %q", got)
	}
	if got := string(p.Output()); got != "out\nerr\n" && got != "err\nout\n" {
		t.Errorf("both outputs are %q", got)
	}
	if p.ExitCode() != 7 {
		t.Errorf("the exit code is %d, want 7", p.ExitCode())
	}
}

func TestAwaitOutputReturnsWhileTheProcessRuns(t *testing.T) {
	b := bus.Start(t)
	p := b.StartProcess(t, exec.Command("sh", "-c", "echo ready; exec sleep 1000"))
	p.AwaitOutput(t, "ready")
	if p.ExitCode() != -1 {
		t.Errorf("a running process has the exit code %d", p.ExitCode())
	}
	if p.Stop(t); p.ExitCode() != -1 {
		t.Errorf("a process ended by a signal has the exit code %d", p.ExitCode())
	}
	failures := watch(t, func(t testing.TB) { p.AwaitOutput(t, "never") })
	if !strings.Contains(failures, "ended without printing") {
		t.Errorf("waiting for what never comes: %q", failures)
	}
}

func TestAProcessOfAnotherUserReachesTheBus(t *testing.T) {
	bus.NeedRoot(t, "it starts a program as another user")
	b := bus.Start(t)
	cmd := exec.Command("dbus-send", "--system", "--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.GetId")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: bus.Nobody, Gid: bus.Nobody}}
	if p := b.Run(t, cmd); p.ExitCode() != 0 {
		t.Errorf("dbus-send exits with %d:\n%s", p.ExitCode(), p.Output())
	}
}

func TestASecretThatAProgramPrintsFailsTheTest(t *testing.T) {
	const secret = `pass "word" 1`
	tests := map[string]struct {
		printed string
		want    string
	}{
		"as it is":        {secret, "as it is"},
		"JSON":            {`{"password":"pass \"word\" 1"}`, "as JSON"},
		"URL":             {"password=pass+%22word%22+1", "URL-encoded"},
		"base64":          {base64.StdEncoding.EncodeToString([]byte(secret)), "in base64"},
		"hexadecimal":     {strings.ToUpper(hex.EncodeToString([]byte(secret))), "in hexadecimal"},
		"a list of bytes": {fmt.Sprintf("%d", []byte(secret)), "as a list of bytes"},
		"something else":  {"password=[redacted]", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			failures := watch(t, func(t testing.TB) {
				b := bus.Start(t)
				b.MustNotPrint(t, "another secret", secret)
				b.Run(t, exec.Command("printf", "%s", test.printed))
			})
			if test.want == "" {
				if failures != "" {
					t.Errorf("the test fails: %q", failures)
				}
				return
			}
			if !strings.Contains(failures, test.want) || !strings.Contains(failures, "number 2") {
				t.Errorf("the test says %q, want %q", failures, test.want)
			}
			if strings.Contains(failures, secret) {
				t.Errorf("the message shows the secret: %q", failures)
			}
		})
	}
}

func TestACrashFailsTheTest(t *testing.T) {
	failures := watch(t, func(t testing.TB) {
		b := bus.Start(t)
		b.Run(t, exec.Command("printf", "%s", "started\npanic: no\n\ngoroutine 1 [running]:\n"))
	})
	if !strings.Contains(failures, "printf crashed: panic: no") {
		t.Errorf("the test says %q", failures)
	}
}

func TestNotifyHearsWhatAServiceSays(t *testing.T) {
	b := bus.Start(t)
	n := b.ListenNotify(t)
	conn, err := net.Dial("unixgram", strings.TrimPrefix(n.Env(), "NOTIFY_SOCKET="))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, message := range []string{"STATUS=settling", "READY=1\nSTATUS=open\n"} {
		if _, err := conn.Write([]byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(n.Await(t, "READY=1"), " "); got != "STATUS=settling READY=1 STATUS=open" {
		t.Errorf("heard %q", got)
	}
}

func TestAccountsDaemonAnswers(t *testing.T) {
	bus.NeedRoot(t, "it starts polkitd")
	before := list(t, "/var/lib/AccountsService/users")
	b := bus.Start(t, bus.WithPolkit(""))
	p := b.StartAccountsDaemon(t)
	object := b.ConnectAs(t, bus.Nobody).Object("org.freedesktop.Accounts", "/org/freedesktop/Accounts")
	version, err := object.GetProperty("org.freedesktop.Accounts.DaemonVersion")
	if err != nil || version.Signature() != dbus.SignatureOf("") {
		t.Errorf("accounts-daemon has the version %v, %v", version, err)
	}
	if !strings.HasPrefix(read(t, "/proc/"+pid(p)+"/comm"), "accounts-daemon") {
		t.Error("its process ID is of something else")
	}
	if after := list(t, "/var/lib/AccountsService/users"); after != before {
		t.Errorf("the host's files are %q, were %q", after, before)
	}
}

func pid(p *bus.Process) string { return strconv.Itoa(p.Pid()) }

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// list names what is in a folder.
func list(t *testing.T, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return strings.Join(names, " ")
}
