// SPDX-License-Identifier: Apache-2.0

// Package scale measures what an account service does among many devices, beside
// what it could do at most: `make scale`. It is no part of `make test`.
package scale

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

const (
	// turns is how often each thing is measured, by turns with its floor.
	turns = 21
	// statementsAtOnce and signInsAtOnce are how many clients ask.
	statementsAtOnce = 32
	signInsAtOnce    = 4
	// password is that of every account.
	password = "correct horse 42 staple"
)

// TestFlatFromAThousandToTenMillionDevices fills one database with more and more linked
// devices, and at each size counts what a statement and a sign-in of any of them cost in computing time,
// beside their floors: the signature over TLS, and the hash. ACCOUNTLOCK_SCALE are the sizes.
func TestFlatFromAThousandToTenMillionDevices(t *testing.T) {
	sizes := sizesOf(t)
	m := newMeter(t)
	name := "SQLite"
	if storetest.OnPostgres() {
		name = "PostgreSQL"
	}
	fmt.Printf("%s: milliseconds of computing, the service's (+ the database server's)\n", name)
	fmt.Printf("%9s  %-38s %-38s %-38s %s\n", "devices", "statement, connecting", "statement, connection kept", "sign-in", "database")
	filled := 0
	var ratios [][]float64
	for _, n := range sizes {
		took := m.fill(filled, n)
		filled, m.among = n, n
		var line string
		var row []float64
		for _, pair := range [][2]job{
			{m.statements("", true), m.statements(m.floor.URL, true)},
			{m.statements("", false), m.statements(m.floor.URL, false)},
			{m.signIns(), hashes},
		} {
			c, f, ratio := m.beside(pair[0], pair[1])
			line += fmt.Sprintf("%-38s ", fmt.Sprintf("%s of %.3f: %.1f %%", c, f.cpu, 100*ratio))
			row = append(row, min(ratio, 1)) // beyond its floor is noise
		}
		fmt.Printf("%9d  %s %s, filled in %s\n", n, line, m.size(), took.Round(time.Second))
		ratios = append(ratios, row)
	}
	first, last := ratios[0], ratios[len(ratios)-1]
	// What was measured, and how far it is from flat: docs/operations.md, Sizing.
	for i, bound := range []float64{0.8, 0.6, 0.85} {
		if last[i] < bound*first[i] {
			t.Errorf("it is not flat: %.2f of the floors among %d devices, %.2f among %d", first, sizes[0], last, filled)
		}
	}
}

func sizesOf(t *testing.T) (out []int) {
	t.Helper()
	for _, f := range strings.Split(os.Getenv("ACCOUNTLOCK_SCALE"), ",") {
		if f == "" {
			t.Skip("make scale")
		}
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

// cost is what one of something costs, in milliseconds of computing: this process's,
// and the database server's.
type cost struct{ cpu, database float64 }

func (c cost) String() string {
	if c.database == 0 {
		return fmt.Sprintf("%.3f", c.cpu)
	}
	return fmt.Sprintf("%.3f + %.3f", c.cpu, c.database)
}

// job makes n of something ready, and returns what does them.
type job func(n int) (do func())

type meter struct {
	t      *testing.T
	s      *apitest.Service
	driver *driver
	floor  *httptest.Server
	// key is that of every device that is filled in, hash that of every account's password.
	key  ed25519.PrivateKey
	hash string
	// among is how many devices there are.
	among int
}

func newMeter(t *testing.T) *meter {
	t.Helper()
	m := &meter{t: t, s: apitest.StartHashing(t, account.DefaultHashParams()), driver: startDriver(t)}
	var err error
	if _, m.key, err = ed25519.GenerateKey(nil); err != nil {
		t.Fatal(err)
	}
	if m.hash, err = m.s.Accounts.HashPassword(t.Context(), accountapi.Secret(password), ""); err != nil {
		t.Fatal(err)
	}
	m.floor = floor(t, m.key)
	return m
}

// floor is TLS and one signature: it answers what the service is asked with as many bytes.
func floor(t *testing.T, key ed25519.PrivateKey) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(ed25519.Sign(key, body), bytes.Repeat([]byte("x"), 600)...))
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{apitest.Certificate(t)}, MinVersion: tls.VersionTLS13}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// computed is what this process, and the database server, have computed so far.
func (m *meter) computed() cost {
	m.t.Helper()
	var own unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &own); err != nil {
		m.t.Fatal(err)
	}
	c := cost{cpu: float64(own.Utime.Nano()+own.Stime.Nano()) / 1e6}
	if storetest.OnPostgres() {
		c.database = float64(storetest.Postgres(m.t).Computed(m.t).Nanoseconds()) / 1e6
	}
	return c
}

// beside measures a job by turns with its floor and returns the medians, and the median of what
// the floor is of the job.
func (m *meter) beside(what, floor job) (c, f cost, ratio float64) {
	jobs := []job{what, floor}
	sizes := []int{}
	for _, j := range jobs { // warm, and some tenths of a second each
		m.once(j, 64)
		sizes = append(sizes, max(8, min(6000, int(300/m.once(j, 64).cpu))/signInsAtOnce*signInsAtOnce))
	}
	var costs [2][]cost
	var ratios []float64
	for range turns {
		var turn [2]cost
		for i, j := range jobs {
			turn[i] = m.once(j, sizes[i])
			costs[i] = append(costs[i], turn[i])
		}
		ratios = append(ratios, turn[1].cpu/turn[0].cpu)
	}
	return middle(costs[0]), middle(costs[1]), median(ratios)
}

// once does n of a job, with what is to be swept of them later, and returns the cost of one.
func (m *meter) once(j job, n int) cost {
	do := j(n)
	before := m.computed()
	do()
	m.s.Clock.Advance(25 * time.Hour)
	if err := m.s.API.Sweep(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	after := m.computed()
	return cost{cpu: (after.cpu - before.cpu) / float64(n), database: (after.database - before.database) / float64(n)}
}

func middle(costs []cost) cost {
	var cpu, database []float64
	for _, c := range costs {
		cpu, database = append(cpu, c.cpu), append(database, c.database)
	}
	return cost{cpu: median(cpu), database: median(database)}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// statements asks for statements about any of the devices; or sends the same to the floor.
// each: over a connection of its own, as devices do.
func (m *meter) statements(url string, each bool) job {
	return func(n int) func() {
		o := m.order(n)
		o.Statements, o.URL, o.Each = true, url, each
		if url != "" {
			o.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.floor.Certificate().Raw})
		}
		return m.driver.prepare(o)
	}
}

// signIns unlocks any of the devices.
func (m *meter) signIns() job {
	return func(n int) func() { return m.driver.prepare(m.order(n)) }
}

func (m *meter) order(n int) order {
	return order{
		N: n, CA: m.s.CA, Service: m.s.URL, Among: m.among, Key: m.key, Password: password, Secret: m.s.Secret, Now: m.s.Clock.Now(),
	}
}

// hashes is the floor of sign-ins.
func hashes(n int) func() {
	p := account.DefaultHashParams()
	return func() {
		var all sync.WaitGroup
		for range signInsAtOnce {
			all.Go(func() {
				for range n / signInsAtOnce {
					argon2.IDKey([]byte(password), []byte("0123456789abcdef"), p.Passes, p.MemoryKiB, p.Lanes, 32)
				}
			})
		}
		all.Wait()
	}
}
