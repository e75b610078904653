// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	accountlock "github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/test/bus"
)

// ask runs a console command of the account service and returns its exit code and
// what it printed.
func (r *rig) ask(args ...string) (int, string) {
	r.T.Helper()
	args = append(args, "--data", r.Path("service"))
	p := r.Bus.Run(r.T, exec.Command(filepath.Join(r.Bin, "accountlock-server"), args...))
	return p.ExitCode(), string(p.Stdout())
}

// respond is the account service's answer to a challenge.
func (r *rig) respond(challenge string) string {
	r.T.Helper()
	code, out := r.ask("device", "offline-code", r.Property("DeviceId").Value().(string), challenge)
	if code != 0 {
		r.T.Fatalf("%d %s", code, out)
	}
	return strings.TrimSpace(out)
}

// ctl runs accountlockctl and returns its exit code and what it printed.
func (r *rig) ctl(args ...string) (int, string) {
	r.T.Helper()
	p := r.Bus.Run(r.T, exec.Command(filepath.Join(r.Bin, "accountlockctl"), args...))
	return p.ExitCode(), string(p.Output())
}

func (c *conversation) choose(method string) error {
	return c.Obj.Call(accountlock.FlowFace+".Choose", 0, method).Err
}

// challenged is an unlock at the step `offline-code`, with its challenge.
func (r *rig) challenged() (*conversation, string) {
	r.T.Helper()
	c := r.begin("Unlock")
	if err := c.choose("offline-code"); err != nil {
		r.T.Fatal(err)
	}
	return c, c.Prompt()["challenge"].Value().(string)
}

func TestAnOfflineCodeFromTheServiceOpensADeviceWithoutANetwork(t *testing.T) {
	r := newRig(t)
	r.run("Link")
	id := r.Property("DeviceId").Value().(string)
	r.stopServer()
	r.Reset()
	_, challenge := r.challenged()
	r.KillDaemon()
	r.StartDaemon()
	c, again := r.challenged()
	if again != challenge || c.step() != "offline-code" {
		t.Fatalf("after a kill the challenge is %s, before %s", again, challenge)
	}
	response := r.respond(challenge)
	wrong := "00000000"
	if response == wrong {
		wrong = "00000001"
	}
	r.wantError(c.Submit(map[string]any{"code": []byte(wrong)}), "InvalidCode")
	if e := c.Property("Error").Value().([]any); e[3] != true {
		t.Fatalf("a wrong code did not count: %v", e)
	}
	file := r.Path("code")
	if err := os.WriteFile(file, []byte(response+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := r.ctl("unlock", "--method", "offline-code", "--code-file", file); code != 0 {
		t.Fatalf("%d\n%s", code, out)
	}
	r.wantState("linked")
	// Once: after the next reset another challenge is asked.
	r.Reset()
	c, next := r.challenged()
	if next == challenge {
		t.Fatal("the challenge is the same")
	}
	r.wantError(c.Submit(map[string]any{"code": []byte(response)}), "InvalidCode")
	// A lost device gets none.
	r.admin("device", "lost", id)
	if code, out := r.ask("device", "offline-code", id, next, "--json"); code != 3 || strings.Contains(out, "response") {
		t.Fatalf("%d %s", code, out)
	}
	r.admin("device", "found", id)
	code, out := r.ask("device", "offline-code", id, next[:5]+" "+next[5:], "--json")
	var said struct {
		DeviceID string `json:"device_id"`
		Response string `json:"response"`
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil || code != 0 || said.DeviceID != id {
		t.Fatalf("%d %s %v", code, out, err)
	}
	if err := c.Submit(map[string]any{"code": []byte(said.Response)}); err != nil {
		t.Fatal(err)
	}
	r.wantState("linked")
	for _, p := range []*bus.Process{r.Daemon, r.server} {
		if strings.Contains(string(p.Output()), said.Response) || strings.Contains(string(p.Output()), response) {
			t.Fatal("a log holds a response")
		}
	}
}

func TestGuessingOfflineCodesBringsWaitsThatNoRestartEnds(t *testing.T) {
	r := newRig(t)
	r.run("Link")
	r.Reset()
	c, challenge := r.challenged()
	right := r.respond(challenge)
	var last time.Time
	for i := range 5 {
		guess := fmt.Sprintf("%08d", 10*i)
		if guess == right {
			guess = "00000001"
		}
		last = time.Now()
		r.wantError(c.Submit(map[string]any{"code": []byte(guess)}), "InvalidCode")
	}
	next := c.Prompt()["challenge"].Value().(string)
	if next == challenge {
		t.Fatal("five codes did not use the challenge up")
	}
	right = r.respond(next)
	for _, end := range []func(){func() {}, r.restart, r.Reset, func() { r.KillDaemon(); r.StartDaemon() }} {
		end()
		c, again := r.challenged()
		if again != next {
			t.Fatalf("another challenge: %s", again)
		}
		r.wantError(c.Submit(map[string]any{"code": []byte(right)}), "RateLimited")
		wait, gone := time.Duration(r.Property("RetryAfter").Value().(uint32))*time.Second, time.Since(last)
		if wait < time.Minute-gone-time.Second || wait > time.Minute {
			t.Fatalf("RetryAfter is %v after %v", wait, gone)
		}
		r.wantState("locked factory-reset")
	}
	// The account itself does not wait for it.
	r.run("Unlock")
}

func TestATicketCarriedOnAStickOpensADeviceWithoutANetwork(t *testing.T) {
	r := newRig(t)
	r.run("Link")
	id := r.Property("DeviceId").Value().(string)
	r.stopServer()
	r.Reset()
	// The screen shows the challenge; the owner goes away with it, and the power fails.
	_, challenge := r.challenged()
	code, ticket := r.ask("device", "ticket", id, challenge)
	if code != 0 {
		t.Fatalf("%d %s", code, ticket)
	}
	r.KillDaemon()
	r.StartDaemon()
	file := r.Path("ticket")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	forged := strings.Split(strings.TrimSpace(ticket), ".")
	forged[2] = strings.Repeat("A", len(forged[2]))
	write(strings.Join(forged, "."))
	// The network has no part in either: nobody is told to change it.
	if code, out := r.ctl("unlock", "--grant", file, "--json"); code != 8 || !strings.Contains(out, "has not signed this ticket") || strings.Contains(out, "network") {
		t.Fatalf("a forged ticket: %d\n%s", code, out)
	}
	_, other := r.ask("device", "ticket", id, "0123456789")
	write(other)
	if code, out := r.ctl("unlock", "--grant", file, "--json"); code != 8 || !strings.Contains(out, "another challenge") || !strings.Contains(out, "Fetch a ticket") {
		t.Fatalf("a ticket for another challenge: %d\n%s", code, out)
	}
	r.wantState("locked factory-reset")
	write(ticket)
	if code, out := r.ctl("unlock", "--grant", file, "--json"); code != 0 || !strings.Contains(out, `"state": "linked"`) && !strings.Contains(out, `"state":"linked"`) {
		t.Fatalf("%d\n%s", code, out)
	}
	r.wantState("linked")
	r.Reset()
	if code, out := r.ctl("unlock", "--grant", file); code != 8 {
		t.Fatalf("the same ticket again: %d\n%s", code, out)
	}
	r.startServer()
	r.admin("device", "lost", id)
	_, challenge = r.challenged()
	if code, out := r.ask("device", "ticket", id, challenge); code != 3 {
		t.Fatalf("a lost device: %d %s", code, out)
	}
}
