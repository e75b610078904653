// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	accountlock "github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/test/bus"
	"github.com/accountlock/accountlock/test/device"
)

// rss returns the resident memory of a process in bytes.
func rss(t testing.TB, pid int, field string) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatalf("no %s", field)
	return 0
}

func variant(v any) map[string]dbus.Variant {
	return map[string]dbus.Variant{"locale": dbus.MakeVariant(v)}
}

func TestWrongCallsGetDBusOwnErrorsAndChangeNothing(t *testing.T) {
	r := newRig(t)
	const prefix = "org.freedesktop.DBus.Error."
	face := accountlock.ManagerFace
	for name, c := range map[string]struct {
		method string
		args   []any
		want   string
	}{
		"a missing argument":                     {face + ".Link", nil, prefix + "InvalidArgs"},
		"an argument too many":                   {face + ".CheckIn", []any{"x"}, prefix + "InvalidArgs"},
		"the wrong type":                         {face + ".Link", []any{"x"}, prefix + "InvalidArgs"},
		"a dictionary of strings":                {face + ".Link", []any{map[string]string{"a": "b"}}, prefix + "InvalidArgs"},
		"an unknown option":                      {face + ".Link", []any{map[string]dbus.Variant{"x": dbus.MakeVariant(1)}}, "InvalidArgument"},
		"an unlink option for a link":            {face + ".Link", []any{map[string]dbus.Variant{"unlink": dbus.MakeVariant(true)}}, "InvalidArgument"},
		"a locale that is a structure":           {face + ".Link", []any{variant(struct{ A, B int32 }{1, 2})}, "InvalidArgument"},
		"an unknown member":                      {face + ".Open", nil, prefix + "UnknownMethod"},
		"a Go method of the server":              {face + ".Close", nil, prefix + "UnknownMethod"},
		"an unknown interface":                   {"org.example.Other.Link", nil, prefix + "UnknownInterface"},
		"an unknown property":                    {"org.freedesktop.DBus.Properties.Get", []any{face, "Password"}, prefix + "UnknownProperty"},
		"a property of no interface":             {"org.freedesktop.DBus.Properties.Get", []any{"org.example.X", "State"}, prefix + "UnknownInterface"},
		"setting the state":                      {"org.freedesktop.DBus.Properties.Set", []any{face, "State", dbus.MakeVariant("linked")}, prefix + "PropertyReadOnly"},
		"an unlock of an open device":            {face + ".Unlock", []any{map[string]dbus.Variant{}}, "NotLocked"},
		"a sign-out of no account":               {face + ".SignOut", []any{map[string]dbus.Variant{}}, "NotLinked"},
		"the account of no account":              {face + ".GetAccount", nil, "NotLinked"},
		"a recovery with an option that is none": {face + ".Recover", []any{map[string]dbus.Variant{"x": dbus.MakeVariant("y")}}, "InvalidArgument"},
		"a region in small letters":              {face + ".GetSupport", []any{"de"}, "InvalidArgument"},
	} {
		t.Run(name, func(t *testing.T) {
			r.wantError(r.Manager().Call(c.method, 0, c.args...).Err, c.want)
		})
	}
	err := r.Conn.Object(accountlock.Name, accountlock.ManagerPath+"/flow/77").Call(accountlock.FlowFace+".Cancel", 0).Err
	r.wantError(err, prefix+"UnknownObject")
	err = r.Conn.Object(accountlock.Name, "/org/example/Nothing").Call(face+".CheckIn", 0).Err
	r.wantError(err, prefix+"UnknownObject")
	r.wantState("unlinked")
}

func TestHugeMessagesAreRefusedAndLeaveNoMark(t *testing.T) {
	r := newRig(t)
	pid := r.Daemon.Pid()
	before := rss(t, pid, "VmRSS")
	for _, size := range []int{300 << 10, 8 << 20, 64 << 20} {
		big := strings.Repeat("x", size)
		for _, call := range []struct {
			method string
			args   []any
		}{
			{accountlock.ManagerFace + ".Link", []any{variant(big)}},
			{accountlock.ManagerFace + ".GetSupport", []any{big}},
			{"org.freedesktop.DBus.Properties.Get", []any{big, "State"}},
		} {
			conn := r.Bus.Connect(t)
			err := conn.Object(accountlock.Name, accountlock.ManagerPath).Call(call.method, 0, call.args...).Err
			if err == nil {
				t.Fatalf("%s took %d bytes", call.method, size)
			}
			if size < 32<<20 {
				// Beyond that a bus may end the sender itself.
				r.wantError(err, "org.freedesktop.DBus.Error.LimitsExceeded")
			}
			_ = conn.Close()
		}
	}
	r.wantState("unlinked")
	if grown := rss(t, pid, "VmHWM") - before; grown > 12<<20 {
		t.Fatalf("the daemon's memory grew by %d KiB at its highest", grown>>10)
	}
}

func TestTenThousandCallsAtOnceAreAllAnsweredAndBounded(t *testing.T) {
	r := newRig(t)
	calls := make(chan *dbus.Call, 10_000)
	for i := range cap(calls) {
		switch i % 3 {
		case 0:
			r.Manager().Go(accountlock.ManagerFace+".Link", 0, calls, map[string]dbus.Variant{})
		case 1:
			r.Manager().Go("org.freedesktop.DBus.Properties.GetAll", 0, calls, accountlock.ManagerFace)
		default:
			r.Manager().Go(accountlock.ManagerFace+".Explain", 0, calls)
		}
	}
	answers := map[string]int{}
	for range cap(calls) {
		select {
		case c := <-calls:
			name := "ok"
			if c.Err != nil {
				name = device.ErrorName(c.Err)
			}
			answers[name]++
		case <-time.After(60 * time.Second):
			t.Fatalf("only %v were answered", answers)
		}
	}
	t.Logf("%v, %d KiB at the highest", answers, rss(t, r.Daemon.Pid(), "VmHWM")>>10)
	for name := range answers {
		switch name {
		case "ok", accountlock.ErrorPrefix + "TooManyFlows", "org.freedesktop.DBus.Error.LimitsExceeded":
		default:
			t.Errorf("an answer was %s", name)
		}
	}
	r.wantState("unlinked")
	if high := rss(t, r.Daemon.Pid(), "VmHWM"); high > 96<<20 {
		t.Errorf("the daemon took %d KiB", high>>10)
	}
}

func TestAFlowIsItsOwnersAlone(t *testing.T) {
	r := newRig(t)
	c := r.begin("Link")
	if err := c.Submit(map[string]any{"identifier": r.demo.Email}); err != nil {
		t.Fatal(err)
	}
	thief := r.Bus.Connect(t)
	signals := make(chan *dbus.Signal, 64)
	thief.Signal(signals)
	if err := thief.AddMatchSignal(dbus.WithMatchPathNamespace(accountlock.ManagerPath)); err != nil {
		t.Fatal(err)
	}
	stolen := thief.Object(accountlock.Name, c.Obj.Path())
	for _, err := range []error{
		stolen.Call(accountlock.FlowFace+".Submit", 0, map[string]dbus.Variant{"password": dbus.MakeVariant("x")}).Err,
		stolen.Call(accountlock.FlowFace+".Cancel", 0).Err,
		stolen.Call(accountlock.FlowFace+".Choose", 0, "password").Err,
		stolen.Call(accountlock.FlowFace+".Resend", 0).Err,
		stolen.Call("org.freedesktop.DBus.Properties.GetAll", 0, accountlock.FlowFace).Err,
		stolen.Call("org.freedesktop.DBus.Introspectable.Introspect", 0).Err,
		// Without an interface the member matches too.
		stolen.Call("Cancel", 0).Err,
	} {
		r.wantError(err, "org.freedesktop.DBus.Error.UnknownObject")
	}
	var objects map[dbus.ObjectPath]map[string]map[string]dbus.Variant
	if err := thief.Object(accountlock.Name, accountlock.ManagerPath).Call("org.freedesktop.DBus.ObjectManager.GetManagedObjects", 0).Store(&objects); err != nil || len(objects) != 0 {
		t.Fatalf("%v %v", err, objects)
	}
	if err := c.Submit(map[string]any{"password": []byte(r.demo.Password)}); err != nil {
		t.Fatal(err)
	}
	if c.step() != "confirm" {
		t.Fatalf("the thief disturbed the flow: %s", c.step())
	}
	if err := thief.Object(accountlock.Name, accountlock.ManagerPath).Call("org.freedesktop.DBus.Peer.Ping", 0).Err; err != nil {
		t.Fatal(err)
	}
	thief.RemoveSignal(signals)
	close(signals)
	for s := range signals {
		if strings.HasPrefix(string(s.Path), string(accountlock.ManagerPath)+"/flow") || strings.Contains(s.Name, "Interfaces") {
			t.Errorf("the thief was sent %s %v", s.Name, s.Body)
		}
	}
}

func TestAFlowEndsWithItsOwner(t *testing.T) {
	r := newRig(t)
	other := r.Bus.Connect(t)
	var path dbus.ObjectPath
	for range 8 {
		if err := other.Object(accountlock.Name, accountlock.ManagerPath).Call(accountlock.ManagerFace+".Link", 0, map[string]dbus.Variant{}).Store(&path); err != nil {
			t.Fatal(err)
		}
	}
	err := other.Object(accountlock.Name, accountlock.ManagerPath).Call(accountlock.ManagerFace+".Link", 0, map[string]dbus.Variant{}).Err
	r.wantError(err, "TooManyFlows")
	// 24 more fill the table for everybody …
	for range 3 {
		conn := r.Bus.Connect(t)
		for range 8 {
			if err := conn.Object(accountlock.Name, accountlock.ManagerPath).Call(accountlock.ManagerFace+".Link", 0, map[string]dbus.Variant{}).Err; err != nil {
				t.Fatal(err)
			}
		}
	}
	r.wantError(r.Call("Link", map[string]dbus.Variant{}).Err, "TooManyFlows")
	// … until their owner leaves.
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); r.Call("Link", map[string]dbus.Variant{}).Err != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the flows outlive their owner")
		}
	}
}

func TestNobodyTakesTheNameOrPassesAFileDescriptor(t *testing.T) {
	r := newRig(t)
	thief := r.Bus.ConnectAs(t, bus.Nobody)
	if reply, err := thief.RequestName(accountlock.Name, dbus.NameFlagReplaceExisting); err == nil && reply == dbus.RequestNameReplyPrimaryOwner {
		t.Fatal("another user took the name")
	}
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	open := func() int {
		entries, err := os.ReadDir("/proc/" + strconv.Itoa(r.Daemon.Pid()) + "/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := open()
	for range 50 {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := r.Manager().CallWithContext(ctx, accountlock.ManagerFace+".Link", 0,
			map[string]dbus.Variant{"locale": dbus.MakeVariant(dbus.UnixFD(f.Fd()))}).Err
		cancel()
		if err == nil {
			t.Fatal("a file descriptor was taken")
		}
	}
	if now := open(); now > before {
		t.Fatalf("%d descriptors before, %d now", before, now)
	}
	r.wantState("unlinked")
}

func TestParallelAnswersAreTakenOneAtATime(t *testing.T) {
	r := newRig(t)
	c := r.begin("Link")
	if err := c.Submit(map[string]any{"identifier": r.demo.Email}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	taken := map[string]int{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			err := c.Submit(map[string]any{"password": []byte("a wrong one")})
			mu.Lock()
			defer mu.Unlock()
			taken[strings.TrimPrefix(device.ErrorName(err), accountlock.ErrorPrefix)]++
		})
	}
	wg.Wait()
	if taken["InvalidCredentials"]+taken["WrongStep"]+taken["RateLimited"] != 20 || taken["InvalidCredentials"] > 6 {
		t.Fatalf("%v", taken)
	}
}

func TestGarbageInFilesIsNamedAndNeverOpens(t *testing.T) {
	r := newRig(t)
	r.run("Link")
	record, err := os.ReadFile(r.Path("kept/record"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(b []byte) {
		r.StopDaemon()
		if err := os.RemoveAll(r.Path("wiped")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.Path("kept/record"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r.StartDaemon()
	}
	for name, b := range map[string][]byte{
		"random bytes": bytes.Repeat([]byte("garbage!"), len(record)/8),
		"cut short":    record[:len(record)/2],
		"empty":        {},
	} {
		put(b)
		if got := r.Property("State").Value(); got != "locked" {
			t.Fatalf("%s: %v", name, got)
		}
	}
	// The owner's password mends it.
	r.run("Unlock")
	r.wantState("linked")
	// A journal that is garbage strands nobody.
	r.StopDaemon()
	if err := os.WriteFile(r.Path("wiped/journal.db"), []byte("no database, but long enough to look at"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"-wal", "-shm"} {
		_ = os.Remove(r.Path("wiped/journal.db" + f))
	}
	r.StartDaemon()
	r.wantState("linked")
	r.run("SignOut")
	r.wantState("signed-out")
}
