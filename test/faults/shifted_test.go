// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/test/bus"
	"github.com/accountlock/accountlock/test/device"
)

// shifted is accountlockd, built from the same source with a time.Now that is off by
// what an environment variable says: the machine's own clock is not the test's
// to set, and Go asks the kernel past every library that could pretend.
var shifted struct {
	once sync.Once
	dir  string
	err  error
}

const shiftVar = "ACCOUNTLOCK_TEST_CLOCK_SHIFT"

func shiftedDaemon(t *testing.T) string {
	t.Helper()
	shifted.once.Do(func() { shifted.dir, shifted.err = buildShifted() })
	if shifted.err != nil {
		t.Fatal(shifted.err)
	}
	if shifted.dir == "" {
		t.Skip("this version of Go reads the clock in another way")
	}
	return filepath.Join(shifted.dir, "accountlockd")
}

func buildShifted() (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	std := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(std, "time.go"))
	if err != nil {
		return "", err
	}
	const read = "sec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	if strings.Count(string(source), read) != 1 {
		return "", nil
	}
	dir, err := os.MkdirTemp("", "accountlock-shifted-")
	if err != nil {
		return "", err
	}
	name := func(n string) string { return filepath.Join(dir, n) }
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(std, "time.go"): name("time.go"), filepath.Join(std, "zz_shift.go"): name("shift.go"),
	}})
	if err != nil {
		return "", err
	}
	for n, text := range map[string]string{
		"time.go": strings.Replace(string(source), read, strings.Replace(read, "\n", "\n\tsec += clockShift\n", 1), 1),
		"shift.go": fmt.Sprintf("package time\n\nimport \"syscall\"\n\nvar clockShift = func() int64 { s, _ := syscall.Getenv(%q); n, _ := atoi(s); return int64(n) }()\n",
			shiftVar),
		"overlay.json": string(overlay),
	} {
		if err := os.WriteFile(name(n), []byte(text), 0o600); err != nil {
			return dir, err
		}
	}
	build := exec.Command("go", "build", "-overlay", name("overlay.json"), "-trimpath", "-o", name("accountlockd"), "../../cmd/accountlockd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
}

// at has the next lives of the daemon begin at that time by their own clock.
func (r *rig) at(daemon string, when time.Time) {
	r.Launch = func(c *exec.Cmd) *bus.Process {
		c.Path, c.Args[0] = daemon, daemon
		c.Env = append(c.Env, shiftVar+"="+strconv.FormatInt(int64(time.Until(when).Seconds()), 10))
		return r.Bus.StartProcess(r.T, c)
	}
}

func TestADeviceWhoseOwnClockIsYearsOffIsUnlocked(t *testing.T) {
	t.Parallel()
	daemon := shiftedDaemon(t)
	for name, when := range map[string]time.Time{"behind": time.Unix(17, 0), "ahead": time.Now().AddDate(9, 0, 0)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.StopDaemon()
			r.at(daemon, when)
			r.StartDaemon()
			r.wantState("locked")
			rows, _ := r.diagnose()
			clock := rows["clock"]
			if clock.Result != "failed" || !strings.Contains(clock.Message, name) || !strings.HasPrefix(clock.detail("clock"), when.UTC().Format("2006-01-02")) {
				t.Errorf("got %+v", clock)
			}
			if got := rows["account service"]; got.Result != "ok" {
				t.Errorf("got %+v", got)
			}
			if e, _ := r.tryUnlock("not the password"); e.Name != "InvalidCredentials" || !e.Counted {
				t.Errorf("a wrong password: %+v", e)
			}
			measured("unlock of a device whose own clock is "+name, "", r.unlock())
			// The next life, at the same wrong time, is open; the floor is the service's.
			r.StopDaemon()
			r.StartDaemon()
			r.wantState("linked")
			rows, _ = r.diagnose()
			if got, want := rows["clock"].detail("trusted-time"), time.Now().UTC().Format("2006"); !strings.HasPrefix(got, want) {
				t.Errorf("on record is %s, want %s", got, want)
			}
			if c := rows["account service"]; c.Result != "ok" {
				t.Errorf("in the next life: %+v", c)
			}
			if c := r.get("Connectivity"); c != "online" {
				t.Errorf("Connectivity is %s", c)
			}
		})
	}
}

func TestANewDeviceWhoseOwnClockIsYearsOffSaysSo(t *testing.T) {
	t.Parallel()
	daemon := shiftedDaemon(t)
	for cause, when := range map[diagnose.Cause]time.Time{diagnose.ClockBehind: time.Unix(17, 0), diagnose.ClockAhead: time.Now().AddDate(9, 0, 0)} {
		t.Run(string(cause), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(r *rig) { r.fresh = true; r.at(daemon, when) })
			r.heal()
			call := r.Manager().Call("org.accountlock.AccountLock1.Manager.CheckIn", 0)
			if call.Err == nil || !strings.HasSuffix(device.ErrorName(call.Err), ".ClockWrong") || !strings.Contains(call.Err.Error(), when.UTC().Format("2006-01-02")) {
				t.Fatalf("got %v", call.Err)
			}
			rows, _ := r.diagnose()
			if c := rows["account service"]; c.detail("cause") != string(cause) || c.detail("remedy") == "" {
				t.Errorf("got %+v", c)
			}
			if c := r.get("Connectivity"); c != "clock-wrong" {
				t.Errorf("Connectivity is %s", c)
			}
			r.wantState("locked")
		})
	}
}
