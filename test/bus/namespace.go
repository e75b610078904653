// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// enter is what runs in the new mount namespace before the service: an empty
// /run, which hides the host's bus and its login sessions, then each "FROM TO"
// pair up to the "--", then the service in the shell's place.
const enter = `
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/sessions /run/systemd/seats /run/systemd/users /run/systemd/machines
while [ "$1" != -- ]; do
	mount --bind "$1" "$2"
	shift 2
done
shift
exec "$@"
`

// bind shows a folder in the place of another.
type bind struct{ from, to string }

// hidden returns the command to run in a mount namespace of its own: the mounts
// are the service's alone, and gone with it.
func (b *Bus) hidden(t testing.TB, binds []bind, name string, args ...string) *exec.Cmd {
	t.Helper()
	NeedRoot(t, "a mount namespace of its own for "+filepath.Base(name))
	if strings.HasPrefix(b.dir, "/run/") {
		t.Fatalf("bus: %s would be hidden with the host's /run: set TMPDIR to another folder", b.dir)
	}
	line := []string{"-ec", enter, "sh"}
	for _, bind := range binds {
		line = append(line, bind.from, bind.to)
	}
	line = append(line, "--", program(t, name))
	cmd := exec.Command(program(t, "sh"), append(line, args...)...)
	// Go makes all mounts of the new namespace private before anything else runs.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return cmd
}
