// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkFirstBootScreen measures from the start of the program to its first
// page with the device's state on it, and reports what is resident then.
func BenchmarkFirstBootScreen(b *testing.B) {
	r := newRig(b)
	r.run("Link")
	r.Reset()
	for name, start := range map[string]func(*testing.B, *rig) int{"lines": startOn("--plain"), "terminal": startOn(), "kiosk": startKiosk} {
		b.Run(name, func(b *testing.B) {
			resident := 0
			for b.Loop() {
				resident = max(resident, start(b, r))
			}
			b.ReportMetric(float64(resident), "resident-KiB")
		})
	}
}

// startOn starts the screen on a terminal, ends it and returns its memory.
func startOn(args ...string) func(*testing.B, *rig) int {
	return func(b *testing.B, r *rig) int {
		master, slave := openPTY(b)
		defer master.Close()
		cmd := exec.Command(filepath.Join(r.Bin, "accountlock-firstboot"), args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.Env = []string{"DBUS_SYSTEM_BUS_ADDRESS=" + r.Bus.Address(), "TERM=xterm-256color", "LANG=C.UTF-8"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		_ = slave.Close()
		var seen []byte
		buf := make([]byte, 8192)
		for !bytes.Contains(seen, []byte("example.org")) {
			n, err := master.Read(buf)
			if err != nil {
				b.Fatalf("%v\n%s", err, seen)
			}
			seen = append(seen, buf[:n]...)
		}
		return end(b, cmd)
	}
}

func startKiosk(b *testing.B, r *rig) int {
	file := r.Path("bench-address")
	_ = os.Remove(file)
	cmd := exec.Command(filepath.Join(r.Bin, "accountlock-firstboot"), "--kiosk", "--url-file", file)
	cmd.Env = []string{"DBUS_SYSTEM_BUS_ADDRESS=" + r.Bus.Address()}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	var address []byte
	for len(address) == 0 {
		address, _ = os.ReadFile(file)
		time.Sleep(time.Millisecond)
	}
	jar, _ := cookiejar.New(nil)
	resp, err := (&http.Client{Jar: jar}).Get(string(bytes.TrimSpace(address)))
	if err != nil {
		b.Fatal(err)
	}
	page, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if !bytes.Contains(page, []byte("example.org")) {
		b.Fatalf("the first page: %s", page)
	}
	return end(b, cmd)
}

var residentLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

func end(b *testing.B, cmd *exec.Cmd) int {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	m := residentLine.FindSubmatch(raw)
	if err != nil || m == nil {
		b.Fatalf("no memory in its status: %v", err)
	}
	kib, _ := strconv.Atoi(string(m[1]))
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return kib
}

func openPTY(b *testing.B) (master, slave *os.File) {
	b.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		b.Skipf("no pseudo-terminals: %v", err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		b.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		b.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		b.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		b.Fatal(err)
	}
	return master, slave
}
