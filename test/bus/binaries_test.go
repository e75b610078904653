// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/test/bus"
)

func TestBinariesHoldsEveryProgram(t *testing.T) {
	module := t.TempDir()
	write(t, filepath.Join(module, "go.mod"), "module example.org/m\n\ngo 1.26\n")
	programs := []string{"one", "two"}
	for _, name := range programs {
		write(t, filepath.Join(module, "cmd", name, "main.go"), "package main\n\nfunc main() {}\n")
	}
	inside := filepath.Join(module, "test", "suite")
	if err := os.MkdirAll(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(inside)

	t.Run("as the Makefile built them", func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range programs {
			write(t, filepath.Join(dir, name), "")
		}
		t.Setenv("ACCOUNTLOCK_BIN", dir)
		if got := bus.Binaries(t); got != dir {
			t.Errorf("the folder is %s, want %s", got, dir)
		}
	})
	t.Run("of a folder without them", func(t *testing.T) {
		t.Setenv("ACCOUNTLOCK_BIN", t.TempDir())
		if failures := watch(t, func(t testing.TB) { bus.Binaries(t) }); !strings.Contains(failures, "make build") {
			t.Errorf("the test says %q", failures)
		}
	})
	t.Run("built here, once", func(t *testing.T) {
		t.Setenv("ACCOUNTLOCK_BIN", "")
		dir := bus.Binaries(t)
		for _, name := range programs {
			if out, err := exec.Command(filepath.Join(dir, name)).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
		}
		if again := bus.Binaries(t); again != dir {
			t.Errorf("the second call builds again, in %s", again)
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
