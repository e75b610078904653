// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"

	accountlock "github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/record"
	"github.com/accountlock/accountlock/test/bus"
)

const echoName = "org.example.Echo"

// BenchmarkPropertyRead reads one string property of three services in turn, in
// one run: ours, accounts-daemon's, and a bare godbus service's.
func BenchmarkPropertyRead(b *testing.B) {
	r := newBenchRig(b, bus.WithPolkit(""), bus.WithNames(echoName))
	r.Bus.StartAccountsDaemon(b)
	echo := r.Bus.Connect(b)
	_, err := prop.Export(echo, "/", prop.Map{echoName: {"State": {Value: "unlinked"}}})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := echo.RequestName(echoName, dbus.NameFlagDoNotQueue); err != nil {
		b.Fatal(err)
	}
	client := r.Bus.Connect(b)
	peers := []struct {
		name string
		obj  dbus.BusObject
		args [2]string
	}{
		{"accountlockd", client.Object(accountlock.Name, accountlock.ManagerPath), [2]string{accountlock.ManagerFace, "State"}},
		{"accounts-daemon", client.Object("org.freedesktop.Accounts", "/org/freedesktop/Accounts"), [2]string{"org.freedesktop.Accounts", "DaemonVersion"}},
		{"bare-godbus", client.Object(echoName, "/"), [2]string{echoName, "State"}},
	}
	times := map[string][]time.Duration{}
	for b.Loop() {
		for _, p := range peers {
			start := time.Now()
			if err := p.obj.Call("org.freedesktop.DBus.Properties.Get", 0, p.args[0], p.args[1]).Err; err != nil {
				b.Fatal(p.name, err)
			}
			times[p.name] = append(times[p.name], time.Since(start))
		}
	}
	for _, p := range peers {
		slices.Sort(times[p.name])
		n := len(times[p.name])
		b.ReportMetric(float64(times[p.name][n/2].Microseconds()), p.name+"-p50-µs")
		b.ReportMetric(float64(times[p.name][n*99/100].Microseconds()), p.name+"-p99-µs")
	}
}

// BenchmarkStartToReady is exec to READY=1 of a linked device's daemon.
func BenchmarkStartToReady(b *testing.B) {
	r := newBenchRig(b)
	r.run("Link")
	r.StopDaemon()
	for b.Loop() {
		notify := r.Bus.ListenNotify(b)
		cmd := exec.Command(filepath.Join(r.Bin, "accountlockd"), "--config", r.Path("accountlockd.toml"))
		cmd.Env = append(r.Bus.Env(), notify.Env())
		r.Daemon = r.Bus.StartProcess(b, cmd)
		notify.Await(b, "READY=1")
		b.StopTimer()
		r.StopDaemon()
		b.StartTimer()
	}
}

// BenchmarkMemory reports the daemon's resident memory: at rest, after the whole
// of an unlock, and at its highest in it; and accounts-daemon's at rest.
func BenchmarkMemory(b *testing.B) {
	r := newBenchRig(b, bus.WithPolkit(""))
	accounts := r.Bus.StartAccountsDaemon(b)
	r.run("Link")
	for b.Loop() {
		r.Reset()
		rest := rss(b, r.Daemon.Pid(), "VmRSS")
		r.run("Unlock")
		b.ReportMetric(float64(rest>>10), "at-rest-KiB")
		b.ReportMetric(float64(rss(b, r.Daemon.Pid(), "RssAnon")>>10), "after-unlock-anonymous-KiB")
		b.ReportMetric(float64(rss(b, r.Daemon.Pid(), "VmHWM")>>10), "highest-KiB")
	}
	b.ReportMetric(float64(rss(b, accounts.Pid(), "VmRSS")>>10), "accounts-daemon-KiB")
}

// BenchmarkUnlock is a whole unlock as its client sees it, with what of it the
// account service took, and what it cost the record store.
func BenchmarkUnlock(b *testing.B) {
	r := newBenchRig(b)
	r.run("Link")
	for b.Loop() {
		b.StopTimer()
		r.Reset()
		before := sequence(b, r)
		b.StartTimer()
		r.run("Unlock")
		b.StopTimer()
		b.ReportMetric(float64(sequence(b, r)-before), "slot-writes")
		b.StartTimer()
	}
}

// sequence counts up by one with each slot write, and each is flushed once.
func sequence(b *testing.B, r *rig) uint64 {
	b.Helper()
	s, err := record.Open("file:" + r.Path("kept/record"))
	if err != nil {
		b.Fatal(err)
	}
	reading := s.Read()
	if reading.Err != nil {
		b.Fatal(reading.Err)
	}
	return reading.Sequence
}

func newBenchRig(b *testing.B, options ...bus.Option) *rig {
	b.Helper()
	return newRig(b, func(*rig) []bus.Option { return options })
}
