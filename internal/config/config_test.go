// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/accountlock/accountlock/internal/config"
)

func put(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNoFileAtAllIsNotProvisioned(t *testing.T) {
	c, err := config.LoadLayers(t.TempDir(), nil)
	if err != nil || c.Provisioned() || len(c.Sources) != 0 {
		t.Fatalf("got %+v, %v", c, err)
	}
}
