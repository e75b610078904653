// SPDX-License-Identifier: Apache-2.0

package main // not main_test: TestMain has to be able to be the program

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/keys"
)

// beMain, in the environment, makes the test's own file the program.
const beMain = "ACCOUNTLOCK_SERVER_TEST_BE_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is one accountlock-server in a process of its own.
type program struct {
	*exec.Cmd
	// url is the portal's address, without the slash at its end.
	url string
	// out is what it has printed, on both outputs: all of it once it has ended.
	out *apitest.Log
	// said is closed at the end of its standard output.
	said chan struct{}
}

func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...) // this very program
	// The race detector waits a second at the end of each for races that are left.
	cmd.Env = append(os.Environ(), beMain+"=1", "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	return cmd
}

// start starts a server and waits until it is ready.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{Cmd: command(context.WithoutCancel(t.Context()), args...), out: &apitest.Log{}, said: make(chan struct{})}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Stderr = p.out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	from := bufio.NewReader(stdout)
	if line, err := from.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the first line is %q, %v\n%s", line, err, p.out)
	}
	url, err := from.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	p.url = strings.TrimSuffix(url, "/\n")
	go func() { defer close(p.said); _, _ = io.Copy(p.out, from) }()
	return p
}

// stop ends a server as systemd does and returns its exit code.
func (p *program) stop(t *testing.T) int {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.said // Wait would close it unread
	err := p.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// runTo runs a command to its end and returns its output and exit code.
func runTo(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := command(t.Context(), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// person is an account of demo.json.
type person struct {
	AccountID string  `json:"account_id"`
	Email     string  `json:"email"`
	Phone     string  `json:"phone"`
	Password  string  `json:"password"`
	Other     *person `json:"other"`
}

func demo(t *testing.T, dir string) person {
	t.Helper()
	var p person
	if err := json.Unmarshal(read(t, dir, "demo.json"), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// device returns a device that is enrolled at the server.
func (p *program) device(t *testing.T, dir string) *apitest.Device {
	t.Helper()
	d := apitest.NewDevice(p.url, apitest.Client(read(t, dir, "ca.pem")))
	d.Enrol(t)
	return d
}

// eventually waits for something that another process does.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("in vain: %s", what)
}

// claimsOf reads what a signed word says without looking at its signature.
func claimsOf(t *testing.T, token string) (c accountapi.Claims) {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// followFrom is what a device does with new sets.
func followFrom(t *testing.T, image keys.DeviceFile, tokens []string) accountapi.KeySet {
	t.Helper()
	set := accountapi.KeySet{Number: image.Number, Keys: image.Keys}
	for _, token := range tokens {
		trusted := map[string]crypto.PublicKey{}
		for _, k := range set.Keys {
			pub, err := k.PublicKey()
			if err != nil {
				t.Fatal(err)
			}
			trusted[accountapi.Thumbprint(pub)] = pub
		}
		var next accountapi.KeySet
		if err := accountapi.Open(token, accountapi.TypeKeySet, trusted, &next); err != nil {
			t.Fatalf("the set after %d: %v", set.Number, err)
		}
		set = next
	}
	return set
}

func statement(t *testing.T, d *apitest.Device) string {
	t.Helper()
	a := d.Post(t, "/v1/devices/"+d.ID+"/statement", accountapi.StatementRequest{Nonce: apitest.NewNonce()})
	var word accountapi.StatementResponse
	if err := json.Unmarshal(a.Body, &word); err != nil {
		t.Fatalf("%v: %s", err, a.Body)
	}
	return word.Statement
}

func statusOf(t *testing.T, d *apitest.Device) accountapi.ClaimsStatus {
	t.Helper()
	return *claimsOf(t, statement(t, d)).Status
}
