// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/godbus/dbus/v5"
	"github.com/rs/zerolog"

	accountlock "github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/test/bus"
)

// hostName is the account service's name where there is DNS.
const hostName = "accounts.example"

// inTime is how soon a verdict must be there: within 10 s, on a machine that runs
// nothing but the device. This one runs all the tests besides.
const inTime = 10*time.Second + 10*time.Second

// rig is one device and its account service, with all that can come between them.
type rig struct {
	t       testing.TB
	bus     *bus.Bus
	service *apitest.Service
	ca      *authority
	front   *front
	proxy   *toxiproxy.Proxy
	dir     string
	url     string
	options []bus.Option
	pins    []string
	// key is the service's, where it lasts.
	key crypto.PrivateKey
	// fresh: the device has never reached its account service.
	fresh bool

	// code is the recovery code.
	code   string
	daemon *bus.Process
	conn   *dbus.Conn
	// launch starts a command as the device's; the network namespaces change it.
	launch func(*exec.Cmd) *bus.Process
}

// newRig returns a linked device that was reset, on the loopback interface.
func newRig(t testing.TB, change ...func(*rig)) *rig {
	t.Helper()
	r := prepare(t, change...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r.front = newFront(t, l, r.honest())
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	r.proxy = toxiproxy.NewProxy(server, "way", "127.0.0.1:0", l.Addr().String())
	must(t, r.proxy.Start())
	t.Cleanup(r.proxy.Stop)
	r.url = "https://" + r.proxy.Listen
	r.writeConfig()
	if r.fresh {
		r.front.become(mode{raw: func(net.Conn) {}})
		r.startDaemon()
		return r
	}
	r.startDaemon()
	r.link()
	return r
}

// prepare makes what does not depend on the network.
func prepare(t testing.TB, change ...func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), service: apitest.Start(t), ca: newAuthority(t)}
	r.launch = func(c *exec.Cmd) *bus.Process { return r.bus.StartProcess(t, c) }
	for _, c := range change {
		c(r)
	}
	// The service's clock stands; it is right unless a test says otherwise.
	r.service.Clock.Advance(time.Since(r.service.Clock.Now()))
	r.bus = bus.Start(t, append(r.options, bus.WithNames("org.freedesktop.NetworkManager", "org.freedesktop.timesync1"))...)
	r.bus.MustNotPrint(t, r.service.Owner.Password)
	for _, d := range []string{"kept", "wiped", "run"} {
		must(t, os.Mkdir(r.path(d), 0o700))
	}
	r.write("serial", []byte("faults-"+filepath.Base(r.dir)+"\n"))
	r.write("ca.pem", r.ca.pem())
	keys, err := r.service.Keys.DeviceFile()
	must(t, err)
	raw, err := json.Marshal(keys)
	must(t, err)
	r.write("keys.json", raw)
	return r
}

// honest is the front of an account service that is well.
func (r *rig) honest() mode {
	return mode{tls: r.tls(), handle: r.service.API}
}

func (r *rig) tls() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{r.leaf()}, MinVersion: tls.VersionTLS13}
}

// leaf returns the service's certificate, with its lasting key where it has one.
func (r *rig) leaf(change ...func(*x509.Certificate)) tls.Certificate {
	r.t.Helper()
	return r.ca.leaf(r.t, r.key, change...)
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) write(name string, raw []byte) {
	r.t.Helper()
	must(r.t, os.WriteFile(r.path(name), raw, 0o600))
}

func (r *rig) writeConfig() {
	r.t.Helper()
	r.write("accountlockd.toml", fmt.Appendf(nil, `[account_api]
url = %q
ca_file = %q
key_set = %q
pins = [%s]
[record]
store = "file:%s"
[state]
directory = %q
[runtime]
directory = %q
[device]
identity = ["file:%s"]
[authorization]
mode = "uid"
uids = [%d]
[tpm]
mode = "off"
[gate]
mode = "none"
[daemon]
idle_exit = "0s"
`, r.url, r.path("ca.pem"), r.path("keys.json"), quoted(r.pins), r.path("kept/record"), r.path("wiped"), r.path("run"), r.path("serial"), os.Getuid()))
}

func (r *rig) startDaemon() {
	r.t.Helper()
	r.daemon = r.launch(exec.Command(filepath.Join(bus.Binaries(r.t), "accountlockd"), "--config", r.path("accountlockd.toml"), "--debug"))
	r.bus.AwaitName(r.t, accountlock.Name)
	r.conn = r.bus.Connect(r.t)
}

func (r *rig) stopDaemon() {
	r.t.Helper()
	r.daemon.Signal(r.t, syscall.SIGTERM)
	if code := r.daemon.Wait(r.t); code != 0 {
		r.t.Fatalf("accountlockd ended with %d:\n%s", code, r.daemon.Output())
	}
	r.bus.AwaitNoName(r.t, accountlock.Name)
}

func (r *rig) killDaemon() {
	r.t.Helper()
	r.daemon.Signal(r.t, syscall.SIGKILL)
	r.daemon.Wait(r.t)
	r.bus.AwaitNoName(r.t, accountlock.Name)
}

// settle has the account service asked again by a device that nobody has linked yet: on
// a busy machine its answer may come too late for the daemon's start.
func (r *rig) settle() {
	r.t.Helper()
	for range 10 {
		if r.get("State") == "unlinked" {
			return
		}
		_ = r.manager().Call(accountlock.ManagerFace+".CheckIn", 0).Err // said by the state
	}
	r.wantState("unlinked")
}

// link links the device to its owner and resets it.
func (r *rig) link() {
	r.t.Helper()
	r.settle()
	f := r.begin("Link")
	f.submit("identifier", r.service.Owner.Email)
	f.submit("password", []byte(r.service.Owner.Password))
	r.code = f.prompt()["recovery-code"].Value().(string)
	r.bus.MustNotPrint(r.t, r.code)
	if err := f.submitAll(map[string]any{"confirm": true, "recovery-code": []byte(r.code)}); err != nil {
		r.t.Fatalf("link: %v", err)
	}
	r.wantState("linked")
	r.reset()
	r.wantState("locked")
}

func (r *rig) reset() {
	r.t.Helper()
	r.stopDaemon()
	must(r.t, os.RemoveAll(r.path("wiped")))
	r.startDaemon()
}

func (r *rig) manager() dbus.BusObject {
	return r.conn.Object(accountlock.Name, accountlock.ManagerPath)
}

func (r *rig) get(name string) string {
	r.t.Helper()
	v, err := r.manager().GetProperty(accountlock.ManagerFace + "." + name)
	must(r.t, err)
	s, _ := v.Value().(string)
	return s
}

func (r *rig) wantState(want string) {
	r.t.Helper()
	if got := r.get("State"); got != want {
		r.t.Fatalf("the state is %q, want %q", got, want)
	}
}

// conversation is a flow as its client sees it.
type conversation struct {
	r   *rig
	obj dbus.BusObject
}

func (r *rig) begin(method string) *conversation {
	r.t.Helper()
	var path dbus.ObjectPath
	must(r.t, r.manager().Call(accountlock.ManagerFace+"."+method, 0, map[string]dbus.Variant{}).Store(&path))
	return &conversation{r, r.conn.Object(accountlock.Name, path)}
}

func (c *conversation) submitAll(answer map[string]any) error {
	in := map[string]dbus.Variant{}
	for k, v := range answer {
		in[k] = dbus.MakeVariant(v)
	}
	return c.obj.Call(accountlock.FlowFace+".Submit", 0, in).Err
}

// submit gives one answer that must be taken.
func (c *conversation) submit(key string, value any) {
	c.r.t.Helper()
	if err := c.submitAll(map[string]any{key: value}); err != nil {
		c.r.t.Fatalf("%s: %v", key, err)
	}
}

func (c *conversation) prompt() map[string]dbus.Variant {
	c.r.t.Helper()
	v, err := c.obj.GetProperty(accountlock.FlowFace + ".Prompt")
	must(c.r.t, err)
	return v.Value().(map[string]dbus.Variant)
}

// refusal is a flow's property Error.
type refusal struct {
	Name, Message, Remedy string
	Counted               bool
}

func (c *conversation) refusal() refusal {
	c.r.t.Helper()
	var e refusal
	must(c.r.t, c.obj.Call("org.freedesktop.DBus.Properties.Get", 0, accountlock.FlowFace, "Error").Store(&e))
	e.Name = strings.TrimPrefix(e.Name, accountlock.ErrorPrefix)
	return e
}

// tryUnlock signs in with a password, and returns the refusal and how long it took.
func (r *rig) tryUnlock(password string) (refusal, time.Duration) {
	r.t.Helper()
	f := r.begin("Unlock")
	defer f.obj.Call(accountlock.FlowFace+".Cancel", 0)
	f.submit("identifier", "")
	start := time.Now()
	err := f.submitAll(map[string]any{"password": []byte(password)})
	took := time.Since(start)
	e := f.refusal()
	if name := errorName(err); strings.TrimPrefix(name, accountlock.ErrorPrefix) != e.Name {
		r.t.Errorf("Submit says %q, and Error %q", name, e.Name)
	}
	return e, took
}

// errorName returns the name of a D-Bus error, empty for any other.
func errorName(err error) string {
	var d dbus.Error
	if errors.As(err, &d) {
		return d.Name
	}
	return ""
}

// unlock opens the device as its owner would.
func (r *rig) unlock() time.Duration {
	r.t.Helper()
	e, took := r.tryUnlock(r.service.Owner.Password)
	if e.Name != "" {
		r.t.Fatalf("unlock: %+v", e)
	}
	r.wantState("linked")
	return took
}

// check is a row of Diagnose.
type check struct {
	Name, Result, Message string
	Details               map[string]dbus.Variant
}

// diagnose returns the rows of Diagnose by their names.
func (r *rig) diagnose() (map[string]check, time.Duration) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var rows []check
	start := time.Now()
	must(r.t, r.manager().CallWithContext(ctx, accountlock.ManagerFace+".Diagnose", 0).Store(&rows))
	out := map[string]check{}
	for _, c := range rows {
		out[c.Name] = c
	}
	return out, time.Since(start)
}

func (c check) detail(key string) string {
	s, _ := c.Details[key].Value().(string)
	return s
}

// toxic puts something into the way from the service to the device.
func (r *rig) toxic(name string, attributes map[string]any) {
	r.t.Helper()
	raw, err := json.Marshal(map[string]any{"name": name, "type": name, "stream": "downstream", "toxicity": 1, "attributes": attributes})
	must(r.t, err)
	_, err = r.proxy.Toxics.AddToxicJson(strings.NewReader(string(raw)))
	must(r.t, err)
}

// heal takes all that is in the way out of it.
func (r *rig) heal() {
	r.proxy.Toxics.ResetToxics(context.Background())
	if !r.proxy.Enabled {
		must(r.t, r.proxy.Start())
	}
	r.front.become(r.honest())
}

// always answers every request alike.
func always(status int, media, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}
