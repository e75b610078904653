// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	accountlock "github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/tpm/tpmtest"
	"github.com/accountlock/accountlock/test/bus"
	"github.com/accountlock/accountlock/test/device"
)

// rig is one device with its account service. What a factory reset keeps and
// what it wipes are two folders.
type rig struct {
	*device.Device
	port   string
	server *bus.Process
	demo   demo
	// extra is added to the daemon's configuration, tpm is its section [tpm].
	extra, tpm string
	chip       *tpmtest.TPM
	// scheme is the kind of record store; empty is a file.
	scheme string
	// around is put before the command of a screen.
	around []string
	// serverArgs are added to the account service's command line.
	serverArgs []string
}

type person struct {
	AccountID string `json:"account_id"`
	Email     string `json:"email"`
	Phone     string `json:"phone"`
	Password  string `json:"password"`
}

type demo struct {
	person
	Other person `json:"other"`
}

type option func(*rig) []bus.Option

// withPolkit runs the real polkitd with rules, and a daemon that asks it.
func withPolkit(rules string) option {
	return func(r *rig) []bus.Option {
		r.extra = "[authorization]\nmode = \"polkit\"\n"
		return []bus.Option{bus.WithPolkit(rules)}
	}
}

// newRig starts everything; the device has never been seen before.
func newRig(t testing.TB, options ...option) *rig {
	t.Helper()
	r := &rig{Device: device.New(t), tpm: "mode = \"off\"\n"}
	r.extra = fmt.Sprintf("[authorization]\nmode = \"uid\"\nuids = [%d]\n", os.Getuid())
	var onBus []bus.Option
	for _, o := range options {
		onBus = append(onBus, o(r)...)
	}
	r.Bus = bus.Start(t, onBus...)
	if err := os.Mkdir(r.Path("service"), 0o700); err != nil {
		t.Fatal(err)
	}
	if r.scheme != "" {
		r.putStore(make([]byte, 64<<10)) // a file in the place of a partition
	}
	r.Write("serial", []byte("rig-"+filepath.Base(r.Dir)+"\n"))
	r.port = device.FreePort(t)
	r.startServer()
	raw, err := os.ReadFile(r.Path("service/demo.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &r.demo); err != nil {
		t.Fatal(err)
	}
	r.writeConfig()
	r.StartDaemon()
	r.Settle()
	return r
}

// storeSpec is `[record] store`.
func (r *rig) storeSpec() string {
	return cmp.Or(r.scheme, "file") + ":" + r.Path("kept/record")
}

func (r *rig) startServer() {
	r.T.Helper()
	args := append([]string{"dev", "--listen", "127.0.0.1:" + r.port, "--data", r.Path("service")}, r.serverArgs...)
	cmd := exec.Command(filepath.Join(r.Bin, "accountlock-server"), args...)
	r.server = r.Bus.StartProcess(r.T, cmd)
	r.server.AwaitOutput(r.T, "ready\n")
}

func (r *rig) stopServer() {
	r.T.Helper()
	r.server.Signal(r.T, syscall.SIGTERM)
	if code := r.server.Wait(r.T); code != 0 {
		r.T.Fatalf("the account service ended with %d:\n%s", code, r.server.Output())
	}
}

// admin runs a console command of the account service.
func (r *rig) admin(args ...string) (output string) {
	r.T.Helper()
	p := r.adminExit(args...)
	if p.ExitCode() != 0 {
		r.T.Fatalf("accountlock-server %v: %d\n%s", args, p.ExitCode(), p.Output())
	}
	return string(p.Output())
}

// adminExit runs a command of the account service's console.
func (r *rig) adminExit(args ...string) *bus.Process {
	r.T.Helper()
	args = append(args, "--data", r.Path("service"))
	return r.Bus.Run(r.T, exec.Command(filepath.Join(r.Bin, "accountlock-server"), args...))
}

func (r *rig) writeConfig() {
	r.T.Helper()
	api, err := os.ReadFile(r.Path("service/device.toml"))
	if err != nil {
		r.T.Fatal(err)
	}
	text := fmt.Sprintf(`%s
[record]
store = "%s"
[state]
directory = "%s"
[runtime]
directory = "%s"
[device]
identity = ["tpm", "file:%s"]
[tpm]
%s
[gate]
mode = "none"
%s`, api, r.storeSpec(), r.Path("wiped"), r.Path("run"), r.Path("serial"), r.tpm, r.extra)
	r.Write("accountlockd.toml", []byte(text))
}

func (r *rig) restart() {
	r.T.Helper()
	r.StopDaemon()
	r.StartDaemon()
}

// wantState compares State and LockReason.
func (r *rig) wantState(want string) {
	r.T.Helper()
	state, reason := r.Property("State").Value().(string), r.Property("LockReason").Value().(string)
	if reason != "" {
		state += " " + reason
	}
	if state != want {
		r.T.Fatalf("the state is %q, want %q", state, want)
	}
}

// conversation is one flow as its client sees it.
type conversation struct {
	*device.Flow
	r *rig
}

func (r *rig) begin(method string) *conversation {
	r.T.Helper()
	return &conversation{r.Begin(method), r}
}

func (c *conversation) step() string {
	c.T.Helper()
	return c.Property("Step").Value().(string)
}

// answer drives the flow as a generic client does, step by step, until it ends
// or refuses.
func (c *conversation) answer(who person) error {
	c.T.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		var err error
		switch step := c.step(); step {
		case "identify":
			err = c.Submit(map[string]any{"identifier": who.Email})
		case "password":
			err = c.Submit(map[string]any{"password": []byte(who.Password)})
		case "confirm":
			in := map[string]any{"confirm": true}
			if code, ok := c.Prompt()["recovery-code"]; ok {
				in["recovery-code"] = []byte(code.Value().(string))
			}
			err = c.Submit(in)
		case "working":
			time.Sleep(20 * time.Millisecond)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("the flow stays at %s", c.step())
}

// run drives a whole flow and expects it to be done.
func (r *rig) run(method string) *conversation {
	r.T.Helper()
	c := r.begin(method)
	if err := c.answer(r.demo.person); err != nil {
		r.T.Fatalf("%s: %v", method, err)
	}
	if step := c.step(); step != "done" {
		r.T.Fatalf("%s ended at %q: %v", method, step, c.Property("Error"))
	}
	return c
}

// wantError compares the name of a D-Bus error.
func (r *rig) wantError(err error, want string) {
	r.T.Helper()
	if name := device.ErrorName(err); name != accountlock.ErrorPrefix+want && name != want {
		r.T.Fatalf("got the error %q (%v), want %s", name, err, want)
	}
}
