// SPDX-License-Identifier: Apache-2.0

// Package bus runs a private system bus for the suites that start the real
// programs: a dbus-daemon with the rules of a system bus and the project's own
// policy, on request the real polkitd with the project's actions and a test's
// rules, and whatever programs a test starts beside them.
//
// It must never touch the host's bus, its polkit or its files. What it starts
// is told of the private bus alone, services with files of their own get a
// mount namespace in which the host's are hidden, and from the first Start on
// the test's own process cannot reach the host's buses by the usual variables.
package bus

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Name is the name that accountlockd takes on the bus.
const Name = "org.accountlock.AccountLock1"

// patience bounds every wait of the harness. It is long because a slow machine
// is not a failure; what is waited for is always an event.
const patience = 2 * time.Minute

// dirPrefix starts the name of each bus's folder, and tells a private bus's
// address from any other.
const dirPrefix = "accountlock-bus-"

// Bus is a private bus and all that was started on it.
type Bus struct {
	dir      string
	settings settings
	polkit   *Process

	mu        sync.Mutex
	processes []*Process
	secrets   []string
}

type settings struct {
	owner      int
	names      []string
	activation map[string]string
	polkit     bool
	rules      string
}

// Option changes what Start starts.
type Option func(*settings)

// WithPolkit starts the real polkitd on the bus. It knows the project's actions
// and the given rules (JavaScript, as in /etc/polkit-1/rules.d) and no others;
// where the rules say nothing, the actions' allow_any defaults decide, since no
// caller has a login session. Root is always authorised: ask with ConnectAs.
// Without root the test is skipped.
func WithPolkit(rules string) Option {
	return func(s *settings) { s.polkit, s.rules = true, rules }
}

// WithOwner sets the user who may own Name, and the names of WithNames, in the
// place of the test's own.
func WithOwner(uid int) Option {
	return func(s *settings) { s.owner = uid }
}

// WithNames lets the owner take these names too, and anyone call them: for a
// peer to measure against, or a stand-in for another service.
func WithNames(names ...string) Option {
	return func(s *settings) { s.names = append(s.names, names...) }
}

// WithActivation has the bus start the command, an absolute path and its
// arguments, when a message is sent to the name and nobody owns it. Its output
// is the bus's own.
func WithActivation(name, command string) Option {
	return func(s *settings) { s.activation[name] = command }
}

// Start starts a private bus, which ends with the test. When it ends, the test
// fails if a program on it crashed or printed what MustNotPrint forbids.
func Start(t testing.TB, options ...Option) *Bus {
	t.Helper()
	s := settings{owner: os.Getuid(), activation: map[string]string{}}
	for _, option := range options {
		option(&s)
	}
	if s.polkit {
		NeedRoot(t, "polkitd changes to its own user and needs a mount namespace")
	}
	if err := hideHostBuses(); err != nil {
		t.Fatalf("bus: cannot hide the host's buses: %v", err)
	}
	b := &Bus{dir: makeDir(t), settings: s}
	t.Cleanup(func() { b.close(t) })
	b.startDaemon(t)
	if s.polkit {
		b.StartPolkit(t, s.rules)
	}
	return b
}

// Address is where the bus listens, in the form that DBUS_SYSTEM_BUS_ADDRESS
// takes.
func (b *Bus) Address() string {
	return "unix:path=" + b.socket()
}

// Env is the environment of every program on the bus: the private bus as both
// the system's and the session's, a home of its own, and nothing of the test's
// but PATH and the folder for coverage.
func (b *Bus) Env() []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + filepath.Join(b.dir, "home"),
		"LANG=C.UTF-8",
		"DBUS_SYSTEM_BUS_ADDRESS=" + b.Address(),
		"DBUS_SESSION_BUS_ADDRESS=" + b.Address(),
	}
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		env = append(env, "GOCOVERDIR="+dir)
	}
	return env
}

func (b *Bus) socket() string { return filepath.Join(b.dir, "bus.sock") }

// startDaemon starts dbus-daemon and returns when it listens, which it says by
// printing its address.
func (b *Bus) startDaemon(t testing.TB) {
	t.Helper()
	config, err := b.writeConfig(root(t))
	if err != nil {
		t.Fatalf("bus: cannot configure dbus-daemon: %v", err)
	}
	ready, announce, err := os.Pipe()
	if err != nil {
		t.Fatalf("bus: cannot make a pipe: %v", err)
	}
	defer ready.Close()
	cmd := exec.Command(program(t, "dbus-daemon"), "--config-file="+config, "--nofork", "--nopidfile", "--nosyslog", "--print-address=3")
	cmd.ExtraFiles = []*os.File{announce}
	p := b.StartProcess(t, cmd)
	announce.Close()
	address, err := bufio.NewReader(ready).ReadString('\n')
	if err != nil {
		t.Fatalf("bus: dbus-daemon did not come up: %v\n%s", err, p.Output())
	}
	if got, _, _ := strings.Cut(strings.TrimSpace(address), ","); got != b.Address() {
		t.Fatalf("bus: dbus-daemon listens on %s, not on %s", got, b.Address())
	}
}

// close ends what still runs, the last started first, and looks over what all
// of it printed.
func (b *Bus) close(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	processes := slices.Clone(b.processes)
	b.mu.Unlock()
	for _, p := range slices.Backward(processes) {
		p.Stop(t)
	}
	for _, p := range processes {
		b.inspect(t, p)
	}
	if t.Failed() {
		for _, p := range processes {
			t.Logf("%s printed:\n%s", p.name, p.Output())
		}
	}
	if err := os.RemoveAll(b.dir); err != nil {
		t.Errorf("bus: cannot remove %s: %v", b.dir, err)
	}
}

// makeDir makes the bus's folder. It is not the test's own, which other users
// cannot enter and whose name may be too long for a socket.
func makeDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		t.Fatalf("bus: cannot make a folder: %v", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatalf("bus: cannot open the folder to other users: %v", err)
	}
	for _, sub := range []string{"home", "services"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatalf("bus: cannot make a folder: %v", err)
		}
	}
	return dir
}

// hideHostBuses points the variables by which this process would find the
// host's buses at nothing. An address of a private bus stays.
func hideHostBuses() error {
	for _, name := range []string{"DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"} {
		if private(os.Getenv(name)) {
			continue
		}
		if err := os.Setenv(name, "unix:path=/nonexistent/tests-use-a-private-bus"); err != nil {
			return err
		}
	}
	return os.Unsetenv("DBUS_STARTER_ADDRESS")
}

// private says whether the address is of a bus made here.
func private(address string) bool {
	return strings.HasPrefix(address, "unix:path="+filepath.Join(os.TempDir(), dirPrefix))
}

// root is the folder of the module's go.mod, above the test's.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("bus: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("bus: no go.mod above the test's folder")
		}
		dir = parent
	}
}

// program finds a program of the system.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("bus: %v (test/deps.sh test installs it)", err)
	}
	return path
}

// NeedRoot skips the test unless root runs it. `why` completes 'needs root: …'.
func NeedRoot(t testing.TB, why string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skipf("needs root: %s", why)
	}
}
