// SPDX-License-Identifier: Apache-2.0

// Package npm finds what tests need from npm: the modules that test/package-lock.json
// pins and test/deps.sh fetches. None is part of a program.
package npm

import (
	"os"
	"path/filepath"
	"testing"
)

// Folder is test/, found from where a test runs. It skips the test where a program
// (by its path) or a module (by its name) that it needs is missing.
func Folder(t testing.TB, needs ...string) string {
	t.Helper()
	dir := filepath.Join(root(t), "test")
	for _, need := range needs {
		if !filepath.IsAbs(need) {
			need = filepath.Join(dir, "node_modules", need)
		}
		if _, err := os.Stat(need); err != nil {
			t.Skipf("%s is missing: test/deps.sh test", need)
		}
	}
	return dir
}

func root(t testing.TB) string {
	t.Helper()
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
		up := filepath.Dir(at)
		if up == at {
			t.Fatal("the test does not run in the module")
		}
		at = up
	}
}
