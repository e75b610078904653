// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// binPrefix starts the name of the folder of programs built by a test process;
// its ID follows.
const binPrefix = "accountlock-bin-"

// build holds what was built for this process. It is the one thing the package
// keeps between tests.
var build = struct {
	once sync.Once
	dir  string
	err  error
}{}

// Binaries returns the folder with the project's programs: $ACCOUNTLOCK_BIN, as
// the Makefile sets it, or one that is built here, once for each test process.
func Binaries(t testing.TB) string {
	t.Helper()
	module := root(t)
	dir := os.Getenv("ACCOUNTLOCK_BIN")
	if dir == "" {
		build.once.Do(func() { build.dir, build.err = buildAll(module) })
		if build.err != nil {
			t.Fatalf("bus: cannot build the programs: %v", build.err)
		}
		dir = build.dir
	}
	mains, err := filepath.Glob(filepath.Join(module, "cmd", "*", "main.go"))
	if err != nil || len(mains) == 0 {
		t.Fatalf("bus: no programs under cmd/ (%v)", err)
	}
	for _, main := range mains {
		if _, err := os.Stat(filepath.Join(dir, filepath.Base(filepath.Dir(main)))); err != nil {
			t.Fatalf("bus: %v (make build)", err)
		}
	}
	return dir
}

func buildAll(module string) (string, error) {
	removeLeftOvers()
	dir := filepath.Join(os.TempDir(), binPrefix+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/", "./cmd/...")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
}

// removeLeftOvers removes the folders of test processes that have ended: none
// can know that its last test has run.
func removeLeftOvers() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), binPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), binPrefix))
		if err == nil && (pid == os.Getpid() || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)) {
			os.RemoveAll(dir)
		}
	}
}
