// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"os"
	"path/filepath"
	"testing"
)

const (
	accountsName   = "org.freedesktop.Accounts"
	accountsDaemon = "/usr/libexec/accounts-daemon"
)

// StartAccountsDaemon starts accounts-daemon, a daemon in C that benchmarks
// compare with, and returns when it has its name. What it writes stays in the
// bus's folder. It needs polkit on the bus.
func (b *Bus) StartAccountsDaemon(t testing.TB) *Process {
	t.Helper()
	dir := filepath.Join(b.dir, "accounts")
	for _, sub := range []string{"users", "icons"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatalf("bus: cannot make accounts-daemon's folders: %v", err)
		}
	}
	p := b.StartProcess(t, b.hidden(t, []bind{{dir, "/var/lib/AccountsService"}}, accountsDaemon))
	p.name = "accounts-daemon"
	b.awaitOwner(t, accountsName, p, func(owner string) bool { return owner != "" })
	return p
}
