// SPDX-License-Identifier: Apache-2.0

// Package storetest gives tests a database: SQLite in a file, or, with
// ACCOUNTLOCK_TEST_DB=postgres, one of a real PostgreSQL server that the test
// binary starts for itself. The same tests run on both.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/service/store"
)

// OnPostgres tells whether the tests run on PostgreSQL.
func OnPostgres() bool { return os.Getenv("ACCOUNTLOCK_TEST_DB") == "postgres" }

// Open returns a database of the test's own, migrated. with, which may be nil,
// changes how it is opened.
func Open(t testing.TB, with func(*store.Config)) *store.DB {
	t.Helper()
	cfg := Config(t)
	if with != nil {
		with(&cfg)
	}
	return OpenAt(t, cfg)
}

// OpenAt opens a database until the test ends, and migrates it.
func OpenAt(t testing.TB, cfg store.Config) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// Config names a new database that has the schema and nothing else.
func Config(t testing.TB) store.Config {
	t.Helper()
	if OnPostgres() {
		return store.Config{URL: Postgres(t).migrated(t), Connections: 8}
	}
	schema, err := migratedFile()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "accounts.db")
	if err := os.WriteFile(path, schema, 0o600); err != nil {
		t.Fatal(err)
	}
	return store.Config{Path: path}
}

// migratedFile is migrated once: done for each test, under the race detector, it would be
// half of what the service's tests compute.
var migratedFile = sync.OnceValues(func() (file []byte, err error) {
	dir, err := os.MkdirTemp("", "accountlock-sqlite")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg := store.Config{Path: filepath.Join(dir, "accounts.db")}
	if err := migrate(cfg); err != nil {
		return nil, err
	}
	return os.ReadFile(cfg.Path)
})

func migrate(cfg store.Config) error {
	db, err := store.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	return errors.Join(db.Migrate(context.Background()), db.Close())
}

// Server is a PostgreSQL server of the test binary's own, reached by a socket in a
// folder that nobody else enters. It ends with the test binary.
type Server struct {
	dir   string
	bin   string
	user  *syscall.Credential
	leash io.WriteCloser

	mu   sync.Mutex
	made int

	once   sync.Once
	failed error
}

var (
	once   sync.Once
	server *Server
	failed error
)

// Postgres returns the server, and starts it when it is first asked for. A machine
// without PostgreSQL skips the test, save where ACCOUNTLOCK_TEST_DB asks for it.
func Postgres(t testing.TB) *Server {
	t.Helper()
	once.Do(func() { server, failed = start() })
	if failed != nil {
		if !OnPostgres() && errors.Is(failed, errNone) {
			t.Skip(failed)
		}
		t.Fatal(failed)
	}
	return server
}

var errNone = errors.New("no PostgreSQL is installed")

func start() (*Server, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return nil, errNone
	}
	s := &Server{bin: filepath.Dir(found[len(found)-1])}
	if s.dir, err = os.MkdirTemp("", "accountlock-pg"); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		// PostgreSQL does not run as root.
		if s.user, err = credential("postgres"); err != nil {
			return nil, err
		}
		if err := os.Chown(s.dir, int(s.user.Uid), int(s.user.Gid)); err != nil {
			return nil, err
		}
	}
	if err := s.run("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"); err != nil {
		return nil, err
	}
	return s, s.start()
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// run runs one of the server's own programs, for two minutes at most.
func (s *Server) run(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...) //nolint:gosec // the server of a test
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.user}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// keeper runs the server until its standard input ends, which it does with the
// test binary, however that ends; then it tidies up.
const keeper = `cd "$1"; "$2/postgres" -D "$1/data" -k "$1" -c listen_addresses= -c fsync=off -c max_connections=200 \
-c log_min_messages=fatal </dev/null & read -r _; kill -INT "$(head -n 1 "$1/data/postmaster.pid")"; wait; cd /; rm -rf "$1"`

// start starts the server and waits until it answers.
func (s *Server) start() error {
	c := exec.Command("/bin/sh", "-c", keeper, "keeper", s.dir, s.bin) //nolint:gosec // the server of a test
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.user}
	var err error
	if s.leash, err = c.StdinPipe(); err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	for range 1200 { // a minute
		if s.run("pg_isready", "-q", "-h", s.dir, "-U", "postgres") == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("PostgreSQL does not come up")
}

// Restart ends the server as a crash does, every connection with it, and starts it
// again.
func (s *Server) Restart() error {
	return s.run("pg_ctl", "restart", "-D", s.data(), "-m", "immediate", "-w", "-s", "-l", "/dev/null")
}

// Down ends the server as a crash does, and starts it again when the test ends.
func (s *Server) Down(t testing.TB) {
	t.Helper()
	if err := s.run("pg_ctl", "stop", "-D", s.data(), "-m", "immediate", "-w", "-s"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Restart(); err != nil {
			t.Error(err)
		}
	})
}

// Database makes an empty database and returns its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return s.copyOf(t, "template1")
}

// migrated makes a database with the schema, from one that is migrated once.
func (s *Server) migrated(t testing.TB) string {
	t.Helper()
	s.once.Do(func() {
		if s.failed = s.createDatabase("migrated", "template1"); s.failed == nil {
			s.failed = migrate(store.Config{URL: s.url("migrated"), Connections: 1})
		}
	})
	if s.failed != nil {
		t.Fatal(s.failed)
	}
	return s.copyOf(t, "migrated")
}

func (s *Server) copyOf(t testing.TB, template string) string {
	t.Helper()
	s.mu.Lock()
	s.made++
	name := fmt.Sprintf("test_%d", s.made)
	s.mu.Unlock()
	if err := s.createDatabase(name, template); err != nil {
		t.Fatal(err)
	}
	return s.url(name)
}

func (s *Server) createDatabase(name, template string) error {
	return s.run("psql", "-q", "-h", s.dir, "-U", "postgres", "-c", "CREATE DATABASE "+name+" TEMPLATE "+template)
}

func (s *Server) url(name string) string {
	return "host=" + s.dir + " user=postgres sslmode=disable dbname=" + name
}

// Computed is what all processes of the server have computed so far, those that have ended
// included.
func (s *Server) Computed(t testing.TB) time.Duration {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(pid), "\n")
	ids, err := os.ReadFile(filepath.Join("/proc", first, "task", first, "children")) //nolint:gosec // numbers
	if err != nil {
		t.Fatal(err)
	}
	var ticks int64
	for _, id := range append(strings.Fields(string(ids)), first) {
		stat, err := os.ReadFile(filepath.Join("/proc", id, "stat")) //nolint:gosec // see above
		if err != nil {
			continue // it has ended, and is counted with its parent
		}
		// The name, which comes second, may hold anything.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		for _, f := range fields[11:15] { // utime, stime and those of children waited for
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ
}
