// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"go/ast"
	"go/constant"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/tools/go/packages"

	"github.com/accountlock/accountlock/internal/service/store/storetest"
)

// small are the tables that stay small however many devices there are: reading all of
// one is fine.
var small = map[string]string{
	"schema_version": "a row for each migration",
	"sqlite_schema":  "a row for each table",
	"audit_head":     "one row",
	"staff":          "a row for each member of staff",
	"staff_sessions": "a row for each browser of one",
	"messages":       "at most 100,000",
}

// pieces completes the queries that are put together when they are asked, as the code
// may. The piece is what the code has of them.
var pieces = map[string][]string{
	"SELECT throttle_key, failures, since, until FROM throttles WHERE throttle_key IN (": {"$1, $2)"},
	"INSERT INTO throttles (throttle_key, failures, since, until, stale_at) VALUES ":     {"($1, $2, $3, $4, $5)"},
	"WITH v (nonce) AS (VALUES ": {`($1), ($2)) INSERT INTO nonces (nonce)
SELECT nonce FROM v WHERE NOT EXISTS (SELECT 1 FROM requests r WHERE r.nonce = v.nonce) ON CONFLICT DO NOTHING RETURNING nonce`},
	"WITH wanted (device_id, key_id) AS (VALUES ": {`($1, $2), ($3, $4)) SELECT w.device_id, w.key_id, k.public, k.status, d.seen_at, l.id FROM wanted w
JOIN device_keys k ON k.device_id = w.device_id AND k.key_id = w.key_id JOIN devices d ON d.id = k.device_id LEFT JOIN links l ON l.id = d.link_id`},
	"SELECT COUNT(*) FROM (SELECT 1 FROM ": {
		"recoveries WHERE telling = 1 AND leased_to <= $1 LIMIT 1) AS due",
		"recovery_asks WHERE sending = 1 AND leased_to <= $1 LIMIT 1) AS due",
	},
	"UPDATE ": {
		"recoveries SET leased_to = $1 WHERE id IN (SELECT id FROM recoveries WHERE telling = 1 AND leased_to <= $2 ORDER BY leased_to LIMIT $3) RETURNING id",
		"recovery_asks SET leased_to = $1 WHERE id IN (SELECT id FROM recovery_asks WHERE sending = 1 AND leased_to <= $2 ORDER BY leased_to LIMIT $3) RETURNING id",
	},
	"SELECT number, at, actor, action, case_number, account_id, device_id, detail, previous, hash FROM audit_entries": {
		// Without a filter it ends after its LIMIT.
		" WHERE number < $1 ORDER BY number DESC LIMIT $2",
		" WHERE case_number = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
		" WHERE account_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
		" WHERE device_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
	},
}

// query is one query of the service, with where it stands.
type query struct{ text, place string }

var isQuery = regexp.MustCompile(`^\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH)\s`)

// queries returns every query that the service's code has: each constant text that
// begins as one, as large as the compiler puts it together.
func queries(t *testing.T) []query {
	t.Helper()
	pkgs, err := packages.Load(&packages.Config{
		Context: t.Context(),
		Mode:    packages.NeedName | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedFiles | packages.NeedImports,
	}, "github.com/accountlock/accountlock/internal/service/...")
	if err != nil {
		t.Fatal(err)
	}
	var out []query
	for _, p := range pkgs {
		for _, e := range p.Errors {
			t.Fatal(e)
		}
		if strings.HasSuffix(p.PkgPath, "test") || strings.HasSuffix(p.PkgPath, "/service/restore") {
			continue // tests, and what is done once to a whole database that nobody serves
		}
		for _, f := range p.Syntax {
			ast.Inspect(f, func(n ast.Node) bool {
				e, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				v := p.TypesInfo.Types[e].Value
				if v == nil || v.Kind() != constant.String {
					return true
				}
				if text := constant.StringVal(v); isQuery.MatchString(text) {
					out = append(out, query{text, p.Fset.Position(e.Pos()).String()})
				}
				return false
			})
		}
	}
	return out
}

// whole returns what a text is the piece of.
func whole(q query) []query {
	for piece, ends := range pieces {
		if strings.TrimSpace(q.text) != strings.TrimSpace(piece) {
			continue
		}
		var out []query
		for _, e := range ends {
			out = append(out, query{q.text + e, q.place})
		}
		return out
	}
	return []query{q}
}

func TestNoQueryReadsAWholeTable(t *testing.T) {
	all := queries(t)
	if len(all) < 100 {
		t.Fatalf("only %d queries are found", len(all))
	}
	explain := explainSQLite(t)
	if storetest.OnPostgres() {
		explain = explainPostgres(t)
	}
	seen := map[string]bool{}
	for _, q := range all {
		for _, q := range whole(q) {
			if seen[q.text] || storetest.OnPostgres() && strings.Contains(q.text, "sqlite_schema") {
				continue
			}
			seen[q.text] = true
			read, err := explain(t.Context(), q.text)
			if err != nil {
				t.Errorf("%s: cannot be explained (one that is put together needs an example in pieces): %v\n%s", q.place, err, q.text)
			}
			for _, table := range read {
				if small[table] == "" {
					t.Errorf("%s reads all of %s:\n%s", q.place, table, q.text)
				}
			}
		}
	}
	t.Logf("%d queries", len(seen))
}

func TestAQueryWithoutAnIndexIsFoundOut(t *testing.T) {
	explain := explainSQLite(t)
	if storetest.OnPostgres() {
		explain = explainPostgres(t)
	}
	for text, want := range map[string]string{
		`SELECT id FROM devices WHERE model = $1`:                                                          "devices",
		`SELECT COUNT(*) FROM links`:                                                                       "links",
		`UPDATE devices SET model = '' WHERE seen_at > $1`:                                                 "devices",
		`SELECT l.id FROM devices d JOIN links l ON l.hint = d.model WHERE d.id = $1`:                      "links",
		`DELETE FROM flows WHERE id IN (SELECT id FROM flows ORDER BY nonce LIMIT 5)`:                      "flows",
		`SELECT id FROM devices ORDER BY id`:                                                               "devices",
		`SELECT id FROM devices d WHERE d.id = $1 OR EXISTS (SELECT 1 FROM device_events WHERE kind = $2)`: "device_events",
	} {
		read, err := explain(t.Context(), text)
		if err != nil || !slices.Contains(read, want) {
			t.Errorf("%s reads all of %v, %v; want %s", text, read, err, want)
		}
	}
}

// explainer returns the tables that a query reads whole.
type explainer func(ctx context.Context, text string) ([]string, error)

var scan = regexp.MustCompile(`^SCAN (\w+)`)

// explainSQLite asks SQLite, whose plans do not depend on what the tables hold.
func explainSQLite(t *testing.T) explainer {
	t.Helper()
	db := storetest.Open(t, nil)
	return func(ctx context.Context, text string) (read []string, err error) {
		err = db.Read(ctx, func(tx *sql.Tx) error {
			read = nil
			names, err := aliases(ctx, tx, text)
			if err != nil {
				return err
			}
			rows, err := tx.QueryContext(ctx, `EXPLAIN QUERY PLAN `+text, make([]any, parameters(text))...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var id, parent, unused int64
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					return err
				}
				// What is scanned besides is what a query above has found.
				if m := scan.FindStringSubmatch(detail); m != nil && names[m[1]] != "" {
					read = append(read, names[m[1]])
				}
			}
			return rows.Err()
		})
		return read, err
	}
}

// aliases returns the tables that a query names, by what it calls them.
func aliases(ctx context.Context, tx *sql.Tx, text string) (map[string]string, error) {
	out := map[string]string{}
	rows, err := tx.QueryContext(ctx, `SELECT name FROM sqlite_schema WHERE type = 'table'`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		for _, m := range regexp.MustCompile(`\b`+name+`(?:\s+(?:AS\s+)?(\w+))?`).FindAllStringSubmatch(text, -1) {
			out[name] = name
			if m[1] != "" {
				out[m[1]] = name
			}
		}
	}
	return out, rows.Err()
}

// parameters returns how many a query has.
func parameters(text string) int {
	most := 0
	for _, m := range regexp.MustCompile(`\$(\d+)`).FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		most = max(most, n)
	}
	return most
}

// explainPostgres asks PostgreSQL for the plan that serves every value, where reading a
// whole table costs more than anything else that would do. The tables hold some
// rows, so that one index is better than another.
func explainPostgres(t *testing.T) explainer {
	t.Helper()
	cfg := storetest.Config(t)
	storetest.OpenAt(t, cfg)
	conn, err := pgx.Connect(t.Context(), cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	fill(t, conn)
	_, err = conn.Exec(t.Context(), `SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan`)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, text string) ([]string, error) { return planOf(ctx, conn, text) }
}

// fill puts rows into every table: each text another one, numbers counting up, and of
// what may only be one of a few values each in turn.
func fill(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	const rows = `SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
COALESCE((SELECT string_agg(pg_get_constraintdef(k.oid), ' ') FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum]), '')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum`
	got, err := conn.Query(t.Context(), rows)
	if err != nil {
		t.Fatal(err)
	}
	columns, values := map[string][]string{}, map[string][]string{}
	var table, column, kind, only string
	_, err = pgx.ForEachRow(got, []any{&table, &column, &kind, &only}, func() error {
		value := "i"
		if kind == "text" {
			value = "'value ' || i"
		}
		few := regexp.MustCompile(`'([^']*)'::text|\b(\d+)\b`).FindAllString(only, -1)
		if len(few) > 0 {
			value = "(ARRAY[" + strings.Join(few, ", ") + "])[1 + i % " + strconv.Itoa(len(few)) + "]"
		}
		columns[table] = append(columns[table], column)
		values[table] = append(values[table], value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `SET session_replication_role = replica`); err != nil { // no foreign keys
		t.Fatal(err)
	}
	for table := range columns {
		if small[table] != "" {
			continue
		}
		_, err := conn.Exec(t.Context(), `INSERT INTO `+table+` (`+strings.Join(columns[table], ", ")+`) SELECT `+strings.Join(values[table], ", ")+
			` FROM generate_series(1, 5000) AS i`)
		if err != nil {
			t.Fatalf("%s: %v", table, err)
		}
	}
	if _, err := conn.Exec(t.Context(), `ANALYZE`); err != nil {
		t.Fatal(err)
	}
}

// node is one of a plan's.
type node struct {
	Type     string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Cond     string `json:"Index Cond"`
	Plans    []node
}

// whole returns the tables that the plan reads all of. An index that is read
// without a condition is all of its table, or of what the index is about.
func (n node) whole(above string) (read []string) {
	relation := n.Relation
	if relation == "" {
		relation = above // of a bitmap
	}
	if n.Type == "Seq Scan" || strings.Contains(n.Type, "Index") && n.Cond == "" {
		read = append(read, relation)
	}
	for _, p := range n.Plans {
		read = append(read, p.whole(relation)...)
	}
	return read
}

func planOf(ctx context.Context, c *pgx.Conn, text string) ([]string, error) {
	args := ""
	if n := parameters(text); n > 0 {
		args = "(" + strings.TrimSuffix(strings.Repeat("NULL, ", n), ", ") + ")"
	}
	results, err := c.PgConn().Exec(ctx, `DEALLOCATE ALL; PREPARE q AS `+text+`; EXPLAIN (FORMAT JSON) EXECUTE q`+args).ReadAll()
	if err != nil {
		return nil, err
	}
	var plans []struct{ Plan node }
	if err := json.Unmarshal(results[len(results)-1].Rows[0][0], &plans); err != nil {
		return nil, err
	}
	var read []string
	for _, p := range plans {
		read = append(read, p.Plan.whole("")...)
	}
	return read, nil
}
