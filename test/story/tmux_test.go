// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// terminal is accountlock-firstboot in a real terminal, with a person at it.
type terminal struct {
	t      testing.TB
	socket string
}

// openTerminal starts the screen on a terminal of the given size. vars are its
// environment, such as TERM=vt220; tmux itself is not what is tested.
func (r *rig) openTerminal(size string, vars []string, args ...string) *terminal {
	r.T.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		r.T.Skip("tmux is not installed: test/deps.sh test")
	}
	w, h, _ := strings.Cut(size, "x")
	dir, err := os.MkdirTemp(r.Dir, "tmux-")
	if err != nil {
		r.T.Fatal(err)
	}
	tm := &terminal{r.T, filepath.Join(dir, "socket")}
	command := append([]string{"env", "-i", "DBUS_SYSTEM_BUS_ADDRESS=" + r.Bus.Address(), "LANG=C.UTF-8"}, vars...)
	command = append(append(command, r.around...), filepath.Join(r.Bin, "accountlock-firstboot"))
	command = append(command, args...)
	// The exit code is what the terminal shows last; the terminal then stays.
	script := strings.Join(command, " ") + "; echo; echo ended with $?; exec sleep 1000"
	tm.tmux("-f", "/dev/null", "new-session", "-d", "-x", w, "-y", h, script)
	r.T.Cleanup(func() { _ = exec.Command("tmux", "-S", tm.socket, "kill-server").Run() })
	return tm
}

func (tm *terminal) tmux(args ...string) string {
	tm.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	out, err := exec.CommandContext(ctx, "tmux", append([]string{"-S", tm.socket}, args...)...).CombinedOutput()
	if err != nil {
		tm.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// keys sends keys as tmux names them; text is sent as it is.
func (tm *terminal) keys(keys ...string) {
	tm.t.Helper()
	tm.tmux(append([]string{"send-keys"}, keys...)...)
}

func (tm *terminal) types(text string) {
	tm.t.Helper()
	tm.tmux("send-keys", "-l", text)
}

// screen returns what is to be read, with what has scrolled off.
func (tm *terminal) screen() string {
	tm.t.Helper()
	return tm.tmux("capture-pane", "-p", "-J", "-S", "-500")
}

// await waits until a text can be read, n times in all.
func (tm *terminal) await(text string, n int) {
	tm.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		s := strings.Join(strings.Fields(tm.screen()), " ")
		if strings.Count(s, text) >= n {
			return
		}
		if time.Now().After(deadline) {
			tm.t.Fatalf("the screen does not say %q %d times:\n%s", text, n, tm.screen())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (tm *terminal) never(texts ...string) {
	tm.t.Helper()
	s := tm.screen()
	for _, text := range texts {
		if strings.Contains(s, text) {
			tm.t.Errorf("the screen says %q:\n%s", text, s)
		}
	}
}

func (tm *terminal) awaitExit(code int) {
	tm.t.Helper()
	tm.await(fmt.Sprintf("ended with %d", code), 1)
}
