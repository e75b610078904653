// SPDX-License-Identifier: Apache-2.0

package scale

import (
	"crypto/ed25519"
	"database/sql"
	"encoding/base64"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

// piece is how many devices are filled in by one transaction.
const piece = 250_000

// perAccount is how many devices one account has.
const perAccount = 4

// keySuffix makes a key's name out of its device's.
const keySuffix = "-the-thumbprint-of-its-key-00"

// deviceID is the name of the device number i. Names grow with the numbers, as SQL makes
// them below.
func deviceID(i int) string {
	return fmt.Sprintf("%04X-%04X-%04X", (i*28)>>16, (i*28)&0xffff, i&0xffff)
}

// identifierOf is what the owner of the device number i types.
func identifierOf(i int) string { return "person-" + deviceID(i-i%perAccount) + "@example.org" }

// rows are what a linked device and its part of its owner's account are in the database. ID is
// the name of device i, KEY the public key that all of them have, and HASH the hash of the
// password that all owners have.
var rows = []string{
	`INSERT INTO account_ids (id, issued_at) SELECT CAST(10000000000 + i AS TEXT), 1 FROM n WHERE i % 4 = 0`,
	`INSERT INTO accounts (id, password_hash, created_at) SELECT CAST(10000000000 + i AS TEXT), 'HASH', 1 FROM n WHERE i % 4 = 0`,
	`INSERT INTO identifiers (match_key, account_id, kind, address, position, verified_at)
SELECT 'account-id:' || CAST(10000000000 + i AS TEXT), CAST(10000000000 + i AS TEXT), 'account-id', '', 0, 1 FROM n WHERE i % 4 = 0`,
	`INSERT INTO identifiers (match_key, account_id, kind, address, position, verified_at)
SELECT 'email:person-' || lower(ID) || '@example.org', CAST(10000000000 + i AS TEXT), 'email', 'person-' || ID || '@example.org', 1, 1 FROM n WHERE i % 4 = 0`,
	`INSERT INTO devices (id, model, link_id, enrolled_at, seen_at) SELECT ID, 'one of many', 'link-of-' || ID, 1, SEEN FROM n`,
	`INSERT INTO device_keys (device_id, key_id, public, status, added_at) SELECT ID, ID || '` + keySuffix + `', 'KEY', 'active', 1 FROM n`,
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

// statement is one of rows with the names put in.
func (m *meter) statement(insert, id string) string {
	public := base64.RawURLEncoding.EncodeToString(m.key.Public().(ed25519.PublicKey))
	seen := fmt.Sprint(m.s.Clock.Now().UnixMilli())
	return strings.NewReplacer("KEY", public, "HASH", m.hash, "SEEN", seen, "ID", id).Replace(insert)
}

// fillPostgres leaves the foreign keys unchecked, as a restore does.
func (m *meter) fillPostgres(first, last int) {
	const id = `upper(lpad(to_hex((i * 28) >> 16), 4, '0') || '-' || lpad(to_hex((i * 28) & 65535), 4, '0') || '-' || lpad(to_hex(i % 65536), 4, '0'))`
	err := m.s.DB.Tx(m.t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(m.t.Context(), `SET LOCAL session_replication_role = replica`); err != nil {
			return err
		}
		for _, insert := range rows {
			text := `WITH n (i) AS (SELECT generate_series($1::bigint, $2::bigint)) ` + m.statement(insert, id) //nolint:gosec // this file's own
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
		text += numbers + m.statement(insert, id) + ";\n"
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
