// SPDX-License-Identifier: Apache-2.0

// Package scale measures what an account service does among many devices, beside
// what it could do at most: `make scale`. It is no part of `make test`.
package scale

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/httpapi"
	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

// turns is how often each thing is measured, by turns with what it is measured
// beside.
const turns = 5

// TestFlatFromAThousandToTenMillionDevices fills one database with more and more linked
// devices, and at each size counts what a statement and a sign-in cost in computing time, beside
// their floors: the signature over TLS, and the hash. ACCOUNTLOCK_SCALE are the sizes.
func TestFlatFromAThousandToTenMillionDevices(t *testing.T) {
	sizes := sizesOf(t)
	s := apitest.StartHashing(t, account.DefaultHashParams())
	m := &meter{t: t, s: s}
	m.prepare()
	name := "SQLite"
	if storetest.OnPostgres() {
		name = "PostgreSQL"
	}
	fmt.Printf("%-10s %9s  %-22s %-22s %-22s %-22s %s\n", name, "devices", "statement", "signature over TLS", "sign-in", "Argon2id", "database")
	filled := 0
	var ratios [][2]float64
	for _, n := range sizes {
		took := m.fill(filled, n)
		filled = n
		st, sf := m.beside(m.statements(), m.signatures())
		in, inf := m.beside(m.signIns(), hashes)
		ratios = append(ratios, [2]float64{sf.cpu / st.cpu, inf.cpu / in.cpu})
		fmt.Printf("%-10s %9d  %-22s %-22s %-22s %-22s %s, filled in %s\n", name, n, st, sf, in, inf, m.size(), took.Round(time.Second))
	}
	for i, r := range ratios {
		fmt.Printf("%-10s %9d  %5.1f %% of the floor      %28.1f %% of the floor\n", name, sizes[i], 100*r[0], 100*r[1])
	}
	first, last := ratios[0], ratios[len(ratios)-1]
	if last[0] < 0.7*first[0] || last[1] < 0.85*first[1] {
		t.Errorf("it is not flat: %.2f and %.2f of the floors among %d devices, %.2f and %.2f among %d", first[0], first[1], sizes[0], last[0], last[1], filled)
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

// cost is what one of something costs.
type cost struct {
	cpu     float64 // seconds of computing
	rate    float64 // a second on the clock
	samples []float64
}

func (c cost) String() string { return fmt.Sprintf("%.3f ms, %.0f/s", 1000*c.cpu, c.rate) }

// job makes n of something ready, and returns what does them.
type job func(n int) (do func())

type meter struct {
	t       *testing.T
	s       *apitest.Service
	devices []*apitest.Device
	owners  []apitest.Person
	linked  []*apitest.Device
}

// prepare makes the devices and accounts that are measured with.
func (m *meter) prepare() {
	for i := range 500 {
		d := apitest.NewDevice(m.s.URL, client(m.s.CA))
		d.Enrol(m.t)
		m.devices = append(m.devices, d)
		if i%25 == 0 {
			p := apitest.Person{Email: fmt.Sprintf("measured%d@example.org", i), Password: "correct horse 42 staple"}
			a, err := m.s.Accounts.Create(m.t.Context(), account.NewAccount{Emails: []string{p.Email}, Password: accountapi.Secret(p.Password)})
			if err != nil {
				m.t.Fatal(err)
			}
			p.Account = a
			m.s.Link(m.t, d, p)
			m.owners, m.linked = append(m.owners, p), append(m.linked, d)
		}
	}
}

func client(ca []byte) *http.Client {
	c := apitest.Client(ca)
	transport := c.Transport.(*http.Transport)
	transport.ForceAttemptHTTP2, transport.MaxIdleConnsPerHost = false, 256
	transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
	return c
}

func cpu(t *testing.T) time.Duration {
	t.Helper()
	var own unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &own); err != nil {
		t.Fatal(err)
	}
	return time.Duration(own.Utime.Nano() + own.Stime.Nano())
}

// beside measures two jobs by turns and returns the medians.
func (m *meter) beside(a, b job) (cost, cost) {
	measure := func(ready job, n int) (cpuOf, clock float64) {
		do := ready(n)
		used, start := cpu(m.t), time.Now()
		do()
		return (cpu(m.t) - used).Seconds() / float64(n), float64(n) / time.Since(start).Seconds()
	}
	var out [2]cost
	var rates [2][]float64
	sizes := [2]int{}
	for i, do := range []job{a, b} { // warm, and about a third of a second each
		c, _ := measure(do, 8)
		sizes[i] = max(8, min(1000, int(0.3/c)))
	}
	for range turns {
		for i, do := range []job{a, b} {
			c, r := measure(do, sizes[i])
			out[i].samples, rates[i] = append(out[i].samples, c), append(rates[i], r)
		}
	}
	for i := range out {
		slices.Sort(out[i].samples)
		slices.Sort(rates[i])
		out[i].cpu, out[i].rate = out[i].samples[turns/2], rates[i][turns/2]
	}
	return out[0], out[1]
}

// statements asks for statements, of one device after the other. Their signatures are the
// devices' work, and made before.
func (m *meter) statements() job {
	nonces := httpapi.NewNonces(m.s.Secret, m.s.Clock.Now)
	at := 0
	return func(n int) func() {
		requests := make([]*http.Request, n)
		for i := range requests {
			at = (at + 7919) % len(m.devices)
			d := m.devices[at].Clone()
			var err error
			if d.Nonce, err = nonces.New(); err != nil {
				m.t.Fatal(err)
			}
			body, err := json.Marshal(accountapi.StatementRequest{Nonce: apitest.NewNonce()})
			if err != nil {
				m.t.Fatal(err)
			}
			if requests[i], err = d.Request(m.t.Context(), http.MethodPost, "/v1/devices/"+d.ID+"/statement", apitest.NewKey(), body); err != nil {
				m.t.Fatal(err)
			}
		}
		return m.asked(m.devices[0].HTTP, requests)
	}
}

// asked sends requests, some at once.
func (m *meter) asked(c *http.Client, requests []*http.Request) func() {
	var next atomic.Int64
	return func() {
		spread(len(requests), 32, func() {
			resp, err := c.Do(requests[next.Add(1)-1])
			if err != nil {
				m.t.Error(err)
				return
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				m.t.Errorf("%d %s %v", resp.StatusCode, b, err)
			}
		})
	}
}

// signatures is the floor: the same client over the same TLS, and one signature.
func (m *meter) signatures() job {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(ed25519.Sign(key, body))
		_, _ = w.Write(bytes.Repeat([]byte("x"), 600))
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{apitest.Certificate(m.t)}, MinVersion: tls.VersionTLS13}
	srv.StartTLS()
	m.t.Cleanup(srv.Close)
	c := srv.Client()
	c.Transport.(*http.Transport).MaxIdleConnsPerHost = 256
	return func(n int) func() {
		requests := make([]*http.Request, n)
		for i := range requests {
			var err error
			requests[i], err = http.NewRequestWithContext(m.t.Context(), http.MethodPost, srv.URL, strings.NewReader(`{"nonce":"0123456789012345678901234567890123456789012"}`))
			if err != nil {
				m.t.Fatal(err)
			}
		}
		return m.asked(c, requests)
	}
}

// signIns unlocks devices, from the first step to the grant.
func (m *meter) signIns() job {
	free := make(chan int, len(m.linked))
	for i := range m.linked {
		free <- i
	}
	one := func() {
		i := <-free
		defer func() { free <- i }()
		d := m.linked[i]
		begun, _ := d.Begin(m.t, accountapi.FlowKindUnlock)
		d.Reply(m.t, begun.Step.FlowId, apitest.Identify(m.owners[i].Email))
		if a := d.Reply(m.t, begun.Step.FlowId, apitest.Password(m.owners[i].Password)); a.Step.Step != accountapi.Done {
			m.t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	return func(n int) func() { return func() { spread(n, 4, one) } }
}

// hashes is the floor of sign-ins.
func hashes(n int) func() {
	p := account.DefaultHashParams()
	return func() {
		spread(n, 4, func() {
			argon2.IDKey([]byte("correct horse 42 staple"), []byte("0123456789abcdef"), p.Passes, p.MemoryKiB, p.Lanes, 32)
		})
	}
}

// spread does something n times, some at once.
func spread(n, atOnce int, do func()) {
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				do()
			}
		})
	}
	all.Wait()
}

// piece is how many devices are filled in by one transaction.
const piece = 250_000

// rows are what a linked device and a quarter of its owner's account are in the database. ID
// is a name that grows with the number i.
var rows = []string{
	`INSERT INTO account_ids (id, issued_at) SELECT CAST(10000000000 + i AS TEXT), 1 FROM n WHERE i % 4 = 0`,
	`INSERT INTO accounts (id, password_hash, created_at) SELECT CAST(10000000000 + i AS TEXT),
'$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', 1 FROM n WHERE i % 4 = 0`,
	`INSERT INTO identifiers (match_key, account_id, kind, address, position, verified_at)
SELECT 'account-id:' || CAST(10000000000 + i AS TEXT), CAST(10000000000 + i AS TEXT), 'account-id', '', 0, 1 FROM n WHERE i % 4 = 0`,
	`INSERT INTO identifiers (match_key, account_id, kind, address, position, verified_at)
SELECT 'email:person-' || ID || '@example.org', CAST(10000000000 + i AS TEXT), 'email', 'person-' || ID || '@example.org', 1, 1 FROM n WHERE i % 4 = 0`,
	`INSERT INTO devices (id, model, link_id, enrolled_at, seen_at) SELECT ID, 'one of many', 'link-of-' || ID, 1, 1 FROM n`,
	`INSERT INTO device_keys (device_id, key_id, public, status, added_at)
SELECT ID, ID || '-the-thumbprint-of-its-key-00', 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', 'active', 1 FROM n`,
	`INSERT INTO device_identities (source, digest, device_id, added_at) SELECT 'dmi', ID || '-the-digest-of-its-name-0000', ID, 1 FROM n`,
	`INSERT INTO links (id, device_id, account_id, hint, status, generation, created_at, changed_at)
SELECT 'link-of-' || ID, ID, CAST(10000000000 + i - i % 4 AS TEXT), 'p…@example.org', 'linked', 2, 1, 1 FROM n`,
}

// fill adds the devices from one size to the next, and returns how long that took.
func (m *meter) fill(from, to int) time.Duration {
	start := time.Now()
	for ; from < to; from += piece {
		last := min(from+piece, to) - 1
		if storetest.OnPostgres() {
			m.fillPostgres(from, last)
		} else {
			m.fillSQLite(from, last)
		}
		if done := last + 1; done/1_000_000 > from/1_000_000 && done < to {
			fmt.Printf("… %d devices after %s, %s\n", done, time.Since(start).Round(time.Second), m.size())
		}
	}
	if storetest.OnPostgres() {
		m.exec(`ANALYZE`) // as autovacuum does in the course of time
	}
	return time.Since(start)
}

// fillPostgres leaves the foreign keys unchecked, as a restore does.
func (m *meter) fillPostgres(first, last int) {
	const id = `upper(lpad(to_hex((i * 28) >> 16), 4, '0') || '-' || lpad(to_hex((i * 28) & 65535), 4, '0') || '-' || lpad(to_hex(i % 65536), 4, '0'))`
	err := m.s.DB.Tx(m.t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(m.t.Context(), `SET LOCAL session_replication_role = replica`); err != nil {
			return err
		}
		for _, insert := range rows {
			text := `WITH n (i) AS (SELECT generate_series($1::bigint, $2::bigint)) ` + strings.ReplaceAll(insert, "ID", id) //nolint:gosec // this file's own
			if _, err := tx.ExecContext(m.t.Context(), text, first, last); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// fillSQLite is by SQLite's own shell: it is some times as fast as the driver in Go.
func (m *meter) fillSQLite(first, last int) {
	const id = `printf('%04X-%04X-%04X', (i * 28) >> 16, (i * 28) & 65535, i % 65536)`
	text := "PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; PRAGMA busy_timeout = 60000;\nBEGIN IMMEDIATE;\n"
	for _, insert := range rows {
		numbers := fmt.Sprintf(`WITH RECURSIVE n (i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d) `, first, last)
		text += numbers + strings.ReplaceAll(insert, "ID", id) + ";\n"
	}
	cmd := exec.CommandContext(m.t.Context(), "sqlite3", "-bail", m.s.Database.Path)
	cmd.Stdin = strings.NewReader(text + "COMMIT;\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
}

func (m *meter) exec(query string) {
	m.t.Helper()
	err := m.s.DB.Tx(m.t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(m.t.Context(), query)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// size is what the database takes of the disk.
func (m *meter) size() string {
	query := `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`
	if storetest.OnPostgres() {
		query = `SELECT pg_database_size(current_database())`
	}
	var bytes int64
	err := m.s.DB.Read(m.t.Context(), func(tx *sql.Tx) error { return tx.QueryRowContext(m.t.Context(), query).Scan(&bytes) })
	if err != nil {
		m.t.Fatal(err)
	}
	return fmt.Sprintf("%.2f GB", float64(bytes)/1e9)
}
