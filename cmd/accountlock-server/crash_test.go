// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/store"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

// group is some account services on one database.
type group struct {
	t           *testing.T
	dir, config string
	database    store.Config
	servers     []*program
	// urls are where they are reached; a server that was ended comes back elsewhere.
	urls []atomic.Pointer[string]
}

// startGroup starts n servers on a database; without one, on SQLite.
func startGroup(t *testing.T, n int, database store.Config) *group {
	t.Helper()
	g := &group{t: t, dir: t.TempDir(), database: database, servers: make([]*program, n), urls: make([]atomic.Pointer[string], n)}
	where := "url = \"" + database.URL + "\""
	if database.URL == "" {
		g.database.Path = filepath.Join(g.dir, "accounts.db")
		where = "path = \"accounts.db\""
	}
	selfSigned(t, filepath.Join(g.dir, "server.pem"), filepath.Join(g.dir, "server.key"))
	g.config = filepath.Join(g.dir, "server.toml")
	write(t, g.config, `listen = "127.0.0.1:0"
public_url = "https://accounts.test"
secret_file = "service.secret"
tls = { certificate = "server.pem", key = "server.key" }
keys = { directory = "keys" }
mail = { outbox = "outbox" }
argon2 = { memory_kib = 64, passes = 1 }
[database]
`+where+"\n")
	if _, errs, code := runTo(t, "migrate", "--config", g.config); code != 0 {
		t.Fatal(errs)
	}
	for i := range g.servers {
		g.serve(i)
	}
	return g
}

func (g *group) serve(i int) {
	s := start(g.t, "serve", "--config", g.config)
	eventually(g.t, "the address it listens on", func() bool { return listening.MatchString(s.out.String()) })
	g.servers[i] = s
	url := "https://" + listening.FindStringSubmatch(s.out.String())[1]
	g.urls[i].Store(&url)
}

// person makes an account.
func (g *group) person(email, password string) person {
	file := filepath.Join(g.dir, "password")
	write(g.t, file, password)
	if _, errs, code := runTo(g.t, "account", "add", "--config", g.config, "--email", email, "--password-file", file); code != 0 {
		g.t.Fatal(errs)
	}
	return person{Email: email, Password: password}
}

// owner is a device and its owner who never give up: each call is repeated under its
// idempotency key, at one server after the other, until one has answered it.
type owner struct {
	*apitest.Device
	g      *group
	who    person
	calls  *atomic.Int64
	asked  int
	cycles int
}

// ask repeats a call until it is answered, as the daemon does.
func (o *owner) ask(ctx context.Context, path string, body any) apitest.Answer {
	key := apitest.NewKey()
	for ctx.Err() == nil {
		o.asked++
		o.URL = *o.g.urls[o.asked%len(o.g.urls)].Load()
		a, err := o.Call(ctx, http.MethodPost, path, key, body)
		switch {
		case err != nil: // the server is not there, or went away in between
			o.Nonce = ""
			time.Sleep(10 * time.Millisecond)
		case a.Status == http.StatusOK:
			o.calls.Add(1)
			return a
		case a.Header.Get("Retry-After") != "":
			time.Sleep(20 * time.Millisecond)
		default:
			o.g.t.Errorf("%s %v: %d %s", path, body, a.Status, a.Body)
			return apitest.Answer{}
		}
	}
	return apitest.Answer{}
}

func (o *owner) run(ctx context.Context, kind accountapi.FlowKind, answers ...accountapi.FlowAnswer) {
	a := o.ask(ctx, "/v1/flows", accountapi.BeginRequest{Kind: kind, DeviceId: o.ID, Nonce: apitest.NewNonce()})
	for _, answer := range answers {
		if a.Status == 0 {
			return
		}
		a = o.ask(ctx, "/v1/flows/"+a.Step.FlowId, answer)
	}
	if a.Status != 0 && a.Step.Step != accountapi.Done {
		o.g.t.Errorf("a %s ends at %s", kind, a.Step.Step)
	}
}

// cycle links the device, unlocks it and signs it out.
func (o *owner) cycle(ctx context.Context) {
	o.run(ctx, accountapi.FlowKindLink, apitest.Identify(o.who.Email), apitest.Password(o.who.Password), apitest.Confirm(), apitest.Commit(apitest.NewNonce()))
	o.run(ctx, accountapi.FlowKindUnlock, apitest.UseHint(), apitest.Password(o.who.Password))
	o.run(ctx, accountapi.FlowKindSignOut, apitest.Password(o.who.Password), apitest.Commit(apitest.NewNonce()))
	o.cycles++
}

// whileOwnersAreAtIt has owners link, unlock and sign out while one server after the
// other is ended and comes back, as often as is wanted. It then compares what the
// service holds with what the owners did.
func (g *group) whileOwnersAreAtIt(disturbances int, end func(*program)) {
	t := g.t
	t.Helper()
	who := []person{g.person("one@example.org", "correct horse 42 staple"), g.person("two@example.org", "correct horse 43 staple")}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	var calls atomic.Int64
	var over atomic.Bool
	var all sync.WaitGroup
	owners := make([]*owner, 4)
	for i := range owners {
		d := apitest.NewDevice(*g.urls[0].Load(), apitest.Client(read(t, g.dir, "server.pem")))
		d.Enrol(t)
		o := &owner{Device: d, g: g, who: who[i%2], calls: &calls}
		owners[i] = o
		all.Go(func() {
			for !over.Load() && ctx.Err() == nil {
				o.cycle(ctx)
			}
		})
	}
	for n := range disturbances {
		// Something was answered since the one before, whatever the speed of the machine.
		before := calls.Load()
		for calls.Load() < before+int64(3+n%11) && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		end(g.servers[n%len(g.servers)])
		g.serve(n % len(g.servers))
	}
	over.Store(true)
	all.Wait()
	if ctx.Err() != nil {
		t.Fatal("the owners did not finish")
	}
	t.Logf("%d calls, %d disturbances", calls.Load(), disturbances)
	for _, o := range owners {
		o.URL, o.Nonce = *g.urls[0].Load(), ""
		c := claimsOf(t, statement(t, o.Device))
		// The last link: reserved, committed, unlocked and signed out, each once.
		if o.cycles == 0 || *c.Status != accountapi.ClaimsStatusSignedOut || c.Link.Generation != 4 {
			t.Errorf("after %d cycles the link is %s, changed %d times; want signed-out, 4", o.cycles, *c.Status, c.Link.Generation)
		}
		for kind, n := range g.history(o.ID) {
			if n != o.cycles && 3*o.cycles <= 1000 { // the newest thousand are kept
				t.Errorf("%s happened %d times, want %d", kind, n, o.cycles)
			}
		}
	}
}

// history counts what the service has noted of a device.
func (g *group) history(id string) map[string]int {
	g.t.Helper()
	db, err := store.Open(g.t.Context(), g.database)
	if err != nil {
		g.t.Fatal(err)
	}
	defer db.Close()
	out := map[string]int{"link": 0, "unlock": 0, "sign-out": 0}
	err = db.Read(g.t.Context(), func(tx *sql.Tx) error {
		for kind := range out {
			var n int
			if err := tx.QueryRowContext(g.t.Context(), `SELECT COUNT(*) FROM device_events WHERE device_id = $1 AND kind = $2`, id, kind).Scan(&n); err != nil {
				return err
			}
			out[kind] = n
		}
		return nil
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return out
}

func kill(p *program) {
	_ = p.Process.Kill()
	_ = p.Wait()
}

func TestAShutdownLosesNoRequest(t *testing.T) {
	t.Parallel()
	startGroup(t, 1, store.Config{}).whileOwnersAreAtIt(8, func(p *program) {
		if code := p.stop(t); code != 0 {
			t.Errorf("the server ended with %d\n%s", code, p.out)
		}
	})
}

func TestAKillLosesNothingAndDoesNothingTwice(t *testing.T) {
	t.Parallel()
	startGroup(t, 1, store.Config{}).whileOwnersAreAtIt(8, kill)
}

// killsOfServers is how often a server is killed: a few in every test run, more with
// ACCOUNTLOCK_KILLS.
func killsOfServers() int {
	if n, err := strconv.Atoi(os.Getenv("ACCOUNTLOCK_KILLS")); err == nil {
		return n
	}
	return 4
}

func TestAKillOfOneOfTwoServersOnPostgreSQLLosesNothingAndDoesNothingTwice(t *testing.T) {
	t.Parallel()
	startGroup(t, 2, store.Config{URL: storetest.Postgres(t).Database(t)}).whileOwnersAreAtIt(killsOfServers(), kill)
}

func TestTwoServersOnOneDatabaseAreOneService(t *testing.T) {
	t.Parallel()
	g := startGroup(t, 2, store.Config{})
	who := g.person("one@example.org", "correct horse 42 staple")
	d := apitest.NewDevice(*g.urls[0].Load(), apitest.Client(read(t, g.dir, "server.pem")))
	d.Enrol(t)
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	for i, answer := range []accountapi.FlowAnswer{apitest.Identify(who.Email), apitest.Password(who.Password), apitest.Confirm(), apitest.Commit(apitest.NewNonce())} {
		// The nonce of one server's answer is good at the other.
		d.URL = *g.urls[(i+1)%2].Load()
		if a := d.Reply(t, begun.Step.FlowId, answer); a.Status != http.StatusOK {
			t.Fatalf("%s: %d %s", answer.Step, a.Status, a.Body)
		}
	}
	if got := statusOf(t, d); got != accountapi.ClaimsStatusLinked {
		t.Errorf("the device is %s", got)
	}
}
