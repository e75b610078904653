// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	accountlock "github.com/accountlock/accountlock/internal/bus"
)

// serviceSays returns the account service's own view of the device's link.
func (r *rig) serviceSays(id string) string {
	r.T.Helper()
	p := r.Bus.Run(r.T, exec.Command(filepath.Join(r.Bin, "accountlock-server"), "device", "show", id, "--json", "--data", r.Path("service")))
	var out struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(p.Stdout(), &out); err != nil {
		r.T.Fatalf("%v in %s", err, p.Output())
	}
	return out.Status
}

// kills is how many times the daemon is killed: a few in every test run,
// ACCOUNTLOCK_KILLS in `make torture`.
func kills(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("ACCOUNTLOCK_KILLS"))
	if err != nil {
		return 24
	}
	t.Logf("%d kills", n)
	return n
}

// possible are the operations that a state allows, and a reset.
var possible = map[string][]string{
	"unlinked": {"Link"}, "signed-out": {"Link", "Unlink"}, "linked": {"SignOut", "Unlink", "reset"}, "locked": {"Unlock"},
}

// TestAKillAtAnyMomentLeavesBothSidesInTheOldStateOrTheNew kills the daemon, and
// now and then the account service, at random moments of every operation.
func TestAKillAtAnyMomentLeavesBothSidesInTheOldStateOrTheNew(t *testing.T) {
	r := newRig(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	id := r.Property("DeviceId").Value().(string)
	seen := map[string]int{}
	for i := range kills(t) {
		before := r.Property("State").Value().(string)
		open := possible[before]
		method := open[random.IntN(len(open))]
		if method == "reset" {
			r.Reset()
			r.wantState("locked factory-reset")
			continue
		}
		var client sync.WaitGroup
		client.Go(func() { r.tryQuietly(method) })
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		if i%4 == 3 {
			r.server.Signal(t, syscall.SIGKILL)
			r.server.Wait(t)
			time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
			r.startServer()
		}
		r.KillDaemon()
		client.Wait()
		r.StartDaemon()
		r.settle()
		after := r.Property("State").Value().(string)
		says := r.serviceSays(id)
		if after == "locked" && before == "locked" {
			if says != "linked" {
				t.Fatalf("kill %d in %s: locked, and the service says %s", i, method, says)
			}
		} else if after != says {
			t.Fatalf("kill %d in %s from %s: the device is %s, the service says %s\n%s", i, method, before, after, says, r.Daemon.Output())
		}
		if want := allowed(before, method); want[0] != after && want[1] != after {
			t.Fatalf("kill %d in %s: from %s to %s", i, method, before, after)
		}
		seen[method+": "+before+" -> "+after]++
	}
	t.Logf("%v", seen)
}

func allowed(before, method string) [2]string {
	switch method {
	case "Link", "Unlock":
		return [2]string{before, "linked"}
	case "SignOut":
		return [2]string{before, "signed-out"}
	default:
		return [2]string{before, "unlinked"}
	}
}

// tryQuietly drives a flow until it ends or the daemon is gone.
func (r *rig) tryQuietly(method string) {
	conn := r.Conn
	var path dbus.ObjectPath
	if conn.Object(accountlock.Name, accountlock.ManagerPath).Call(accountlock.ManagerFace+"."+method, 0, map[string]dbus.Variant{}).Store(&path) != nil {
		return
	}
	obj := conn.Object(accountlock.Name, path)
	for range 20 {
		var all map[string]dbus.Variant
		if obj.Call("org.freedesktop.DBus.Properties.GetAll", 0, accountlock.FlowFace).Store(&all) != nil {
			return
		}
		in := map[string]dbus.Variant{}
		switch all["Step"].Value() {
		case "identify":
			in["identifier"] = dbus.MakeVariant(r.demo.Email)
		case "password":
			in["password"] = dbus.MakeVariant([]byte(r.demo.Password))
		case "confirm":
			in["confirm"] = dbus.MakeVariant(true)
			if code, ok := all["Prompt"].Value().(map[string]dbus.Variant)["recovery-code"]; ok {
				in["recovery-code"] = dbus.MakeVariant([]byte(code.Value().(string)))
			}
		default:
			return
		}
		_ = obj.Call(accountlock.FlowFace+".Submit", 0, in).Err
	}
}

// settle waits until no operation is in work, then checks in.
func (r *rig) settle() {
	r.T.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var objects map[dbus.ObjectPath]map[string]map[string]dbus.Variant
		err := r.Manager().Call("org.freedesktop.DBus.ObjectManager.GetManagedObjects", 0).Store(&objects)
		if err != nil {
			r.T.Fatal(err)
		}
		working := 0
		for _, o := range objects {
			if o[accountlock.FlowFace]["Step"].Value() == "working" {
				working++
			}
		}
		if working == 0 {
			break
		}
		if time.Now().After(deadline) {
			r.T.Fatalf("an operation is not taken up:\n%s", r.Daemon.Output())
		}
	}
	if err := r.Call("CheckIn").Err; err != nil {
		r.T.Fatal(err)
	}
}
