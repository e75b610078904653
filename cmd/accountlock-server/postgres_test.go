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

// pair is two account services on one PostgreSQL database.
type pair struct {
	t           *testing.T
	dir, config string
	database    string
	servers     [2]*program
	// urls are where they are reached; a server that was killed comes back elsewhere.
	urls [2]atomic.Pointer[string]
}

func startPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, dir: t.TempDir(), database: storetest.Postgres(t).Database(t)}
	selfSigned(t, filepath.Join(p.dir, "server.pem"), filepath.Join(p.dir, "server.key"))
	p.config = filepath.Join(p.dir, "server.toml")
	write(t, p.config, `listen = "127.0.0.1:0"
public_url = "https://accounts.test"
secret_file = "service.secret"
tls = { certificate = "server.pem", key = "server.key" }
keys = { directory = "keys" }
mail = { outbox = "outbox" }
argon2 = { memory_kib = 64, passes = 1 }
[database]
url = "`+p.database+`"
`)
	if _, errs, code := runTo(t, "migrate", "--config", p.config); code != 0 {
		t.Fatal(errs)
	}
	for i := range p.servers {
		p.serve(i)
	}
	return p
}

func (p *pair) serve(i int) {
	s := start(p.t, "serve", "--config", p.config)
	eventually(p.t, "the address it listens on", func() bool { return listening.MatchString(s.out.String()) })
	p.servers[i] = s
	url := "https://" + listening.FindStringSubmatch(s.out.String())[1]
	p.urls[i].Store(&url)
}

// person makes an account.
func (p *pair) person(email, password string) person {
	file := filepath.Join(p.dir, "password")
	write(p.t, file, password)
	if _, errs, code := runTo(p.t, "account", "add", "--config", p.config, "--email", email, "--password-file", file); code != 0 {
		p.t.Fatal(errs)
	}
	return person{Email: email, Password: password}
}

// twice is an owner who asks now the one server and now the other, and again until one
// has answered.
type twice struct {
	*apitest.Device
	p     *pair
	who   person
	calls *atomic.Int64
	asked int
}

func (o *twice) ask(ctx context.Context, path string, body any) apitest.Answer {
	key := apitest.NewKey()
	for ctx.Err() == nil {
		o.asked++
		o.URL = *o.p.urls[o.asked%2].Load()
		a, err := o.Call(ctx, http.MethodPost, path, key, body)
		switch {
		case err != nil:
			o.Nonce = ""
			time.Sleep(10 * time.Millisecond)
		case a.Status == http.StatusOK:
			o.calls.Add(1)
			return a
		case a.Header.Get("Retry-After") != "":
			time.Sleep(20 * time.Millisecond)
		default:
			o.p.t.Errorf("%s %v: %d %s", path, body, a.Status, a.Body)
			return apitest.Answer{}
		}
	}
	return apitest.Answer{}
}

func (o *twice) run(ctx context.Context, kind accountapi.FlowKind, answers ...accountapi.FlowAnswer) {
	a := o.ask(ctx, "/v1/flows", accountapi.BeginRequest{Kind: kind, DeviceId: o.ID, Nonce: apitest.NewNonce()})
	for _, answer := range answers {
		if a.Status == 0 {
			return
		}
		a = o.ask(ctx, "/v1/flows/"+a.Step.FlowId, answer)
	}
	if a.Status != 0 && a.Step.Step != accountapi.Done {
		o.p.t.Errorf("a %s ends at %s", kind, a.Step.Step)
	}
}

// killsOfServers is how often a server is killed: a few in every test run, more with
// ACCOUNTLOCK_KILLS.
func killsOfServers() int {
	if n, err := strconv.Atoi(os.Getenv("ACCOUNTLOCK_KILLS")); err == nil {
		return n
	}
	return 4
}

// TestAKillOfOneOfTwoServersOnPostgreSQLLosesNothingAndDoesNothingTwice has owners link,
// unlock and sign out through two servers while one after the other is killed, until
// as many kills were made as are wanted.
func TestAKillOfOneOfTwoServersOnPostgreSQLLosesNothingAndDoesNothingTwice(t *testing.T) {
	p := startPair(t)
	who := []person{p.person("one@example.org", "correct horse 42 staple"), p.person("two@example.org", "correct horse 43 staple")}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	var calls atomic.Int64
	var over atomic.Bool
	var all sync.WaitGroup
	owners := make([]*twice, 4)
	cycles := make([]int, len(owners))
	for i := range owners {
		d := apitest.NewDevice(*p.urls[0].Load(), apitest.Client(read(t, p.dir, "server.pem")))
		d.Enrol(t)
		o := &twice{Device: d, p: p, who: who[i%2], calls: &calls}
		owners[i] = o
		all.Go(func() {
			for !over.Load() && ctx.Err() == nil {
				o.run(ctx, accountapi.FlowKindLink, apitest.Identify(o.who.Email), apitest.Password(o.who.Password), apitest.Confirm(), apitest.Commit(apitest.NewNonce()))
				o.run(ctx, accountapi.FlowKindUnlock, apitest.UseHint(), apitest.Password(o.who.Password))
				o.run(ctx, accountapi.FlowKindSignOut, apitest.Password(o.who.Password), apitest.Commit(apitest.NewNonce()))
				cycles[i]++
			}
		})
	}
	kills := killsOfServers()
	for n := range kills {
		// Something was answered since the one before, whatever the speed of the machine.
		before := calls.Load()
		for calls.Load() < before+int64(3+n%11) && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		_ = p.servers[n%2].Process.Kill()
		_ = p.servers[n%2].Wait()
		p.serve(n % 2)
	}
	over.Store(true)
	all.Wait()
	if ctx.Err() != nil {
		t.Fatal("the owners did not finish")
	}
	t.Logf("%d calls, %d kills", calls.Load(), kills)
	for i, o := range owners {
		o.URL = *p.urls[0].Load()
		o.Nonce = ""
		c := claimsOf(t, statement(t, o.Device))
		// The last link: reserved, committed, unlocked and signed out, each once.
		if cycles[i] == 0 || *c.Status != accountapi.ClaimsStatusSignedOut || c.Link.Generation != 4 {
			t.Errorf("after %d cycles the link is %s, changed %d times; want signed-out, 4", cycles[i], *c.Status, c.Link.Generation)
		}
		for kind, n := range p.history(o.ID) {
			if n != cycles[i] && 3*cycles[i] <= 1000 { // the newest thousand are kept
				t.Errorf("%s happened %d times, want %d", kind, n, cycles[i])
			}
		}
	}
}

// history counts what the service has noted of a device.
func (p *pair) history(id string) map[string]int {
	p.t.Helper()
	db, err := store.Open(p.t.Context(), store.Config{URL: p.database})
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	out := map[string]int{"link": 0, "unlock": 0, "sign-out": 0}
	err = db.Read(p.t.Context(), func(tx *sql.Tx) error {
		for kind := range out {
			var n int
			if err := tx.QueryRowContext(p.t.Context(), `SELECT COUNT(*) FROM device_events WHERE device_id = $1 AND kind = $2`, id, kind).Scan(&n); err != nil {
				return err
			}
			out[kind] = n
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}
