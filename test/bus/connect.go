// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"github.com/godbus/dbus/v5"
)

// Nobody is a user with no rights, for ConnectAs.
const Nobody = 65534

// Connect connects to the bus as the test's own user. The connection closes
// with the test.
func (b *Bus) Connect(t testing.TB, options ...dbus.ConnOption) *dbus.Conn {
	t.Helper()
	return b.ConnectAs(t, os.Getuid(), options...)
}

// ConnectAs connects to the bus as another user of the system: the bus, and with
// it polkit, takes the connection for one of that user. Only root can; otherwise
// the test is skipped.
func (b *Bus) ConnectAs(t testing.TB, uid int, options ...dbus.ConnOption) *dbus.Conn {
	t.Helper()
	conn, err := b.connect(t, uid, options...)
	if err != nil {
		t.Fatalf("bus: cannot connect as user %d: %v", uid, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// AwaitName waits until the name has an owner, and returns the owner's unique
// name.
func (b *Bus) AwaitName(t testing.TB, name string) string {
	t.Helper()
	return b.awaitOwner(t, name, nil, func(owner string) bool { return owner != "" })
}

// AwaitNoName waits until the name has no owner.
func (b *Bus) AwaitNoName(t testing.TB, name string) {
	t.Helper()
	b.awaitOwner(t, name, nil, func(owner string) bool { return owner == "" })
}

// awaitOwner waits until the owner of the name, empty for none, is as wanted.
// If a process is given, its end ends the wait in failure.
func (b *Bus) awaitOwner(t testing.TB, name string, p *Process, wanted func(string) bool) string {
	t.Helper()
	conn, err := b.connect(t, os.Getuid())
	if err != nil {
		t.Fatalf("bus: cannot connect: %v", err)
	}
	defer conn.Close()
	changes := make(chan *dbus.Signal, 16)
	conn.Signal(changes)
	// The match comes before the question, so that no change falls between.
	err = conn.AddMatchSignal(
		dbus.WithMatchSender("org.freedesktop.DBus"),
		dbus.WithMatchMember("NameOwnerChanged"),
		dbus.WithMatchArg(0, name),
	)
	if err != nil {
		t.Fatalf("bus: cannot watch %s: %v", name, err)
	}
	var owner string
	if conn.BusObject().Call("org.freedesktop.DBus.GetNameOwner", 0, name).Store(&owner) != nil {
		owner = ""
	}
	var ended <-chan struct{}
	if p != nil {
		ended = p.Done()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !wanted(owner) {
		select {
		case change, open := <-changes:
			if !open {
				t.Fatalf("bus: the bus went away while waiting for %s", name)
			}
			if change.Name != "org.freedesktop.DBus.NameOwnerChanged" {
				continue
			}
			var old string
			if err := dbus.Store(change.Body, new(string), &old, &owner); err != nil {
				t.Fatalf("bus: cannot read the change of %s: %v", name, err)
			}
		case <-ended:
			t.Fatalf("bus: %s ended before %s was as wanted:\n%s", p.name, name, p.Output())
		case <-ctx.Done():
			t.Fatalf("bus: %s is owned by %q after %v", name, owner, patience)
		}
	}
	return owner
}

func (b *Bus) connect(t testing.TB, uid int, options ...dbus.ConnOption) (*dbus.Conn, error) {
	t.Helper()
	dial := net.Dial
	if uid != os.Getuid() {
		NeedRoot(t, "it connects as another user")
		dial = func(network, address string) (net.Conn, error) { return dialAs(uid, network, address) }
	}
	// A connection made this way takes no file descriptors, as the daemon's own.
	transport, err := dial("unix", b.socket())
	if err != nil {
		return nil, err
	}
	conn, err := dbus.NewConn(transport, options...)
	if err != nil {
		transport.Close()
		return nil, err
	}
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(uid))}); err != nil {
		conn.Close()
		return nil, err
	}
	if err := conn.Hello(); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// dialAs connects while this thread, and it alone, has the user's identity: the
// kernel notes who connects in connect(2). The system calls are raw because
// package syscall's change every thread. The thread is given back rather than
// ended: programs started from it would be killed with it (Pdeathsig).
func dialAs(uid int, network, address string) (net.Conn, error) {
	gid := uid
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		if gid, err = strconv.Atoi(u.Gid); err != nil {
			return nil, err
		}
	}
	groups, err := syscall.Getgroups()
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	if err := become(uid, gid, []int{gid}); err != nil {
		return nil, err // the thread stays locked: nobody else may get it
	}
	conn, dialErr := net.Dial(network, address)
	if err := become(os.Getuid(), os.Getgid(), groups); err != nil {
		return nil, err
	}
	runtime.UnlockOSThread()
	return conn, dialErr
}

// become sets the thread's effective identity. Only root may set the groups, so
// root comes back before, and goes after.
func become(uid, gid int, groups []int) error {
	const keep = ^uintptr(0)
	list := make([]uint32, len(groups)+1) // never empty, to have an address
	for i, group := range groups {
		list[i] = uint32(group)
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, uintptr(os.Getuid()), keep)
	if errno == 0 {
		_, _, errno = syscall.RawSyscall(syscall.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&list[0])), 0) //nolint:gosec // setgroups(2) takes an address
	}
	if errno == 0 {
		_, _, errno = syscall.RawSyscall(syscall.SYS_SETRESGID, keep, uintptr(gid), keep)
	}
	if errno == 0 {
		_, _, errno = syscall.RawSyscall(syscall.SYS_SETRESUID, keep, uintptr(uid), keep)
	}
	if errno != 0 {
		return fmt.Errorf("cannot change the thread's user: %w", errno)
	}
	return nil
}
