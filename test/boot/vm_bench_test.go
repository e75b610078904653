// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/boot"
)

// BenchmarkBoot boots the same image in turn without accountlock and with it, the
// device being open, provisioned and linked. An operation is one boot of each. It
// reports medians; the log has the spread.
func BenchmarkBoot(b *testing.B) {
	b.Run("Container", func(b *testing.B) {
		without, with := boot.NewPlainContainer(b, false), boot.NewContainer(b, "")
		with.Boot()
		linkNow(b, with, with.Service)
		with.PowerOff()
		compare(b, func(installed bool) times {
			c := without
			if installed {
				c = with
			}
			began := boot.Monotonic()
			c.Boot()
			defer c.PowerOff()
			reached(c)
			t := read(b, c, installed)
			// A container has the host's clock.
			t.wall = t.target - began
			return t
		})
	})
	b.Run("VirtualMachine", func(b *testing.B) {
		fullTier(b)
		without, with := boot.NewPlainVM(b, false), boot.NewVM(b, inAFile, false)
		with.Boot()
		linkNow(b, with, with.Service)
		powerOff(with)
		compare(b, func(installed bool) times {
			m := without
			if installed {
				m = with
			}
			m.Boot()
			defer powerOff(m)
			reached(m)
			t := read(b, m, installed)
			up, err := strconv.ParseFloat(strings.Fields(m.Must("cat /proc/uptime"))[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			// When it was switched on, on the machine's own clock.
			t.wall = t.target - (time.Duration(up*1e9) - m.Since())
			return t
		})
	})
}

// linkNow links a device that comes up open.
func linkNow(b *testing.B, d device, s *boot.Service) {
	b.Helper()
	reached(d)
	d.Must("accountlockctl link --identifier " + s.Demo.AccountID + " --password-file - <<'END'\n" + s.Demo.Password + "\nEND")
}

// reached waits for the end of a boot, by whichever way.
func reached(d device) {
	d.Until("the default target", time.Minute, func() bool {
		out, _ := d.Sh("systemctl is-active graphical.target; systemctl list-jobs --no-pager")
		return out == "active\nNo jobs running.\n"
	})
}

// times are those of one boot: those of PID 1 since its own start, on its clock.
type times struct {
	target          time.Duration // when the default target was reached, on the clock since power-on
	wall            time.Duration // power-on to default target
	userspace       time.Duration // PID 1's start to default target
	generators      time.Duration // all of them
	gate            time.Duration // of the gate's service, start to end
	beforeGate, sys time.Duration // when it started, when sysinit.target was reached
}

// read asks systemd for its timestamps (systemd.directives(7)).
func read(b *testing.B, d device, installed bool) times {
	b.Helper()
	stamp := func(unit, property string) time.Duration {
		out := strings.TrimSpace(d.Must("systemctl show --value -p " + property + "TimestampMonotonic " + unit))
		n, err := strconv.ParseInt(out, 10, 64)
		if err != nil || n == 0 {
			b.Fatalf("%s of %s is %q (%v)", property, unit, out, err)
		}
		return time.Duration(n) * time.Microsecond
	}
	start := stamp("", "Userspace")
	t := times{
		target:     stamp("graphical.target", "ActiveEnter"),
		generators: stamp("", "GeneratorsFinish") - stamp("", "GeneratorsStart"),
		sys:        stamp("sysinit.target", "ActiveEnter") - start,
	}
	t.userspace = t.target - start
	if installed {
		t.gate = stamp("accountlock-gate.service", "ActiveEnter") - stamp("accountlock-gate.service", "InactiveExit")
		t.beforeGate = stamp("accountlock-gate.service", "InactiveExit") - start
		b.Log(strings.TrimSpace(d.Must("systemd-analyze time | head -n 1")))
	}
	return t
}

// compare boots in turn, b.N times each, and reports what it came to.
func compare(b *testing.B, once func(installed bool) times) {
	b.Helper()
	var all [2][]times
	b.ResetTimer()
	for i := range b.N {
		for j := range 2 {
			installed := (i+j)%2 == 1 // neither is always the first
			n := 0
			if installed {
				n = 1
			}
			all[n] = append(all[n], once(installed))
		}
	}
	b.StopTimer()
	report := func(name string, of func(times) time.Duration) (without, with time.Duration) {
		var middle [2]time.Duration
		for n, kind := range []string{"without", "with"} {
			var d []time.Duration
			for _, t := range all[n] {
				d = append(d, of(t).Round(10*time.Microsecond))
			}
			slices.Sort(d)
			middle[n] = (d[(len(d)-1)/2] + d[len(d)/2]) / 2
			b.Logf("%-10s %-8s median %v of %v", name, kind, middle[n], d)
		}
		return middle[0], middle[1]
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	for _, m := range []struct {
		name string
		of   func(times) time.Duration
	}{
		{"wall", func(t times) time.Duration { return t.wall }},
		{"userspace", func(t times) time.Duration { return t.userspace }},
		{"sysinit", func(t times) time.Duration { return t.sys }},
		{"generators", func(t times) time.Duration { return t.generators }},
	} {
		without, with := report(m.name, m.of)
		b.ReportMetric(ms(without), m.name+"-without-ms")
		b.ReportMetric(ms(with), m.name+"-with-ms")
		b.ReportMetric(ms(with-without), m.name+"-more-ms")
		b.Logf("%s: %+.1f ms, ratio %.3f", m.name, ms(with-without), float64(with)/float64(without))
	}
	_, gate := report("gate", func(t times) time.Duration { return t.gate })
	b.ReportMetric(ms(gate), "gate-ms")
	report("gate starts", func(t times) time.Duration { return t.beforeGate })
}
