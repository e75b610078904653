// SPDX-License-Identifier: Apache-2.0

package device_test

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"github.com/accountlock/accountlock/internal/device"
)

// machine returns a machine whose files are those given.
func machine(t testing.TB, files map[string]string) device.Machine {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return device.Machine{Root: root}
}

func digest(source, value string) device.Identity {
	sum := sha256.Sum256([]byte("accountlock-identity-v1\x00" + source + "\x00" + value))
	return device.Identity{Source: source, Digest: base64.RawURLEncoding.EncodeToString(sum[:])}
}

func TestBootComesFromTheKernel(t *testing.T) {
	b := device.Machine{}.Boot()
	if len(b.ID) != 36 || b.Since <= 0 {
		t.Fatalf("got %+v", b)
	}
}
