// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Notify listens as systemd does for what a service says of itself
// (sd_notify(3)).
type Notify struct {
	conn *net.UnixConn
	path string
}

// ListenNotify starts to listen. It ends with the test.
func (b *Bus) ListenNotify(t testing.TB) *Notify {
	t.Helper()
	dir, err := os.MkdirTemp(b.dir, "notify-")
	if err != nil {
		t.Fatalf("bus: cannot make a folder: %v", err)
	}
	path := filepath.Join(dir, "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatalf("bus: cannot listen: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	// Programs of other users speak here too.
	for name, mode := range map[string]os.FileMode{dir: 0o755, path: 0o777} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatalf("bus: cannot open the socket to other users: %v", err)
		}
	}
	return &Notify{conn: conn, path: path}
}

// Env is the variable that tells a program where to speak, for exec.Cmd's Env.
func (n *Notify) Env() string { return "NOTIFY_SOCKET=" + n.path }

// Await waits until a message has the line, such as READY=1, and returns all
// lines received up to and with that message.
func (n *Notify) Await(t testing.TB, line string) []string {
	t.Helper()
	if err := n.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatalf("bus: %v", err)
	}
	var lines []string
	message := make([]byte, 4096)
	for {
		size, err := n.conn.Read(message)
		if err != nil {
			t.Fatalf("bus: no %s: %v; received %q", line, err, lines)
		}
		got := strings.Split(strings.TrimSpace(string(message[:size])), "\n")
		lines = append(lines, got...)
		if slices.Contains(got, line) {
			return lines
		}
	}
}
