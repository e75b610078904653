// SPDX-License-Identifier: Apache-2.0

package main_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/lock"
)

// BenchmarkDecisionBesideAnEmptyProgram times the gate from exec to exit, warm,
// on a linked device, and, in turn with it, an empty static Go program and
// systemd-detect-virt where there is one. Reported are medians and their ratio;
// quality.md of the design asks for at most twice the empty program.
func BenchmarkDecisionBesideAnEmptyProgram(b *testing.B) {
	h := newHome(b)
	h.link(b)
	peers := map[string][]string{
		"gate":  {gateProgram, "--decide", "--config", h.config},
		"empty": {emptyProgram},
	}
	if path, err := exec.LookPath("systemd-detect-virt"); err == nil {
		peers["detect-virt"] = []string{path}
	}
	times := map[string][]time.Duration{}
	for _, argv := range peers { // warm
		once(b, argv)
	}
	for b.Loop() {
		for name, argv := range peers {
			times[name] = append(times[name], once(b, argv))
		}
	}
	median := func(name string) float64 {
		slices.Sort(times[name])
		return float64(times[name][len(times[name])/2].Microseconds())
	}
	for name := range peers {
		b.ReportMetric(median(name), name+"-µs")
	}
	b.ReportMetric(median("gate")/median("empty"), "gate/empty")
}

// BenchmarkDecisionWithATPM times the gate on a device that is bound to swtpm, in
// turn with the same one unbound and with the commands alone that it asks of the
// TPM, in a process that runs already.
func BenchmarkDecisionWithATPM(b *testing.B) {
	plain, bound := newHome(b), newHome(b)
	plain.link(b)
	m := bound.bind(b)
	bound.link(b)
	var times [3][]time.Duration
	commands := func() time.Duration {
		start := time.Now()
		if r := bound.store.Read(); r.TPM != lock.TPMVouches {
			b.Fatal(r.TPM)
		}
		return time.Since(start)
	}
	for b.Loop() {
		for i, h := range []*home{plain, bound} {
			times[i] = append(times[i], once(b, []string{gateProgram, "--decide", "--config", h.config}))
		}
		times[2] = append(times[2], commands())
	}
	m.Off()
	for i, name := range []string{"unbound", "bound", "commands"} {
		slices.Sort(times[i])
		b.ReportMetric(float64(times[i][len(times[i])/2].Microseconds()), name+"-µs")
	}
}

// once runs a program and returns how long it took.
func once(b *testing.B, argv []string) time.Duration {
	b.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if cmd.ProcessState == nil {
		b.Fatal(err)
	}
	return took
}

// TestTheGateStaysSmall looks at what was resident at most when the gate has
// decided: it hangs at saying so, on a pipe that is full.
func TestTheGateStaysSmall(t *testing.T) {
	h := newHome(t)
	h.link(t)
	staysSmall(t, h)
}

// What asking a TPM takes comes on top.
func TestTheGateStaysSmallWithATPMToo(t *testing.T) {
	h := newHome(t)
	h.bind(t)
	h.link(t)
	staysSmall(t, h)
}

func staysSmall(t *testing.T, h *home) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	must(t, fill(w))
	cmd := exec.Command(gateProgram, "--decide", "--config", h.config)
	cmd.Stdout = w
	must(t, cmd.Start())
	w.Close()
	var kib int
	for deadline := time.Now().Add(10 * time.Second); ; {
		if waiting, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", cmd.Process.Pid)); err == nil && strings.Contains(string(waiting), "pipe") {
			break
		}
		if time.Now().After(deadline) {
			t.Log("cannot see the gate wait for the pipe; looking at it anyway")
			break
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	must(t, err)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscan(after, &kib)
	must(t, err)
	_, err = io.Copy(io.Discard, r)
	must(t, err)
	must(t, cmd.Wait())
	t.Logf("%d KiB were resident at most", kib)
	if kib > 5<<10 {
		t.Errorf("%d KiB are resident", kib)
	}
}

// fill writes to a pipe until it takes no more.
func fill(w *os.File) error {
	err := w.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	for err == nil {
		_, err = w.Write(make([]byte, 4096))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return w.SetWriteDeadline(time.Time{})
}
