// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/godbus/dbus/v5"
	"github.com/rs/zerolog"

	accountlock "github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/test/bus"
	"github.com/accountlock/accountlock/test/device"
)

// hostName is the account service's name where there is DNS.
const hostName = "accounts.example"

// inTime is how soon a verdict must be there: within 10 s, on a machine that runs
// nothing but the device. This one runs all the tests besides.
const inTime = 10*time.Second + 10*time.Second

// rig is one device and its account service, with all that can come between them.
type rig struct {
	*device.Device
	service *apitest.Service
	ca      *authority
	front   *front
	proxy   *toxiproxy.Proxy
	url     string
	options []bus.Option
	pins    []string
	// key is the service's, where it lasts.
	key crypto.PrivateKey
	// fresh: the device has never reached its account service.
	fresh bool

	// code is the recovery code.
	code string
}

// newRig returns a linked device that was reset, on the loopback interface.
func newRig(t testing.TB, change ...func(*rig)) *rig {
	t.Helper()
	r := prepare(t, change...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r.front = newFront(t, l, r.honest())
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	r.proxy = toxiproxy.NewProxy(server, "way", "127.0.0.1:"+device.FreePort(t), l.Addr().String())
	must(t, r.proxy.Start())
	t.Cleanup(r.proxy.Stop)
	r.url = "https://" + r.proxy.Listen
	r.writeConfig()
	if r.fresh {
		r.front.become(mode{raw: func(net.Conn) {}})
		r.StartDaemon()
		return r
	}
	r.StartDaemon()
	r.link()
	return r
}

// prepare makes what does not depend on the network.
func prepare(t testing.TB, change ...func(*rig)) *rig {
	t.Helper()
	r := &rig{Device: device.New(t), service: apitest.Start(t), ca: newAuthority(t)}
	for _, c := range change {
		c(r)
	}
	// The service's clock stands; it is right unless a test says otherwise.
	r.service.Clock.Advance(time.Since(r.service.Clock.Now()))
	r.Bus = bus.Start(t, append(r.options, bus.WithNames("org.freedesktop.NetworkManager", "org.freedesktop.timesync1"))...)
	r.Bus.MustNotPrint(t, r.service.Owner.Password)
	r.Write("serial", []byte("faults-"+filepath.Base(r.Dir)+"\n"))
	r.Write("ca.pem", r.ca.pem())
	keys, err := r.service.Keys.DeviceFile()
	must(t, err)
	raw, err := json.Marshal(keys)
	must(t, err)
	r.Write("keys.json", raw)
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
	r.T.Helper()
	return r.ca.leaf(r.T, r.key, change...)
}

func (r *rig) writeConfig() {
	r.T.Helper()
	r.Write("accountlockd.toml", fmt.Appendf(nil, `[account_api]
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
`, r.url, r.Path("ca.pem"), r.Path("keys.json"), quoted(r.pins), r.Path("kept/record"), r.Path("wiped"), r.Path("run"), r.Path("serial"), os.Getuid()))
}

// link links the device to its owner and resets it.
func (r *rig) link() {
	r.T.Helper()
	r.Settle()
	f := r.begin("Link")
	f.submit("identifier", r.service.Owner.Email)
	f.submit("password", []byte(r.service.Owner.Password))
	r.code = f.Prompt()["recovery-code"].Value().(string)
	r.Bus.MustNotPrint(r.T, r.code)
	if err := f.Submit(map[string]any{"confirm": true, "recovery-code": []byte(r.code)}); err != nil {
		r.T.Fatalf("link: %v", err)
	}
	r.wantState("linked")
	r.Reset()
	r.wantState("locked")
}

func (r *rig) get(name string) string {
	r.T.Helper()
	s, _ := r.Property(name).Value().(string)
	return s
}

func (r *rig) wantState(want string) {
	r.T.Helper()
	if got := r.get("State"); got != want {
		r.T.Fatalf("the state is %q, want %q", got, want)
	}
}

// conversation is a flow as its client sees it.
type conversation struct{ *device.Flow }

func (r *rig) begin(method string) *conversation {
	r.T.Helper()
	return &conversation{r.Begin(method)}
}

// submit gives one answer that must be taken.
func (c *conversation) submit(key string, value any) {
	c.T.Helper()
	if err := c.Submit(map[string]any{key: value}); err != nil {
		c.T.Fatalf("%s: %v", key, err)
	}
}

// refusal is a flow's property Error.
type refusal struct {
	Name, Message, Remedy string
	Counted               bool
}

func (c *conversation) refusal() refusal {
	c.T.Helper()
	var e refusal
	must(c.T, c.Obj.Call("org.freedesktop.DBus.Properties.Get", 0, accountlock.FlowFace, "Error").Store(&e))
	e.Name = strings.TrimPrefix(e.Name, accountlock.ErrorPrefix)
	return e
}

// tryUnlock signs in with a password, and returns the refusal and how long it took.
func (r *rig) tryUnlock(password string) (refusal, time.Duration) {
	r.T.Helper()
	f := r.begin("Unlock")
	defer f.Obj.Call(accountlock.FlowFace+".Cancel", 0)
	f.submit("identifier", "")
	start := time.Now()
	err := f.Submit(map[string]any{"password": []byte(password)})
	took := time.Since(start)
	e := f.refusal()
	if name := device.ErrorName(err); strings.TrimPrefix(name, accountlock.ErrorPrefix) != e.Name {
		r.T.Errorf("Submit says %q, and Error %q", name, e.Name)
	}
	return e, took
}

// unlock opens the device as its owner would.
func (r *rig) unlock() time.Duration {
	r.T.Helper()
	e, took := r.tryUnlock(r.service.Owner.Password)
	if e.Name != "" {
		r.T.Fatalf("unlock: %+v", e)
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
	r.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var rows []check
	start := time.Now()
	must(r.T, r.Manager().CallWithContext(ctx, accountlock.ManagerFace+".Diagnose", 0).Store(&rows))
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
	r.T.Helper()
	raw, err := json.Marshal(map[string]any{"name": name, "type": name, "stream": "downstream", "toxicity": 1, "attributes": attributes})
	must(r.T, err)
	_, err = r.proxy.Toxics.AddToxicJson(strings.NewReader(string(raw)))
	must(r.T, err)
}

// heal takes all that is in the way out of it.
func (r *rig) heal() {
	r.proxy.Toxics.ResetToxics(context.Background())
	if !r.proxy.Enabled {
		must(r.T, r.proxy.Start())
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
