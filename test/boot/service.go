// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver
)

// serviceHost is where the account service is reached: an address of the
// network namespace's own (RFC 5737).
const (
	serviceHost    = "192.0.2.10"
	serviceAddress = serviceHost + ":8443"
)

// Service is an account service and the network it shares with one device.
type Service struct {
	dir string
	bin string
	pid int // of what keeps the network namespace
	cmd *exec.Cmd
	// listen is where the account service listens.
	listen string
	Demo   Demo
	// Store is what the devices' `[record] store` names.
	Store string
}

// Person is an account of the dev service.
type Person struct {
	AccountID string `json:"account_id"`
	Email     string `json:"email"`
	Password  string `json:"password"`
}

// Demo is demo.json.
type Demo struct {
	Person
	Other Person `json:"other"`
}

// NewService makes a network namespace and starts an account service in it.
func NewService(t testing.TB) *Service {
	t.Helper()
	return newService(t, t.TempDir())
}

// newService starts an account service with what is in the folder.
func newService(t testing.TB, dir string) *Service {
	t.Helper()
	s := &Service{dir: dir, bin: os.Getenv("ACCOUNTLOCK_BIN"), listen: serviceAddress, Store: "file:/persist/accountlock/record"}
	s.pid = network(t, "ip link set lo up && ip address add "+serviceHost+"/32 dev lo")
	s.Start(t)
	raw, err := os.ReadFile(filepath.Join(s.dir, "demo.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &s.Demo); err != nil {
		t.Fatal(err)
	}
	return s
}

// network makes a network namespace, sets it up and returns the process ID of what
// keeps it until the test ends.
func network(t testing.TB, script string) (pid int) {
	t.Helper()
	holder := exec.Command("unshare", "--net", "--", "sh", "-c", script+" && echo up && exec sleep infinity")
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, holder)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("no network namespace: %q %v", line, err)
	}
	return holder.Process.Pid
}

func netnsOf(pid int) string { return fmt.Sprintf("/proc/%d/ns/net", pid) }

// Start starts the account service (again).
func (s *Service) Start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd = s.enter(filepath.Join(s.bin, "accountlock-server"), "dev", "--listen", s.listen, "--data", s.dir)
	s.cmd.Stderr = log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, s.cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		raw, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		t.Fatalf("the account service does not start: %q %v\n%s", line, err, raw)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
}

// Stop ends the account service: for the device there is nobody at its address.
func (s *Service) Stop(t testing.TB) {
	t.Helper()
	signal(t, s.cmd, syscall.SIGTERM)
	_ = s.cmd.Wait()
}

// Stall lets the account service take connections and answer nothing, until the
// function that it returns is called.
func (s *Service) Stall(t testing.TB) (resume func()) {
	t.Helper()
	signal(t, s.cmd, syscall.SIGSTOP)
	return func() { signal(t, s.cmd, syscall.SIGCONT) }
}

// Admin runs a console command of the account service.
func (s *Service) Admin(t testing.TB, args ...string) string {
	t.Helper()
	return run(t, filepath.Join(s.bin, "accountlock-server"), append(args, "--data", s.dir)...)
}

// Query asks the account service's database for one row.
func (s *Service) Query(t testing.TB, query string, args []any, to ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "accounts.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.QueryRow(query, args...).Scan(to...), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// Letters counts those of the subject that the account service has sent.
func (s *Service) Letters(t testing.TB, subject string) (n int) {
	t.Helper()
	sent, err := filepath.Glob(filepath.Join(s.dir, "outbox", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range sent {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "\nSubject: "+subject+"\n") {
			n++
		}
	}
	return n
}

// enter returns a command that runs in the network namespace.
func (s *Service) enter(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + s.netns(), "--", name}, args...)...)
}

func (s *Service) netns() string { return netnsOf(s.pid) }

// Dial connects from within the network namespace.
func (s *Service) Dial(address string) (conn net.Conn, err error) {
	inside := s.in(func() { conn, err = dialHere(address) })
	return conn, errors.Join(inside, err)
}

// Listen listens within the network namespace. address is of numbers alone.
func (s *Service) Listen(address string) (l net.Listener, err error) {
	inside := s.in(func() { l, err = net.Listen("tcp4", address) }) // on this thread: there is nothing to look up
	return l, errors.Join(inside, err)
}

// in runs do on a thread that is in the network namespace meanwhile.
func (s *Service) in(do func()) error {
	home, err := unix.Open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(home) }()
	there, err := unix.Open(s.netns(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(there) }()
	// The thread comes back: its end would kill what it has started (Pdeathsig).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
		return err
	}
	do()
	if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
		panic(err)
	}
	return nil
}

// dialHere connects on the calling thread, which net.Dial does not promise.
func dialHere(address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	to := &unix.SockaddrInet4{Port: n, Addr: [4]byte(net.ParseIP(host).To4())}
	if err := unix.Connect(fd, to); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, joinClose(err, fd))
	}
	file := os.NewFile(uintptr(fd), address)
	defer file.Close()
	return net.FileConn(file)
}

func joinClose(err error, fd int) error {
	if e := unix.Close(fd); e != nil {
		return fmt.Errorf("%w (and %w)", err, e)
	}
	return err
}

// Config is the vendor's configuration for a device of this service.
func (s *Service) Config(t testing.TB, extra string) (toml, ca, keySet string) {
	t.Helper()
	api, err := os.ReadFile(filepath.Join(s.dir, "device.toml"))
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	text := strings.ReplaceAll(string(api), s.dir, "/usr/lib/accountlock")
	return text + `
[record]
store = "` + s.Store + `"
[device]
identity = ["file:/usr/lib/accountlock/serial"]
` + extra, read("ca.pem"), read("key_set.json")
}

// start starts a process that ends with the test at the latest.
func start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // even if the test is killed
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("cannot start %s: %v", cmd.Path, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

func signal(t testing.TB, cmd *exec.Cmd, s syscall.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %v: %v", s, err)
	}
}
