// SPDX-License-Identifier: Apache-2.0

package scale

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/httpapi"
)

// The clients are another process: what this one computes is then the service's work alone.
// The driver is this program once more. It gets orders on its standard input, says when it is
// ready, waits for the word, and says when it is done; each in a line.

// driverVariable makes this program the driver.
const driverVariable = "ACCOUNTLOCK_SCALE_DRIVER"

func TestMain(m *testing.M) {
	if os.Getenv(driverVariable) == "" {
		os.Exit(m.Run())
	}
	if err := serveOrders(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// order is what the driver is to do.
type order struct {
	// Statements of devices that were filled in, or otherwise sign-ins on them.
	Statements bool
	// URL is what is asked for a statement, if it is not the service.
	URL string
	CA  []byte
	// Each has every request made over a connection of its own.
	Each bool
	N    int
	// Among is how many devices there are, and Key the one that all of them have.
	Among    int
	Key      ed25519.PrivateKey
	Service  string
	Password string
	// Secret is the service's, and Now its time: nonces are made with them.
	Secret []byte
	Now    time.Time
}

// clients are those of the driver by their authority and whether they keep connections.
type clients map[string]*http.Client

func (c clients) of(o order) *http.Client {
	name := fmt.Sprint(o.Each, string(o.CA))
	if c[name] == nil {
		c[name] = apitest.Client(o.CA)
		transport := c[name].Transport.(*http.Transport)
		transport.ForceAttemptHTTP2, transport.MaxIdleConnsPerHost, transport.DisableKeepAlives = false, 256, o.Each
		transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	return c[name]
}

func serveOrders(in io.Reader, out io.Writer) error {
	all := clients{}
	lines, say := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := lines.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		do, err := o.ready(all.of(o))
		if err != nil {
			return err
		}
		var word string
		if err := errors.Join(say.Encode("ready"), lines.Decode(&word)); err != nil {
			return err
		}
		if err := errors.Join(do(), say.Encode("done")); err != nil {
			return err
		}
	}
}

// ready makes ready what is not to be measured: signatures are the devices' work.
func (o order) ready(c *http.Client) (do func() error, err error) {
	if !o.Statements {
		return func() error { return o.spread(signInsAtOnce, func(int) error { return o.signIn(c) }) }, nil
	}
	requests := make([]*http.Request, o.N)
	for i := range requests {
		if requests[i], err = o.statement(i); err != nil {
			return nil, err
		}
	}
	return func() error { return o.spread(statementsAtOnce, func(i int) error { return send(c, requests[i]) }) }, nil
}

// device is any of those that were filled in.
func (o order) device(c *http.Client) (int, *apitest.Device) {
	i := rand.IntN(o.Among)
	return i, &apitest.Device{URL: o.Service, HTTP: c, Key: o.Key, ID: deviceID(i), Name: deviceID(i) + keySuffix}
}

func (o order) statement(i int) (*http.Request, error) {
	_, d := o.device(nil)
	var err error
	// Nonces grow with the time at which they were given.
	d.Nonce, err = httpapi.NewNonces(o.Secret, func() time.Time { return o.Now.Add(time.Duration(i) * 10 * time.Microsecond) }).New()
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(accountapi.StatementRequest{Nonce: apitest.NewNonce()})
	if err != nil {
		return nil, err
	}
	if o.URL != "" {
		d.URL = o.URL
	}
	return d.Request(context.Background(), http.MethodPost, "/v1/devices/"+d.ID+"/statement", apitest.NewKey(), body)
}

func send(c *http.Client, r *http.Request) error {
	resp, err := c.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%d %s: %w", resp.StatusCode, b, err)
	}
	return nil
}

// signIn unlocks a device, from the first step to the grant.
func (o order) signIn(c *http.Client) error {
	i, d := o.device(c)
	var err error
	if d.Nonce, err = httpapi.NewNonces(o.Secret, func() time.Time { return o.Now }).New(); err != nil {
		return err
	}
	post := func(path string, body any) apitest.Answer {
		var a apitest.Answer
		if err == nil {
			a, err = d.Call(context.Background(), http.MethodPost, path, apitest.NewKey(), body)
		}
		if err == nil && a.Status != http.StatusOK {
			err = fmt.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
		return a
	}
	begun := post("/v1/flows", accountapi.BeginRequest{Kind: accountapi.FlowKindUnlock, DeviceId: d.ID, Nonce: apitest.NewNonce()})
	post("/v1/flows/"+begun.Step.FlowId, apitest.Identify(identifierOf(i)))
	done := post("/v1/flows/"+begun.Step.FlowId, apitest.Password(o.Password))
	if err == nil && done.Step.Step != accountapi.Done {
		err = fmt.Errorf("the unlock ends at %s", done.Step.Step)
	}
	return err
}

// spread does something N times, some at once.
func (o order) spread(atOnce int, do func(i int) error) error {
	var next atomic.Int64
	errs := make([]error, atOnce)
	var all sync.WaitGroup
	for w := range atOnce {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(o.N) && errs[w] == nil; i = next.Add(1) - 1 {
				errs[w] = do(int(i))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// driver is the other process.
type driver struct {
	t   *testing.T
	out *bufio.Writer
	in  *json.Decoder
}

func startDriver(t *testing.T) *driver {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	cmd.Env = append(os.Environ(), driverVariable+"=1")
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Errorf("the driver: %v\n%s", err, said.String())
		}
	})
	return &driver{t: t, out: bufio.NewWriter(in), in: json.NewDecoder(out)}
}

// prepare has an order made ready; what it returns has it carried out.
func (d *driver) prepare(o order) (do func()) {
	d.say(o, "ready")
	return func() { d.say("go", "done") }
}

func (d *driver) say(v any, wanted string) {
	d.t.Helper()
	var got string
	err := errors.Join(json.NewEncoder(d.out).Encode(v), d.out.Flush())
	if err == nil {
		err = d.in.Decode(&got)
	}
	if err != nil || got != wanted {
		d.t.Fatalf("the driver said %q, %v, and not %q", got, err, wanted)
	}
}
