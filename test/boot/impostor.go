// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"os"
	"path/filepath"
	"testing"
)

// Impostor starts another account service at this one's address, which must be
// stopped: the thief's own, in the thief's own network. What it has of this one is
// named by file.
func (s *Service) Impostor(t testing.TB, stolen ...string) *Service {
	t.Helper()
	other := &Service{dir: t.TempDir(), bin: s.bin, pid: s.pid, listen: s.listen, Demo: s.Demo}
	for _, name := range stolen {
		raw, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(other.dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other.Start(t)
	return other
}
