// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Console is a device's console with a person at it: what was shown is kept, and
// keys can be typed.
type Console struct {
	mu    sync.Mutex
	shown bytes.Buffer
	grown chan struct{} // closed, and made anew, when something is shown
	keys  io.Writer
	// Numbered: a line that knows no size has menus by numbers, and no whole screen.
	Numbered bool
	// slowness is how many times longer than a container's everything may take.
	slowness time.Duration
}

func newConsole(screen io.Reader, keys io.Writer) *Console {
	c := &Console{grown: make(chan struct{}), keys: keys, slowness: 1}
	go c.watch(screen)
	return c
}

func (c *Console) watch(screen io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := screen.Read(buf)
		if n > 0 {
			c.mu.Lock()
			c.shown.Write(buf[:n])
			close(c.grown)
			c.grown = make(chan struct{})
			c.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// Text is all that was shown so far.
func (c *Console) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown.String()
}

// Mark is where the console is now, for Await.
func (c *Console) Mark() int { return len(c.Text()) }

// Await waits until the text is shown after the mark and returns the mark after
// it.
func (c *Console) Await(t testing.TB, from int, text string, limit time.Duration) int {
	t.Helper()
	end := time.After(c.slowness * limit)
	for {
		c.mu.Lock()
		shown, grown := c.shown.String(), c.grown
		c.mu.Unlock()
		if i := strings.Index(shown[from:], text); i >= 0 {
			return from + i + len(text)
		}
		select {
		case <-grown:
		case <-end:
			t.Fatalf("the console does not show %q within %v; it shows:\n%s", text, limit, shown[from:])
		}
	}
}

// Look is a person's look at a field before typing: its last line may still be on
// its way.
func (c *Console) Look() { time.Sleep(c.slowness * 300 * time.Millisecond) }

// Type types the text.
func (c *Console) Type(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c.keys, text); err != nil {
		t.Fatalf("cannot type: %v", err)
	}
}

// terminal makes a pseudo terminal.
func terminal(t testing.TB) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: 80})
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}
