// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	accountlock "github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/tpm/tpmtest"
	"github.com/accountlock/accountlock/test/bus"
)

// rig is one device with its account service. What a factory reset keeps and
// what it wipes are two folders.
type rig struct {
	t    testing.TB
	bus  *bus.Bus
	bin  string
	dir  string
	port string

	server *bus.Process
	daemon *bus.Process
	conn   *dbus.Conn

	demo demo
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
	r := &rig{t: t, bin: bus.Binaries(t), dir: t.TempDir(), tpm: "mode = \"off\"\n"}
	r.extra = fmt.Sprintf("[authorization]\nmode = \"uid\"\nuids = [%d]\n", os.Getuid())
	var onBus []bus.Option
	for _, o := range options {
		onBus = append(onBus, o(r)...)
	}
	r.bus = bus.Start(t, onBus...)
	for _, d := range []string{"service", "kept", "wiped", "run"} {
		if err := os.Mkdir(r.path(d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if r.scheme != "" {
		r.putStore(make([]byte, 64<<10)) // a file in the place of a partition
	}
	if err := os.WriteFile(r.path("serial"), []byte("rig-"+filepath.Base(r.dir)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.port = freePort(t)
	r.startServer()
	raw, err := os.ReadFile(r.path("service/demo.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &r.demo); err != nil {
		t.Fatal(err)
	}
	r.writeConfig()
	r.startDaemon()
	r.askAgain()
	return r
}

// askAgain has the account service asked by a device that nobody has linked yet: on
// a busy machine its answer may come too late for the daemon's start.
func (r *rig) askAgain() {
	r.t.Helper()
	for range 10 {
		if r.get("State").Value() != "locked" || r.get("LockReason").Value() != "record-missing" {
			return
		}
		_ = r.call("CheckIn").Err // said by the state
	}
}

// storeSpec is `[record] store`.
func (r *rig) storeSpec() string {
	return cmp.Or(r.scheme, "file") + ":" + r.path("kept/record")
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (r *rig) startServer() {
	r.t.Helper()
	args := append([]string{"dev", "--listen", "127.0.0.1:" + r.port, "--data", r.path("service")}, r.serverArgs...)
	cmd := exec.Command(filepath.Join(r.bin, "accountlock-server"), args...)
	r.server = r.bus.StartProcess(r.t, cmd)
	r.server.AwaitOutput(r.t, "ready\n")
}

func (r *rig) stopServer() {
	r.t.Helper()
	r.server.Signal(r.t, syscall.SIGTERM)
	if code := r.server.Wait(r.t); code != 0 {
		r.t.Fatalf("the account service ended with %d:\n%s", code, r.server.Output())
	}
}

// admin runs a console command of the account service.
func (r *rig) admin(args ...string) (output string) {
	r.t.Helper()
	p := r.adminExit(args...)
	if p.ExitCode() != 0 {
		r.t.Fatalf("accountlock-server %v: %d\n%s", args, p.ExitCode(), p.Output())
	}
	return string(p.Output())
}

// adminExit runs a command of the account service's console.
func (r *rig) adminExit(args ...string) *bus.Process {
	r.t.Helper()
	args = append(args, "--data", r.path("service"))
	return r.bus.Run(r.t, exec.Command(filepath.Join(r.bin, "accountlock-server"), args...))
}

func (r *rig) writeConfig() {
	r.t.Helper()
	api, err := os.ReadFile(r.path("service/device.toml"))
	if err != nil {
		r.t.Fatal(err)
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
%s`, api, r.storeSpec(), r.path("wiped"), r.path("run"), r.path("serial"), r.tpm, r.extra)
	if err := os.WriteFile(r.path("accountlockd.toml"), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) startDaemon() {
	r.t.Helper()
	r.launch()
	r.bus.AwaitName(r.t, accountlock.Name)
	r.conn = r.bus.Connect(r.t)
}

func (r *rig) launch() {
	r.t.Helper()
	cmd := exec.Command(filepath.Join(r.bin, "accountlockd"), "--config", r.path("accountlockd.toml"), "--debug")
	r.daemon = r.bus.StartProcess(r.t, cmd)
}

func (r *rig) stopDaemon() {
	r.t.Helper()
	r.daemon.Signal(r.t, syscall.SIGTERM)
	if code := r.daemon.Wait(r.t); code != 0 {
		r.t.Fatalf("accountlockd ended with %d:\n%s", code, r.daemon.Output())
	}
}

func (r *rig) killDaemon() {
	r.t.Helper()
	r.daemon.Signal(r.t, syscall.SIGKILL)
	r.daemon.Wait(r.t)
	r.bus.AwaitNoName(r.t, accountlock.Name)
}

// reset is a factory reset: the state directory goes, the record store stays.
func (r *rig) reset() {
	r.t.Helper()
	r.stopDaemon()
	if err := os.RemoveAll(r.path("wiped")); err != nil {
		r.t.Fatal(err)
	}
	r.startDaemon()
}

func (r *rig) restart() {
	r.t.Helper()
	r.stopDaemon()
	r.startDaemon()
}

func (r *rig) manager() dbus.BusObject {
	return r.conn.Object(accountlock.Name, accountlock.ManagerPath)
}

func (r *rig) get(name string) dbus.Variant {
	r.t.Helper()
	v, err := r.manager().GetProperty(accountlock.ManagerFace + "." + name)
	if err != nil {
		r.t.Fatalf("property %s: %v", name, err)
	}
	return v
}

// wantState compares State and LockReason.
func (r *rig) wantState(want string) {
	r.t.Helper()
	state, reason := r.get("State").Value().(string), r.get("LockReason").Value().(string)
	if reason != "" {
		state += " " + reason
	}
	if state != want {
		r.t.Fatalf("the state is %q, want %q", state, want)
	}
}

// call calls a method of the Manager and returns its error.
func (r *rig) call(method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	return r.manager().CallWithContext(ctx, accountlock.ManagerFace+"."+method, 0, args...)
}

// conversation is one flow as its client sees it.
type conversation struct {
	r   *rig
	obj dbus.BusObject
}

func (r *rig) begin(method string) *conversation {
	r.t.Helper()
	var path dbus.ObjectPath
	if err := r.call(method, map[string]dbus.Variant{}).Store(&path); err != nil {
		r.t.Fatalf("%s: %v", method, err)
	}
	return &conversation{r, r.conn.Object(accountlock.Name, path)}
}

func (c *conversation) submit(answer map[string]any) error {
	in := map[string]dbus.Variant{}
	for k, v := range answer {
		in[k] = dbus.MakeVariant(v)
	}
	return c.obj.Call(accountlock.FlowFace+".Submit", 0, in).Err
}

func (c *conversation) get(name string) dbus.Variant {
	c.r.t.Helper()
	v, err := c.obj.GetProperty(accountlock.FlowFace + "." + name)
	if err != nil {
		c.r.t.Fatalf("flow property %s: %v", name, err)
	}
	return v
}

func (c *conversation) step() string {
	c.r.t.Helper()
	return c.get("Step").Value().(string)
}

func (c *conversation) prompt() map[string]dbus.Variant {
	c.r.t.Helper()
	return c.get("Prompt").Value().(map[string]dbus.Variant)
}

// answer drives the flow as a generic client does, step by step, until it ends
// or refuses.
func (c *conversation) answer(who person) error {
	c.r.t.Helper()
	for range 12 {
		var err error
		switch step := c.step(); step {
		case "identify":
			err = c.submit(map[string]any{"identifier": who.Email})
		case "password":
			err = c.submit(map[string]any{"password": []byte(who.Password)})
		case "confirm":
			in := map[string]any{"confirm": true}
			if code, ok := c.prompt()["recovery-code"]; ok {
				in["recovery-code"] = []byte(code.Value().(string))
			}
			err = c.submit(in)
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
	r.t.Helper()
	c := r.begin(method)
	if err := c.answer(r.demo.person); err != nil {
		r.t.Fatalf("%s: %v", method, err)
	}
	if step := c.step(); step != "done" {
		r.t.Fatalf("%s ended at %q: %v", method, step, c.get("Error"))
	}
	return c
}

// wantError compares the name of a D-Bus error.
func (r *rig) wantError(err error, want string) {
	r.t.Helper()
	if name := errorName(err); name != accountlock.ErrorPrefix+want && name != want {
		r.t.Fatalf("got the error %q (%v), want %s", name, err, want)
	}
}

// errorName returns the name of a D-Bus error, empty for any other.
func errorName(err error) string {
	var e dbus.Error
	if errors.As(err, &e) {
		return e.Name
	}
	return ""
}
